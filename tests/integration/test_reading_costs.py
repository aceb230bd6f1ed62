"""What reading costs in API calls, and what it heals: the bound of reconcile, a day without webhooks, both ways in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.deliveries import Direction
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.domain.mapping import INCIDENT_STATUS
from pagerduty_sync.pagerduty import account
from pagerduty_sync.simulator import seeds
from pagerduty_sync.stores.deliveries import DeliveryFilters
from tests.harness import JANE, Harness, a_harness
from tests.pairs import Pair, calls_so_far, lines_since, open_pairs, pass_time

P1 = {"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"}


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path, inbound="both") as made:
        yield made


def reconcile(harness: Harness) -> int:
    """Compare and make the reads that asks for. Returns what both cost in calls."""
    before = calls_so_far(harness)
    harness.application.upkeep.reconcile()
    harness.run()
    return calls_so_far(harness) - before


def inbound(harness: Harness, case_id: str) -> list[tuple[str, str]]:
    """What the log says about changes that came in, oldest first: operation and reason."""
    rows, _ = harness.application.deliveries.find(DeliveryFilters(case=case_id), limit=100)
    return [(row.operation, row.reason.value) for row in reversed(rows) if row.direction is Direction.INBOUND]


@pytest.mark.parametrize("changed", [0, 1, 10])
def test_reconcile_costs_a_call_per_hundred_and_one_per_change(harness: Harness, changed: int) -> None:
    pairs = open_pairs(harness, 250)
    for pair in pairs[:changed]:
        harness.set_incident(pair.case_id, status="acknowledged")
    # Three pages of incidents, one of the log.
    assert reconcile(harness) == 3 + 1 + changed
    acknowledged = [pair for pair in pairs if harness.case(pair.case_id).status is CaseStatus.ACKNOWLEDGED]
    assert acknowledged == pairs[:changed]
    assert harness.application.deliveries.count_by_reason().get("healed", 0) == changed


def test_a_day_without_webhooks_is_healed_in_one_sweep(harness: Harness) -> None:
    pairs = open_pairs(harness, 30)
    reopened, merged, target, whole = pairs[26], pairs[27], pairs[28], pairs[29]
    harness.set_incident(reopened.case_id, status="resolved")
    reconcile(harness)
    assert harness.case(reopened.case_id).status is CaseStatus.RESOLVED
    healed_before = harness.application.deliveries.count_by_reason()["healed"]

    for number, pair in enumerate(pairs[:24]):
        pass_time(harness, 3_600)
        match number % 4:
            case 0:
                harness.set_incident(pair.case_id, status="acknowledged")
            case 1:
                harness.add_note(pair.case_id, f"Resolution Note: cured {number}")
                harness.set_incident(pair.case_id, status="resolved")
            case 2:
                harness.set_incident(pair.case_id, priority=P1)
            case 3:
                harness.add_note(pair.case_id, f"seen {number}")
    harness.set_incident(reopened.case_id, status="triggered")
    source = {"id": merged.incident_id, "type": "incident_reference"}
    harness.responder("PUT", f"/incidents/{target.incident_id}/merge", {"source_incidents": [source]})

    cost = reconcile(harness)
    in_step(harness, [*pairs[:24], target, whole])
    for number, pair in enumerate(pairs[:24]):
        case = harness.case(pair.case_id)
        if number % 4 == 1:
            assert (case.status, case.resolution_reason) == (CaseStatus.RESOLVED, f"cured {number}")
        if number % 4 == 3:
            assert harness.comments(pair.case_id).count(f"seen {number}") == 1
    assert harness.case(reopened.case_id).status is CaseStatus.RESOLVED
    assert sum("re-opened" in text for text in harness.comments(reopened.case_id)) == 1
    assert harness.case(merged.case_id).status is CaseStatus.ACTIVE
    assert sum("merged" in text for text in harness.comments(merged.case_id)) == 1
    # 18 incidents of other status or priority, the re-opened, the merged and the one it went to; 12 with notes.
    assert cost <= 1 + 1 + 21 + 12
    assert harness.application.deliveries.count_by_reason()["healed"] >= healed_before + 26
    pass_time(harness, 60)
    assert reconcile(harness) == 1 + 1


def in_step(harness: Harness, pairs: list[Pair]) -> None:
    """Status and priority of both sides say the same."""
    found = {incident["id"]: incident for incident in harness.incidents_opened()}
    names = {id_: name for name, id_ in seeds.PRIORITY_IDS.items()}
    for pair in pairs:
        case, incident = harness.case(pair.case_id), found[pair.incident_id]
        assert INCIDENT_STATUS[case.status] is IncidentStatus(incident["status"]), case.name
        assert case.priority is CasePriority(names[incident["priority"]["id"]]), case.name


@pytest.mark.parametrize("first", ["webhook", "poll"])
def test_what_both_ways_tell_is_applied_once(harness: Harness, first: str) -> None:
    case = harness.open_case()
    harness.next_second()
    harness.application.upkeep.poll()
    harness.run()
    before = len(inbound(harness, case.id))
    if first == "poll":
        harness.faults(webhook_delay={"probability": 1.0, "seconds": 2.0})
    harness.set_incident(case.id, status="acknowledged")
    harness.add_note(case.id, "on it")
    if first == "poll":
        harness.application.upkeep.poll()
        harness.run(until_quiet=False)
        assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    harness.run()
    harness.application.upkeep.poll()
    harness.run()
    told = [reason for _, reason in inbound(harness, case.id)[before:]]
    assert sum(reason in ("applied", "healed") for reason in told) == 2, told
    assert set(told) <= {"applied", "healed", "echo", "duplicate"}
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    assert harness.comments(case.id).count("on it") == 1


def test_polling_alone_learns_who_did_it_for_one_call_a_poll_and_one_a_change(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with a_harness(database_url, redis_url, tmp_path, inbound="poll") as harness:
        pairs = open_pairs(harness, 120)
        for pair in pairs[:5]:
            harness.set_incident(pair.case_id, status="acknowledged")
        harness.add_note(pairs[5].case_id, "seen")
        before = calls_so_far(harness)
        for _ in range(3):
            harness.application.upkeep.poll()
            harness.run()
        assert calls_so_far(harness) - before == 3 + 5 + 1
        for pair in pairs[:5]:
            assert harness.case(pair.case_id).status is CaseStatus.ACKNOWLEDGED
            assert "Ada" in harness.case(pair.case_id).changed_by.label
        assert harness.comments(pairs[5].case_id).count("seen") == 1


def test_what_people_wait_for_goes_before_what_reconcile_asked_and_both_are_done(harness: Harness) -> None:
    pairs = open_pairs(harness, 24)
    healing, resolving = pairs[:12], pairs[12:]
    for pair in healing:
        harness.set_incident(pair.case_id, priority=P1)
    assert harness.application.upkeep.reconcile().integration_ids == [harness.integration_id]
    for pair in resolving:
        harness.application.cases.resolve(pair.case_id, JANE, "Rolled back")
    before = calls_so_far(harness)
    harness.run()
    in_step(harness, pairs)
    calls = calls_since(harness, before)
    notes = [number for number, call in enumerate(calls) if call.startswith("POST")]
    reads = [
        number for number, call in enumerate(calls) if call in {f"GET /incidents/{p.incident_id}" for p in healing}
    ]
    assert (len(notes), len(reads)) == (12, 12)
    assert max(notes) < min(reads)


def calls_since(harness: Harness, before: int) -> list[str]:
    rows = harness.sim("GET", "/_sim/requests", params={"limit": "1000"})["requests"]
    return [f"{row['method']} {row['path']}" for row in rows if row["seq"] > before]


def test_a_log_longer_than_pagerduty_lists_is_read_to_its_end_once(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = harness.open_case()
    harness.run()
    harness.faults(webhook_drop={"probability": 1.0}, rest_limit_per_minute=100_000)
    for number in range(330):
        if number % 30 == 0:
            pass_time(harness, 2)
        harness.add_note(case.id, f"note {number}")
    monkeypatch.setattr(account, "MAX_OFFSET", 200)
    lines = lines_since(harness, datetime(2020, 1, 1, tzinfo=UTC))
    assert len(lines) == 330 + 1
    assert lines == sorted(lines, key=lambda line: line.created_at, reverse=True)
    harness.application.upkeep.poll()
    harness.run()
    assert len([text for text in harness.comments(case.id) if text.startswith("note ")]) == 330
