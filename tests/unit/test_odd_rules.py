"""Rules for odd incidents that no story shows by itself: where an incident is, and what an ended link still owes."""

from __future__ import annotations

import pytest

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.links import Ledger, LedgerEntry, LinkState
from pagerduty_sync.domain.mapping import COMMENT_CHARACTERS, CUT_MARK
from pagerduty_sync.domain.observing import PAGERDUTY, look_at_incident
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.domain.plans import PlaceComment, ReadNotes
from tests.link_builders import ADA, JANE, POLICY, a_case, a_link, an_incident, at


@pytest.mark.parametrize(
    ("seconds", "service", "becomes"),
    [
        pytest.param(2, "PSVC002", "PSVC002", id="the latest says where it is"),
        pytest.param(0, "PSVC002", "PSVC001", id="an older one does not"),
        pytest.param(2, "", "PSVC001", id="one that names no service says nothing"),
    ],
)
def test_a_link_knows_the_service_its_incident_is_on(seconds: float, service: str, becomes: str) -> None:
    incident = an_incident("acknowledged", seconds, service_id=service)
    link, _ = look_at_incident(a_link(), incident, "incident.acknowledged")
    assert link.service_id == becomes


@pytest.mark.parametrize("first", ["webhooks in order", "webhooks in reverse"])
def test_in_whatever_order_a_move_is_heard_of_the_later_place_counts(first: str) -> None:
    before, after = an_incident(seconds=2, service_id="PSVC001"), an_incident(seconds=3, service_id="PSVC002")
    link = a_link()
    for incident in (before, after) if first == "webhooks in order" else (after, before):
        link, _ = look_at_incident(link, incident, "incident.service_updated")
    assert link.service_id == "PSVC002"


def an_entry(direction: str, **changes: object) -> LedgerEntry:
    entry_id = f"{direction}-1"
    values = {"kind": "comment", "source_id": entry_id, "author": ADA, "text": "on it"}
    return LedgerEntry(entry_id, direction, **{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("ended", ["merged", "unlinked", "not_found"])
def test_an_ended_link_still_gives_the_case_what_it_took_in_and_the_incident_nothing(ended: str) -> None:
    link = a_link(("ACTIVE", "triggered"), "acknowledged", state=LinkState.ENDED, ended_reason=ended)
    owed = an_entry("inbound")
    ledger = Ledger((owed, an_entry("outbound", author=JANE)))
    planned = plan(link, ledger, a_case(CaseStatus.RESOLVED), POLICY, is_fresh=True)
    assert planned.case_actions == (PlaceComment(owed),)
    assert planned.incident_actions == ()
    assert set(planned.reasons.values()) == {Reason.LINK_ENDED}
    assert len(planned.tells) == (1 if ended == "not_found" else 0)


def test_that_an_incident_is_gone_is_told_once() -> None:
    link = a_link(state=LinkState.ENDED, ended_reason="not_found")
    (tell,) = plan(link, Ledger(), a_case(), POLICY).tells
    assert "no incident #7" in tell.text and tell.author == PAGERDUTY
    told = an_entry("inbound", kind="story", source_id=tell.source_id, state="placed")
    assert plan(link, Ledger((told,)), a_case(), POLICY).tells == ()


def test_a_trimmed_note_is_read_before_a_merge_is_followed() -> None:
    link = a_link(incident="resolved", merged_into="Q0INC2", wants_notes=True)
    planned = plan(link, Ledger(), a_case(), POLICY)
    assert (planned.incident_actions, planned.follows) == ((ReadNotes(),), None)


@pytest.mark.parametrize(
    ("case_reason", "tells"),
    [
        pytest.param("x" * 2_000, 0, id="whole, so there is nothing to tell"),
        pytest.param("x" * 493 + CUT_MARK, 1, id="as far as a reason reaches, so the whole of it is told"),
    ],
)
def test_a_long_resolution_note_the_case_has_already_is_settled(case_reason: str, tells: int) -> None:
    link = a_link(("RESOLVED", "resolved"), "resolved", resolution=((None, None), "x" * 2_000))
    case = a_case(CaseStatus.RESOLVED, resolution_reason=case_reason, resolution_changed_at=at(5))
    planned = plan(link, Ledger(), case, POLICY)
    assert planned.reasons[Field.RESOLUTION_NOTES] is Reason.IN_STEP
    assert (planned.case_actions, len(planned.tells)) == ((), tells)
    assert planned.settled[Field.RESOLUTION_NOTES].case == case_reason


def test_what_is_told_is_never_longer_than_a_comment_may_be() -> None:
    note = "é" * 30_000
    link = a_link(("CLOSED", "resolved"), "resolved", resolution=((None, None), note))
    (tell,) = plan(link, Ledger(), a_case(CaseStatus.CLOSED), POLICY).tells
    assert len(tell.text) == COMMENT_CHARACTERS and tell.text.endswith("[cut]")
