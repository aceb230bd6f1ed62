"""Incidents that are moved to another service, or are gone: the pair lives on, or ends with a reason and a comment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.simulator import seeds
from tests.harness import JANE, Harness, a_harness
from tests.odd_stand import (
    WAYS,
    an_open_incident,
    ask,
    date_replies_by_the_simulators_clock,
    delete,
    hear,
    incident_id_of,
    our_writes,
    pass_time,
    reads_nothing_more,
    told,
)

ACTIVE, ACKNOWLEDGED, RESOLVED = CaseStatus.ACTIVE, CaseStatus.ACKNOWLEDGED, CaseStatus.RESOLVED
PAYMENTS = {"id": seeds.PAYMENTS_SERVICE_ID, "type": "service_reference"}
HIGHEST = {"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"}


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


# ------------------------------------------------------------------ moved to another service


@pytest.mark.parametrize("way", WAYS)
def test_a_moved_incident_is_followed_and_not_doubted_for_ever(harness: Harness, way: str) -> None:
    case = harness.open_case()
    hear(harness, case.id, way, lambda: harness.set_incident(case.id, service=PAYMENTS))
    link = harness.link(case.id)
    assert (link.state, link.service_id) == (LinkState.LINKED, seeds.PAYMENTS_SERVICE_ID)
    assert harness.reasons(case.id, "incident.service_updated") == (["not_synced"] if way == "webhook" else [])
    assert reads_nothing_more(harness)
    hear(harness, case.id, "webhook", lambda: harness.set_incident(case.id, status="acknowledged"))
    assert harness.case(case.id).status is ACKNOWLEDGED
    assert our_writes(harness) == ["open"]


@pytest.mark.parametrize("moves", ["always", "with_status"])
def test_a_move_that_updated_at_does_not_show_is_believed_a_minute_later(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, moves: str
) -> None:
    harness.faults(updated_at_moves=moves)
    case = harness.open_case()
    hear(harness, case.id, "webhook", lambda: harness.set_incident(case.id, priority=HIGHEST))
    hear(harness, case.id, "reconcile", lambda: harness.set_incident(case.id, service=PAYMENTS))
    pass_time(harness, 61)
    date_replies_by_the_simulators_clock(harness, monkeypatch)
    ask(harness, case.id, "reconcile")
    assert harness.link(case.id).service_id == seeds.PAYMENTS_SERVICE_ID
    assert harness.case(case.id).priority is CasePriority.P1
    assert reads_nothing_more(harness)


def test_a_priority_that_waits_while_its_incident_is_moved_is_set_there(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(rate_limit={"next": 1, "match": {"method": "PUT"}})
    harness.application.cases.override_priority(case.id, JANE, CasePriority.P1)
    harness.run()
    hear(harness, case.id, "webhook", lambda: harness.set_incident(case.id, service=PAYMENTS))
    harness.hurry()
    harness.run()
    incident = harness.incident(case.id)
    assert (incident["service"]["id"], incident["priority"]["id"]) == (seeds.PAYMENTS_SERVICE_ID, HIGHEST["id"])
    assert our_writes(harness) == ["open", "priority P1 refused", "priority P1"]


@pytest.mark.parametrize("reaches", ["both", "new"])
def test_a_subscription_that_hears_of_one_service_only_is_mended_and_reconcile_tells_the_rest(
    harness: Harness, reaches: str
) -> None:
    """Ours hears of the whole account; somebody has narrowed it, and then the incident was moved away."""
    harness.faults(service_updated_reaches=reaches)
    case = harness.open_case()
    (subscription,) = harness.sim("GET", "/_sim/state")["webhook_subscriptions"]
    assert subscription["filter"]["type"] == "account_reference"
    narrowed = {"filter": {"type": "service_reference", "id": seeds.CHECKOUT_SERVICE_ID}}
    harness.responder("PUT", f"/webhook_subscriptions/{subscription['id']}", {"webhook_subscription": narrowed})
    harness.next_second()
    harness.set_incident(case.id, service=PAYMENTS)
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    assert harness.case(case.id).status is ACTIVE
    harness.application.keeper._public_url = harness.web_url
    assert harness.application.upkeep.watch()
    (subscription,) = harness.sim("GET", "/_sim/state")["webhook_subscriptions"]
    assert subscription["filter"]["type"] == "account_reference"
    ask(harness, case.id, "reconcile")
    assert harness.case(case.id).status is ACKNOWLEDGED
    assert reads_nothing_more(harness)


# ------------------------------------------------------------------ deleted


def by_reconcile(harness: Harness, case_id: str) -> None:
    harness.application.upkeep.reconcile()


def by_a_resolve(harness: Harness, case_id: str) -> None:
    harness.application.cases.resolve(case_id, JANE, "rolled back")


def by_an_acknowledge(harness: Harness, case_id: str) -> None:
    harness.application.cases.acknowledge(case_id, JANE)


def by_a_comment(harness: Harness, case_id: str) -> None:
    harness.application.cases.add_comment(case_id, JANE, "is anybody there?")


@pytest.mark.parametrize(
    ("status", "code", "found_out"),
    [
        pytest.param(404, 2100, by_reconcile, id="404 2100, missing from the pages"),
        pytest.param(404, 2100, by_a_resolve, id="404 2100, a resolve"),
        pytest.param(404, 5001, by_an_acknowledge, id="404 5001, a read before an acknowledge"),
        pytest.param(404, 5001, by_a_comment, id="404 5001, a note"),
        pytest.param(410, 5001, by_reconcile, id="410, missing from the pages"),
        pytest.param(410, 2100, by_a_resolve, id="410, a resolve"),
    ],
)
def test_a_deleted_incident_ends_the_link_and_the_case_is_told(
    harness: Harness, status: int, code: int, found_out: Callable[[Harness, str], None]
) -> None:
    harness.faults(deleted_incident_status=status, incident_not_found_code=code)
    case = harness.open_case()
    harness.add_note(case.id, "looking into it")
    harness.run()
    delete(harness, incident_id_of(harness, case.id))
    found_out(harness, case.id)
    harness.run()
    link = harness.link(case.id)
    assert (link.state, link.ended_reason) == (LinkState.ENDED, "not_found")
    assert "not_found" in harness.reasons(case.id)
    assert told(harness, case.id, "has no incident") == 1
    assert told(harness, case.id, "looking into it") == 1
    assert all(write == "open" or write.endswith("refused") for write in our_writes(harness))
    # What changes later goes nowhere, and says so.
    harness.application.cases.close(case.id, JANE)
    harness.run()
    assert harness.reasons(case.id, "statusChanged")[-1] == "link_ended"
    assert told(harness, case.id, "has no incident") == 1
    assert reads_nothing(harness)


def reads_nothing(harness: Harness) -> bool:
    return harness.application.upkeep.reconcile().integration_ids == []


def test_one_deleted_incident_holds_up_none_of_those_resolved_with_it(harness: Harness) -> None:
    cases = [harness.open_case(f"number {number}") for number in range(5)]
    delete(harness, incident_id_of(harness, cases[2].id))
    for case in cases:
        harness.application.cases.resolve(case.id, JANE)
    harness.run()
    assert [harness.link(case.id).state for case in cases].count(LinkState.ENDED) == 1
    assert harness.link(cases[2].id).ended_reason == "not_found"
    living = [case for case in cases if case is not cases[2]]
    assert {harness.incident(case.id)["status"] for case in living} == {"resolved"}


def test_after_a_deletion_a_case_is_linked_anew_by_hand_and_nothing_said_meanwhile_is_lost(harness: Harness) -> None:
    case = harness.open_case()
    delete(harness, incident_id_of(harness, case.id))
    ask(harness, case.id, "reconcile")
    harness.application.cases.acknowledge(case.id, JANE)
    harness.application.cases.add_comment(case.id, JANE, "said meanwhile")
    harness.run()
    assert our_writes(harness) == ["open"]
    assert harness.reasons(case.id, "comment")[-1] == "link_ended"
    incident_id = an_open_incident(harness)
    harness.application.linking.link(case.id, incident_id, actor=JANE, who="jane")
    harness.run()
    assert harness.link(case.id).incident_id == incident_id
    assert harness.incident(case.id)["status"] == "acknowledged"
    assert sum("said meanwhile" in note for note in harness.notes(case.id)) == 1
    assert told(harness, case.id, "has no incident") == 1
