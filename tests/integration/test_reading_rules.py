"""What is read by the clock, and what need not be: shares, urgency, lines of the log, and who is named for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.pages import COOKIE
from pagerduty_sync.stores.deliveries import DeliveryFilters
from tests.harness import JANE, Harness, a_harness
from tests.pairs import calls_so_far, open_pairs

DROPPED = {"probability": 1.0}


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path, inbound="both") as made:
        yield made


def refuse_reading(harness: Harness, monkeypatch: pytest.MonkeyPatch, *grants: float) -> list[float]:
    """The budget's answers to reading, one after the other; the last one goes on for ever."""
    waits = list(grants)
    budget = harness.application.calls(harness.integration_id).budget
    monkeypatch.setattr(budget, "take_reading", lambda: waits.pop(0) if len(waits) > 1 else waits[0])
    return waits


# ------------------------------------------------------------------ where the budget ends


def test_a_comparison_goes_on_with_the_page_it_had_no_budget_for(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = open_pairs(harness, 250)
    harness.set_incident(pairs[0].case_id, status="acknowledged")
    harness.set_incident(pairs[240].case_id, status="resolved")
    upkeep = harness.application.upkeep
    # The log, one page of incidents, then nothing.
    refuse_reading(harness, monkeypatch, 0.0, 0.0, 7.5)
    first = upkeep.reconcile()
    assert first.again_in == 7.5
    assert first.integration_ids == [harness.integration_id], "what one page tells is asked for at once"
    before = calls_so_far(harness)
    refuse_reading(harness, monkeypatch, 0.0)
    assert upkeep.reconcile().again_in is None
    assert calls_so_far(harness) - before == 2, "two pages are left, and no line of the log is read again"
    harness.run()
    assert harness.case(pairs[0].case_id).status is CaseStatus.ACKNOWLEDGED
    assert harness.case(pairs[240].case_id).status is CaseStatus.RESOLVED


def test_a_comparison_that_stood_still_for_long_begins_anew(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    open_pairs(harness, 150)
    refuse_reading(harness, monkeypatch, 0.0, 0.0, 7.5)
    assert harness.application.upkeep.reconcile().again_in == 7.5
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE integrations SET comparing_since = comparing_since - interval '11 minutes'")
    before = calls_so_far(harness)
    refuse_reading(harness, monkeypatch, 0.0)
    assert harness.application.upkeep.reconcile().again_in is None
    assert calls_so_far(harness) - before == 1 + 2


def test_a_long_log_goes_on_with_the_page_it_had_no_budget_for(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = harness.open_case()
    harness.run()
    harness.faults(webhook_drop=DROPPED)
    for number in range(150):
        harness.add_note(case.id, f"note {number}")
    refuse_reading(harness, monkeypatch, 0.0, 7.5)
    assert harness.application.upkeep.poll().again_in == 7.5
    # More is said while the reading waits: its lines push the others down.
    harness.add_note(case.id, "last")
    refuse_reading(harness, monkeypatch, 0.0)
    assert harness.application.upkeep.poll().again_in is None
    harness.run()
    harness.application.upkeep.poll()
    harness.run()
    comments = harness.comments(case.id)
    assert [comments.count(f"note {number}") for number in range(150)] == [1] * 150
    assert comments.count("last") == 1


def test_a_log_that_cannot_be_read_keeps_nobody_from_comparing(harness: Harness) -> None:
    case = harness.open_case()
    harness.run()
    harness.faults(
        webhook_drop=DROPPED, fail_before={"probability": 1.0, "status": 500, "match": {"path": "/log_entries"}}
    )
    harness.set_incident(case.id, status="acknowledged")
    harness.application.upkeep.reconcile()
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED


# ------------------------------------------------------------------ what need not be read


def test_after_a_storm_a_quiet_account_costs_one_call_again(harness: Harness) -> None:
    case = harness.open_case()
    harness.run()
    harness.faults(webhook_drop=DROPPED)
    for number in range(250):
        harness.add_note(case.id, f"note {number}")
    harness.application.upkeep.poll()
    harness.run()
    before = calls_so_far(harness)
    for _ in range(3):
        harness.application.upkeep.poll()
        harness.run()
    assert calls_so_far(harness) - before == 3


def test_what_webhooks_told_is_not_read_again(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.upkeep.poll()
    harness.run()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    before = calls_so_far(harness)
    assert harness.application.upkeep.poll().integration_ids == []
    harness.run()
    assert calls_so_far(harness) - before == 1


def test_of_two_changes_in_one_second_the_untold_one_is_read(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.upkeep.poll()
    harness.run()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    harness.faults(webhook_drop=DROPPED)
    harness.set_incident(case.id, status="resolved")
    assert harness.application.upkeep.poll().integration_ids == [harness.integration_id]
    harness.run()
    harness.hurry()
    harness.run()
    assert harness.case(case.id).status is CaseStatus.RESOLVED


def test_what_a_person_does_as_our_user_is_read(harness: Harness) -> None:
    """An operator may connect with an e-mail of somebody's own; what we wrote ourselves is still not read."""
    case = harness.open_case()
    harness.application.upkeep.poll()
    harness.run()
    harness.faults(webhook_drop=DROPPED)
    harness.application.cases.add_comment(case.id, JANE, "ours")
    harness.run()
    page = f"{harness.simulator_url}/ui/incidents/{harness.link(case.id).incident_id}"
    own = {COOKIE: seeds.BOT_EMAIL}
    before = calls_so_far(harness)
    assert harness.application.upkeep.poll().integration_ids == []
    assert calls_so_far(harness) - before == 1
    requests.post(f"{page}/acknowledge", cookies=own, allow_redirects=False, timeout=5)
    requests.post(f"{page}/notes", data={"content": "by hand"}, cookies=own, allow_redirects=False, timeout=5)
    harness.application.upkeep.poll()
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACKNOWLEDGED
    assert harness.comments(case.id).count("by hand") == 1


# ------------------------------------------------------------------ how urgent, and in whose name


def due_class(harness: Harness, case_id: str) -> int | None:
    with harness.application.database.transaction() as conn:
        row = conn.execute("SELECT due_class FROM links WHERE case_id = %s", (case_id,)).fetchone()
    assert row is not None
    return row["due_class"]


def test_a_read_the_clock_asked_for_stays_behind_until_somebody_changes_something(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = harness.open_case()
    harness.run()
    harness.faults(webhook_drop=DROPPED)
    harness.set_incident(case.id, status="acknowledged")
    harness.application.upkeep.reconcile()
    refuse_reading(harness, monkeypatch, 30.0)
    before = calls_so_far(harness)
    wait = harness.application.sync.call(harness.integration_id)
    assert wait == pytest.approx(30.0)
    assert due_class(harness, case.id) == CallClass.RECONCILE
    harness.application.sync.look(harness.link(case.id).id)
    assert due_class(harness, case.id) == CallClass.RECONCILE
    assert calls_so_far(harness) == before
    harness.application.cases.resolve(case.id, JANE)
    harness.application.sync.look(harness.link(case.id).id)
    assert due_class(harness, case.id) == CallClass.URGENT
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"


@pytest.mark.parametrize(("read", "reason"), [("poll", "applied"), ("reconcile", "healed")])
def test_what_is_read_is_logged_with_its_asker_and_the_person(harness: Harness, read: str, reason: str) -> None:
    case = harness.open_case()
    harness.run()
    harness.faults(webhook_drop=DROPPED)
    harness.set_incident(case.id, status="acknowledged")
    getattr(harness.application.upkeep, read)()
    harness.run()
    rows, _ = harness.application.deliveries.find(DeliveryFilters(case=case.id), limit=100)
    told: list[Any] = [row for row in rows if row.operation == "acknowledge_case"]
    assert [(row.reason.value, row.cause, row.actor) for row in told] == [(reason, read, "Ada Responder")]


def test_an_unknown_requester_parks_nothing_and_what_waited_goes_out(harness: Harness) -> None:
    case = harness.open_case()
    harness.run()
    harness.faults(deactivated_users=[seeds.BOT_EMAIL])
    harness.application.cases.resolve(case.id, JANE, "Rolled back")
    harness.run()
    assert harness.link(case.id).parked == {}
    assert harness.incident(case.id)["status"] == "triggered"
    harness.faults(deactivated_users=[])
    harness.hurry()
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"
    assert sum("Rolled back" in note for note in harness.notes(case.id)) == 1


def test_what_an_ended_link_could_not_write_has_a_row(harness: Harness) -> None:
    case = harness.open_case()
    harness.run()
    incident_id = harness.link(case.id).incident_id
    harness.sim("DELETE", f"/_sim/incidents/{incident_id}")
    harness.application.cases.add_comment(case.id, JANE, "Seen on the dashboards")
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    rows, _ = harness.application.deliveries.find(DeliveryFilters(case=case.id), limit=100)
    told = [row for row in rows if row.operation == "post_note" and row.actor == "Jane Doe"]
    assert [row.reason.value for row in told] == ["not_found"]
