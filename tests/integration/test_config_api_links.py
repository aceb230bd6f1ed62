"""Joining and parting Cases and incidents by hand, syncing on demand, and trying refusals again, over the API."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.simulator import seeds
from tests.api_stand import Stand, an_api_stand
from tests.harness import JANE

NOBODY = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def stand(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stand]:
    with an_api_stand(database_url, redis_url, tmp_path) as made:
        made.connect()
        yield made


def an_incident(stand: Stand, service_id: str = seeds.CHECKOUT_SERVICE_ID) -> Any:
    body = {
        "type": "incident",
        "title": "Somebody opened this by hand",
        "service": {"id": service_id, "type": "service_reference"},
    }
    return stand.harness.responder("POST", "/incidents", {"incident": body})["incident"]


def a_case(stand: Stand, **fields: Any) -> str:
    case = stand.call("POST", "/cases", {"title": "Checkout is slow", "priority": "P3"} | fields, expect=201)
    stand.run()
    return str(case["name"])


# ---------------------------------------------------------------- together and apart


def test_a_case_and_an_incident_that_exist_become_a_pair_in_step(stand: Stand) -> None:
    stand.connector()
    name, incident = a_case(stand), an_incident(stand)
    application = stand.harness.application
    application.cases.add_comment(stand.harness.case(name).id, JANE, "Seen on the dashboards")
    stand.harness.responder("POST", f"/incidents/{incident['id']}/notes", {"note": {"content": "Looking into it"}})
    stand.harness.responder(
        "PUT", f"/incidents/{incident['id']}", {"incident": {"type": "incident_reference", "status": "acknowledged"}}
    )
    tried = stand.call("POST", "/links", {"case": name, "incident_id": incident["id"], "dry_run": True})
    assert tried["link"] is None
    assert [each["operation"] for each in tried["plan"]["on_case"]] == ["acknowledge_case"]
    assert stand.call("GET", "/links")["links"] == []
    made = stand.call("POST", "/links", {"case": name, "incident_id": incident["id"]}, expect=201)["link"]
    assert (made["state"], made["incident_number"]) == ("linked", incident["incident_number"])
    stand.run()
    assert stand.harness.case(name).status == "ACKNOWLEDGED"
    told = stand.harness.comments(name)
    assert told.count("Looking into it") == 1
    assert any(incident["html_url"] in text for text in told)
    notes = stand.harness.notes(name)
    assert sum("Seen on the dashboards" in note for note in notes) == 1
    assert sum("kept in step with" in note for note in notes) == 1
    shown = stand.call("GET", f"/links/{made['id']}")
    assert shown["pictures"]["status"]["agreed_case"] == "ACKNOWLEDGED"
    assert shown["pictures"]["status"]["incident"]["value"] == "acknowledged"
    assert shown["texts"]["outbound"] == {"placed": 2}
    assert [one["id"] for one in stand.call("GET", f"/links?case={name}&state=linked")["links"]] == [made["id"]]


def test_one_case_has_one_incident_and_one_incident_one_case(stand: Stand) -> None:
    stand.connector()
    first, second = a_case(stand), a_case(stand, title="Other")
    one, two = an_incident(stand), an_incident(stand)
    stand.call("POST", "/links", {"case": first, "incident_id": one["id"]}, expect=201)
    stand.run()
    assert first in stand.refused(409, "POST", "/links", {"case": second, "incident_id": one["id"]})["detail"]
    assert one["id"] in stand.refused(409, "POST", "/links", {"case": first, "incident_id": two["id"]})["detail"]
    stand.refused(409, "POST", "/links", {"case": first, "incident_id": one["id"]})
    assert len(stand.call("GET", "/links")["links"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"incident_id": "PNONE"}, 400, "incident_id"),
        ({"incident_id": " "}, 400, "incident_id"),
        ({"incident_id": "../users"}, 400, "incident_id"),
        ({"case": "CASE-99"}, 404, None),
        ({"incident_id": "ELSEWHERE"}, 400, "connector_id"),
        ({"connector_id": NOBODY}, 400, "connector_id"),
        ({"because": "x"}, 400, "because"),
    ],
)
def test_a_link_that_cannot_be_is_refused(stand: Stand, body: dict[str, str], status: int, field: str | None) -> None:
    stand.connector()
    name, incident = a_case(stand), an_incident(stand)
    if body.get("incident_id") == "ELSEWHERE":
        body = {"incident_id": an_incident(stand, seeds.PAYMENTS_SERVICE_ID)["id"]}
    problem = stand.refused(status, "POST", "/links", {"case": name, "incident_id": incident["id"]} | body)
    assert problem.get("field") == field
    assert stand.call("GET", "/links")["links"] == []


def test_a_pair_is_parted_with_a_reason_on_both_sides_and_may_be_joined_again(stand: Stand) -> None:
    stand.rule(stand.connector())
    name = stand.open_case()
    link = stand.call("GET", f"/links?case={name}")["links"][0]
    at = f"/links/{link['id']}"
    parted = stand.call("POST", f"{at}/unlink", {"reason": "Wrong service"})
    assert (parted["link"]["state"], parted["link"]["ended_reason"], parted["warnings"]) == ("ended", "unlinked", [])
    stand.run()
    assert sum("Wrong service" in text for text in stand.harness.comments(name)) == 1
    assert sum("Wrong service" in note for note in stand.harness.notes(name)) == 1
    assert stand.refused(409, "POST", f"{at}/unlink", {"reason": "Again"})
    stand.harness.next_second()
    stand.harness.set_incident(name, status="acknowledged")
    stand.run()
    assert stand.harness.case(name).status == "ACTIVE"
    assert len(stand.harness.incidents_opened()) == 1
    joined = stand.call("POST", "/links", {"case": name, "incident_id": link["incident_id"]}, expect=201)
    assert joined["link"]["id"] == link["id"]
    stand.run()
    assert stand.harness.case(name).status == "ACKNOWLEDGED"
    stand.call("POST", f"{at}/unlink", {"reason": "Wrong service"})
    assert sum("Wrong service" in text for text in stand.harness.comments(name)) == 2
    trail = [entry["action"] for entry in stand.call("GET", f"/audit?subject=Case%20{name}")["entries"]]
    assert trail == ["unlink", "link", "unlink"]


def test_parting_without_pagerduty_says_that_the_incident_was_not_told(stand: Stand) -> None:
    stand.rule(stand.connector())
    name = stand.open_case()
    link = stand.call("GET", f"/links?case={name}")["links"][0]
    stand.harness.faults(fail_before={"probability": 1.0, "status": 500})
    parted = stand.call("POST", f"/links/{link['id']}/unlink", {"reason": "Anyway"})
    assert "was not told" in parted["warnings"][0]
    assert parted["link"]["state"] == "ended"
    assert "unlinked" in stand.harness.reasons(name)


# ---------------------------------------------------------------- now


def test_a_dry_run_shows_the_plan_and_a_sync_carries_it_out(stand: Stand) -> None:
    stand.rule(stand.connector())
    name, other = stand.open_case(), stand.open_case(title="Other")
    stand.harness.application.cases.override_priority(stand.harness.case(name).id, JANE, CasePriority.P1)
    one = stand.call("POST", "/links/sync", {"case": name, "dry_run": True})
    assert [each["operation"] for each in one["plans"][0]["on_incident"]] == ["set_priority"]
    all_ = stand.call("POST", "/links/sync", {"dry_run": True})
    assert (all_["looked_at"], [plan["case"] for plan in all_["plans"]]) == (2, [name])
    assert stand.harness.incident(name)["priority"]["id"] == seeds.PRIORITY_IDS["P3"]
    # What no webhook told: only a read shows it.
    stand.harness.faults(webhook_drop={"probability": 1.0})
    stand.harness.next_second()
    stand.harness.set_incident(other, status="acknowledged")
    assert stand.call("POST", "/links/sync", {"case": other})["reads"] == 1
    assert stand.call("POST", "/links/sync", {})["looked_at"] == 2
    stand.run()
    assert stand.harness.case(other).status == "ACKNOWLEDGED"
    assert stand.harness.incident(name)["priority"]["id"] == seeds.PRIORITY_IDS["P1"]
    stand.refused(404, "POST", "/links/sync", {"case": "CASE-99"})


def test_a_case_without_a_link_is_told_where_it_would_go(stand: Stand) -> None:
    name = a_case(stand)
    (plan,) = stand.call("POST", "/links/sync", {"case": name})["plans"]
    assert (plan["reasons"], plan["is_empty"]) == ({"status": "no_route"}, True)
    stand.rule(stand.connector())
    (plan,) = stand.call("POST", "/links/sync", {"case": name})["plans"]
    assert plan["on_incident"][0]["operation"] == "open_incident"
    assert stand.harness.incidents_opened() == []


# ---------------------------------------------------------------- what was refused


def test_a_refused_opening_is_tried_again_on_an_operators_word(stand: Stand) -> None:
    connector = stand.connector(service=seeds.LEGACY_GATEWAY)
    stand.rule(connector)
    name = a_case(stand)
    (link,) = stand.call("GET", "/links?is_parked=true")["links"]
    assert [each["key"] for each in link["parked"]] == ["open"]
    assert link["parked"][0]["said"]
    at = f"/links/{link['id']}"
    assert stand.refused(400, "POST", f"{at}/retry", {"key": "note:x"})["field"] == "key"
    _enable(stand, seeds.DISABLED_SERVICE_ID)
    assert stand.call("POST", f"{at}/retry", {})["parked"] == []
    stand.run()
    assert stand.harness.incident(name)["status"] == "triggered"
    stand.refused(409, "POST", f"{at}/retry", {})
    assert stand.refused(400, "POST", f"{at}/drop", {})["field"] == "key"


def test_a_refused_opening_may_be_let_be(stand: Stand) -> None:
    stand.rule(stand.connector(service=seeds.LEGACY_GATEWAY))
    a_case(stand)
    (link,) = stand.call("GET", "/links?is_parked=true")["links"]
    dropped = stand.call("POST", f"/links/{link['id']}/drop", {"key": "open"})
    assert (dropped["state"], dropped["ended_reason"], dropped["parked"]) == ("ended", "refused", [])
    stand.run()
    assert stand.harness.incidents_opened() == []


def test_a_refused_write_goes_back_to_what_was_agreed_before(stand: Stand) -> None:
    connector = stand.connector()
    stand.rule(connector)
    name = stand.open_case()
    stand.harness.faults(fail_before={"probability": 1.0, "status": 400})
    application = stand.harness.application
    application.cases.override_priority(stand.harness.case(name).id, JANE, CasePriority.P1)
    application.cases.add_comment(stand.harness.case(name).id, JANE, "Refused at first")
    stand.run()
    (link,) = stand.call("GET", "/links?is_parked=true")["links"]
    keys = [each["key"] for each in link["parked"]]
    assert keys[0] == "incident:priority" and keys[1].startswith("note:")
    stand.harness.faults(fail_before={"probability": 0.0})
    stand.call("POST", f"/links/{link['id']}/retry", {})
    stand.run()
    assert stand.harness.incident(name)["priority"]["id"] == seeds.PRIORITY_IDS["P1"]
    assert sum("Refused at first" in note for note in stand.harness.notes(name)) == 1
    assert stand.call("GET", "/links?is_parked=true")["links"] == []


def _enable(stand: Stand, service_id: str) -> None:
    with stand.simulator.account.lock:
        services = stand.simulator.account.services
        services[service_id] = dataclasses.replace(services[service_id], disabled=False)
