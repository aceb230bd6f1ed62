"""Many links at once: few calls, and one bad item delays nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pagerduty_sync.domain.cases import Case, CasePriority, CaseStatus
from pagerduty_sync.domain.links import LinkState
from tests.harness import JANE, Harness, a_harness

MANY = 12


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


def open_cases(harness: Harness) -> list[Case]:
    cases = [
        harness.application.cases.create_case(f"number {number}", CasePriority.P3, actor=JANE) for number in range(MANY)
    ]
    while len(harness.incidents_opened()) < MANY:
        harness.run()
        harness.hurry()
    harness.run()
    harness.next_second()
    return cases


def calls_since(harness: Harness, before: int) -> list[tuple[str, str]]:
    requests = harness.sim("GET", "/_sim/requests", params={"limit": "1000"})["requests"]
    return [(request["method"], request["path"]) for request in requests[before:]]


def calls_made(harness: Harness) -> int:
    return len(harness.sim("GET", "/_sim/requests", params={"limit": "1000"})["requests"])


def statuses(harness: Harness) -> set[str]:
    return {incident["status"] for incident in harness.incidents_opened()}


def test_many_acknowledges_take_a_page_and_one_write(harness: Harness) -> None:
    cases = open_cases(harness)
    before = calls_made(harness)
    for case in cases:
        harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert statuses(harness) == {"acknowledged"}
    assert calls_since(harness, before) == [("GET", "/incidents"), ("PUT", "/incidents")]
    assert "applied" in harness.reasons(cases[0].id, "acknowledge_incident")
    assert {harness.case(case.id).status for case in cases} == {CaseStatus.ACKNOWLEDGED}


def test_an_opening_that_must_wait_holds_nobody_up(harness: Harness) -> None:
    case = harness.open_case()
    budget = harness.application.calls(harness.integration_id).budget
    while budget.take_create() == 0:
        pass
    for number in range(3):
        harness.application.cases.create_case(f"late {number}", CasePriority.P3, actor=JANE)
    harness.run()
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"


def test_status_and_priority_of_one_incident_go_in_one_item(harness: Harness) -> None:
    cases = open_cases(harness)
    before = calls_made(harness)
    for case in cases:
        harness.application.cases.override_priority(case.id, JANE, CasePriority.P1)
        harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert statuses(harness) == {"resolved"}
    assert {incident["priority"]["summary"] for incident in harness.incidents_opened()} == {"P1"}
    assert calls_since(harness, before) == [("PUT", "/incidents")]


def test_five_changes_while_waiting_cost_one_call(harness: Harness) -> None:
    case = harness.open_case()
    before = calls_made(harness)
    for priority in (CasePriority.P1, CasePriority.P2, CasePriority.P4, CasePriority.P5, CasePriority.P1):
        harness.application.cases.override_priority(case.id, JANE, priority)
    harness.run()
    assert len(calls_since(harness, before)) == 1
    assert harness.incident(case.id)["priority"]["summary"] == "P1"


def test_a_bad_item_is_found_by_splitting_and_bears_it_alone(harness: Harness) -> None:
    cases = open_cases(harness)
    bad = cases[5]
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE links SET incident_id = 'QGONE' WHERE case_id = %s", (bad.id,))
    for case in cases:
        harness.application.cases.resolve(case.id, JANE)
    harness.run()
    resolved = [incident for incident in harness.incidents_opened() if incident["status"] == "resolved"]
    assert len(resolved) == MANY - 1
    link = harness.link(bad.id)
    assert (link.state, link.ended_reason) == (LinkState.ENDED, "not_found")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"rate_limit": {"next": 1, "headers": True}}, id="429"),
        pytest.param({"fail_before": {"next": 1, "status": 502}}, id="502"),
        pytest.param({"lose_reply": {"next": 1}}, id="lost reply"),
    ],
)
def test_a_bulk_that_fails_is_done_later_and_once(harness: Harness, fault: dict[str, Any]) -> None:
    cases = open_cases(harness)
    match = {"match": {"method": "PUT"}}
    harness.faults(**{name: {**rule, **match} for name, rule in fault.items()})
    for case in cases:
        harness.application.cases.resolve(case.id, JANE)
    harness.run()
    harness.hurry()
    harness.run()
    assert statuses(harness) == {"resolved"}
    assert {harness.link(case.id).attempts for case in cases} == {0}


def test_an_incident_resolved_meanwhile_is_not_re_opened_by_a_bulk_of_acknowledges(harness: Harness) -> None:
    cases = open_cases(harness)
    harness.faults(webhook_drop={"probability": 1.0})
    harness.set_incident(cases[3].id, status="resolved")
    for case in cases:
        harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert harness.incident(cases[3].id)["status"] == "resolved"
    assert harness.case(cases[3].id).status is CaseStatus.RESOLVED
    others = [case for case in cases if case is not cases[3]]
    assert {harness.incident(case.id)["status"] for case in others} == {"acknowledged"}
