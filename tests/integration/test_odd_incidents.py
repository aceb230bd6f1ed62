"""Merge, re-open, time-out, snooze, urgency, move: what becomes of the pair, however and whenever it is heard of.

Where PagerDuty's behaviour is not confirmed, a switch of the simulator plays it both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    hear,
    incident_id_of,
    merge,
    our_writes,
    pass_time,
    reads_nothing_more,
    told,
)

ACTIVE, ACKNOWLEDGED, RESOLVED = CaseStatus.ACTIVE, CaseStatus.ACKNOWLEDGED, CaseStatus.RESOLVED
NOT_NOW = {"rate_limit": {"next": 1, "match": {"method": "PUT"}}}


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


@pytest.fixture
def reluctant(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    """With UNACKNOWLEDGE_CASES off."""
    with a_harness(database_url, redis_url, tmp_path, unacknowledge_cases="false") as made:
        yield made


# ------------------------------------------------------------------ merge


@pytest.mark.parametrize("way", WAYS)
def test_a_merge_resolves_no_case_and_the_link_follows(harness: Harness, way: str) -> None:
    case = harness.open_case()
    source, target = incident_id_of(harness, case.id), an_open_incident(harness, seeds.PAYMENTS_SERVICE_ID)
    hear(harness, case.id, way, lambda: merge(harness, source, target))
    link = harness.link(case.id)
    assert (link.incident_id, link.state, link.service_id) == (target, LinkState.LINKED, seeds.PAYMENTS_SERVICE_ID)
    assert harness.case(case.id).status is ACTIVE
    assert told(harness, case.id, target) == 1
    assert harness.reasons(case.id, "incident.resolved") == (["merged"] if way == "webhook" else [])
    assert our_writes(harness) == ["open"]
    assert reads_nothing_more(harness)
    harness.set_incident(case.id, status="resolved")
    harness.run()
    assert harness.case(case.id).status is RESOLVED


@pytest.mark.parametrize("way", ["webhook", "reconcile"])
def test_a_merge_into_an_incident_with_a_case_of_its_own_ends_the_link_and_says_so(harness: Harness, way: str) -> None:
    case, other = harness.open_case("one"), harness.open_case("two")
    source, target = incident_id_of(harness, case.id), incident_id_of(harness, other.id)
    hear(harness, case.id, way, lambda: merge(harness, source, target))
    link = harness.link(case.id)
    assert (link.state, link.ended_reason, harness.case(case.id).status) == (LinkState.ENDED, "merged", ACTIVE)
    assert told(harness, case.id, target) == 1
    harness.application.cases.resolve(case.id, JANE, "the other one caused it")
    harness.application.cases.add_comment(case.id, JANE, "see there")
    harness.run()
    assert harness.reasons(case.id, "statusChanged")[-1] == "link_ended"
    assert our_writes(harness) == ["open", "open"]
    assert harness.incident(other.id)["status"] == "triggered"


def test_a_resolve_that_waits_while_its_incident_is_merged_resolves_neither(harness: Harness) -> None:
    case = harness.open_case()
    source, target = incident_id_of(harness, case.id), an_open_incident(harness)
    harness.faults(**NOT_NOW)
    harness.application.cases.resolve(case.id, JANE)
    harness.run()
    hear(harness, case.id, "webhook", lambda: merge(harness, source, target))
    harness.hurry()
    harness.run()
    assert harness.link(case.id).incident_id == target
    assert harness.incident(case.id)["status"] == "triggered"
    assert our_writes(harness) == ["open", "resolved refused"]


@pytest.mark.parametrize("moves", [False, True], ids=["notes stay", "notes move"])
def test_a_note_whose_reply_was_lost_before_a_merge_stands_once(harness: Harness, moves: bool) -> None:
    case = harness.open_case()
    source, target = incident_id_of(harness, case.id), an_open_incident(harness)
    harness.faults(merged_notes="move" if moves else "stay", webhook_drop={"probability": 1.0})
    harness.add_note(case.id, "a responder's")
    harness.application.upkeep.reconcile()
    harness.run()
    harness.faults(lose_reply={"next": 1, "match": {"method": "POST", "path": "/notes"}})
    harness.application.cases.add_comment(case.id, JANE, "once only")
    harness.run()
    merge(harness, source, target)
    harness.hurry()
    ask(harness, case.id, "reconcile")
    harness.hurry()
    harness.run()
    assert harness.link(case.id).incident_id == target
    notes = [note["content"] for one in harness.incidents_opened() for note in one["notes"]]
    assert sum("once only" in note for note in notes) == 1
    assert harness.comments(case.id).count("a responder's") == 1
    assert our_writes(harness) == ["open", "note"]


# ------------------------------------------------------------------ re-open


@pytest.mark.parametrize("way", WAYS)
def test_a_re_open_is_told_once_and_changes_nothing(harness: Harness, way: str) -> None:
    case = harness.open_case()
    harness.set_incident(case.id, status="resolved")
    harness.run()
    hear(harness, case.id, way, lambda: harness.set_incident(case.id, status="triggered"))
    assert harness.case(case.id).status is RESOLVED
    assert harness.incident(case.id)["status"] == "triggered"
    assert told(harness, case.id, "re-opened") == 1
    assert harness.reasons(case.id, "incident.reopened") == (["case_cannot_reopen"] if way == "webhook" else [])
    assert our_writes(harness) == ["open"]
    hear(harness, case.id, "webhook", lambda: harness.set_incident(case.id, status="resolved"))
    assert told(harness, case.id, "re-opened") == 1
    assert reads_nothing_more(harness)


@pytest.mark.parametrize("follows", [False, True], ids=["one webhook", "acknowledged follows"])
def test_a_re_open_by_acknowledging_is_told_once(harness: Harness, follows: bool) -> None:
    harness.faults(acknowledged_follows_reopen=follows)
    case = harness.open_case()
    harness.set_incident(case.id, status="resolved")
    harness.run()
    hear(harness, case.id, "webhook", lambda: harness.set_incident(case.id, status="acknowledged"))
    assert harness.case(case.id).status is RESOLVED
    assert told(harness, case.id, "re-opened") == 1
    assert set(harness.reasons(case.id, "incident.acknowledged")) == ({"case_cannot_reopen"} if follows else set())
    assert our_writes(harness) == ["open"]


def test_a_comment_that_waits_over_a_re_open_is_posted_and_nothing_else(harness: Harness) -> None:
    case = harness.open_case()
    harness.set_incident(case.id, status="resolved")
    harness.run()
    harness.faults(rate_limit={"next": 1, "match": {"path": "/notes"}})
    harness.application.cases.add_comment(case.id, JANE, "for the record")
    harness.run()
    hear(harness, case.id, "webhook", lambda: harness.set_incident(case.id, status="triggered"))
    harness.hurry()
    harness.run()
    assert harness.incident(case.id)["status"] == "triggered"
    assert our_writes(harness) == ["open", "note refused", "note"]


# ------------------------------------------------------------------ acknowledge time-out


def acknowledged_on_a_service_with_timers(harness: Harness) -> str:
    """A Case whose incident Ada has acknowledged, on the service whose acknowledges time out after half an hour."""
    with harness.application.database.transaction() as conn:
        conn.execute("UPDATE connectors SET service_id = %s", (seeds.PAYMENTS_SERVICE_ID,))
    case_id = harness.open_case().id
    hear(harness, case_id, "webhook", lambda: harness.set_incident(case_id, status="acknowledged"))
    assert harness.case(case_id).status is ACKNOWLEDGED
    return case_id


def time_out(harness: Harness) -> None:
    pass_time(harness, 1801)


@pytest.mark.parametrize(("way", "agent"), [*((way, "null") for way in WAYS), ("webhook", "service")])
def test_an_acknowledge_that_times_out_makes_the_case_active_again(harness: Harness, way: str, agent: str) -> None:
    harness.faults(timer_agent=agent)
    case_id = acknowledged_on_a_service_with_timers(harness)
    hear(harness, case_id, way, lambda: time_out(harness))
    assert harness.case(case_id).status is ACTIVE
    assert harness.incident(case_id)["status"] == "triggered"
    assert harness.reasons(case_id, "incident.unacknowledged") == (["applied"] if way == "webhook" else [])
    assert harness.reasons(case_id, "unacknowledge_case") == ([] if way == "webhook" else ["healed"])
    assert our_writes(harness) == ["open"]
    assert reads_nothing_more(harness)


@pytest.mark.parametrize("way", ["webhook", "reconcile"])
def test_with_the_setting_off_a_time_out_leaves_the_case_as_it_is(reluctant: Harness, way: str) -> None:
    case_id = acknowledged_on_a_service_with_timers(reluctant)
    hear(reluctant, case_id, way, lambda: time_out(reluctant))
    assert reluctant.case(case_id).status is ACKNOWLEDGED
    assert reluctant.incident(case_id)["status"] == "triggered"
    assert reluctant.reasons(case_id, "incident.unacknowledged") == (["unacknowledge_off"] if way == "webhook" else [])
    # It is not acknowledged again for Ada, and she may do so herself.
    assert our_writes(reluctant) == ["open"]
    hear(reluctant, case_id, "webhook", lambda: reluctant.set_incident(case_id, status="acknowledged"))
    assert reluctant.reasons(case_id, "incident.acknowledged")[-1] == "in_step"
    assert our_writes(reluctant) == ["open"]


def test_a_time_out_while_a_priority_waits_lets_both_through(harness: Harness) -> None:
    case_id = acknowledged_on_a_service_with_timers(harness)
    harness.faults(**NOT_NOW)
    harness.application.cases.override_priority(case_id, JANE, CasePriority.P1)
    harness.run()
    hear(harness, case_id, "webhook", lambda: time_out(harness))
    harness.hurry()
    harness.run()
    assert harness.case(case_id).status is ACTIVE
    assert harness.incident(case_id)["priority"]["id"] == seeds.PRIORITY_IDS["P1"]
    assert our_writes(harness) == ["open", "priority P1 refused", "priority P1"]


# ------------------------------------------------------------------ snooze


def snooze(harness: Harness, case_id: str) -> None:
    harness.responder("POST", f"/incidents/{incident_id_of(harness, case_id)}/snooze", {"duration": 300})


@pytest.mark.parametrize("reports", [True, False], ids=["its acknowledge is reported", "nothing is reported"])
@pytest.mark.parametrize("way", ["webhook", "reconcile"])
def test_a_snooze_acknowledges_and_its_end_makes_active_again(harness: Harness, way: str, reports: bool) -> None:
    harness.faults(snooze_reports=reports)
    case = harness.open_case()
    hear(harness, case.id, way, lambda: snooze(harness, case.id))
    if way == "webhook" and not reports:
        assert harness.case(case.id).status is ACTIVE
        ask(harness, case.id, "reconcile")
    assert harness.case(case.id).status is ACKNOWLEDGED
    # That it will end is announced in `pending_actions`, and announcing changes nothing.
    assert [one["type"] for one in harness.incident(case.id)["pending_actions"]] == ["unacknowledge"]
    assert reads_nothing_more(harness)
    hear(harness, case.id, way, lambda: pass_time(harness, 301))
    assert harness.incident(case.id)["status"] == "triggered"
    assert harness.case(case.id).status is ACTIVE
    assert our_writes(harness) == ["open"]


def test_with_the_setting_off_the_end_of_a_snooze_leaves_the_case_as_it_is(reluctant: Harness) -> None:
    case = reluctant.open_case()
    hear(reluctant, case.id, "webhook", lambda: snooze(reluctant, case.id))
    hear(reluctant, case.id, "webhook", lambda: pass_time(reluctant, 301))
    assert reluctant.case(case.id).status is ACKNOWLEDGED
    assert reluctant.reasons(case.id, "incident.unacknowledged") == ["unacknowledge_off"]


def test_an_acknowledge_of_the_case_never_ends_somebodys_snooze(harness: Harness) -> None:
    """A second acknowledge would; so the incident is read first, and one that is acknowledged is left alone."""
    case = harness.open_case()
    harness.faults(webhook_drop={"probability": 1.0})
    snooze(harness, case.id)
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert our_writes(harness) == ["open"]
    harness.faults(webhook_drop=None)
    hear(harness, case.id, "webhook", lambda: pass_time(harness, 301))
    assert harness.case(case.id).status is ACTIVE


# ------------------------------------------------------------------ urgency raised


@pytest.mark.parametrize(("way", "reports"), [*((way, True) for way in WAYS), ("webhook", False)])
def test_a_raised_urgency_makes_the_case_active_again(harness: Harness, way: str, reports: bool) -> None:
    harness.faults(urgency_raise_reports=reports)
    case = harness.open_case()
    harness.set_incident(case.id, status="acknowledged", urgency="low")
    harness.run()
    assert harness.case(case.id).status is ACKNOWLEDGED
    hear(harness, case.id, way, lambda: harness.set_incident(case.id, urgency="high"))
    if way == "webhook" and not reports:
        ask(harness, case.id, "reconcile")
    assert harness.incident(case.id)["status"] == "triggered"
    assert harness.case(case.id).status is ACTIVE
    assert our_writes(harness) == ["open"]


def test_with_the_setting_off_a_raised_urgency_leaves_the_case_as_it_is(reluctant: Harness) -> None:
    case = reluctant.open_case()
    reluctant.set_incident(case.id, status="acknowledged", urgency="low")
    reluctant.run()
    hear(reluctant, case.id, "webhook", lambda: reluctant.set_incident(case.id, urgency="high"))
    assert reluctant.case(case.id).status is ACKNOWLEDGED
    assert reluctant.reasons(case.id, "incident.unacknowledged") == ["unacknowledge_off"]
    assert our_writes(reluctant) == ["open"]
