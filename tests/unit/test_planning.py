"""The rules of the mapping, one named row each: what a difference between the two sides leads to."""

from __future__ import annotations

from typing import Any

import pytest

from pagerduty_sync.domain.cases import Case, CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field, FieldDirection, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.domain.links import Agreement, Ledger, LedgerEntry, Link, LinkState
from pagerduty_sync.domain.observing import look_at_event
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.domain.plans import (
    ChangeCase,
    ChangeIncident,
    OpenIncident,
    PlaceComment,
    Plan,
    PostNote,
    ReadIncident,
    ReadNotes,
)
from tests.link_builders import ADA, JANE, POLICY, PRIORITIES, a_case, a_link, a_note_event, at, seen

ACTIVE, ACKNOWLEDGED, RESOLVED, CLOSED, PENDING = (
    CaseStatus.ACTIVE,
    CaseStatus.ACKNOWLEDGED,
    CaseStatus.RESOLVED,
    CaseStatus.CLOSED,
    CaseStatus.PENDING_ACTIVATION,
)
P1, P3, P5 = CasePriority.P1, CasePriority.P3, CasePriority.P5


def planned(link: Link, case: Case, policy: Policy = POLICY, ledger: Ledger | None = None, **options: Any) -> Plan:
    return plan(link, ledger or Ledger(), case, policy, **options)


def changes_of_case(result: Plan) -> list[tuple[Any, ...]]:
    return [
        (action.status, action.priority, action.reason)
        for action in result.case_actions
        if isinstance(action, ChangeCase)
    ]


def changes_of_incident(result: Plan) -> list[Any]:
    found: list[Any] = []
    for action in result.incident_actions:
        if isinstance(action, ChangeIncident):
            found.append(action.status.value if action.status else ("priority", action.priority_id))
        else:
            found.append(type(action).__name__)
    return found


STATUS_FROM_PAGERDUTY = [
    # agreed before, incident now, Case now → Case becomes, reason
    pytest.param(
        ("ACTIVE", "triggered"), "acknowledged", ACTIVE, ACKNOWLEDGED, Reason.APPLIED, id="acknowledged acknowledges"
    ),
    pytest.param(
        ("ACKNOWLEDGED", "acknowledged"),
        "triggered",
        ACKNOWLEDGED,
        ACTIVE,
        Reason.APPLIED,
        id="an acknowledge that timed out makes the Case active again",
    ),
    pytest.param(("ACTIVE", "triggered"), "resolved", ACTIVE, RESOLVED, Reason.APPLIED, id="resolved resolves"),
    pytest.param(
        ("ACKNOWLEDGED", "acknowledged"), "resolved", ACKNOWLEDGED, RESOLVED, Reason.APPLIED, id="resolved after ack"
    ),
    pytest.param(
        ("RESOLVED", "resolved"), "triggered", RESOLVED, None, Reason.CASE_CANNOT_REOPEN, id="re-open is only told"
    ),
    pytest.param(
        ("RESOLVED", "resolved"),
        "acknowledged",
        RESOLVED,
        None,
        Reason.CASE_CANNOT_REOPEN,
        id="re-open by acknowledge is only told",
    ),
    pytest.param(
        ("RESOLVED", "triggered"),
        "acknowledged",
        RESOLVED,
        None,
        Reason.CASE_CANNOT_REOPEN,
        id="what follows a re-open moves a resolved Case no more",
    ),
    pytest.param(("ACTIVE", "triggered"), "triggered", ACTIVE, None, Reason.IN_STEP, id="nothing moved, nothing to do"),
    pytest.param(
        ("ACTIVE", "triggered"), "acknowledged", ACKNOWLEDGED, None, Reason.IN_STEP, id="both moved to the same"
    ),
    pytest.param(
        ("ACTIVE", "triggered"), "resolved", ACKNOWLEDGED, RESOLVED, Reason.APPLIED, id="both moved: resolved wins"
    ),
    pytest.param(
        ("ACKNOWLEDGED", "acknowledged"), "resolved", ACTIVE, RESOLVED, Reason.APPLIED, id="resolved beats unack"
    ),
    pytest.param(
        ("ACTIVE", "triggered"), "acknowledged", CLOSED, None, Reason.CASE_CLOSED, id="a closed Case is not changed"
    ),
    pytest.param(
        ("ACTIVE", "triggered"),
        "acknowledged",
        PENDING,
        None,
        Reason.WAITS_FOR_ACTIVATION,
        id="a Case that is not active yet waits",
    ),
]


