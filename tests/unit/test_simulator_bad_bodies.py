"""Whatever is sent, the simulator refuses it in PagerDuty's form and never falls over."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app

HEADERS = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}

KNOWN = st.sampled_from(
    [
        *("incident", "incident_reference", "webhook_subscription", "http_delivery_method", "service_reference"),
        *("triggered", "acknowledged", "resolved", "high", "low", "trigger", "resolve", "critical", "P1"),
        *(seeds.CHECKOUT_SERVICE_ID, seeds.ADA_ID, seeds.CHECKOUT_ROUTING_KEY, seeds.PRIORITY_IDS["P2"]),
        *("incident.triggered", "account_reference", "http://127.0.0.1:9/", "http://[", "\ud800", "x\u0000y"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | KNOWN
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
NAMES = [
    *(
        "id",
        "type",
        "title",
        "service",
        "priority",
        "urgency",
        "incident_key",
        "body",
        "details",
        "status",
        "resolution",
    ),
    *("assignments", "assignee", "escalation_policy", "escalation_level", "conference_bridge", "incident_type", "name"),
    *("content", "duration", "message", "subject", "events", "filter", "delivery_method", "url", "custom_headers"),
    *("value", "active", "description", "event_action", "routing_key", "dedup_key", "payload", "summary", "source"),
    *("severity", "timestamp", "client", "custom_fields", "source_incidents", "incidents"),
]
OBJECTS = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=15,
)

PLACES = [
    ("POST", "/incidents", "incident"),
    ("PUT", "/incidents", "incidents"),
    ("PUT", "/incidents/1", "incident"),
    ("PUT", "/incidents/1/merge", "source_incidents"),
    ("POST", "/incidents/1/snooze", "duration"),
    ("POST", "/incidents/1/notes", "note"),
    ("POST", "/incidents/1/status_updates", "message"),
    ("PUT", "/incidents/1/custom_fields/values", "custom_fields"),
    ("POST", "/webhook_subscriptions", "webhook_subscription"),
    ("POST", "/v2/enqueue", None),
    ("PUT", "/_sim/faults", None),
    ("POST", "/_sim/clock/advance", "seconds"),
]


@pytest.mark.parametrize(("method", "path", "wrapper"), PLACES, ids=[f"{method} {path}" for method, path, _ in PLACES])
def test_no_body_makes_a_500(method: str, path: str, wrapper: str | None) -> None:
    client = _client()

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
    )
    @given(value=OBJECTS)
    def send(value: Any) -> None:
        reply = client.open(path, method=method, json={wrapper: value} if wrapper else value, headers=HEADERS)
        assert reply.status_code < 500
        if reply.status_code >= 400 and path.startswith(("/incidents", "/webhook")):
            assert reply.get_json()["error"]["message"]

    send()
    # Whatever was accepted can also be shown.
    assert client.get("/incidents?date_range=all", headers=HEADERS).status_code == 200
    assert client.get("/ui/incidents/1").status_code == 200


SERVICE = {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"}
INCIDENT = {
    "type": "incident",
    "title": "x",
    "service": SERVICE,
    "incident_key": "k",
    "urgency": "low",
    "body": {"type": "incident_body", "details": "x"},
    "priority": {"id": seeds.PRIORITY_IDS["P2"], "type": "priority_reference"},
    "incident_type": {"name": "major"},
    "conference_bridge": {"conference_number": "1", "conference_url": "https://x.example"},
    "assignments": [{"assignee": {"id": seeds.ADA_ID, "type": "user_reference"}}],
}
CHANGE = {name: value for name, value in INCIDENT.items() if name not in ("body", "incident_key")}
METHOD = {"type": "http_delivery_method", "url": "http://127.0.0.1:9/", "custom_headers": [{"name": "a", "value": "b"}]}
SUBSCRIPTION = {
    "type": "webhook_subscription",
    "delivery_method": METHOD,
    "events": ["incident.triggered"],
    "filter": SERVICE,
    "description": "x",
    "active": True,
}
PAYLOAD = {"summary": "x", "source": "x", "severity": "info", "timestamp": "2026-01-01", "custom_details": {"a": 1}}
EVENT = {
    "routing_key": seeds.CHECKOUT_ROUTING_KEY,
    "event_action": "trigger",
    "dedup_key": "d",
    "payload": PAYLOAD,
    "client": "c",
    "client_url": "https://c.example",
}
VALID = [
    ("POST", "/incidents", {"incident": INCIDENT}),
    ("PUT", "/incidents/1", {"incident": CHANGE | {"status": "acknowledged"}}),
    ("PUT", "/incidents", {"incidents": [CHANGE | {"id": "1", "status": "resolved", "resolution": "x"}]}),
    ("POST", "/webhook_subscriptions", {"webhook_subscription": SUBSCRIPTION}),
    ("POST", "/incidents/1/status_updates", {"message": "m", "subject": "s", "html_message": "h"}),
    ("PUT", "/incidents/1/custom_fields/values", {"custom_fields": [{"name": "a", "value": "b"}]}),
    ("POST", "/v2/enqueue", EVENT),
]


def _spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _spots(inner, (*path, key))


def _bent(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _bent(value[path[0]], path[1:], odd)
    return copy


@pytest.mark.parametrize(("method", "path", "body"), VALID, ids=[f"{method} {path}" for method, path, _ in VALID])
def test_one_odd_value_in_a_good_body_makes_no_500(method: str, path: str, body: Any) -> None:
    client = _client()
    assert client.open(path, method=method, json=body, headers=HEADERS).status_code < 300

    @settings(max_examples=80, deadline=None, derandomize=True, database=None)
    @given(spot=st.sampled_from(list(_spots(body))), odd=OBJECTS)
    def send(spot: tuple[Any, ...], odd: Any) -> None:
        assert client.open(path, method=method, json=_bent(body, spot, odd), headers=HEADERS).status_code < 500

    send()
    assert client.get("/incidents?date_range=all", headers=HEADERS).status_code == 200
    assert client.get("/ui/incidents?show=all").status_code == 200
    assert client.get("/ui/incidents/1").status_code == 200
    assert client.get("/webhook_subscriptions", headers=HEADERS).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b"NaN", b"9" * 5000, b'{"incident": "\\ud800"}'],
    ids=["empty", "half", "null", "array", "text", "not UTF-8", "deep", "NaN", "a huge number", "half a surrogate"],
)
@pytest.mark.parametrize("path", ["/incidents", "/incidents/1/notes", "/webhook_subscriptions", "/v2/enqueue"])
def test_a_body_that_is_no_object_is_a_400(body: bytes, path: str) -> None:
    reply = _client().post(path, data=body, headers=HEADERS | {"Content-Type": "application/json"})
    assert reply.status_code == 400


def test_a_body_over_the_servers_limit_is_refused_in_form() -> None:
    reply = _client().post("/incidents", data=b"x" * 5_000_000, headers=HEADERS)
    assert (reply.status_code, "error" in reply.get_json()) == (413, True)


@cache
def _app() -> Flask:
    return create_app(start=False)


def _client() -> Any:
    """A simulator reset to one open incident, and with room for many calls."""
    simulator = _app().extensions["simulator"]
    simulator.reset()
    simulator.faults.change({"rest_limit_per_minute": 10_000, "subscription_limit": 1000})
    client = _app().test_client()
    service = {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"}
    incident = json.dumps({"incident": {"type": "incident", "title": "x", "service": service}})
    client.post("/incidents", data=incident, headers=HEADERS | {"Content-Type": "application/json"})
    return client
