"""The simulated Events API v2: what is accepted, what is said of the rest, and what becomes of an incident."""

import json
from typing import Any

import pytest
from flask import Flask

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.model import Incident
from pagerduty_sync.simulator.simulator import Simulator
from pagerduty_sync.simulator.subscriptions import EVENT_TYPES

Json = dict[str, Any]


class Monitor:
    """A monitoring tool with a routing key."""

    def __init__(self, app: Flask) -> None:
        self.simulator: Simulator = app.extensions["simulator"]
        self.simulator.reset()
        self.http = app.test_client()
        method = {"type": "http_delivery_method", "url": "http://127.0.0.1:9/"}
        wanted = {"delivery_method": method, "events": sorted(EVENT_TYPES), "filter": {"type": "account_reference"}}
        self.simulator.subscriptions.create({"type": "webhook_subscription"} | wanted)

    def send(self, action: str, dedup_key: str | None = "disk-1", **fields: Any) -> tuple[int, Json]:
        event = {"routing_key": seeds.CHECKOUT_ROUTING_KEY, "event_action": action, "dedup_key": dedup_key}
        payload = {"summary": "Disk is full", "source": "db-1", "severity": "critical"}
        event |= ({"payload": payload} if action == "trigger" else {}) | fields
        reply = self.http.post("/v2/enqueue", json=event)
        return reply.status_code, reply.get_json()

    @property
    def incidents(self) -> list[Incident]:
        return list(self.simulator.account.incidents.values())

    @property
    def events(self) -> list[Json]:
        return [json.loads(webhook.body)["event"] for webhook in self.simulator.dispatcher.pending()]


@pytest.fixture(scope="module")
def app() -> Flask:
    """Making the application takes longer than most tests; each of them resets it instead."""
    return create_app(start=False)


@pytest.fixture
def monitor(app: Flask) -> Monitor:
    return Monitor(app)


def test_a_trigger_opens_an_incident_without_a_key_and_names_the_client(monitor: Monitor) -> None:
    answer = monitor.send("trigger", client="Prometheus", client_url="https://prometheus.example")
    assert answer == (202, {"status": "success", "message": "Event processed", "dedup_key": "disk-1"})
    (event,) = monitor.events
    assert event["agent"]["type"] == "inbound_integration_reference"
    assert event["client"] == {"name": "Prometheus", "url": "https://prometheus.example"}
    assert event["data"]["incident_key"] is None
    assert event["data"]["title"] == "Disk is full"


def test_the_same_dedup_key_opens_one_incident(monitor: Monitor) -> None:
    monitor.send("trigger")
    monitor.send("trigger")
    assert len(monitor.incidents) == len(monitor.events) == 1


def test_acknowledge_and_resolve_follow_the_key(monitor: Monitor) -> None:
    for action in ("trigger", "acknowledge", "resolve"):
        assert monitor.send(action)[0] == 202
    assert [incident.status for incident in monitor.incidents] == ["resolved"]
    assert [event["event_type"] for event in monitor.events] == [
        "incident.triggered",
        "incident.acknowledged",
        "incident.resolved",
    ]
    monitor.send("trigger")
    assert len(monitor.incidents) == 2


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_an_unknown_dedup_key_is_accepted_and_ignored(monitor: Monitor, action: str) -> None:
    assert monitor.send(action, "never-seen")[0] == 202
    assert (monitor.incidents, monitor.events) == ([], [])


def test_a_disabled_service_accepts_and_drops(monitor: Monitor) -> None:
    assert monitor.send("trigger", routing_key=seeds.DISABLED_ROUTING_KEY)[0] == 202
    assert monitor.incidents == []


def test_a_trigger_without_a_dedup_key_is_given_one(monitor: Monitor) -> None:
    _, answer = monitor.send("trigger", None)
    assert len(answer["dedup_key"]) == 32


def test_rest_finds_the_incident_by_its_alert_key(monitor: Monitor) -> None:
    monitor.send("trigger")
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}"}
    (found,) = monitor.http.get("/incidents?incident_key=disk-1", headers=headers).get_json()["incidents"]
    assert found["incident_key"] is None
    (alert,) = monitor.http.get(f"/incidents/{found['id']}/alerts", headers=headers).get_json()["alerts"]
    assert (alert["alert_key"], alert["severity"]) == ("disk-1", "critical")


PAYLOAD = {"summary": "x", "source": "x", "severity": "info"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"routing_key": seeds.FULL_KEY}, "routing_key", id="the key is a REST key"),
        pytest.param({"routing_key": "0" * 32}, "routing_key", id="the key is unknown"),
        pytest.param({"event_action": "annotate"}, "event_action", id="the action is unknown"),
        pytest.param({"event_action": "resolve", "dedup_key": ""}, "dedup_key", id="a resolve has no dedup key"),
        pytest.param({"dedup_key": "k" * 256}, "dedup_key", id="the dedup key is too long"),
        pytest.param({"payload": None}, "payload", id="a trigger has no payload"),
        pytest.param({"payload": PAYLOAD | {"source": ""}}, "source", id="the source is blank"),
        pytest.param({"payload": PAYLOAD | {"severity": "bad"}}, "severity", id="the severity is unknown"),
        pytest.param({"payload": PAYLOAD | {"timestamp": "noon"}}, "timestamp", id="the timestamp is none"),
        pytest.param(
            {"payload": PAYLOAD | {"summary": "x" * 1025}},
            "'summary' is too long (maiximum is 1024 characters)",
            id="the summary is too long",
        ),
        pytest.param({"payload": PAYLOAD | {"component": "x" * 600_000}}, "too large", id="the event is too large"),
    ],
)
def test_an_event_is_invalid_when(monitor: Monitor, fields: Json, error: str) -> None:
    status, answer = monitor.send("trigger", **fields)
    assert (status, answer["status"], answer["message"]) == (400, "invalid event", "Event object is invalid")
    assert error in answer["errors"][0]
    assert monitor.incidents == []


def test_a_routing_key_has_its_own_limit(monitor: Monitor) -> None:
    monitor.simulator.faults.change({"events_limit_per_minute": 2})
    assert [monitor.send("trigger")[0] for _ in range(3)] == [202, 202, 429]
    monitor.simulator.advance(61)
    assert monitor.send("trigger")[0] == 202


def test_a_merge_moves_the_alerts_and_the_key_follows_them(monitor: Monitor) -> None:
    monitor.send("trigger", "disk-1")
    monitor.send("trigger", "disk-2")
    source, target = monitor.incidents
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}
    body = {"source_incidents": [{"id": source.id, "type": "incident_reference"}]}
    assert monitor.http.put(f"/incidents/{target.id}/merge", json=body, headers=headers).status_code == 200
    assert [alert.key for alert in target.alerts] == ["disk-2", "disk-1"]
    monitor.send("resolve", "disk-2")
    assert target.status == "triggered"
    monitor.send("resolve", "disk-1")
    assert target.status == "resolved"