@pytest.mark.parametrize(("agreed", "incident", "case", "becomes", "reason"), STATUS_FROM_PAGERDUTY)
def test_status_from_pagerduty(
    agreed: tuple[str, str], incident: str, case: CaseStatus, becomes: CaseStatus | None, reason: Reason
) -> None:
    result = planned(a_link(agreed, incident), a_case(case), is_fresh=True)
    assert changes_of_case(result) == ([(becomes, None, None)] if becomes else [])
    assert result.reasons[Field.STATUS] is reason
    assert all(action.actor == ADA for action in result.case_actions if isinstance(action, ChangeCase))
    assert not any(isinstance(action, ChangeIncident) for action in result.incident_actions)


STATUS_FROM_CASE = [
    pytest.param(
        ("ACTIVE", "triggered"), "triggered", ACKNOWLEDGED, ["acknowledged"], Reason.APPLIED, id="acknowledge travels"
    ),
    pytest.param(
        ("ACKNOWLEDGED", "acknowledged"), "acknowledged", RESOLVED, ["resolved"], Reason.APPLIED, id="resolve travels"
    ),
    pytest.param(
        ("ACTIVE", "triggered"), "acknowledged", RESOLVED, ["resolved"], Reason.APPLIED, id="the Case got further"
    ),
    pytest.param(
        ("ACKNOWLEDGED", "acknowledged"),
        "triggered",
        RESOLVED,
        ["resolved"],
        Reason.APPLIED,
        id="resolve beats an acknowledge time-out",
    ),
    pytest.param(
        ("ACKNOWLEDGED", "acknowledged"),
        "acknowledged",
        ACTIVE,
        [],
        Reason.NO_EQUIVALENT,
        id="un-acknowledge has no word in PagerDuty",
    ),
    pytest.param(
        ("ACTIVE", "resolved"), "resolved", ACKNOWLEDGED, [], Reason.INCIDENT_NEVER_REOPENED, id="never re-opened"
    ),
    pytest.param(
        ("RESOLVED", "resolved"), "resolved", CLOSED, [], Reason.CASE_CLOSED, id="closed after resolve: nothing"
    ),
]


@pytest.mark.parametrize(("agreed", "incident", "case", "calls", "reason"), STATUS_FROM_CASE)
def test_status_from_the_case(
    agreed: tuple[str, str], incident: str, case: CaseStatus, calls: list[str], reason: Reason
) -> None:
    result = planned(a_link(agreed, incident), a_case(case), is_fresh=True)
    assert changes_of_incident(result) == calls
    assert result.reasons[Field.STATUS] is reason
    assert not result.case_actions


def test_an_acknowledge_asks_for_a_fresh_read_first() -> None:
    """A late acknowledge would re-open a resolved incident and page again."""
    link = a_link()
    assert changes_of_incident(planned(link, a_case(ACKNOWLEDGED), is_fresh=False)) == ["ReadIncident"]
    assert changes_of_incident(planned(link, a_case(ACKNOWLEDGED), is_fresh=True)) == ["acknowledged"]


def test_a_closed_case_leaves_one_final_note_on_an_open_incident() -> None:
    link = a_link(("ACKNOWLEDGED", "acknowledged"), "acknowledged")
    result = planned(link, a_case(CLOSED), is_fresh=True)
    assert [(tell.direction, tell.kind, tell.author) for tell in result.tells] == [("outbound", "final_note", JANE)]
    assert changes_of_incident(result) == []
    assert result.settled[Field.STATUS] == Agreement("CLOSED", "acknowledged")
    again = planned(a_link(("CLOSED", "acknowledged"), "triggered"), a_case(CLOSED), is_fresh=True)
    assert not again.tells


