"""The simulator's switches for what PagerDuty does not document about odd incidents, each thrown both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.simulator import Simulator

HEADERS = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.ADA_EMAIL}


class Desk:
    """A responder with REST, and every webhook still queued to be looked at."""

    def __init__(self, app: Flask) -> None:
        self.simulator: Simulator = app.extensions["simulator"]
        self.http = app.test_client()
        method = {"type": "http_delivery_method", "url": "http://127.0.0.1:9/"}
        events = ["incident.acknowledged", "incident.unacknowledged", "incident.annotated"]
        wanted = {"type": "webhook_subscription", "delivery_method": method, "events": events}
        self.call(
            "POST", "/webhook_subscriptions", webhook_subscription=wanted | {"filter": {"type": "account_reference"}}
        )

    def call(self, method: str, path: str, **body: object) -> tuple[int, Any]:
        reply = self.http.open(path, method=method, json=body, headers=HEADERS)
        return reply.status_code, reply.get_json(silent=True)

    def open(self, title: str = "Checkout is slow", service_id: str = seeds.CHECKOUT_SERVICE_ID) -> str:
        service = {"id": service_id, "type": "service_reference"}
        status, answer = self.call(
            "POST", "/incidents", incident={"type": "incident", "title": title, "service": service}
        )
        assert status == 201, answer
        return str(answer["incident"]["id"])

    def put(self, id_: str, **fields: object) -> dict[str, Any]:
        _, answer = self.call("PUT", f"/incidents/{id_}", incident={"type": "incident_reference", **fields})
        return dict(answer["incident"])

    def note(self, id_: str, content: str) -> tuple[int, Any]:
        return self.call("POST", f"/incidents/{id_}/notes", note={"content": content})

    def switch(self, **knobs: object) -> None:
        self.simulator.faults.change(knobs)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(webhook.body)["event"] for webhook in self.simulator.dispatcher.pending()]


@pytest.fixture
def desk() -> Desk:
    return Desk(create_app(start=False))


@pytest.mark.parametrize(("status", "code"), [(404, 2100), (404, 5001), (410, 2100)])
def test_a_deleted_incident_is_in_no_list_and_answers_as_the_switch_says(desk: Desk, status: int, code: int) -> None:
    desk.switch(deleted_incident_status=status, incident_not_found_code=code)
    gone, kept = desk.open(), desk.open()
    assert desk.call("DELETE", f"/_sim/incidents/{gone}")[0] == 200
    assert desk.call("DELETE", f"/_sim/incidents/{gone}")[0] == 404
    for method, path in (("GET", ""), ("GET", "/notes"), ("PUT", "")):
        found, answer = desk.call(method, f"/incidents/{gone}{path}", incident={"type": "incident_reference"})
        assert (found, answer["error"]["code"]) == (status, code)
    assert desk.call("GET", "/incidents/Q0UNKNOWN")[0] == 404
    assert [one["id"] for one in desk.call("GET", "/incidents")[1]["incidents"]] == [kept]


@pytest.mark.parametrize("refusal", ["400 2001", "400 2019", "402 2019", "403 2019"])
def test_the_note_beyond_the_cap_is_refused_as_the_switch_says(desk: Desk, refusal: str) -> None:
    desk.switch(notes_limit=1, notes_limit_refusal=refusal)
    id_ = desk.open()
    assert desk.note(id_, "one")[0] == 200
    status, answer = desk.note(id_, "two")
    assert f"{status} {answer['error']['code']}" == refusal


@pytest.mark.parametrize(("shows", "content"), [("beginning", "long"), ("nothing", None)])
def test_a_trimmed_note_shows_its_beginning_or_nothing(desk: Desk, shows: str, content: str | None) -> None:
    desk.switch(note_trim_bytes=4, trimmed_note=shows)
    desk.note(desk.open(), "long enough")
    (event,) = desk.events
    assert (event["data"]["content"], event["data"]["trimmed"]) == (content, True)


@pytest.mark.parametrize(("merged", "left"), [("stay", ["on the source"]), ("move", [])])
def test_a_merge_leaves_notes_where_they_are_or_moves_them(desk: Desk, merged: str, left: list[str]) -> None:
    desk.switch(merged_notes=merged)
    source, target = desk.open(), desk.open()
    desk.note(source, "on the source")
    sources = [{"id": source, "type": "incident_reference"}]
    desk.call("PUT", f"/incidents/{target}/merge", source_incidents=sources)
    texts = {
        id_: [n["content"] for n in desk.call("GET", f"/incidents/{id_}/notes")[1]["notes"]] for id_ in (source, target)
    }
    assert texts == {source: left, target: [] if left else ["on the source"]}


@pytest.mark.parametrize(("moves", "is_moved"), [("always", True), ("with_status", False)])
def test_updated_at_moves_with_every_change_or_with_the_status_only(desk: Desk, moves: str, is_moved: bool) -> None:
    desk.switch(updated_at_moves=moves)
    id_ = desk.open()
    before = desk.call("GET", f"/incidents/{id_}")[1]["incident"]["updated_at"]
    desk.simulator.advance(10)
    assert (desk.put(id_, urgency="low")["updated_at"] > before) is is_moved
    assert desk.put(id_, status="acknowledged")["updated_at"] > before


@pytest.mark.parametrize("is_named", [True, False])
def test_a_time_out_names_its_service_or_nobody(desk: Desk, is_named: bool) -> None:
    desk.switch(timer_agent="service" if is_named else "null")
    id_ = desk.open(service_id=seeds.PAYMENTS_SERVICE_ID)
    desk.put(id_, status="acknowledged")
    desk.simulator.advance(1801)
    agent = desk.events[-1]["agent"]
    assert (agent and agent["id"]) == (seeds.PAYMENTS_SERVICE_ID if is_named else None)


@pytest.mark.parametrize("reports", [True, False])
def test_what_changes_the_status_on_the_side_is_reported_or_not(desk: Desk, reports: bool) -> None:
    desk.switch(snooze_reports=reports, urgency_raise_reports=reports)
    id_ = desk.open()
    desk.put(id_, urgency="low")
    assert desk.call("POST", f"/incidents/{id_}/snooze", duration=300)[1]["incident"]["status"] == "acknowledged"
    assert desk.put(id_, urgency="high")["status"] == "triggered"
    types = [event["event_type"] for event in desk.events]
    assert types == (["incident.acknowledged", "incident.unacknowledged"] if reports else [])


@pytest.mark.parametrize(("counts", "length"), [("characters", 400), ("bytes", 341)])
def test_a_title_is_cut_by_characters_or_by_bytes(desk: Desk, counts: str, length: int) -> None:
    desk.switch(long_title="cut", title_counts=counts)
    assert len(desk.put(desk.open(), title="漢" * 400)["title"]) == length
