"""The state file: what a restart keeps, and what happens to a file that cannot be read."""

import json
import time
from pathlib import Path
from typing import Any

from flask import Flask

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.simulator import Simulator

HEADERS = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}


def simulator_of(app: Flask) -> Simulator:
    simulator: Simulator = app.extensions["simulator"]
    return simulator


def fill(app: Flask) -> None:
    """One of everything: subscription, incidents in every state, notes, an alert, an undelivered webhook."""
    client = app.test_client()

    def send(method: str, path: str, body: Any) -> Any:
        reply = client.open(path, method=method, json=body, headers=HEADERS)
        assert reply.status_code < 300, reply.data
        return reply.get_json()

    subscription = {
        "type": "webhook_subscription",
        "delivery_method": {
            "type": "http_delivery_method",
            "url": "http://127.0.0.1:9/",
            "custom_headers": [{"name": "X-Who", "value": "me"}],
        },
        "events": ["incident.triggered", "incident.annotated"],
        "filter": {"type": "service_reference", "id": seeds.PAYMENTS_SERVICE_ID},
    }
    send("POST", "/webhook_subscriptions", {"webhook_subscription": subscription})
    ids = []
    for number in range(4):
        service = {"id": seeds.PAYMENTS_SERVICE_ID, "type": "service_reference"}
        wanted = {"type": "incident", "title": f"n{number}", "service": service, "incident_key": f"key-{number}"}
        ids.append(send("POST", "/incidents", {"incident": wanted})["incident"]["id"])
    send("POST", f"/incidents/{ids[0]}/notes", {"note": {"content": "héllo ✓"}})
    send("PUT", f"/incidents/{ids[1]}", {"incident": {"type": "incident", "status": "acknowledged", "priority": "P2"}})
    send("PUT", f"/incidents/{ids[2]}", {"incident": {"type": "incident", "status": "resolved"}})
    send("PUT", f"/incidents/{ids[0]}/merge", {"source_incidents": [{"id": ids[3], "type": "incident_reference"}]})
    payload = {"summary": "Disk", "source": "db", "severity": "error"}
    event = {"routing_key": seeds.PAYMENTS_ROUTING_KEY, "event_action": "trigger", "dedup_key": "d", "payload": payload}
    send("POST", "/v2/enqueue", event)


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    file = tmp_path / "state" / "pagerduty.json"
    first = create_app(state_file=file, start=False)
    fill(first)
    first.extensions["simulator"].advance(600)
    client = first.test_client()
    state = client.get("/_sim/state").get_json()
    log = client.get("/log_entries?limit=100", headers=HEADERS).get_json()
    simulator_of(first).stop()

    second = create_app(state_file=file, start=False)
    again = second.test_client()
    restored = again.get("/_sim/state").get_json()
    assert restored["incidents"] == state["incidents"]
    assert restored["webhook_subscriptions"] == state["webhook_subscriptions"]
    assert restored["now"] >= state["now"]
    by_id = {
        entry["id"]: entry for entry in again.get("/log_entries?limit=100", headers=HEADERS).get_json()["log_entries"]
    }
    assert by_id == {entry["id"]: entry for entry in log["log_entries"]}
    assert simulator_of(second).subscriptions.all() == simulator_of(first).subscriptions.all()
    assert simulator_of(second).dispatcher.pending() == simulator_of(first).dispatcher.pending()


def test_life_goes_on_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "pagerduty.json"
    first = create_app(state_file=file, start=False)
    fill(first)
    simulator_of(first).stop()
    second = create_app(state_file=file, start=False)
    simulator = simulator_of(second)
    taken = {"type": "incident", "title": "x", "service": {"id": seeds.PAYMENTS_SERVICE_ID}, "incident_key": "key-0"}
    client = second.test_client()
    assert client.post("/incidents", json={"incident": taken}, headers=HEADERS).get_json()["error"]["code"] == 2002
    fresh = client.post("/incidents", json={"incident": taken | {"incident_key": "new"}}, headers=HEADERS)
    assert fresh.get_json()["incident"]["incident_number"] == 6
    simulator.advance(1801)
    assert [incident.status for incident in simulator.account.incidents.values()][1] == "triggered"


def test_a_running_simulator_writes_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "pagerduty.json"
    app = create_app(state_file=file)
    try:
        fill(app)
        deadline = time.monotonic() + 5
        while not file.exists() or len(json.loads(file.read_text())["incidents"]) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        simulator_of(app).stop()
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_an_unreadable_file_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "pagerduty.json"
    file.write_text('{"version": 1, "incidents": [{}]}')
    app = create_app(state_file=file, start=False)
    assert simulator_of(app).account.incidents == {}
    assert (tmp_path / "pagerduty.json.unreadable").exists()


def test_faults_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "pagerduty.json"
    first = create_app(state_file=file, start=False, knobs={"webhook_drop": 1})
    simulator_of(first).stop()
    second = create_app(state_file=file, start=False)
    assert simulator_of(second).faults.knobs.webhook_drop.probability == 0
