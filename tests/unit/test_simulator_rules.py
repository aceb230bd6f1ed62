"""What the simulated PagerDuty allows, refuses and reports, seen through its REST API without a network."""

import json
import time
from typing import Any

import pytest
from flask import Flask

from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app
from pagerduty_sync.simulator.changes import check_creation
from pagerduty_sync.simulator.model import Actor, Agent
from pagerduty_sync.simulator.simulator import Simulator
from pagerduty_sync.simulator.subscriptions import EVENT_TYPES

HIGH, LOW = seeds.PRIORITY_IDS["P1"], seeds.PRIORITY_IDS["P4"]
Json = dict[str, Any]


class Desk:
    """A REST caller with key and From; without threads, so every webhook stays queued to be looked at."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.simulator: Simulator = app.extensions["simulator"]
        self.http = app.test_client()

    def call(self, method: str, path: str, body: object = None, **headers: str | None) -> tuple[int, Any]:
        given = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}
        given |= {"Content-Type": "application/json"} if body is not None else {}
        given = {name: value for name, value in (given | headers).items() if value is not None}
        data = body if isinstance(body, str | bytes) else None if body is None else json.dumps(body)
        reply = self.http.open(path, method=method, data=data, headers=given)
        return reply.status_code, reply.get_json(silent=True)

    def ok(self, method: str, path: str, body: object = None, **headers: str | None) -> Any:
        status, answer = self.call(method, path, body, **headers)
        assert status < 300, answer
        return answer

    def open(self, title: str = "Checkout is slow", service: str = seeds.CHECKOUT_SERVICE_ID, **fields: Any) -> str:
        wanted = an_incident(title=title, service={"id": service, "type": "service_reference"}, **fields)
        return str(self.ok("POST", "/incidents", {"incident": wanted})["incident"]["id"])

    def put(self, id_: str, **fields: Any) -> Json:
        fields = {"type": "incident_reference"} | fields
        answer: Json = self.ok("PUT", f"/incidents/{id_}", {"incident": fields})["incident"]
        return answer

    def get(self, id_: str) -> Json:
        answer: Json = self.ok("GET", f"/incidents/{id_}")["incident"]
        return answer

    def note(self, id_: str, content: str) -> Json:
        answer: Json = self.ok("POST", f"/incidents/{id_}/notes", {"note": {"content": content}})["note"]
        return answer

    def subscribe(self) -> None:
        wanted = {
            "type": "webhook_subscription",
            "delivery_method": {"type": "http_delivery_method", "url": "http://127.0.0.1:9/"},
            "events": sorted(EVENT_TYPES),
            "filter": {"type": "account_reference"},
        }
        self.ok("POST", "/webhook_subscriptions", {"webhook_subscription": wanted})

    def switch(self, **knobs: object) -> None:
        self.simulator.faults.change(knobs)

    @property
    def events(self) -> list[Json]:
        return [json.loads(webhook.body)["event"] for webhook in self.simulator.dispatcher.pending()]

    @property
    def event_types(self) -> list[str]:
        return [event["event_type"].removeprefix("incident.") for event in self.events]


def an_incident(**fields: Any) -> Json:
    service = {"id": seeds.CHECKOUT_SERVICE_ID, "type": "service_reference"}
    return {"type": "incident", "title": "Checkout is slow", "service": service} | fields


@pytest.fixture(scope="module")
def app() -> Flask:
    """Making the application takes longer than most tests; each of them resets it instead."""
    return create_app(start=False)


@pytest.fixture
def desk(app: Flask) -> Desk:
    desk = Desk(app)
    desk.simulator.reset()
    desk.subscribe()
    return desk


# Who may


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        pytest.param({"Authorization": None}, 401, 2006, id="no key"),
        pytest.param({"Authorization": "Token token=nope"}, 401, 2006, id="an unknown key"),
        pytest.param({"Authorization": f"Token {seeds.FULL_KEY}"}, 401, 2006, id="another spelling of the header"),
        pytest.param({"Authorization": f"Bearer {seeds.FULL_KEY}"}, 401, 2006, id="a key as an OAuth token"),
        pytest.param({"Authorization": f"Token token={seeds.CHECKOUT_ROUTING_KEY}"}, 401, 2006, id="an Events key"),
        pytest.param({"Authorization": f"Token token={seeds.READ_ONLY_KEY}"}, 403, 2010, id="a read-only key writes"),
        pytest.param({"From": None}, 400, 2016, id="From is missing"),
        pytest.param({"From": "no address"}, 400, 1028, id="From is no address"),
        pytest.param({"From": "nobody@acme.example"}, 400, 1008, id="From is unknown"),
        pytest.param({"From": seeds.STAKEHOLDER_EMAIL}, 403, 1018, id="From is a stakeholder"),
        pytest.param({"From": seeds.RESTRICTED_EMAIL}, 403, 1018, id="From has restricted access"),
        pytest.param({"Content-Type": None}, 400, 2001, id="no Content-Type"),
        pytest.param({"Content-Type": "text/plain"}, 400, 2001, id="a Content-Type that is not JSON"),
    ],
)
def test_a_write_is_refused_when(desk: Desk, headers: dict[str, str | None], status: int, code: int) -> None:
    got, answer = desk.call("POST", "/incidents", {"incident": an_incident()}, **headers)
    assert (got, answer["error"]["code"]) == (status, code)
    assert desk.simulator.account.incidents == {}


def test_a_body_without_its_content_type_is_no_hash(desk: Desk) -> None:
    _, answer = desk.call("POST", "/incidents", {"incident": an_incident()}, **{"Content-Type": None})
    assert answer["error"]["errors"] == ["params must be a Hash"]


def test_reading_needs_neither_from_nor_the_right_to_write(desk: Desk) -> None:
    status, _ = desk.call("GET", "/incidents", Authorization=f"Token token={seeds.READ_ONLY_KEY}", From=None)
    assert status == 200


def test_from_is_compared_whatever_its_case(desk: Desk) -> None:
    assert desk.call("POST", "/incidents", {"incident": an_incident()}, From=seeds.BOT_EMAIL.upper())[0] == 201


def test_a_user_token_acts_as_its_user_without_from(desk: Desk) -> None:
    token = {"Authorization": f"Token token={seeds.USER_TOKEN}", "From": None}
    desk.ok("POST", "/incidents", {"incident": an_incident()}, **token)
    assert desk.events[0]["agent"]["id"] == seeds.ADA_ID
    assert desk.ok("GET", "/users/me", **token)["user"]["email"] == seeds.ADA_EMAIL


def test_a_general_key_has_no_me_and_says_so_in_a_plain_string(desk: Desk) -> None:
    status, answer = desk.call("GET", "/users/me")
    assert status == 400
    assert "account-level access token" in answer["error"]


def test_a_revoked_key_and_a_deactivated_user_are_refused(desk: Desk) -> None:
    desk.switch(deactivated_users=[seeds.BOT_EMAIL])
    assert desk.call("POST", "/incidents", {"incident": an_incident()})[1]["error"]["code"] == 1008
    assert desk.ok("GET", f"/users?query={seeds.BOT_EMAIL}")["users"] == []
    desk.switch(revoked_keys=[seeds.FULL_KEY])
    assert desk.call("GET", "/incidents")[0] == 401


# What is refused


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"title": ""}, 2001, id="the title is empty"),
        pytest.param({"title": None}, 2001, id="the title is null"),
        pytest.param({"title": 7}, 2001, id="the title is a number"),
        pytest.param({"type": "incident_reference"}, 2001, id="the type is another"),
        pytest.param({"service": None}, 2001, id="the service is missing"),
        pytest.param({"service": {"id": "PNONE00", "type": "service_reference"}}, 2001, id="the service is unknown"),
        pytest.param({"priority": {"id": "PNONE00", "type": "priority_reference"}}, 1020, id="the priority is unknown"),
        pytest.param({"priority": {}}, 2001, id="the priority is an empty object"),
        pytest.param({"priority": "P9"}, 1020, id="no priority has that name"),
        pytest.param({"urgency": "medium"}, 2001, id="the urgency is another"),
        pytest.param({"incident_key": 5}, 2001, id="the key is a number"),
        pytest.param({"assignments": [{"assignee": {"id": "PNONE00"}}]}, 1007, id="the assignee is unknown"),
        pytest.param({"escalation_policy": {"id": "PNONE00"}}, 1014, id="the policy is unknown"),
        pytest.param(
            {
                "escalation_policy": {"id": seeds.DEFAULT_POLICY_ID},
                "assignments": [{"assignee": {"id": seeds.ADA_ID}}],
            },
            2001,
            id="assignee and policy are both given",
        ),
        pytest.param({"service": {"id": seeds.DISABLED_SERVICE_ID}}, 2002, id="the service is disabled"),
        pytest.param({"service": {"id": seeds.UNSTAFFED_SERVICE_ID}}, 1015, id="nobody is on call"),
    ],
)
def test_no_incident_is_made_when(desk: Desk, fields: Json, code: int) -> None:
    status, answer = desk.call("POST", "/incidents", {"incident": an_incident(**fields)})
    assert (status, answer["error"]["code"]) == (400, code)
    assert desk.simulator.account.incidents == {}
    assert desk.events == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"status": "closed"}, 1003, id="the status is unknown"),
        pytest.param({"status": 1}, 1003, id="the status is a number"),
        pytest.param({"type": "user"}, 2001, id="the type is another"),
        pytest.param({"title": ""}, 2001, id="the title is empty"),
        pytest.param({"priority": {}}, 2001, id="the priority is an empty object"),
        pytest.param({"priority": {"id": "PNONE00", "type": "priority_reference"}}, 1020, id="the priority is unknown"),
        pytest.param({"escalation_level": 9}, 1006, id="the level does not exist"),
    ],
)
def test_an_update_is_refused_when(desk: Desk, fields: Json, code: int) -> None:
    id_ = desk.open()
    before = desk.get(id_)
    status, answer = desk.call("PUT", f"/incidents/{id_}", {"incident": {"type": "incident_reference"} | fields})
    assert (status, answer["error"]["code"]) == (400, code)
    assert desk.get(id_) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/incidents/QNONE", 404),
        ("GET", "/incidents/99", 404),
        ("GET", "/services/PNONE00", 404),
        ("GET", "/users/PNONE00", 404),
        ("GET", "/webhook_subscriptions/PNONE00", 404),
        ("GET", "/no/such/thing", 404),
        ("DELETE", "/priorities", 404),
        ("GET", "/abilities/time_travel", 402),
        ("GET", "/incidents?offset=9990&limit=25", 400),
        ("GET", "/incidents?limit=x", 400),
        ("GET", "/incidents?since=yesterday", 400),
        ("GET", "/incidents?since=2025-01-01&until=2026-01-01", 400),
        ("GET", "/incidents?sort_by=title:asc", 400),
        ("GET", "/webhook_subscriptions?filter_type=service", 400),
    ],
)
def test_refusals_have_the_documented_body(desk: Desk, method: str, path: str, status: int) -> None:
    got, answer = desk.call(method, path)
    assert got == status
    assert isinstance(answer["error"]["code"], int) and answer["error"]["message"]


# Creating and finding


def test_a_created_incident_is_assigned_by_the_service_policy_and_triggered(desk: Desk) -> None:
    incident = desk.get(desk.open(incident_key="case-1", priority={"id": HIGH, "type": "priority_reference"}))
    assert incident["status"] == "triggered"
    assert incident["incident_key"] == "case-1"
    assert [a["assignee"]["id"] for a in incident["assignments"]] == [seeds.ADA_ID]
    assert incident["priority"]["summary"] == "P1"
    assert incident["acknowledgements"] == []
    assert incident["last_status_change_by"]["id"] == seeds.BOT_ID
    assert incident["html_url"].endswith(f"/ui/incidents/{incident['id']}")
    assert len(incident["created_at"]) == len("2026-04-01T02:07:30Z")
    assert desk.event_types == ["triggered"]


def test_a_key_is_taken_while_its_incident_is_open_and_free_after(desk: Desk) -> None:
    first = desk.open(incident_key="case-1")
    status, answer = desk.call("POST", "/incidents", {"incident": an_incident(incident_key="case-1")})
    assert (status, answer["error"]["code"]) == (400, 2002)
    assert answer["error"]["errors"] == ["Open incident with matching dedup key already exists on this service"]
    desk.open(incident_key="case-1", service=seeds.PAYMENTS_SERVICE_ID)
    desk.put(first, status="resolved")
    assert desk.open(incident_key="case-1") != first


def test_assigning_a_new_incident_to_oneself_acknowledges_it(desk: Desk) -> None:
    id_ = desk.open(assignments=[{"assignee": {"id": seeds.BOT_ID, "type": "user_reference"}}])
    assert desk.get(id_)["status"] == "acknowledged"
    assert desk.event_types == ["triggered", "acknowledged"]


def test_a_service_that_creates_nothing_may_also_say_created(desk: Desk) -> None:
    desk.switch(uncreatable_incident="accept")
    wanted = an_incident(service={"id": seeds.DISABLED_SERVICE_ID})
    made = desk.ok("POST", "/incidents", {"incident": wanted})["incident"]
    assert desk.call("GET", f"/incidents/{made['id']}")[0] == 404
    assert desk.events == []


def test_the_details_come_only_when_asked_for(desk: Desk) -> None:
    id_ = desk.open(body={"type": "incident_body", "details": "See https://case.example/1"})
    assert "body" not in desk.get(id_)
    with_body = desk.ok("GET", f"/incidents/{id_}?include[]=body")["incident"]
    assert with_body["body"]["details"] == "See https://case.example/1"


def test_incidents_are_found_by_number_too(desk: Desk) -> None:
    id_ = desk.open()
    assert desk.get("1")["id"] == id_


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", "abc", id="all of the last month"),
        pytest.param("statuses[]=triggered", "a", id="one status"),
        pytest.param("statuses[]=triggered&statuses[]=resolved", "ac", id="two statuses"),
        pytest.param(f"service_ids[]={seeds.PAYMENTS_SERVICE_ID}", "b", id="one service"),
        pytest.param(f"team_ids[]={seeds.PAYMENTS_TEAM_ID}", "b", id="one team"),
        pytest.param(f"user_ids[]={seeds.ADA_ID}", "a", id="assigned to one user, which a resolved one is not"),
        pytest.param("urgencies[]=low", "c", id="one urgency"),
        pytest.param("incident_key=key-c", "c", id="a key"),
        pytest.param("incident_key=", "ab", id="an empty key returns every open incident"),
        pytest.param("incident_key=nothing", "", id="an unknown key"),
        pytest.param("sort_by=incident_number:desc", "cba", id="sorted by number"),
        pytest.param("sort_by=urgency:asc,incident_number:desc", "bac", id="sorted twice"),
        pytest.param("until=2020-01-01", "", id="before they were made"),
        pytest.param("date_range=all&until=2020-01-01", "abc", id="the whole range, whatever until says"),
        pytest.param("priorities[]=whatever", "abc", id="an undocumented filter is ignored"),
        pytest.param("limit=1&offset=1", "b", id="a page"),
    ],
)
def test_the_list_is_filtered_by(desk: Desk, query: str, expected: str) -> None:
    ids = {
        desk.open("a", incident_key="key-a"): "a",
        desk.open("b", service=seeds.PAYMENTS_SERVICE_ID): "b",
        desk.open("c", incident_key="key-c", urgency="low"): "c",
    }
    _, b, c = ids
    desk.put(b, status="acknowledged")
    desk.put(c, status="resolved")
    found = desk.ok("GET", f"/incidents?{query}")["incidents"]
    assert "".join(ids[incident["id"]] for incident in found) == expected


def test_incidents_older_than_a_month_need_a_date_range(desk: Desk) -> None:
    desk.open()
    desk.simulator.advance(40 * 86_400)
    assert desk.ok("GET", "/incidents")["incidents"] == []
    assert len(desk.ok("GET", "/incidents?date_range=all")["incidents"]) == 1


def test_pages_hold_25_unless_told_and_never_more_than_100(desk: Desk) -> None:
    first = desk.ok("GET", "/services")
    assert (len(first["services"]), first["more"], first["total"]) == (25, True, None)
    rest = desk.ok("GET", "/services?offset=25&total=true")
    assert (len(rest["services"]), rest["more"], rest["total"]) == (5, False, 30)
    assert desk.ok("GET", "/services?limit=1000")["limit"] == 100


def test_users_and_services_are_searched_by_contained_text(desk: Desk) -> None:
    assert [s["name"] for s in desk.ok("GET", "/services?query=checkout")["services"]] == [seeds.CHECKOUT_API]
    assert [u["id"] for u in desk.ok("GET", "/users?query=PAGERDUTY-SYNC@")["users"]] == [seeds.BOT_ID]


def test_priorities_come_most_severe_first_or_not_at_all(desk: Desk) -> None:
    assert [p["name"] for p in desk.ok("GET", "/priorities")["priorities"]] == ["P1", "P2", "P3", "P4", "P5"]
    desk.switch(priorities_available=False)
    assert desk.call("GET", "/priorities")[1]["error"]["code"] == 2014


# The status


def test_acknowledge_and_resolve(desk: Desk) -> None:
    id_ = desk.open()
    acknowledged = desk.put(id_, status="acknowledged")
    assert [a["acknowledger"]["id"] for a in acknowledged["acknowledgements"]] == [seeds.BOT_ID]
    resolved = desk.put(id_, status="resolved")
    assert (resolved["assignments"], resolved["acknowledgements"]) == ([], [])
    assert resolved["resolved_at"] == resolved["last_status_change_at"]
    assert resolved["resolve_reason"] is None
    assert desk.event_types == ["triggered", "acknowledged", "resolved"]
    assert {event["agent"]["id"] for event in desk.events} == {seeds.BOT_ID}


@pytest.mark.parametrize(
    ("status", "switch", "code"),
    [("resolved", "resolve_resolved", 1001), ("acknowledged", "acknowledge_acknowledged", 1002)],
)
def test_a_repeat_is_accepted_silently_or_refused(desk: Desk, status: str, switch: str, code: int) -> None:
    id_ = desk.open()
    desk.put(id_, status=status)
    seen = len(desk.events)
    desk.put(id_, status=status)
    assert len(desk.events) == seen
    desk.switch(**{switch: "refuse"})
    got, answer = desk.call("PUT", f"/incidents/{id_}", {"incident": {"type": "incident", "status": status}})
    assert (got, answer["error"]["code"]) == (400, code)


def test_an_accepted_repeat_may_be_reported(desk: Desk) -> None:
    desk.switch(repeat_sends_webhook=True)
    id_ = desk.open()
    for status in ("acknowledged", "acknowledged", "resolved", "resolved"):
        desk.put(id_, status=status)
    assert desk.event_types == ["triggered", "acknowledged", "acknowledged", "resolved", "resolved"]


def test_a_late_acknowledge_reopens_a_resolved_incident(desk: Desk) -> None:
    id_ = desk.open()
    desk.put(id_, status="resolved")
    reopened = desk.put(id_, status="acknowledged")
    assert (reopened["status"], reopened["resolved_at"]) == ("acknowledged", None)
    assert [a["assignee"]["id"] for a in reopened["assignments"]] == [seeds.BOT_ID]
    assert desk.event_types == ["triggered", "resolved", "reopened"]
    assert desk.events[-1]["data"]["reopened_at"] is not None


def test_an_acknowledged_event_may_follow_the_reopened_one(desk: Desk) -> None:
    desk.switch(acknowledged_follows_reopen=True)
    id_ = desk.open()
    desk.put(id_, status="resolved")
    desk.put(id_, status="acknowledged")
    assert desk.event_types[2:] == ["reopened", "acknowledged"]
    assert [event["data"]["status"] for event in desk.events[2:]] == ["triggered", "acknowledged"]


def test_reopened_to_triggered_it_goes_to_the_policy(desk: Desk) -> None:
    id_ = desk.open()
    desk.put(id_, status="resolved")
    reopened = desk.put(id_, status="triggered")
    assert reopened["status"] == "triggered"
    assert [a["assignee"]["id"] for a in reopened["assignments"]] == [seeds.ADA_ID]
    assert desk.events[-1]["data"]["status"] == "triggered"


def test_no_request_unacknowledges(desk: Desk) -> None:
    id_ = desk.open()
    desk.put(id_, status="acknowledged")
    status, _ = desk.call("PUT", f"/incidents/{id_}", {"incident": {"type": "incident", "status": "triggered"}})
    assert status == 400


def test_raising_the_urgency_unacknowledges(desk: Desk) -> None:
    id_ = desk.open(urgency="low")
    desk.put(id_, status="acknowledged")
    assert desk.put(id_, urgency="high")["status"] == "triggered"
    assert desk.event_types == ["triggered", "acknowledged", "unacknowledged"]


@pytest.mark.parametrize("order", ["note_first", "resolve_first"])
def test_a_resolution_may_also_become_a_note_in_either_order(desk: Desk, order: str) -> None:
    quiet = desk.open()
    desk.put(quiet, status="resolved", resolution="Restarted")
    assert desk.ok("GET", f"/incidents/{quiet}/notes")["notes"] == []
    entries = desk.ok("GET", f"/incidents/{quiet}/log_entries")["log_entries"]
    assert entries[0]["note"] == "Restarted"
    desk.switch(resolution_creates_note=True, resolution_note_order=order)
    id_ = desk.open()
    desk.put(id_, status="resolved", resolution="Restarted")
    notes = desk.ok("GET", f"/incidents/{id_}/notes")["notes"]
    assert [note["content"] for note in notes] == ["Resolution Note: Restarted"]
    expected = ["annotated", "resolved"] if order == "note_first" else ["resolved", "annotated"]
    assert desk.event_types[-2:] == expected


def test_a_resolution_without_the_status_is_ignored(desk: Desk) -> None:
    id_ = desk.open()
    assert desk.put(id_, resolution="fixed")["status"] == "triggered"


# Time


def test_timers_unacknowledge_and_resolve_without_a_person(desk: Desk) -> None:
    id_ = desk.open(service=seeds.PAYMENTS_SERVICE_ID)
    pending = desk.put(id_, status="acknowledged")["pending_actions"]
    assert [action["type"] for action in pending] == ["unacknowledge", "resolve"]
    desk.simulator.advance(1801)
    assert desk.get(id_)["status"] == "triggered"
    desk.simulator.advance(4 * 3600)
    resolved = desk.get(id_)
    assert (resolved["status"], resolved["last_status_change_by"]["type"]) == ("resolved", "service_reference")
    assert desk.event_types == ["triggered", "acknowledged", "unacknowledged", "resolved"]
    assert [event["agent"] for event in desk.events[2:]] == [None, None]


def test_one_long_step_fires_each_timer_at_its_own_time(desk: Desk) -> None:
    id_ = desk.open(service=seeds.PAYMENTS_SERVICE_ID)
    desk.put(id_, status="acknowledged")
    desk.simulator.advance(30 * 86_400)
    assert desk.event_types == ["triggered", "acknowledged", "unacknowledged", "resolved"]
    times = [event["occurred_at"] for event in desk.events]
    assert times == sorted(times)
    assert times[-1] < "2" + desk.get(id_)["resolved_at"][1:-1] + ".999Z"


def test_a_snooze_acknowledges_and_ends(desk: Desk) -> None:
    id_ = desk.open()
    snoozed = desk.ok("POST", f"/incidents/{id_}/snooze", {"duration": 600})["incident"]
    assert snoozed["status"] == "acknowledged"
    assert [action["type"] for action in snoozed["pending_actions"]] == ["unacknowledge"]
    desk.simulator.advance(601)
    assert desk.get(id_)["status"] == "triggered"
    assert desk.event_types == ["triggered", "acknowledged", "unacknowledged"]


def test_a_second_acknowledge_ends_a_snooze(desk: Desk) -> None:
    id_ = desk.open()
    desk.ok("POST", f"/incidents/{id_}/snooze", {"duration": 600})
    body = {"incident": {"type": "incident", "status": "acknowledged"}}
    desk.ok("PUT", f"/incidents/{id_}", body, From=seeds.ADA_EMAIL)
    desk.simulator.advance(601)
    assert desk.get(id_)["status"] == "acknowledged"
    assert len(desk.get(id_)["acknowledgements"]) == 2


@pytest.mark.parametrize("duration", [0, -1, 604_801, "600", None, True])
def test_a_snooze_lasts_from_a_second_to_a_week(desk: Desk, duration: object) -> None:
    assert desk.call("POST", f"/incidents/{desk.open()}/snooze", {"duration": duration})[0] == 400


# Bulk


def test_a_bulk_update_is_all_or_nothing(desk: Desk) -> None:
    ids = [desk.open() for _ in range(3)]
    items = [{"id": id_, "type": "incident_reference", "status": "resolved"} for id_ in ids]
    bad = [*items[:2], items[2] | {"status": "closed"}]
    assert desk.call("PUT", "/incidents", {"incidents": bad})[0] == 400
    assert {desk.get(id_)["status"] for id_ in ids} == {"triggered"}
    answer = desk.ok("PUT", "/incidents", {"incidents": items})
    assert [incident["id"] for incident in answer["incidents"]] == ids
    assert {desk.get(id_)["status"] for id_ in ids} == {"resolved"}


@pytest.mark.parametrize(("count", "status"), [(250, 200), (251, 413)])
def test_a_bulk_update_takes_250(desk: Desk, count: int, status: int) -> None:
    desk.switch(rest_limit_per_minute=5000, create_limit_per_minute=5000)
    ids = [desk.open() for _ in range(count)]
    items = [{"id": id_, "type": "incident_reference", "status": "acknowledged"} for id_ in ids]
    assert desk.call("PUT", "/incidents", {"incidents": items})[0] == status


def test_an_unknown_incident_spoils_a_bulk_update(desk: Desk) -> None:
    items = [{"id": "QNONE", "type": "incident_reference", "status": "resolved"}]
    assert desk.call("PUT", "/incidents", {"incidents": items})[0] == 400
    assert desk.call("PUT", "/incidents", {"incidents": []})[0] == 400


# Priority


def test_a_priority_is_set_by_id_or_name_and_cleared_by_null(desk: Desk) -> None:
    id_ = desk.open()
    assert desk.put(id_, priority={"id": LOW, "type": "priority_reference"})["priority"]["id"] == LOW
    assert desk.put(id_, priority="P1")["priority"]["id"] == HIGH
    desk.put(id_, priority="P1")
    assert desk.put(id_, priority=None)["priority"] is None
    assert desk.event_types == ["triggered", *["priority_updated"] * 3]
    assert desk.events[-1]["data"]["priority"] is None


# Notes


def test_notes_are_added_edited_and_deleted_and_only_the_first_is_reported(desk: Desk) -> None:
    id_ = desk.open()
    note = desk.note(id_, "Looking into it")
    assert note["user"]["id"] == seeds.BOT_ID
    assert note["channel"] == {"summary": "The PagerDuty website or APIs"}
    path = f"/incidents/{id_}/notes/{note['id']}"
    assert desk.ok("PUT", path, {"note": {"content": "Found it"}})["note"]["content"] == "Found it"
    assert [n["content"] for n in desk.ok("GET", f"/incidents/{id_}/notes")["notes"]] == ["Found it"]
    assert desk.call("DELETE", path, From=None) == (204, None)
    assert desk.call("DELETE", path)[0] == 404
    assert desk.event_types == ["triggered", "annotated"]
    assert desk.events[-1]["data"]["id"] == note["id"]


def test_a_resolved_incident_takes_notes(desk: Desk) -> None:
    id_ = desk.open()
    desk.put(id_, status="resolved")
    desk.note(id_, "Post mortem on Monday")
    assert desk.event_types[-1] == "annotated"


@pytest.mark.parametrize(
    "content", ["", "   ", None, 5, ["x"], "é" * 32_768], ids=["empty", "blank", "null", "number", "list", "too long"]
)
def test_a_note_is_refused_when_its_content_is(desk: Desk, content: object) -> None:
    id_ = desk.open()
    assert desk.call("POST", f"/incidents/{id_}/notes", {"note": {"content": content}})[0] == 400
    assert desk.ok("GET", f"/incidents/{id_}/notes")["notes"] == []


def test_a_note_may_be_65535_bytes_and_too_long_ones_may_be_cut(desk: Desk) -> None:
    id_ = desk.open()
    assert len(desk.note(id_, "x" * 65_535)["content"]) == 65_535
    desk.switch(long_note="cut")
    assert desk.note(id_, "é" * 40_000)["content"] == "é" * 32_767


def test_the_last_note_is_the_two_thousandth(desk: Desk) -> None:
    desk.switch(notes_limit=3)
    id_ = desk.open()
    for number in range(3):
        desk.note(id_, f"note {number}")
    status, answer = desk.call("POST", f"/incidents/{id_}/notes", {"note": {"content": "one too many"}})
    assert (status, answer["error"]["code"]) == (400, 2001)
    desk.simulator.faults.reset()
    assert desk.simulator.faults.knobs.notes_limit == 2000


def test_a_long_note_is_trimmed_in_the_webhook_and_whole_in_rest(desk: Desk) -> None:
    desk.switch(note_trim_bytes=101)
    id_ = desk.open()
    desk.note(id_, "é" * 100)
    data = desk.events[-1]["data"]
    assert (data["content"], data["trimmed"]) == ("é" * 50, True)
    assert desk.ok("GET", f"/incidents/{id_}/notes")["notes"][0]["content"] == "é" * 100


# Merging and moving


def test_merged_incidents_are_resolved_with_a_reason_by_the_person_who_merged(desk: Desk) -> None:
    target, source = desk.open("target"), desk.open("source")
    body = {"source_incidents": [{"id": source, "type": "incident_reference"}]}
    answer = desk.ok("PUT", f"/incidents/{target}/merge", body)
    assert answer["incident"]["type"] == "incident_reference"
    merged = desk.get(source)
    assert merged["status"] == "resolved"
    assert merged["resolve_reason"]["type"] == "merge_resolve_reason"
    assert merged["resolve_reason"]["incident"]["id"] == target
    event = desk.events[-1]
    assert (event["event_type"], event["agent"]["id"]) == ("incident.resolved", seeds.BOT_ID)
    assert event["data"]["resolve_reason"]["incident"]["id"] == target
    assert desk.get(target)["status"] == "triggered"
    again, refusal = desk.call("PUT", f"/incidents/{target}/merge", body)
    assert (again, refusal["error"]["code"]) == (400, 1019)


def test_a_resolved_target_or_the_incident_itself_cannot_be_merged_into(desk: Desk) -> None:
    target, source = desk.open(), desk.open()
    own = {"source_incidents": [{"id": target, "type": "incident_reference"}]}
    assert desk.call("PUT", f"/incidents/{target}/merge", own)[0] == 400
    desk.put(target, status="resolved")
    body = {"source_incidents": [{"id": source, "type": "incident_reference"}]}
    assert desk.call("PUT", f"/incidents/{target}/merge", body)[0] == 400
    assert desk.get(source)["status"] == "triggered"


def test_moving_to_another_service_is_reported(desk: Desk) -> None:
    id_ = desk.open()
    moved = desk.put(id_, service={"id": seeds.PAYMENTS_SERVICE_ID, "type": "service_reference"})
    assert moved["service"]["id"] == seeds.PAYMENTS_SERVICE_ID
    assert desk.event_types[-1] == "service_updated"
    assert desk.ok("GET", f"/services/{seeds.CHECKOUT_SERVICE_ID}")["service"]["status"] == "active"
    assert desk.ok("GET", f"/services/{seeds.PAYMENTS_SERVICE_ID}")["service"]["status"] == "critical"


@pytest.mark.parametrize(
    ("fields", "event_type"),
    [
        ({"assignments": [{"assignee": {"id": seeds.BO_ID, "type": "user_reference"}}]}, "reassigned"),
        ({"escalation_level": 2}, "escalated"),
        ({"escalation_policy": {"id": seeds.PAYMENTS_POLICY_ID}}, "delegated"),
        ({"conference_bridge": {"conference_url": "https://bridge.example/1"}}, "conference_bridge.updated"),
    ],
)
def test_other_changes_have_their_own_events(desk: Desk, fields: Json, event_type: str) -> None:
    desk.put(desk.open(), **fields)
    assert desk.event_types == ["triggered", event_type]


def test_a_new_title_has_no_event(desk: Desk) -> None:
    id_ = desk.open()
    assert desk.put(id_, title="Another")["title"] == "Another"
    assert desk.event_types == ["triggered"]


# Who the webhooks name


def test_rest_may_leave_the_agent_out(desk: Desk) -> None:
    desk.switch(rest_agent="null", webhook_client="pagerduty")
    desk.put(desk.open(), status="resolved")
    assert [event["agent"] for event in desk.events] == [None, None]
    assert desk.events[0]["client"] == {"name": "PagerDuty"}


# Log entries


def test_the_log_names_who_did_what_newest_first(desk: Desk) -> None:
    id_ = desk.open()
    desk.put(id_, status="acknowledged")
    desk.note(id_, "Looking into it")
    desk.put(id_, status="resolved")
    entries = desk.ok("GET", f"/incidents/{id_}/log_entries")["log_entries"]
    kinds = [entry["type"].removesuffix("_log_entry") for entry in entries]
    assert kinds == ["resolve", "annotate", "acknowledge", "trigger"]
    assert {entry["agent"]["id"] for entry in entries} == {seeds.BOT_ID}
    assert desk.ok("GET", "/log_entries")["log_entries"] == entries
    assert desk.ok("GET", f"/log_entries/{entries[0]['id']}")["log_entry"] == entries[0]
    assert desk.ok("GET", "/log_entries?until=2020-01-01")["log_entries"] == []


# Limits


def test_every_reply_has_a_request_id_and_the_remaining_allowance(desk: Desk) -> None:
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}"}
    reply = desk.http.get("/incidents/QNONE", headers=headers)
    assert reply.headers["x-request-id"]
    assert reply.headers["ratelimit-limit"] == "960"
    assert int(reply.headers["ratelimit-remaining"]) < 960
    assert 0 < int(reply.headers["ratelimit-reset"]) <= 60
    stranger = desk.http.get("/incidents")
    assert stranger.headers["x-request-id"] and "ratelimit-limit" not in stranger.headers


def test_a_used_up_key_gets_429_until_the_minute_is_over(desk: Desk) -> None:
    desk.switch(rest_limit_per_minute=3)
    desk.simulator.limits.clear()
    assert [desk.call("GET", "/abilities")[0] for _ in range(4)] == [200, 200, 200, 429]
    _, answer = desk.call("GET", "/abilities")
    assert answer == {"error": {"message": "Rate Limit Exceeded", "code": 2020}}
    other = {"Authorization": f"Token token={seeds.USER_TOKEN}"}
    assert desk.call("GET", "/abilities", **other)[0] == 200
    desk.simulator.advance(61)
    assert desk.call("GET", "/abilities")[0] == 200


@pytest.mark.parametrize(
    ("knob", "method", "body"),
    [
        ("create_limit_per_minute", "POST", {"incident": an_incident()}),
        ("bulk_limit_per_minute", "PUT", {"incidents": []}),
    ],
)
def test_creating_and_bulk_updates_have_lower_limits_of_their_own(
    desk: Desk, knob: str, method: str, body: Json
) -> None:
    desk.switch(**{knob: 1})
    assert desk.call(method, "/incidents", body)[0] != 429
    assert desk.call(method, "/incidents", body)[0] == 429
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}
    refused = desk.http.open("/incidents", method=method, json=body, headers=headers)
    assert refused.headers["ratelimit-limit"] == "1"
    assert desk.call("GET", "/incidents")[0] == 200
    other = {"Authorization": f"Token token={seeds.USER_TOKEN}"}
    assert desk.call(method, "/incidents", body, **other)[0] == 429, "it is the account's limit, not the key's"


# The rest of the writes


def test_a_status_update_goes_to_subscribers(desk: Desk) -> None:
    path = f"/incidents/{desk.open()}/status_updates"
    update = desk.ok("POST", path, {"message": "Nearly there", "subject": "News"})["status_update"]
    assert (update["message"], update["sender"]["id"]) == ("Nearly there", seeds.BOT_ID)
    assert desk.event_types[-1] == "status_update_published"
    assert desk.call("POST", path, {"status_update": {"message": "wrapped"}})[0] == 400


def test_custom_field_values_are_kept(desk: Desk) -> None:
    path = f"/incidents/{desk.open()}/custom_fields/values"
    wanted = {"custom_fields": [{"name": "case_id", "value": "CASE-12"}]}
    assert desk.call("PUT", path, wanted, From=None)[0] == 201
    assert desk.ok("GET", path)["custom_fields"][0]["value"] == "CASE-12"


def test_five_thousand_incidents_are_listed_quickly(desk: Desk) -> None:
    simulator = desk.simulator
    simulator.subscriptions.load([])
    actor = Actor(Agent("user", seeds.BOT_ID), "api")
    for number in range(5000):
        fields = an_incident(incident_key=f"case-{number}")
        wanted = check_creation(simulator.account, simulator.faults.knobs, fields)
        last = simulator.incidents.create(wanted, actor)
    started = time.perf_counter()
    for offset in range(0, 5000, 100):
        desk.ok("GET", f"/incidents?date_range=all&limit=100&offset={offset}&statuses[]=triggered")
    desk.ok("GET", "/incidents?incident_key=case-4999&date_range=all")
    assert time.perf_counter() - started < 5
    assert desk.get("5000")["id"] == last.id
