"""PagerDuty's own Python client at work on the simulator, and the answers held against the published contract."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from openapi_core import Config, OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest, RequestsOpenAPIResponse
from pagerduty import EventsApiV2Client, HttpError, RestApiV2Client

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.serve import in_thread
from pagerduty_sync.simulator.simulator import Simulator

SHARED = Path(os.environ.get("PAGERDUTY_SYNC_SHARED") or Path(__file__).parents[3] / "shared")
CONTRACT = SHARED / "contracts" / "pagerduty-rest-openapi.json"
SERVICE = {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"}
Json = dict[str, Any]


class LocalRestClient(RestApiV2Client):
    """The client insists on https; here it talks to this machine."""

    url = ""

    def __init__(self, url: str, key: str = seeds.FULL_KEY, email: str | None = seeds.BOT_EMAIL) -> None:
        self.url = url
        super().__init__(key, default_from=email)
        self.url = url


class LocalEventsClient(EventsApiV2Client):
    url = ""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(key)
        self.url = url


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    app = create_app(knobs={"retry_schedule": [0.05]})
    with in_thread(app):
        yield app.extensions["simulator"]


@pytest.fixture
def client(simulator: Simulator) -> LocalRestClient:
    return LocalRestClient(simulator.shapes.public_base)


def open_incident(client: RestApiV2Client, **fields: Any) -> Json:
    wanted = {"type": "incident", "title": "Checkout is slow", "service": SERVICE} | fields
    made: Json = client.rpost("/incidents", json=wanted)
    return made


# Their client


def test_it_pages_through_all_services_and_finds_one_user(client: LocalRestClient) -> None:
    assert len(list(client.iter_all("services"))) == 30
    assert len(client.list_all("users")) == 30
    found = client.find("users", seeds.BOT_EMAIL, attribute="email")
    assert found and found["id"] == seeds.BOT_ID
    assert client.subdomain == seeds.SUBDOMAIN


def test_it_tells_an_account_key_from_a_user_token(client: LocalRestClient, simulator: Simulator) -> None:
    assert client.api_key_access == "account"
    token = LocalRestClient(simulator.shapes.public_base, seeds.USER_TOKEN, None)
    assert token.api_key_access == "user"
    assert token.account_has_ability("urgencies") and not token.account_has_ability("time_travel")


def test_it_stops_at_a_revoked_key(client: LocalRestClient, simulator: Simulator) -> None:
    simulator.faults.change({"revoked_keys": [seeds.FULL_KEY]})
    with pytest.raises(HttpError, match="401 Unauthorized"):
        client.rget("/abilities")


def test_it_takes_an_incident_from_open_to_resolved(client: LocalRestClient) -> None:
    incident = open_incident(client, incident_key="case-1")
    path = f"/incidents/{incident['id']}"
    client.rpost(f"{path}/notes", json={"content": "Looking into it"})
    client.rput(path, json={"type": "incident_reference", "status": "acknowledged"})
    client.rput("/incidents", json=[{"id": incident["id"], "type": "incident_reference", "status": "resolved"}])
    assert client.rget(path)["status"] == "resolved"
    assert [note["content"] for note in client.rget(f"{path}/notes")] == ["Looking into it"]
    assert [entry["channel"]["summary"] for entry in client.iter_incident_notes(incident["id"])] == ["Looking into it"]
    with pytest.raises(HttpError):
        client.rget("/incidents/QNONE")


def test_it_waits_out_a_429(client: LocalRestClient, simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    client.sleep_timer = 0.01
    simulator.faults.change({"rate_limit": {"next": 2, "headers": False, "body": False}})
    with caplog.at_level(logging.DEBUG):
        assert client.rget("/abilities")
    assert caplog.text.count("Hit API rate limit") == 2


def test_its_events_client_triggers_and_resolves(client: LocalRestClient, simulator: Simulator) -> None:
    events = LocalEventsClient(simulator.shapes.public_base, seeds.CHECKOUT_ROUTING_KEY)
    key = events.trigger("Disk is full", "db-1")
    (incident,) = client.rget("/incidents", params={"incident_key": key})
    assert incident["incident_key"] is None
    assert events.resolve(key) == key
    assert client.rget(f"/incidents/{incident['id']}")["status"] == "resolved"


# Lost and late replies


@pytest.mark.parametrize("how", ["close", "error", "timeout"])
def test_a_write_whose_reply_is_lost_is_applied_once(simulator: Simulator, how: str) -> None:
    url = simulator.shapes.public_base
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}
    wanted = {"type": "incident", "title": "x", "service": SERVICE}
    made = requests.post(f"{url}/incidents", json={"incident": wanted}, headers=headers, timeout=5)
    path = f"{url}/incidents/{made.json()['incident']['id']}/notes"
    rule = {"next": 1, "match": {"method": "POST", "path": "/notes"}, "how": how, "seconds": 0.4}
    requests.put(f"{url}/_sim/faults", json={"lose_reply": rule}, timeout=5)
    if how == "error":
        assert requests.post(path, json={"note": {"content": "once"}}, headers=headers, timeout=5).status_code == 500
    else:
        expected = requests.ConnectionError if how == "close" else requests.ReadTimeout
        with pytest.raises(expected):
            requests.post(path, json={"note": {"content": "once"}}, headers=headers, timeout=0.2)
    notes = requests.get(path, headers=headers, timeout=5).json()["notes"]
    assert [note["content"] for note in notes] == ["once"]
    assert requests.post(path, json={"note": {"content": "twice"}}, headers=headers, timeout=5).ok


def test_a_slow_reply_is_late_and_whole(simulator: Simulator) -> None:
    simulator.faults.change({"slow_reply": {"next": 1, "seconds": 0.2, "match": {"path": "/abilities"}}})
    headers, started = {"Authorization": f"Token token={seeds.FULL_KEY}"}, time.monotonic()
    reply = requests.get(f"{simulator.shapes.public_base}/abilities", headers=headers, timeout=5)
    assert reply.ok and time.monotonic() - started >= 0.2


# The published contract


@pytest.fixture(scope="module")
def contract() -> OpenAPI:
    if not CONTRACT.is_file():
        pytest.skip(f"no API description at {CONTRACT}; PAGERDUTY_SYNC_SHARED names the folder above contracts/")
    document = json.loads(CONTRACT.read_bytes())
    # Prose, examples and PagerDuty's own clients agree that these are null at times; the schemas forgot to say so.
    incident = document["components"]["schemas"]["Incident"]["allOf"][1]["properties"]
    for name in ("resolved_at", "resolve_reason", "priority", "conference_bridge", "alert_grouping", "incident_key"):
        incident[name] = {"nullable": True}
    service = document["components"]["schemas"]["Service"]["allOf"][1]["properties"]
    for name in ("auto_resolve_timeout", "acknowledgement_timeout"):
        service[name]["nullable"] = True
    # One text default of an integer parameter fails the document's own validation.
    return OpenAPI.from_dict(document, config=Config(spec_validator_cls=None))


NOTE = {"note": {"content": "hello"}}
RESOLVE = {"incident": {"type": "incident_reference", "status": "resolved", "resolution": "Restarted"}}
ACKNOWLEDGE = {"incident": {"type": "incident_reference", "status": "acknowledged"}}
SUBSCRIPTION = {
    "webhook_subscription": {
        "type": "webhook_subscription",
        "delivery_method": {
            "type": "http_delivery_method",
            "url": "http://127.0.0.1:9/",
            "custom_headers": [{"name": "X-Who", "value": "me"}],
        },
        "description": "x",
        "events": ["incident.triggered"],
        "filter": {"type": "service_reference", "id": seeds.CHECKOUT_SERVICE_ID},
    }
}
CALLS = [
    ("GET", "/incidents", None),
    ("GET", "/incidents/{id}", None),
    ("PUT", "/incidents/{id}", ACKNOWLEDGE),
    ("POST", "/incidents/{id}/snooze", {"duration": 60}),
    ("PUT", "/incidents/{id}", RESOLVE),
    ("POST", "/incidents/{id}/notes", NOTE),
    ("GET", "/incidents/{id}/notes", None),
    ("POST", "/incidents/{id}/status_updates", {"message": "Nearly there"}),
    ("GET", "/priorities", None),
    ("GET", "/users", None),
    ("GET", f"/users/{seeds.BOT_ID}", None),
    ("GET", "/services", None),
    ("GET", f"/services/{seeds.CHECKOUT_SERVICE_ID}", None),
    ("GET", "/escalation_policies", None),
    ("GET", "/teams", None),
    ("GET", "/abilities", None),
    ("GET", "/webhook_subscriptions", None),
    ("POST", "/webhook_subscriptions", SUBSCRIPTION),
    ("GET", "/webhook_subscriptions/{subscription}", None),
    ("PUT", "/webhook_subscriptions/{subscription}", {"webhook_subscription": {"active": False}}),
    ("POST", "/webhook_subscriptions/{subscription}/enable", None),
]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, dict[str, str]]]:
    """A simulator with an incident and a subscription, for calls that do not care about each other."""
    app = create_app(knobs={"subscription_create_status": 200})  # the contract's status of a created subscription
    with in_thread(app) as url:
        client = LocalRestClient(url)
        id_ = open_incident(client, priority={"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"})["id"]
        client.rpost(f"/incidents/{id_}/notes", json={"content": "first"})
        subscription = client.rpost("/webhook_subscriptions", json=SUBSCRIPTION["webhook_subscription"])["id"]
        yield url, {"id": id_, "subscription": subscription}


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{method} {path}" for method, path, _ in CALLS])
def test_an_answer_fits_the_published_contract(
    served: tuple[str, dict[str, str]], contract: OpenAPI, method: str, path: str, body: Json | None
) -> None:
    url, ids = served
    headers = {
        "Authorization": f"Token token={seeds.FULL_KEY}",
        "Accept": "application/vnd.pagerduty+json;version=2",
        "Content-Type": "application/json",
        "From": seeds.BOT_EMAIL,
    }
    reply = requests.request(method, url + path.format(**ids), json=body, headers=headers, timeout=5)
    assert reply.ok, reply.text
    sent = reply.request
    sent.url = str(sent.url).replace(url, "https://api.pagerduty.com")
    contract.validate_response(RequestsOpenAPIRequest(sent), RequestsOpenAPIResponse(reply))


@pytest.mark.parametrize(
    ("path", "key", "status"), [("/incidents/QNONE", seeds.FULL_KEY, 404), ("/incidents", "nope", 401)]
)
def test_an_error_fits_the_published_contract(
    served: tuple[str, dict[str, str]], contract: OpenAPI, path: str, key: str, status: int
) -> None:
    url, _ = served
    headers = {"Authorization": f"Token token={key}", "Accept": "application/vnd.pagerduty+json;version=2"}
    reply = requests.get(url + path, headers=headers, timeout=5)
    assert reply.status_code == status
    sent = reply.request
    sent.url = str(sent.url).replace(url, "https://api.pagerduty.com")
    contract.validate_response(RequestsOpenAPIRequest(sent), RequestsOpenAPIResponse(reply))


# The process


def test_the_command_serves_keeps_its_state_and_ends_at_once_on_sigterm(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "pagerduty_sync.simulator",
        "--port",
        str(port),
        "--state",
        str(tmp_path / "s.json"),
    ]
    url = f"http://127.0.0.1:{port}"

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 15
        while True:
            try:
                requests.get(f"{url}/healthz", timeout=1)
                return process
            except requests.ConnectionError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)

    first = start()
    with requests.Session() as session:  # an open connection must not delay the end
        session.headers.update({"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL})
        wanted = {"type": "incident", "title": "kept", "service": SERVICE}
        made = session.post(f"{url}/incidents", json={"incident": wanted}, timeout=5).json()["incident"]
        assert made["html_url"] == f"{url}/ui/incidents/{made['id']}"
        session.put(f"{url}/_sim/faults", json={"lose_reply": {"next": 1}}, timeout=5)
        with pytest.raises(requests.ConnectionError):
            session.post(f"{url}/incidents/{made['id']}/notes", json={"note": {"content": "lost"}}, timeout=5)
        started = time.monotonic()
        first.send_signal(signal.SIGTERM)
        output, _ = first.communicate(timeout=10)
        assert time.monotonic() - started < 5
    assert first.returncode == 0
    assert f"method=POST path=/incidents status=201 key={seeds.FULL_KEY[-4:]}" in output.decode()
    assert seeds.FULL_KEY not in output.decode()
    second = start()
    try:
        (incident,) = requests.get(f"{url}/_sim/state", timeout=5).json()["incidents"]
        assert (incident["title"], [note["content"] for note in incident["notes"]]) == ("kept", ["lost"])
    finally:
        second.send_signal(signal.SIGINT)
        second.communicate(timeout=10)