def test_the_final_note_asks_for_a_fresh_read_first() -> None:
    assert changes_of_incident(planned(a_link(), a_case(CLOSED))) == ["ReadIncident"]


def test_a_re_open_is_told_once_and_settled() -> None:
    result = planned(a_link(("RESOLVED", "resolved"), "triggered"), a_case(RESOLVED))
    assert [tell.direction for tell in result.tells] == ["inbound"]
    assert "re-opened by Ada Responder" in result.tells[0].text
    assert result.settled[Field.STATUS] == Agreement("RESOLVED", "triggered")


def test_un_acknowledging_can_be_switched_off() -> None:
    policy = Policy(priority_map=PRIORITIES, unacknowledges_cases=False)
    result = planned(a_link(("ACKNOWLEDGED", "acknowledged"), "triggered"), a_case(ACKNOWLEDGED), policy)
    assert not result.case_actions
    assert result.reasons[Field.STATUS] is Reason.UNACKNOWLEDGE_OFF


@pytest.mark.parametrize(
    ("direction", "incident", "case"),
    [
        pytest.param(FieldDirection.OUT, "acknowledged", ACTIVE, id="in is off"),
        pytest.param(FieldDirection.IN, "triggered", ACKNOWLEDGED, id="out is off"),
        pytest.param(FieldDirection.OFF, "acknowledged", ACTIVE, id="off: from PagerDuty"),
        pytest.param(FieldDirection.OFF, "triggered", ACKNOWLEDGED, id="off: from the Case"),
    ],
)
def test_a_direction_that_is_off_settles_without_a_write(
    direction: FieldDirection, incident: str, case: CaseStatus
) -> None:
    policy = Policy(directions={Field.STATUS: direction}, priority_map=PRIORITIES)
    result = planned(a_link(incident=incident), a_case(case), policy, is_fresh=True)
    assert result.reasons[Field.STATUS] is Reason.DIRECTION_OFF
    assert not result.case_actions and not result.incident_actions
    assert result.settled[Field.STATUS] == Agreement(case.value, incident)


def test_with_two_way_off_nothing_comes_in_and_everything_goes_out() -> None:
    policy = Policy(priority_map=PRIORITIES, is_two_way=False)
    assert not planned(a_link(incident="acknowledged"), a_case(ACTIVE), policy).case_actions
    assert changes_of_incident(planned(a_link(), a_case(RESOLVED), policy)) == ["resolved"]


# ------------------------------------------------------------------ merge


def test_a_merge_never_resolves_the_case_and_the_link_follows() -> None:
    link = a_link(incident="resolved", merged_into="Q0TARGET")
    result = planned(link, a_case(ACTIVE))
    assert not result.case_actions and not result.incident_actions
    assert result.follows == "Q0TARGET"
    assert "Q0TARGET" in result.tells[0].text


def test_before_following_a_merge_it_is_found_out_where_a_doubtful_note_stands() -> None:
    sending = LedgerEntry("c1", "outbound", "comment", "event-1", JANE, "looking", "sending")
    result = planned(a_link(incident="resolved", merged_into="Q0TARGET"), a_case(ACTIVE), ledger=Ledger((sending,)))
    assert (result.incident_actions, result.follows) == ((ReadNotes(),), None)


def test_a_merge_after_the_case_closed_ends_the_link() -> None:
    result = planned(a_link(incident="resolved", merged_into="Q0TARGET"), a_case(CLOSED))
    assert (result.follows, result.ends) == (None, Reason.MERGED)


# ------------------------------------------------------------------ priority

