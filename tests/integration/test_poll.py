"""No way in: PagerDuty cannot reach us, and everything is learned by reading the account's log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.links import LOOP, WRITES_A_MINUTE
from pagerduty_sync.simulator import seeds
from tests.harness import JANE, Harness, a_harness


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path, inbound="poll") as made:
        made.faults(webhook_drop={"probability": 1.0})
        yield made


def poll(harness: Harness) -> None:
    harness.application.upkeep.poll()
    harness.run()


def test_what_people_do_in_pagerduty_is_learned_by_reading(harness: Harness) -> None:
    case = harness.open_case(priority=CasePriority.P3)
    poll(harness)
    harness.set_incident(case.id, status="acknowledged")
    harness.set_incident(case.id, priority={"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"})
    harness.add_note(case.id, "on it")
    poll(harness)
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    assert harness.case(case.id).priority is CasePriority.P1
    assert harness.comments(case.id).count("on it") == 1
    harness.add_note(case.id, "Resolution Note: restarted")
    harness.set_incident(case.id, status="resolved")
    poll(harness)
    after = harness.case(case.id)
    assert (after.status, after.resolution_reason) == (CaseStatus.RESOLVED, "restarted")


def test_a_quiet_account_costs_one_call_however_many_links_there_are(harness: Harness) -> None:
    for number in range(3):
        harness.open_case(f"number {number}")
    poll(harness)
    before = len(harness.sim("GET", "/_sim/requests")["requests"])
    for _ in range(3):
        poll(harness)
    assert len(harness.sim("GET", "/_sim/requests")["requests"]) - before == 3


def test_a_link_that_writes_in_circles_is_stopped_and_no_other(harness: Harness) -> None:
    case, other = harness.open_case("one"), harness.open_case("two")
    for number in range(WRITES_A_MINUTE + 5):
        harness.application.cases.add_comment(case.id, JANE, f"comment {number}")
    for _ in range(4):
        harness.run()
        harness.hurry()
    assert LOOP in harness.link(case.id).parked
    assert "loop_suspected" in harness.reasons(case.id)
    harness.application.cases.resolve(other.id, JANE)
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert harness.incident(other.id)["status"] == "resolved"
    assert harness.incident(case.id)["status"] == "triggered"
