"""The Cases API, this service's own API and the Case page over a real PostgreSQL, held against the contract."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from werkzeug.routing import Map

from pagerduty_sync.domain.cases import SYSTEM, Actor, CasePriority
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.handlers.legs import LegWatch
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.cases import CaseStore
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.heartbeats import Heartbeats
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.leg_signs import LegSigns
from pagerduty_sync.stores.legs import Legs
from pagerduty_sync.stores.secrets import SecretBox, generate_key
from pagerduty_sync.stores.subscriptions import Subscriptions
from pagerduty_sync.stores.tokens import Tokens
from web import nudges
from web.app import create_app

JSON = "application/json"
BASE = "/mgmt/openapi/5/cases"
USER = "0f8fad5b-d9cb-469f-a165-70867728950e"
NOBODY = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


class Contract:
    """The published OpenAPI document, asked for the schema of one reply."""

    def __init__(self, path):
        self.document = json.loads(path.read_text())

    def check(self, method, path, status, body):
        for template, operations in self.document["paths"].items():
            pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method in operations:
                responses = operations[method]["responses"]
                # A status that an operation does not list has the shape of all errors.
                reply = responses.get(str(status)) or {
                    "content": {"": {"schema": {"$ref": "#/components/schemas/Error"}}}
                }
                (content,) = reply["content"].values()
                schema = {**content["schema"], "components": self.document["components"]}
                jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(body)
                return
        raise AssertionError(f"the contract has no {method.upper()} {path}")


@pytest.fixture(scope="session")
def contract():
    shared = Path(os.environ.get("PAGERDUTY_SYNC_SHARED") or Path(__file__).parents[3] / "shared")
    path = shared / "contracts" / "coralogix-openapi.json"
    if not path.exists():
        pytest.skip(f"there is no contract at {path}; PAGERDUTY_SYNC_SHARED names the folder it is in")
    return Contract(path)


def leg_watch(database):
    """Only for telling what stands in the database."""
    return LegWatch(
        legs=Legs(database),
        signs=LegSigns(database),
        integrations=None,
        keeper=None,
        get_case=None,
        way="webhooks",
        poll_seconds=15,
    )


@pytest.fixture(scope="module")
def parts(shared_database_url, valkey_server):
    database = Database(shared_database_url)
    keys = (generate_key(), generate_key())
    yield SimpleNamespace(
        settings=Settings(encryption_keys=keys, public_url="https://cases.example.com"),
        database=database,
        cases=CaseStore(database),
        tokens=Tokens(database),
        deliveries=Deliveries(database),
        leg_watch=leg_watch(database),
        heartbeats=Heartbeats(database),
        inbox=Inbox(database),
        subscriptions=Subscriptions(database, SecretBox(keys)),
        redis=redis.Redis.from_url(valkey_server.url),
    )
    database.close()


@pytest.fixture(scope="module")
def app(parts):
    return create_app(parts)


@pytest.fixture(scope="module")
def token(parts):
    return parts.tokens.create("test", ALL)


@pytest.fixture
def nudged(monkeypatch):
    nudged = []
    monkeypatch.setattr(nudges, "case_changed", nudged.extend)
    return nudged


@pytest.fixture
def client(app, token, nudged):
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token[1]}"
    return client


@pytest.fixture
def stranger(app, nudged):
    return app.test_client()


@pytest.fixture
def call(client, contract):
    """One call of the Cases API whose reply is held against the contract."""

    def call(method, path, status=200, **options):
        reply = client.open(BASE + path, method=method, **options)
        assert reply.status_code == status, reply.text
        contract.check(method.lower(), "/cases" + path.partition("?")[0], status, reply.json)
        return reply.json

    return call


def a_case(parts, **given):
    return parts.cases.create_case("Checkout is slow", CasePriority.P3, actor=SYSTEM, **given)


# ------------------------------------------------------------------ Coralogix's addresses


def test_a_case_is_read_whole_and_as_the_contract_says(call, parts):
    case = a_case(parts, labels={"team": ["pay", "web"]}, groupings={"service": ["cart"]})
    shown = call("GET", f"/cases/v1/{case.readable_id}")["case"]
    assert shown["id"] == case.id
    assert (shown["status"], shown["priority"], shown["category"]) == (
        "CASE_STATUS_ACTIVE",
        "CASE_PRIORITY_P3",
        "CASE_CATEGORY_AVAILABILITY",
    )
    assert shown["labels"] == [{"key": "team", "value": "pay"}, {"key": "team", "value": "web"}]
    assert call("GET", f"/cases/v1/{case.id}")["case"] == shown


ONE = [
    ("PUT", "/acknowledged/v1/{}", None, {"status": "CASE_STATUS_ACKNOWLEDGED"}),
    ("PUT", "/acknowledged/v1/{}", {}, {"status": "CASE_STATUS_ACKNOWLEDGED"}),
    ("DELETE", "/acknowledged/v1/{}", None, {"status": "CASE_STATUS_ACTIVE"}),
    ("PUT", "/resolved/v1/{}", None, {"status": "CASE_STATUS_RESOLVED"}),
    ("PUT", "/resolved/v1/{}", {"reason": "Rolled back"}, {"status": "CASE_STATUS_RESOLVED"}),
    ("POST", "/closed/v1/{}", {}, {"status": "CASE_STATUS_CLOSED"}),
    ("PUT", "/cases/v1/{}", {"title": " Slower "}, {"title": "Slower"}),
    ("PUT", "/cases/v1/{}", {}, {"title": "Checkout is slow"}),
    ("POST", "/assigned/v1/{}", {"assignee": {"userId": USER}}, {"assignee": {"userId": USER}}),
    ("DELETE", "/assigned/v1/{}", None, {}),
    ("PUT", "/priority-override/v1/{}", {"priority": "CASE_PRIORITY_P1"}, {"priority": "CASE_PRIORITY_P1"}),
    ("DELETE", "/priority-override/v1/{}", None, {"priority": "CASE_PRIORITY_P3"}),
]


@pytest.mark.parametrize(("method", "path", "body", "expected"), ONE)
def test_a_change_of_one_case(call, parts, nudged, token, method, path, body, expected):
    case = a_case(parts)
    for _ in range(2):
        shown = call(method, path.format(case.readable_id), json=body)["case"]
        assert expected.items() <= shown.items()
    assert nudged == [case.id, case.id]
    made = parts.cases.list_events(case.id)[1:]
    assert len(made) <= 2
    assert {event.actor for event in made} <= {Actor("apiKey", token[0].id, "test")}


BULK = [
    ("POST", "/acknowledged/v1", {"actor": {"userId": USER}}, {"status": "CASE_STATUS_ACKNOWLEDGED"}),
    ("POST", "/resolved/v1", {"reason": "x" * 4096}, {"status": "CASE_STATUS_RESOLVED"}),
    ("POST", "/closed/v1", {}, {"status": "CASE_STATUS_CLOSED"}),
    ("PUT", "/assigned/v1", {"assignee": {"userId": USER}}, {"assignee": {"userId": USER}}),
    ("POST", "/priority-override/v1", {"priority": "CASE_PRIORITY_P5"}, {"priority": "CASE_PRIORITY_P5"}),
    ("DELETE", "/assigned/v1", None, {}),
    ("DELETE", "/priority-override/v1", None, {"priority": "CASE_PRIORITY_P3"}),
]


@pytest.mark.parametrize(("method", "path", "body", "expected"), BULK)
def test_a_change_of_many_cases(call, parts, nudged, method, path, body, expected):
    made = [a_case(parts), a_case(parts)]
    names = [made[0].readable_id, made[1].id]
    if body is None:
        shown = call(method, f"{path}?ids={names[0]}&ids={names[1]}")["cases"]
    else:
        shown = call(method, path, json={"ids": names, **body})["cases"]
    assert [case["id"] for case in shown] == [case.id for case in made]
    assert all(expected.items() <= case.items() for case in shown)
    assert nudged == [case.id for case in made]


def test_one_wrong_case_in_a_bulk_spares_all(call, parts, nudged):
    first, closed = a_case(parts), parts.cases.close(a_case(parts).id, SYSTEM)
    call("POST", "/resolved/v1", 400, json={"ids": [first.id, closed.id]})
    call("POST", "/resolved/v1", 404, json={"ids": [first.id, NOBODY]})
    assert parts.cases.get_case(first.id) == first
    assert nudged == []


def test_a_change_the_state_forbids_is_a_bad_request_with_the_reason(call, parts):
    case = parts.cases.close(a_case(parts).id, SYSTEM)
    for method, path, body in (
        ("PUT", "/acknowledged/v1/", None),
        ("PUT", "/resolved/v1/", None),
        ("PUT", "/priority-override/v1/", {"priority": "CASE_PRIORITY_P1"}),
        ("PUT", "/cases/v1/", {"resolutionReason": "late"}),
    ):
        said = call(method, path + case.id, 400, json=body)
        assert said["code"] == 400
        assert f"{case.readable_id} is CLOSED" in said["message"]


def test_comments_are_made_changed_and_deleted(call, parts, nudged):
    case = parts.cases.close(a_case(parts).id, SYSTEM)
    made = call("POST", f"/cases/v1/{case.readable_id}/comments", json={"text": "  Looking\n", "attachments": []})[
        "event"
    ]
    assert made["eventData"] == {"comment": {"unsafeText": "Looking", "attachments": []}}
    assert made["actor"]["apiKey"]["name"] == "test"
    edited = call("PUT", f"/events/v1/{made['eventId']}/comments", json={"text": "Found it"})["event"]
    assert edited["updateTime"]
    assert call("GET", f"/events/v1/{made['eventId']}")["event"] == edited
    assert call("DELETE", f"/events/v1/{made['eventId']}/comments") == {}
    call("GET", f"/events/v1/{made['eventId']}", 404)
    call("DELETE", f"/events/v1/{made['eventId']}/comments", 404)
    assert nudged == [case.id] * 3


def test_the_timeline_tells_every_kind_of_change_as_the_contract_says(call, parts):
    jane = Actor("pagerDuty", "PUSER01", "Jane Doe", "jane@example.com")
    case = a_case(parts, activate=False)
    parts.cases.activate(case.id, SYSTEM)
    parts.cases.assign(case.id, Actor("user", id=USER), USER)
    parts.cases.unassign(case.id, Actor("user", id="not-an-id"))
    parts.cases.override_priority(case.id, jane, CasePriority.P1)
    parts.cases.update(case.id, jane, title="New")
    parts.cases.add_comment(case.id, jane, "x" * 10_000)
    parts.cases.resolve(case.id, jane, "y" * 4_096)

    events = call("GET", f"/cases/v1/{case.id}/events")["events"]

    assert [next(iter(event["eventData"])) for event in events] == [
        "created",
        "statusChanged",
        "assigned",
        "unassigned",
        "priorityDetailsChanged",
        "titleChangedEvent",
        "comment",
        "statusChanged",
        "resolutionReasonChangedEvent",
    ]
    assert events[-1]["actor"] == {
        "pagerDuty": {"pagerDutyUserId": "PUSER01", "displayName": "Jane Doe", "userEmail": "jane@example.com"}
    }
    shown = call("GET", f"/cases/v1/{case.id}")["case"]
    assert shown["resolutionDetails"]["resolvedBy"] == {"pagerDuty": {}}
    assert shown["duration"].isdigit()


def test_the_deep_link_leads_to_the_page_of_the_case(call, parts):
    case = a_case(parts)
    assert call("GET", f"/cases/v1/{case.id}/deep-links") == {
        "deepLinks": {"detail": f"https://cases.example.com/cases/{case.readable_id}"}
    }


def test_lists_are_filtered_ordered_and_paged(call, parts):
    team = {"team": ["lists"]}
    made = [a_case(parts, labels=team) for _ in range(5)]
    parts.cases.override_priority(made[2].id, SYSTEM, CasePriority.P1)
    asked = {
        "filters": {"labels": [{"key": "team", "values": ["lists"]}], "statuses": ["CASE_STATUS_ACTIVE"]},
        "orderBy": {"field": "CASE_ORDER_BY_FIELD_PRIORITY", "direction": "CASE_ORDER_BY_DIRECTION_DESCENDING"},
    }
    found, page = [], {}
    while page is not None:
        reply = call("POST", "/cases/v1", json={**asked, "pagination": {"pageSize": 2, **page}})
        found += reply["cases"]
        more = reply["pagination"].get("nextPageToken")
        page = {"pageToken": more} if more else None
    assert found[0]["id"] == made[2].id
    assert {case["id"] for case in found} == {case.id for case in made}
    assert len(call("POST", "/cases/v1", json={**asked, "pagination": {"skip": 3}})["cases"]) == 2
    assert call("POST", "/cases/v1")["cases"]


FILTERS = [
    {"categories": ["CASE_CATEGORY_SECURITY"]},
    {"assignees": [{"assignee": USER}, {"unassigned": {}}]},
    {"groupings": [{"key": "service", "values": ["cart"]}]},
    {"caseLabelsFilter": {"flatLabels": [{"key": "team", "value": "web"}]}},
    {"textSearch": "%'\""},
    {"dateRange": {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00.000Z"}},
    {"dateRange": {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z", "mode": "DATE_RANGE_MODE_CREATED_AT"}},
    {"breached": [], "connectorTypeFilters": []},
]


@pytest.mark.parametrize("filters", FILTERS, ids=lambda filters: "+".join(filters))
def test_every_filter_is_understood(call, filters):
    call("POST", "/cases/v1", json={"filters": filters})


# ------------------------------------------------------------------ bad input

DEEP = "[" * 100_000
BAD_BODIES = {
    "not JSON": b"{",
    "a list": b"[]",
    "a number": b"1",
    "nested too deep": b'{"text":' + DEEP.encode(),
    "invalid UTF-8": b'{"text": "\xff"}',
    "NUL": b'{"text": "a\\u0000b", "title": "a\\u0000b"}',
    "half a surrogate pair": b'{"text": "\\ud800", "title": "\\ud800"}',
    "a huge number": b'{"text": ' + b"9" * 5_000 + b"}",
    "infinity": b'{"text": 1e999, "pagination": {"pageSize": 1e999}}',
    "not a number": b'{"pagination": {"skip": NaN}}',
    "unknown field": b'{"txet": "x"}',
    "wrong type": b'{"text": {"a": 1}, "title": 3, "filters": [], "pagination": "x"}',
    "wrong types deep down": b'{"filters": {"statuses": [null, {}, 1e99]}}',
    "unspecified": b'{"filters": {"statuses": ["CASE_STATUS_UNSPECIFIED"]}}',
    "both of a one-of": b'{"filters": {"assignees": [{"assignee": "x", "unassigned": {}}]}}',
    "a page that is too large": b'{"pagination": {"pageSize": 1001}}',
    "true as a number": b'{"pagination": {"pageSize": true}}',
    "text as a number": b'{"pagination": {"pageSize": "5"}}',
    "a foreign page token": b'{"pagination": {"pageToken": "WzEsMl0"}}',
    "a page token that is none": b'{"pagination": {"pageToken": "\xc3\xa9"}}',
    "a page token nested too deep": b'{"pagination": {"pageToken": "' + b"W1tb" * 1_000 + b'"}}',
    "a time without a zone": b'{"filters": {"dateRange": {"from": "2026-01-01T00:00:00", "to": "x"}}}',
    "a filter that cannot be held here": b'{"filters": {"breached": ["KPI_FILTER_NOT_BREACHED"]}}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_a_bad_request_that_changes_nothing(call, parts, nudged, body):
    case = a_case(parts)
    for method, path in (
        ("POST", "/cases/v1"),
        ("POST", f"/cases/v1/{case.id}/comments"),
        ("PUT", f"/cases/v1/{case.id}"),
    ):
        said = call(method, path, 400, data=body, content_type=JSON)
        assert said["code"] == 400
        assert said["message"]
    assert parts.cases.get_case(case.id) == case
    assert nudged == []


BAD_FIELDS = [
    ("POST", "/cases/v1/{}/comments", {}, "text: Missing data for required field."),
    ("POST", "/cases/v1/{}/comments", {"text": " \n"}, "text: Length must be between 1 and 10000."),
    ("POST", "/cases/v1/{}/comments", {"text": "x" * 10_001}, "text: Length must be between 1 and 10000."),
    ("POST", "/cases/v1/{}/comments", {"text": "x", "attachments": [{"log": {}}]}, "Attachments cannot be kept here"),
    ("PUT", "/cases/v1/{}", {"title": ""}, "title: Length must be between 1 and 512."),
    ("PUT", "/cases/v1/{}", {"resolutionReason": "x" * 501}, "resolutionReason: Length must be between 1 and 500."),
    ("PUT", "/resolved/v1/{}", {"reason": "x" * 501}, "reason: Length must be between 1 and 500."),
    ("PUT", "/acknowledged/v1/{}", {"x": 1}, "x: Unknown field."),
    ("PUT", "/priority-override/v1/{}", {}, "priority: Missing data for required field."),
    ("PUT", "/priority-override/v1/{}", {"priority": "P1"}, "priority: Must be one of CASE_PRIORITY_P1"),
    ("PUT", "/priority-override/v1/{}", {"priority": []}, "priority: Must be one of CASE_PRIORITY_P1"),
    ("POST", "/assigned/v1/{}", {"assignee": {"userId": "jane"}}, "assignee.userId: Must be a UUID."),
    ("POST", "/assigned/v1/{}", {"assignee": {"userId": USER + "\n"}}, "assignee.userId: Must be a UUID."),
    ("POST", "/acknowledged/v1", {"ids": ["CASE-1"]}, "actor: Missing data"),
    ("POST", "/closed/v1", {"ids": []}, "ids: Length must be between 1 and 1000."),
    ("POST", "/closed/v1", {"ids": ["CASE-1"] * 1_001}, "ids: Length must be between 1 and 1000."),
    ("POST", "/closed/v1", {"ids": ["x"]}, "ids.0: Must be the id or readable id of a Case."),
    ("POST", "/closed/v1", {"ids": [None]}, "ids.0: Field may not be null."),
    ("DELETE", "/assigned/v1", None, "ids: Length must be between 1 and 1000."),
]


@pytest.mark.parametrize(("method", "path", "body", "said"), BAD_FIELDS)
def test_a_bad_field_is_named(call, parts, method, path, body, said):
    case = a_case(parts)
    assert said in call(method, path.format(case.id), 400, json=body)["message"]


@pytest.mark.parametrize("name", ["x", "case-1", "CASE-1%0A", "%00", "%ff", "CASE-" + "1" * 99, "🙂"])
def test_a_name_no_case_can_have_is_a_bad_request(call, name):
    for method, path in (("GET", "/cases/v1/{}"), ("PUT", "/acknowledged/v1/{}"), ("GET", "/cases/v1/{}/events")):
        call(method, path.format(name), 400)


def test_what_is_not_there_is_not_found(call):
    for name in (NOBODY, "CASE-99999999999999999999"):
        call("GET", f"/cases/v1/{name}", 404)
        call("PUT", f"/acknowledged/v1/{name}", 404)
        call("POST", f"/cases/v1/{name}/comments", 404, json={"text": "x"})
    call("GET", f"/events/v1/{NOBODY}", 404)
    call("GET", "/events/v1/x", 400)


def test_other_errors_have_the_shape_of_their_surface(client):
    for path, shape in (
        (BASE + "/cases/v1", {"code", "message"}),
        ("/api/v1/cases", {"title", "status", "detail", "cure"}),
    ):
        for reply, status in (
            (client.get(path), 405),
            (client.post(path, data="x=1", content_type="text/plain"), 415),
            (client.post(path, data=b"x" * 300_000, content_type=JSON), 413),
            (client.post(path + "/no/such/thing"), 404),
        ):
            assert reply.status_code == status
            assert shape <= set(reply.json)
    assert client.get("/api/v1/cases").headers["Allow"]
    assert client.get("/api/v1/nothing").content_type == "application/problem+json"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["CASE-1", "CASE_STATUS_ACTIVE"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXTS = ("text", "title", "reason", "resolutionReason", "priority", "category", "description")
OTHERS = ("attachments", "assignee", "ids", "actor", "filters", "orderBy", "pagination", "labels", "groupings")
field_names = st.sampled_from(TEXTS + OTHERS)
bodies = st.dictionaries(field_names, json_values, max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, number=st.integers(0, 99))
def test_no_body_at_all_is_an_error_of_ours(app, client, parts, body, number):
    rules = [
        rule
        for rule in Map.iter_rules(app.url_map)
        if rule.rule.startswith((BASE, "/api/v1/cases")) and rule.methods & {"POST", "PUT"}
    ]
    rule = rules[number % len(rules)]
    path = rule.rule.replace("<case_id>", "CASE-1").replace("<event_id>", NOBODY)
    method = next(iter(rule.methods & {"POST", "PUT"}))
    reply = client.open(path, method=method, data=json.dumps(body), content_type=JSON)
    assert reply.status_code in (200, 201, 400, 404), (method, path, body, reply.text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.dictionaries(st.sampled_from(["case", "since", "limit", "page_token", "reason", "link_id"]), st.text()))
def test_no_query_at_all_is_an_error_of_ours(client, query):
    assert client.get("/api/v1/deliveries", query_string=query).status_code in (200, 400)


# ------------------------------------------------------------------ permissions

GUARDED = {
    ("GET", f"{BASE}/cases/v1/CASE-1"): "case:Read",
    ("POST", f"{BASE}/cases/v1"): "case:Read",
    ("GET", f"{BASE}/cases/v1/CASE-1/events"): "case:Read",
    ("GET", f"{BASE}/cases/v1/CASE-1/deep-links"): "case:Read",
    ("GET", f"{BASE}/events/v1/{NOBODY}"): "case:Read",
    ("PUT", f"{BASE}/cases/v1/CASE-1"): "case:Update",
    ("PUT", f"{BASE}/priority-override/v1/CASE-1"): "case:Update",
    ("DELETE", f"{BASE}/priority-override/v1/CASE-1"): "case:Update",
    ("POST", f"{BASE}/priority-override/v1"): "case:Update",
    ("DELETE", f"{BASE}/priority-override/v1"): "case:Update",
    ("PUT", f"{BASE}/acknowledged/v1/CASE-1"): "case:Acknowledge",
    ("DELETE", f"{BASE}/acknowledged/v1/CASE-1"): "case:Acknowledge",
    ("POST", f"{BASE}/acknowledged/v1"): "case:Acknowledge",
    ("PUT", f"{BASE}/resolved/v1/CASE-1"): "case:Close",
    ("POST", f"{BASE}/resolved/v1"): "case:Close",
    ("POST", f"{BASE}/closed/v1/CASE-1"): "case:Close",
    ("POST", f"{BASE}/closed/v1"): "case:Close",
    ("POST", f"{BASE}/assigned/v1/CASE-1"): "case:Assign",
    ("DELETE", f"{BASE}/assigned/v1/CASE-1"): "case:Assign",
    ("PUT", f"{BASE}/assigned/v1"): "case:Assign",
    ("DELETE", f"{BASE}/assigned/v1"): "case:Assign",
    ("POST", f"{BASE}/cases/v1/CASE-1/comments"): "case:Comment",
    ("PUT", f"{BASE}/events/v1/{NOBODY}/comments"): "case:Comment",
    ("DELETE", f"{BASE}/events/v1/{NOBODY}/comments"): "case:Comment",
    ("POST", "/api/v1/cases"): "case:Create",
    ("GET", "/api/v1/cases/CASE-1"): "case:Read",
    ("GET", "/cases/CASE-1"): "case:Read",
    ("GET", "/api/v1/deliveries"): "deliveries:Read",
    ("GET", "/api/v1/deliveries/summary"): "deliveries:Read",
    ("GET", "/api/v1/cases/CASE-1/explain"): "deliveries:Read",
    ("POST", "/api/v1/deliveries/replay"): "deliveries:Replay",
}


@pytest.fixture(scope="module")
def tokens_without(parts):
    return {name: parts.tokens.create(f"all but {name}", ALL - {name})[1] for name in set(GUARDED.values())}


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=lambda part: part)
def test_every_operation_wants_its_own_permission(stranger, tokens_without, method, path):
    permission = GUARDED[method, path]
    unknown = stranger.open(
        path, method=method, headers={"Authorization": "Bearer pds_0_x"}, data=b"{", content_type=JSON
    )
    assert unknown.status_code == 401
    assert unknown.headers["WWW-Authenticate"].startswith("Bearer")
    lacking = stranger.open(path, method=method, headers={"Authorization": f"Bearer {tokens_without[permission]}"})
    assert lacking.status_code == 403
    assert permission in lacking.text


def test_the_table_of_permissions_names_every_operation(app):
    named = {(method, path.replace("CASE-1", "<case_id>").replace(NOBODY, "<event_id>")) for method, path in GUARDED}
    present = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith((BASE, "/api/v1/cases", "/api/v1/deliveries", "/cases/"))
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert present == named


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer \xff", "Bearer " + "x" * 10_000])
def test_no_token_no_entry(stranger, header):
    assert stranger.get("/api/v1/cases/CASE-1", headers={"Authorization": header}).status_code == 401


def test_a_revoked_token_opens_nothing(stranger, parts):
    token, clear = parts.tokens.create("short-lived", ["case:Read"])
    headers = {"Authorization": f"bearer {clear}"}
    case = a_case(parts)
    assert stranger.get(f"/api/v1/cases/{case.id}", headers=headers).status_code == 200
    parts.tokens.revoke(token.id)
    assert stranger.get(f"/api/v1/cases/{case.id}", headers=headers).status_code == 401


# ------------------------------------------------------------------ this service's own API


def test_a_case_is_made_and_read_back_with_its_incident(client, parts, nudged):
    reply = client.post(
        "/api/v1/cases",
        json={
            "title": " Slow ",
            "priority": "P2",
            "category": "SECURITY",
            "labels": {"team": ["pay"]},
            "description": "d",
        },
    )
    assert reply.status_code == 201
    made = reply.json
    assert (made["title"], made["priority"], made["status"], made["labels"]) == (
        "Slow",
        "P2",
        "ACTIVE",
        {"team": ["pay"]},
    )
    assert (made["pagerduty"], nudged) == (None, [made["id"]])
    assert reply.headers["Location"].endswith(f"/api/v1/cases/{made['name']}")
    link(parts, made["id"], url="https://acme.pagerduty.com/incidents/Q1")
    shown = client.get(f"/api/v1/cases/{made['name']}").json
    assert shown["url"] == f"https://cases.example.com/cases/{made['name']}"
    assert shown["pagerduty"] == {
        "incident_id": "Q1",
        "number": 7,
        "url": "https://acme.pagerduty.com/incidents/Q1",
        "state": "linked",
        "ended_reason": "",
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"priority": "P1"}, "title"),
        ({"title": "x"}, "priority"),
        ({"title": "x", "priority": "P6"}, "priority"),
        ({"title": "x", "priority": "P1", "colour": "red"}, "colour"),
        ({"title": " ", "priority": "P1"}, "title"),
        ({"title": "a\0", "priority": "P1"}, "title"),
        ({"title": "x", "priority": "P1", "labels": {"k": "v"}}, "labels"),
        ({"title": "x", "priority": "P1", "labels": {"k": [" "]}}, "labels"),
    ],
)
def test_a_problem_names_its_field_and_its_cure(client, body, field):
    reply = client.post("/api/v1/cases", json=body)
    assert (reply.status_code, reply.content_type) == (400, "application/problem+json")
    assert reply.json["field"].startswith(field)
    assert reply.json["cure"]


def test_deliveries_are_found_and_counted(client, parts):
    case = a_case(parts)
    parts.deliveries.add(
        None,
        [
            Delivery(Direction.INBOUND, "incident.resolved", Outcome.DELIVERED, reason, case_id=case.id)
            for reason in (Reason.APPLIED, Reason.ECHO, Reason.ECHO)
        ],
    )
    asked = {"case": case.readable_id, "limit": 2}
    page = client.get("/api/v1/deliveries", query_string=asked).json
    rest = client.get("/api/v1/deliveries", query_string={**asked, "page_token": page["next_page_token"]}).json
    assert [row["reason"] for row in page["deliveries"] + rest["deliveries"]] == ["echo", "echo", "applied"]
    assert rest["next_page_token"] is None
    summary = client.get("/api/v1/deliveries/summary", query_string={"case": case.id}).json
    assert summary["reasons"] == {"echo": 2, "applied": 1}
    for wrong in (
        {"resaon": "echo"},
        {"reason": "x"},
        {"limit": 501},
        {"page_token": "x"},
        {"case": "a\0"},
        {"link_id": "x"},
    ):
        assert client.get("/api/v1/deliveries", query_string=wrong).status_code == 400


def test_the_api_describes_itself_without_help_from_outside(client):
    spec = client.get("/api/v1/openapi.json").json
    assert {"/api/v1/cases", "/api/v1/cases/{case_id}", "/api/v1/deliveries"} <= set(spec["paths"])
    validate(spec)
    assert set(spec["components"]["schemas"]["ProblemView"]["properties"]) >= {"title", "status", "detail", "cure"}
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "POST /api/v1/cases" in page.text
    assert "case:Create" in page.text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)


# ------------------------------------------------------------------ the page of a Case


def link(parts, case_id, url):
    with parts.database.transaction() as connection:
        connection.execute(
            """
            WITH integration AS (
                INSERT INTO integrations (name, base_url, api_key_encrypted, api_key_last4, key_kind, user_email,
                                          user_id, consented_at, status)
                VALUES ('acme', 'https://api.pagerduty.com', 'x', 'wxyz', 'account', 'a@example.com', 'PUSER01', now(),
                        'connected')
                ON CONFLICT (is_only) DO UPDATE SET name = excluded.name RETURNING id
            ), connector AS (
                INSERT INTO connectors (name, path, integration_id, service_id)
                SELECT gen_random_uuid()::text, 'bidirectional', id, 'PSVC' FROM integration
                RETURNING id, integration_id
            )
            INSERT INTO links (case_id, case_name, connector_id, integration_id, service_id, incident_key, incident_id,
                               incident_number, incident_url, state, pictures)
            SELECT %(case_id)s, 'CASE', id, integration_id, 'PSVC', 'key', %(incident)s, 7, %(url)s, 'linked', '{}'
            FROM connector
            """,
            {"case_id": case_id, "incident": url.rpartition("/")[2], "url": url},
        )


def test_a_browser_signs_in_and_reads_the_page(app, nudged, parts, token):
    stranger = app.test_client()
    # The cookie is Secure, because the public address is https.
    https = {"base_url": "https://cases.example.com"}
    case = parts.cases.create_case("<script>alert(1)</script>", CasePriority.P1, actor=SYSTEM, labels={"<b>": ["<i>"]})
    parts.cases.acknowledge(case.id, Actor("pagerDuty", "P1", "<img src=x>"))
    parts.cases.add_comment(case.id, SYSTEM, "<b>bold</b>")
    parts.cases.resolve(case.id, SYSTEM, "<u>done</u>")
    link(parts, case.id, url="https://acme.pagerduty.com/incidents/Q2")
    path, accept = f"/cases/{case.readable_id}", {"Accept": "text/html"}

    away = stranger.get(path, headers=accept)
    assert (away.status_code, away.headers["Location"]) == (303, f"/sign-in?next=/cases/{case.readable_id}")
    assert path in stranger.get(away.headers["Location"]).text
    assert stranger.post("/sign-in", data={"token": "pds_wrong", "next": path}).status_code == 401
    signed_in = stranger.post("/sign-in", data={"token": token[1], "next": path}, **https)
    assert (signed_in.status_code, signed_in.headers["Location"]) == (303, path)
    cookie = signed_in.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" in cookie
    assert token[1] not in cookie

    page = stranger.get(path, headers=accept, **https)
    assert page.status_code == 200
    assert not re.search(r"<(?:script|img|i|b|u)\b", page.text)
    for words in (
        "&lt;script&gt;",
        "View in PagerDuty (#7)",
        "https://acme.pagerduty.com/incidents/Q2",
        "changed the status from active to acknowledged",
        "&lt;u&gt;done&lt;/u&gt;",
        "Sign out",
    ):
        assert words in page.text
    assert "script-src" not in page.headers["Content-Security-Policy"]
    stranger.post("/sign-out", **https)
    assert stranger.get(path, headers=accept, **https).status_code == 303


@pytest.mark.parametrize(
    "next", ["https://evil.example", "//evil.example", "/cases//evil", "/cases/\\evil", "/cases/\n", ""]
)
def test_signing_in_leads_nowhere_else(stranger, token, next):
    reply = stranger.post("/sign-in", data={"token": token[1], "next": next})
    assert reply.headers["Location"] == "/sign-in"


def test_an_address_that_is_no_web_address_is_no_link(client, parts):
    case = a_case(parts)
    link(parts, case.id, url="javascript:alert(1)/Q3")
    page = client.get(f"/cases/{case.id}")
    assert page.status_code == 200
    assert "javascript:" not in page.text


def test_a_program_that_reads_the_page_is_told_plainly(stranger):
    assert stranger.get("/cases/CASE-1", headers={"Accept": "application/json"}).status_code == 401
    assert (
        stranger.get("/cases/CASE-1", headers={"Accept": "text/html", "Authorization": "Bearer x"}).status_code == 401
    )


def test_an_unknown_case_has_a_page_that_says_so(client):
    page = client.get("/cases/CASE-999999")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "There is no Case CASE-999999" in page.text


# ------------------------------------------------------------------ health


def test_alive_says_nothing_of_the_rest(stranger):
    assert stranger.get("/healthz").json == {"status": "alive"}


def test_ready_when_every_part_is_there_and_says_in_words_what_is_missing(stranger, parts):
    missing = stranger.get("/readyz")
    assert missing.status_code == 503
    assert missing.json["parts"]["workers"]["reason"].startswith("worker-inbound has never been heard of.")
    assert missing.json["parts"]["database"] == {"ready": True, "reason": "fine"}
    parts.heartbeats.beat(["worker-inbound", "worker-outbound", "beat"])
    reply = stranger.get("/readyz")
    assert (reply.status_code, reply.json["ready"]) == (200, True)
    with parts.database.transaction() as connection:
        connection.execute("UPDATE heartbeats SET at = now() - interval '40 seconds' WHERE part = 'beat'")
    assert "beat was last heard of 40 seconds ago." in stranger.get("/readyz").json["parts"]["beat"]["reason"]
    assert {leg["state"] for leg in reply.json["legs"].values()} == {"unknown"}


def test_without_database_and_redis_the_answers_are_honest(parts):
    down = SimpleNamespace(**vars(parts))
    down.database = Database("postgresql://user:hunter2@127.0.0.1:1/none", wait_seconds=0.2)
    down.tokens, down.cases, down.redis = Tokens(down.database), CaseStore(down.database), redis.Redis(port=1)
    client = create_app(down).test_client()
    down.leg_watch = leg_watch(down.database)
    health = client.get("/readyz")
    assert (health.status_code, health.json["legs"]) == (503, {})
    assert not any(
        health.json["parts"][part]["ready"] for part in ("database", "redis", "migrations", "workers", "beat")
    )
    refused = client.get(f"{BASE}/cases/v1/CASE-1", headers={"Authorization": "Bearer x"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert "hunter2" not in health.text + refused.text
    down.database.close()