PRIORITY = [
    # agreed pair, incident now, Case override now, → (Case write | incident write), reason
    pytest.param(("system:P3", "PRIO3"), "PRIO1", None, (P1, None), Reason.APPLIED, id="changed in PagerDuty"),
    pytest.param(("override:P1", "PRIO1"), None, P1, ("clear", None), Reason.APPLIED, id="cleared in PagerDuty"),
    pytest.param(("system:P3", "PRIO3"), None, None, None, Reason.IN_STEP, id="cleared, but no override to take off"),
    pytest.param(("system:P3", "PRIO3"), "PRIO3", P1, (None, "PRIO1"), Reason.APPLIED, id="set on the Case"),
    pytest.param(("override:P1", "PRIO1"), "PRIO1", None, (None, "none"), Reason.APPLIED, id="override taken off"),
    pytest.param(("system:P3", "PRIO3"), "PRIO1", P1, None, Reason.IN_STEP, id="both moved to the same"),
    pytest.param(("system:P3", "PRIO3"), "P---", None, None, Reason.UNMAPPED_PRIORITY, id="unmapped in PagerDuty"),
    pytest.param(("system:P1", "PRIO1"), "PRIO1", None, (None, "PRIO3"), Reason.APPLIED, id="the system's own moved"),
]


@pytest.mark.parametrize(("agreed", "incident", "override", "expected", "reason"), PRIORITY)
def test_priority(
    agreed: tuple[str, str | None], incident: str | None, override: CasePriority | None, expected: Any, reason: Reason
) -> None:
    case = a_case(override_priority=override)
    result = planned(a_link(priority=(agreed, incident)), case)
    on_case = [
        action.priority or "clear"
        for action in result.case_actions
        if isinstance(action, ChangeCase) and action.field is Field.PRIORITY
    ]
    on_incident = [
        action.priority_id or "none"
        for action in result.incident_actions
        if isinstance(action, ChangeIncident) and action.field is Field.PRIORITY
    ]
    wanted_case, wanted_incident = expected or (None, None)
    assert on_case == ([wanted_case] if wanted_case else [])
    assert on_incident == ([wanted_incident] if wanted_incident else [])
    assert result.reasons[Field.PRIORITY] is reason


@pytest.mark.parametrize(
    ("case_changed", "incident_changed", "winner"),
    [
        pytest.param(5, 4, "case", id="the Case's is later"),
        pytest.param(4, 5, "incident", id="PagerDuty's is later"),
        pytest.param(5, 5, "incident", id="PagerDuty wins a tie"),
    ],
)
def test_of_two_priorities_the_later_wins(case_changed: float, incident_changed: float, winner: str) -> None:
    link = a_link(priority=(("system:P3", "PRIO3"), "PRIO5")).see(
        Field.PRIORITY, seen("PRIO5", incident_changed, changed=incident_changed)
    )
    result = planned(link, a_case(override_priority=P1, priority_changed_at=at(case_changed)))
    if winner == "case":
        assert changes_of_incident(result) == [("priority", "PRIO1")]
    else:
        assert changes_of_case(result) == [(None, P5, None)]


def test_a_case_priority_without_an_entry_is_reported_not_guessed() -> None:
    policy = Policy(priority_map={P3: "PRIO3"})
    result = planned(a_link(), a_case(override_priority=P1), policy)
    assert result.reasons[Field.PRIORITY] is Reason.UNMAPPED_PRIORITY
    assert not result.incident_actions


def test_a_resolved_case_takes_no_priority_but_hears_of_it() -> None:
    link = a_link(("RESOLVED", "resolved"), "resolved", priority=(("system:P3", "PRIO3"), "PRIO1"))
    result = planned(link, a_case(RESOLVED))
    assert result.reasons[Field.PRIORITY] is Reason.CASE_NOT_OPEN
    assert [tell.direction for tell in result.tells] == ["inbound"]


# ------------------------------------------------------------------ resolution notes


def test_a_resolution_note_known_before_the_resolve_goes_with_it() -> None:
    link = a_link(incident="resolved", resolution=((None, None), "disk was full"))
    assert changes_of_case(planned(link, a_case(ACTIVE))) == [(RESOLVED, None, "disk was full")]


def test_a_resolution_note_waits_for_the_resolve() -> None:
    result = planned(a_link(resolution=((None, None), "disk was full")), a_case(ACTIVE))
    assert not result.case_actions
    assert result.reasons[Field.RESOLUTION_NOTES] is Reason.NOTED


