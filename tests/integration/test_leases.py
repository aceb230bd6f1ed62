"""Workers that stall, die or hold a link while something else happens to it: who may write, and what is not lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.handlers.visits import Visit
from tests.harness import JANE, Harness, a_harness


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


def stall(harness: Harness) -> None:
    """The worker stands still for longer than its leases."""
    this = harness.application
    later = this.leases.now() + timedelta(seconds=this.leases.lease_seconds + 1)
    this.leases.now = this.visits.now = lambda: later
    execute(harness, "UPDATE links SET lease_until = now() - interval '1 second' WHERE lease_token IS NOT NULL")


def execute(harness: Harness, statement: str) -> None:
    with harness.application.database.transaction() as conn:
        conn.execute(statement.encode())


def once(do: Callable[[], object]) -> Callable[[], None]:
    """`do` at the first call, nothing at the ones behind it."""
    todo = [do]

    def call() -> None:
        if todo:
            todo.pop()()

    return call


def test_a_worker_that_stalls_between_recording_and_calling_posts_no_second_note(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = harness.open_case()
    harness.application.cases.add_comment(case.id, JANE, "Seen on the dashboards")
    record = harness.application.visits.record

    def another_worker_comes() -> None:
        stall(harness)
        harness.run()

    stalls = once(another_worker_comes)

    def record_and_stall(visit: Visit) -> None:
        record(visit)
        if any(entry.state == "sending" for entry in visit.ledger.entries):
            stalls()

    monkeypatch.setattr(harness.application.visits, "record", record_and_stall)
    harness.run()
    notes = harness.notes(case.id)
    assert [("Seen on the dashboards" in note) for note in notes] == [True]


def test_a_worker_that_stalls_before_a_change_leaves_a_pair_alone_that_was_taken_apart(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = harness.open_case()
    harness.application.cases.acknowledge(case.id, JANE)
    taken_apart = once(lambda: take_apart(harness, case.id))
    prepare = harness.application.sync._caller._incident_side.prepare

    def prepare_and_stall(visit: Visit, action: Any) -> bool:
        if visit.is_fresh:
            taken_apart()
        return prepare(visit, action)

    monkeypatch.setattr(harness.application.sync._caller._incident_side, "prepare", prepare_and_stall)
    harness.run()
    assert harness.link(case.id).state is LinkState.ENDED
    assert harness.incident(case.id)["status"] == "triggered"


def test_of_a_bulk_whose_worker_stalled_only_what_is_still_held_is_written(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [harness.open_case(f"Case {number}") for number in range(6)]
    for case in cases:
        harness.application.cases.acknowledge(case.id, JANE)
    budget = harness.application.calls(harness.integration_id).budget
    take_bulk = budget.take_bulk
    taken_apart = once(lambda: take_apart(harness, cases[2].id))

    def take_and_stall() -> float:
        taken_apart()
        return take_bulk()

    monkeypatch.setattr(budget, "take_bulk", take_and_stall)
    harness.run()
    statuses = [harness.incident(case.id)["status"] for case in cases]
    assert statuses == ["acknowledged"] * 2 + ["triggered"] + ["acknowledged"] * 3
    assert [len(harness.reasons(case.id, "acknowledge_incident")) for case in cases] == [1, 1, 0, 1, 1, 1]


def take_apart(harness: Harness, case_id: str) -> None:
    stall(harness)
    link = harness.link(case_id)
    claim = harness.application.leases.claim(link.id)
    assert claim is not None
    harness.application.leases.end(claim, "unlinked")


@pytest.mark.parametrize("worker", ["goes on", "dies"])
def test_what_reconcile_finds_about_a_link_that_is_held_is_read_afterwards(harness: Harness, worker: str) -> None:
    case = harness.open_case()
    this = harness.application
    harness.faults(webhook_drop={"probability": 1.0})
    harness.set_incident(case.id, status="acknowledged")
    harness.add_note(case.id, "Looking into it")
    claim = this.leases.claim(harness.link(case.id).id)
    assert claim is not None
    visit = this.visits.open(claim)
    assert this.upkeep.reconcile().integration_ids == [harness.integration_id]
    assert harness.case(case.id).status is CaseStatus.ACTIVE
    if worker == "goes on":
        this.visits.record(visit)
        assert this.leases.release(claim, None)
    else:
        execute(harness, "UPDATE links SET lease_until = now() - interval '1 second'")
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    assert "Looking into it" in harness.comments(case.id)
    assert "healed" in harness.reasons(case.id)
