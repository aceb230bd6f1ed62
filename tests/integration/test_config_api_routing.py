"""Connectors, presets, rules, tokens and the audit over the API: what they refuse, and in which words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.simulator import seeds
from tests.api_stand import Stand, an_api_stand
from tests.harness import JANE

NOBODY = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
P = seeds.PRIORITY_IDS


@pytest.fixture
def stand(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stand]:
    with an_api_stand(database_url, redis_url, tmp_path) as made:
        made.connect()
        yield made


def service_key(stand: Stand, **changes: Any) -> Any:
    given = {
        "name": "Old way",
        "path": "service_key",
        "routing_key": seeds.CHECKOUT_ROUTING_KEY,
        "region": stand.harness.simulator_url,
    }
    return stand.call("POST", "/connectors", given | changes, expect=201)


# ---------------------------------------------------------------- connectors


def test_both_paths_are_listed_with_badge_and_state_and_can_be_tested(stand: Stand) -> None:
    two_way, one_way = stand.connector(), service_key(stand)
    assert one_way["routing_key"] == {"is_set": True, "last4": seeds.CHECKOUT_ROUTING_KEY[-4:]}
    listed = stand.call("GET", "/connectors")["connectors"]
    assert [(one["name"], one["badge"], one["state"]) for one in listed] == [
        ("Checkout", "bidirectional", "connected"),
        ("Old way", "service_key", "one_way"),
    ]
    for one in (two_way, one_way):
        result = stand.call("POST", f"/connectors/{one['id']}/test")
        assert result["is_working"], result
    disabled = stand.connector("Gone", service=seeds.LEGACY_GATEWAY)
    assert disabled["warnings"]
    assert stand.call("POST", f"/connectors/{disabled['id']}/test")["is_working"] is False


def test_a_connector_changes_field_by_field_and_never_its_path(stand: Stand) -> None:
    made = stand.connector()
    at = f"/connectors/{made['id']}"
    changed = stand.call("PATCH", at, {"name": "Pages", "directions": {"comments": "off"}})
    assert changed["name"] == "Pages"
    assert changed["directions"] == {
        "status": "both",
        "priority": "both",
        "comments": "off",
        "resolution_notes": "both",
    }
    assert changed["priority_map"] == made["priority_map"]
    assert stand.call("PATCH", at, {"path": "bidirectional"}) == changed
    assert "cannot change" in stand.refused(400, "PATCH", at, {"path": "service_key"})["detail"]
    assert stand.refused(400, "PATCH", at, {"routing_key": seeds.CHECKOUT_ROUTING_KEY})["field"] == "routing_key"
    key = service_key(stand)
    assert stand.refused(400, "PATCH", at, {"name": "Old way"})["field"] == "name"
    rotated = stand.call("PATCH", f"/connectors/{key['id']}", {"routing_key": seeds.PAYMENTS_ROUTING_KEY})
    assert rotated["routing_key"]["last4"] == seeds.PAYMENTS_ROUTING_KEY[-4:]
    entry = stand.call("GET", "/audit?limit=1")["entries"][0]
    assert (entry["action"], entry["subject"]) == ("update", "connector Old way")
    assert entry["before"]["routing_key"] != entry["after"]["routing_key"]


def test_a_connector_in_use_is_kept_and_says_by_whom(stand: Stand) -> None:
    made = stand.connector()
    rule = stand.rule(made, "Severe")
    assert "Severe" in stand.refused(409, "DELETE", f"/connectors/{made['id']}")["detail"]
    stand.open_case()
    stand.call("DELETE", f"/rules/{rule['id']}", expect=204)
    assert "1 Cases" in stand.refused(409, "DELETE", f"/connectors/{made['id']}")["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"service": None}, "service"),
        ({"service": "Chekout"}, "service"),
        ({"routing_key": "x"}, "routing_key"),
        ({"region": "us"}, "region"),
        ({"path": "both"}, "path"),
        ({"directions": {"title": "both"}}, "directions.title.key"),
        ({"directions": {"status": "up"}}, "directions.status.value"),
        ({"priority_map": {"P1": "PNONE"}}, "priority_map"),
        ({"name": "x" * 201}, "name"),
        ({"colour": 1}, "colour"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_connector_that_cannot_work_is_refused_with_the_field(stand: Stand, body: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {"name": "Checkout", "path": "bidirectional", "service": seeds.CHECKOUT_API} | body
    given = {name: value for name, value in given.items() if value is not None}
    assert stand.refused(400, "POST", "/connectors", given)["field"] == field
    assert stand.call("GET", "/connectors") == {"connectors": []}


def test_the_linter_says_what_a_table_will_not_do(stand: Stand) -> None:
    made = stand.connector(priority_map={"P1": P["P1"], "P2": P["P1"]})
    codes = [(each["level"], each["code"]) for each in made["findings"]]
    assert codes.count(("warning", "unmapped")) == 3 + 4
    assert ("warning", "many_to_one") in codes
    at = f"/connectors/{made['id']}"
    problem = stand.refused(400, "PATCH", at, {"priority_map": {"P3": "PGONE"}})
    assert problem["field"] == "priority_map.P3"
    preview = stand.call("POST", f"{at}/mapping/preview", {"priority_map": {"P3": "PGONE"}})
    assert [each["code"] for each in preview["findings"] if each["level"] == "error"] == ["vanished"]


def test_a_preview_tells_what_real_events_would_have_done_and_writes_nothing(stand: Stand) -> None:
    made = stand.connector()
    stand.rule(made)
    name = stand.open_case()
    stand.harness.next_second()
    stand.harness.set_incident(name, priority={"id": P["P1"], "type": "priority_reference"})
    stand.harness.add_note(name, "Looking")
    stand.run()
    stand.harness.application.cases.override_priority(stand.harness.case(name).id, JANE, CasePriority.P2)
    stand.run()
    before = stand.call("GET", f"/deliveries?case={name}&limit=500")
    at = f"/connectors/{made['id']}/mapping/preview"
    same = stand.call("POST", at, {})
    assert same["different"] == 0
    assert {"incident.priority_updated", "incident.annotated", "created", "priorityDetailsChanged"} <= {
        event["event"] for event in same["events"]
    }
    other = {**made["priority_map"], "P1": P["P5"], "P5": P["P1"], "P2": P["P4"], "P4": P["P2"]}
    changed = stand.call("POST", at, {"priority_map": other, "directions": {"comments": "out"}})
    found = {event["event"]: event for event in changed["events"]}
    priority = found["incident.priority_updated"]
    assert priority["now"] == {"reason": "applied", "does": "set_priority_override P1"}
    assert priority["then"] == {"reason": "applied", "does": "set_priority_override P5"}
    assert found["incident.annotated"]["then"] == {"reason": "direction_off", "does": ""}
    assert P["P4"] in found["priorityDetailsChanged"]["then"]["does"]
    assert found["created"]["is_different"] is False
    assert changed["different"] == 3
    assert stand.call("GET", f"/deliveries?case={name}&limit=500") == before
    assert stand.call("GET", f"/connectors/{made['id']}")["priority_map"] == made["priority_map"]


# ---------------------------------------------------------------- presets


def test_presets_are_tried_on_a_sample_before_they_are_kept(stand: Stand) -> None:
    broken = {"name": "Mine", "templates": {"title": "ok", "details": "a\n{{ case.title | nope }}"}}
    problem = stand.refused(400, "POST", "/presets", broken)
    assert (problem["field"], "line 2" in problem["detail"]) == ("templates.details", True)
    for templates, field in (
        ({"urgency": "severe"}, "templates.urgency"),
        ({"title": "{{ case.nothing }}"}, "templates.title"),
        ({"colour": "red"}, "templates"),
        ({}, "templates"),
    ):
        assert stand.refused(400, "POST", "/presets", {"name": "Mine", "templates": templates})["field"] == field
    made = stand.call("POST", "/presets", {"name": "Mine", "templates": {"title": "A {{ case.title }}"}}, expect=201)
    at = f"/presets/{made['id']}"
    changed = stand.call("PUT", at, {"name": "Ours", "templates": {"title": "B {{ case.title }}"}})
    assert (changed["name"], changed["templates"]["title"]) == ("Ours", "B {{ case.title }}")
    builtin = stand.call("GET", "/presets")["presets"][0]
    assert builtin["is_builtin"]
    assert "built in" in stand.refused(409, "DELETE", f"/presets/{builtin['id']}")["detail"]
    stand.refused(409, "PUT", f"/presets/{builtin['id']}", {"name": "x", "templates": {"title": "x"}})
    stand.refused(400, "POST", "/presets", {"name": builtin["name"], "templates": {"title": "x"}})
    connector = stand.connector()
    rule = stand.rule(connector, destinations=[{"connector_id": connector["id"], "preset_id": made["id"]}])
    assert "Everything" in stand.refused(409, "DELETE", at)["detail"]
    stand.open_case()
    stand.call("DELETE", f"/rules/{rule['id']}", expect=204)
    stand.call("DELETE", at, expect=204)
    stand.refused(404, "GET", at)


def test_a_preview_shows_title_details_and_urgency(stand: Stand) -> None:
    sample = stand.call("POST", "/presets/preview", {"templates": {"title": "{{ case.readableId }} {{ case.title }}"}})
    assert sample["is_sample"] and sample["problem"] is None
    assert sample["fields"]["title"] == "CASE-0 Checkout is slow"
    assert sample["fields"]["urgency"] == "high"
    case = stand.call("POST", "/cases", {"title": "Real", "priority": "P5"}, expect=201)
    builtin = next(one for one in stand.call("GET", "/presets")["presets"] if one["path"] == "bidirectional")
    shown = stand.call("POST", "/presets/preview", {"preset_id": builtin["id"], "case": case["name"]})
    assert (shown["is_sample"], shown["fields"]["urgency"]) == (False, "low")
    assert case["url"] in shown["fields"]["details"]
    failing = stand.call("POST", "/presets/preview", {"templates": {"title": "{{ case.nothing }}"}})
    assert "title: line 1" in failing["problem"]
    stand.refused(404, "POST", "/presets/preview", {"preset_id": NOBODY})
    stand.refused(404, "POST", "/presets/preview", {"preset_id": builtin["id"], "case": "CASE-99"})
    stand.refused(400, "POST", "/presets/preview", {})
    for preset in stand.call("GET", "/presets")["presets"]:
        assert stand.call("POST", "/presets/preview", {"preset_id": preset["id"]})["problem"] is None


# ---------------------------------------------------------------- rules


def test_a_trial_says_which_rules_fire_and_which_is_passed_over(stand: Stand) -> None:
    one, two = stand.connector("One"), stand.connector("Two", service=seeds.PAYMENTS_API)
    severe = stand.rule(one, "Severe", condition='case.priority == "P1"')
    rest = stand.rule(two, "Rest")
    broken = stand.rule(two, "Odd", condition="case.labels.team | first == 'x'")
    assert broken["warnings"] == []
    case = stand.call("POST", "/cases", {"title": "Real", "priority": "P1"}, expect=201)
    trial = stand.call("POST", "/routing/test", {"case": case["name"]})
    assert [(each["name"], each["is_true"], each["fires"]) for each in trial["rules"]] == [
        ("Severe", True, True),
        ("Rest", True, True),
        ("Odd", False, False),
    ]
    assert trial["opens_through"]["connector"] == "One"
    assert trial["passed_over"] == ["Rest → Two"]
    assert "at most one incident" in trial["stated_rule"]
    stand.call("PUT", "/rules/order", {"rule_ids": [rest["id"], broken["id"], severe["id"]]})
    trial = stand.call("POST", "/routing/test", {"case": case["name"]})
    assert trial["opens_through"]["connector"] == "Two"
    assert [rule["name"] for rule in stand.call("GET", "/rules")["rules"]] == ["Rest", "Odd", "Severe"]
    assert stand.refused(400, "PUT", "/rules/order", {"rule_ids": [rest["id"]]})["field"] == "rule_ids"
    stand.call("PATCH", f"/rules/{rest['id']}", {"is_enabled": False})
    stand.call("PATCH", f"/rules/{severe['id']}", {"is_fallback": True, "condition": ""})
    trial = stand.call("POST", "/routing/test", {"case": case["name"]})
    assert trial["opens_through"]["connector"] == "One"
    stand.refused(404, "POST", "/routing/test", {"case": "CASE-99"})


def test_rules_change_in_part_and_keep_their_place(stand: Stand) -> None:
    one, two = stand.connector("One"), stand.connector("Two", service=seeds.PAYMENTS_API)
    first, _ = stand.rule(one, "First"), stand.rule(one, "Second")
    changed = stand.call(
        "PATCH", f"/rules/{first['id']}", {"name": "Renamed", "destinations": [{"connector_id": two["id"]}]}
    )
    assert (changed["name"], changed["condition"]) == ("Renamed", "true")
    assert [each["connector_id"] for each in changed["destinations"]] == [two["id"]]
    assert [rule["name"] for rule in stand.call("GET", "/rules")["rules"]] == ["Renamed", "Second"]
    assert stand.refused(400, "PATCH", f"/rules/{first['id']}", {"name": "Second"})["field"] == "name"
    entry = stand.call("GET", "/audit?subject=routing%20rule%20Renamed")["entries"][0]
    assert entry["before"]["destinations"][0][0] == "One"
    assert entry["after"]["destinations"][0][0] == "Two"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"condition": "case.priority =="}, "condition"),
        ({"destinations": []}, "destinations"),
        ({"destinations": [{"connector_id": NOBODY}]}, "destinations"),
        ({"destinations": [{"connector_id": "x"}]}, "destinations.0.connector_id"),
        ({"destinations": "TWICE"}, "destinations"),
        ({"destinations": "NO PRESET"}, "destinations"),
        ({"source": "alerts"}, "destinations"),
        ({"source": "dreams"}, "source"),
        ({"name": " "}, "name"),
        ({"when": "now"}, "when"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_rule_that_leads_nowhere_is_refused_with_the_field(stand: Stand, body: dict[str, Any], field: str) -> None:
    connector = stand.connector()
    whither: dict[str, Any] = {"connector_id": connector["id"]}
    words = {"TWICE": [whither, whither], "NO PRESET": [whither | {"preset_id": NOBODY}]}
    if isinstance(body.get("destinations"), str):
        body = {"destinations": words[body["destinations"]]}
    problem = stand.refused(400, "POST", "/rules", {"name": "Mine", "destinations": [whither]} | body)
    assert problem["field"] == field
    assert stand.call("GET", "/rules") == {"rules": []}


def test_alerts_take_service_keys_with_their_own_preset(stand: Stand) -> None:
    key = service_key(stand)
    rule = stand.rule(key, "Alerts", source="alerts")
    presets = {one["id"]: one for one in stand.call("GET", "/presets")["presets"]}
    preset = presets[rule["destinations"][0]["preset_id"]]
    assert (preset["path"], preset["entity"], preset["is_builtin"]) == ("service_key", "alerts", True)


# ---------------------------------------------------------------- tokens and the audit


def test_a_token_is_shown_once_gives_no_more_than_its_maker_has_and_ends(stand: Stand) -> None:
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    limited = {"name": "helper", "permissions": ["tokens:Manage", "case:Read"], "expires_at": later}
    helper = stand.call("POST", "/tokens", limited, expect=201)
    assert helper["token"].startswith(f"pds_{helper['prefix']}_")
    assert "token" not in stand.call("GET", "/tokens")["tokens"][0]
    mine = stand.call("GET", "/tokens", token=helper["token"])["tokens"]
    assert {one["name"] for one in mine} == {"admin", "helper"}
    for body, status in (
        ({"name": "x", "permissions": sorted(ALL), "expires_at": later}, 403),
        ({"name": "x", "permissions": ["case:Create"], "expires_at": later}, 403),
        ({"name": "x", "permissions": ["case:Read"]}, 400),
        ({"name": "x", "permissions": ["case:Read"], "expires_at": "2001-01-01T00:00:00Z"}, 400),
        ({"name": "x", "permissions": ["case:Everything"]}, 400),
        ({"name": "x", "permissions": []}, 400),
        ({"name": "x", "permissions": ["case:Read"], "expires_at": "2031-01-01T00:00:00"}, 400),
    ):
        stand.call("POST", "/tokens", body, expect=status, token=helper["token"])
    ended = stand.call("DELETE", f"/tokens/{helper['id']}")
    assert ended["revoked_at"]
    stand.call("GET", "/tokens", expect=401, token=helper["token"])
    stand.refused(404, "DELETE", f"/tokens/{NOBODY}")
    said = [(entry["action"], entry["who"].split()[0]) for entry in stand.call("GET", "/audit?limit=2")["entries"]]
    assert said == [("revoke", "admin"), ("create", "admin")]


def test_the_audit_is_read_page_by_page(stand: Stand) -> None:
    for number in range(5):
        stand.connector(f"Number {number}", service=seeds.CHECKOUT_API)
    first = stand.call("GET", "/audit?limit=4")
    second = stand.call("GET", f"/audit?limit=4&page_token={first['next_page_token']}")
    subjects = [entry["subject"] for entry in first["entries"] + second["entries"]]
    assert subjects == [*(f"connector Number {number}" for number in (4, 3, 2, 1, 0)), "integration Acme"]
    assert second["next_page_token"] is None
    stand.refused(400, "GET", "/audit?page_token=nonsense")
    stand.refused(400, "GET", "/audit?colour=red")
    assert len(stand.call("GET", "/audit?subject=connector%20Number%203")["entries"]) == 1