def test_a_resolution_note_after_the_resolve_is_written_to_the_case() -> None:
    link = a_link(("RESOLVED", "resolved"), "resolved", resolution=((None, None), "disk was full"))
    assert changes_of_case(planned(link, a_case(RESOLVED))) == [(None, None, "disk was full")]


def test_a_long_resolution_note_is_cut_on_the_case_and_kept_whole_in_a_comment() -> None:
    long = "x" * 600
    link = a_link(("RESOLVED", "resolved"), "resolved", resolution=((None, None), long))
    result = planned(link, a_case(RESOLVED))
    ((_, _, reason),) = changes_of_case(result)
    assert reason is not None and len(reason) == 500 and reason.endswith("[cut]")
    assert any(long in tell.text for tell in result.tells)


def test_resolving_the_case_posts_its_note_before_the_incident_is_resolved() -> None:
    case = a_case(RESOLVED, resolution_reason="restarted", resolution_changed_at=at(5))
    result = planned(a_link(), case)
    ((tell),) = result.tells
    assert (tell.direction, tell.kind, tell.text, tell.author) == ("outbound", "resolution_note", "restarted", JANE)
    entry = LedgerEntry("aa", "outbound", "resolution_note", tell.source_id, tell.author, tell.text)
    settled = a_link(resolution=(("restarted", None), None))
    result = planned(settled, case, ledger=Ledger((entry,)))
    assert changes_of_incident(result) == ["PostNote", "resolved"]


def test_an_incident_that_shows_no_resolution_note_has_not_moved() -> None:
    """After a merge the link follows an incident nothing has been seen of yet."""
    link = a_link(("RESOLVED", "triggered"), "triggered", resolution=(("fixed", "fixed"), None))
    result = planned(link, a_case(RESOLVED, resolution_reason="fixed"))
    assert not result.case_actions and not result.incident_actions


def test_no_resolution_note_is_owed_to_the_incident_before_every_event_is_folded_in() -> None:
    """A worker wrote Ada's note to the Case and died; her `resolved` is folded in again before her note is."""
    case = a_case(RESOLVED, resolution_reason="hers", resolution_changed_at=at(5))
    assert not planned(a_link(incident="resolved"), case, is_complete=False).tells
    assert planned(a_link(incident="resolved"), case).tells


def test_a_resolution_note_may_go_to_the_log_entry_instead() -> None:
    policy = Policy(priority_map=PRIORITIES, posts_resolution_notes=False)
    case = a_case(RESOLVED, resolution_reason="restarted", resolution_changed_at=at(5))
    result = planned(a_link(), case, policy)
    (action,) = result.incident_actions
    assert isinstance(action, ChangeIncident) and action.resolution == "restarted"
    assert not result.tells


@pytest.mark.parametrize(
    ("case_changed", "reason"),
    [
        pytest.param(0.5, Reason.APPLIED, id="PagerDuty's is later"),
        pytest.param(9, Reason.OVERRULED, id="the Case's is later"),
    ],
)
def test_of_two_resolution_notes_the_later_wins_and_the_other_is_kept(case_changed: float, reason: Reason) -> None:
    link = a_link(("RESOLVED", "resolved"), "resolved", resolution=((None, None), "from PagerDuty"))
    case = a_case(RESOLVED, resolution_reason="from the Case", resolution_changed_at=at(case_changed))
    result = planned(link, case)
    assert result.reasons[Field.RESOLUTION_NOTES] is reason
    loser = "from the Case" if reason is Reason.APPLIED else "from PagerDuty"
    assert any(loser in tell.text for tell in result.tells)


def test_a_resolution_note_after_closing_becomes_a_comment() -> None:
    link = a_link(("CLOSED", "resolved"), "resolved", resolution=((None, None), "late words"))
    result = planned(link, a_case(CLOSED))
    assert not result.case_actions
    assert "late words" in result.tells[0].text


def test_a_closed_cases_reason_is_told_although_pagerduty_got_a_note_too() -> None:
    link = a_link(("CLOSED", "resolved"), "resolved", resolution=((None, None), "theirs"))
    case = a_case(CLOSED, resolution_reason="ours", resolution_changed_at=at(0.5))
    result = planned(link, case)
    assert result.settled[Field.RESOLUTION_NOTES] == Agreement(None, "theirs")
    assert "theirs" in result.tells[0].text


def test_a_note_with_our_marker_is_ours_whatever_its_id() -> None:
    """A worker that stalled past its lease may have written a second copy; it must not become a comment."""
    entry = LedgerEntry("cc5c11b8-0000", "outbound", "comment", "event-1", JANE, "looking", "placed", "PN1")
    event = a_note_event(f"Jane Doe on CASE-12: looking {entry.marker}", note_id="PN2")
    looked = look_at_event(a_link(), Ledger((entry,)), event, a_case(), POLICY, "new")
    assert (looked.reason, looked.ledger) == (Reason.ECHO, Ledger((entry,)))


# ------------------------------------------------------------------ comments, opening, doubt


def test_a_note_is_placed_on_the_case_and_a_comment_posted_to_the_incident() -> None:
    note = LedgerEntry("n1", "inbound", "comment", "PNOTE1", ADA, "on it")
    comment = LedgerEntry("c1", "outbound", "comment", "event-1", JANE, "looking")
    result = planned(a_link(), a_case(), ledger=Ledger((note, comment)))
    assert result.case_actions == (PlaceComment(note),)
    assert result.incident_actions == (PostNote(comment),)


def test_after_a_call_whose_end_is_unknown_the_notes_are_read_before_the_next_try() -> None:
    sending = LedgerEntry("c1", "outbound", "comment", "event-1", JANE, "looking", "sending")
    assert planned(a_link(), a_case(), ledger=Ledger((sending,))).incident_actions == (ReadNotes(),)


def test_a_trimmed_note_asks_for_the_whole_text() -> None:
    assert planned(a_link(wants_notes=True), a_case()).incident_actions == (ReadNotes(),)


def test_a_doubt_is_read_before_any_status_is_written() -> None:
    result = planned(a_link(incident="resolved", is_doubtful=True), a_case(ACKNOWLEDGED))
    assert ReadIncident() in result.incident_actions
    assert not result.case_actions


@pytest.mark.parametrize(
    ("case", "attempted", "expected"),
    [
        pytest.param(ACTIVE, False, (OpenIncident(looks_first=False),), id="an active Case opens"),
        pytest.param(ACKNOWLEDGED, False, (OpenIncident(looks_first=False),), id="an acknowledged one too"),
        pytest.param(ACTIVE, True, (OpenIncident(looks_first=True),), id="after a lost reply: look first"),
        pytest.param(RESOLVED, True, (OpenIncident(looks_first=True),), id="resolved since: look all the same"),
        pytest.param(RESOLVED, False, (), id="resolved before it was opened"),
        pytest.param(CLOSED, False, (), id="closed before it was opened"),
    ],
)
def test_opening(case: CaseStatus, attempted: bool, expected: tuple[Any, ...]) -> None:
    link = a_link(state=LinkState.OPENING, incident_id=None, is_open_attempted=attempted)
    result = planned(link, a_case(case))
    assert result.incident_actions == expected
    assert (result.ends is Reason.NOT_OPEN) == (not expected)


def test_an_ended_link_wants_nothing() -> None:
    result = planned(a_link(incident="resolved", state=LinkState.ENDED), a_case(ACTIVE))
    assert not (result.case_actions or result.incident_actions or result.settled)
    assert set(result.reasons.values()) == {Reason.LINK_ENDED}


def test_we_never_send_triggered() -> None:
    for agreed_case in CaseStatus:
        for case in CaseStatus:
            for agreed_incident in IncidentStatus:
                for incident in IncidentStatus:
                    link = a_link((agreed_case.value, agreed_incident.value), incident.value)
                    result = planned(link, a_case(case), is_fresh=True)
                    for action in result.incident_actions:
                        if isinstance(action, ChangeIncident) and action.status is not None:
                            assert action.status is not IncidentStatus.TRIGGERED
                            assert incident.is_open
                            assert case is not CLOSED
