"""What a plan says of texts: the resolution note of either side, comments and notes, and what is told in a comment."""

from __future__ import annotations

from dataclasses import replace

from pagerduty_sync.domain.cases import Case, CaseStatus
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.links import Agreement, Ledger, Link, Seen
from pagerduty_sync.domain.mapping import COMMENT_CHARACTERS, RESOLUTION_REASON_CHARACTERS, cut_characters
from pagerduty_sync.domain.merging import Moved, moved
from pagerduty_sync.domain.observing import PAGERDUTY
from pagerduty_sync.domain.plans import ChangeCase, IncidentAction, Part, PlaceComment, PostNote, ReadNotes, Tell

# ------------------------------------------------------------------ resolution notes


def plan_resolution_note(link: Link, case: Case, policy: Policy, is_complete: bool) -> Part:
    """The later note counts on both sides; the other one is kept as a comment."""
    seen = link.seen(Field.RESOLUTION_NOTES)
    agreed = link.agreed(Field.RESOLUTION_NOTES)
    # An incident that shows no resolution note, as after a merge, has not moved.
    now = Agreement(case.resolution_reason, seen.value if seen else agreed.incident)
    which = moved(agreed, now.case, now.incident)
    if which is Moved.NEITHER:
        return Part(Reason.IN_STEP)
    if now.case in (now.incident, _reads_as(now.incident)):
        whole = _whole(seen) if seen and now.case != now.incident else ()
        return Part(Reason.IN_STEP, settled=now, tells=whole)
    if which is Moved.CASE:
        return _resolution_to_incident(case, policy, now) if is_complete else Part(Reason.NOTED)
    assert seen is not None and seen.value is not None
    if which is Moved.INCIDENT:
        return _resolution_to_case(case, policy, seen, now)
    if case.resolution_changed_at is not None and case.resolution_changed_at > seen.changed_at:
        kept = _kept(seen, f"Resolution note in PagerDuty: {seen.value}") if policy.is_two_way else ()
        return Part(Reason.OVERRULED, settled=Agreement(agreed.case, now.incident), tells=kept)
    part = _resolution_to_case(case, policy, seen, now)
    if case.status is CaseStatus.CLOSED:
        # Only the incident's half is settled by the comment; the Case's own reason still has to be told.
        return replace(part, settled=Agreement(agreed.case, now.incident))
    if not part.case_actions:
        return part
    return replace(part, tells=part.tells + _kept(seen, f"Resolution note before: {case.resolution_reason}"))


def _reads_as(incident_note: str | None) -> str | None:
    return None if incident_note is None else cut_characters(incident_note, RESOLUTION_REASON_CHARACTERS)


def _whole(seen: Seen) -> tuple[Tell, ...]:
    """A note that is longer than a reason may be is told in a comment too, whether it or the resolve came first."""
    return (story(f"resolution:{seen.changed_at.isoformat()}", seen, f"Resolution note: {seen.value}"),)


def _kept(seen: Seen, text: str) -> tuple[Tell, ...]:
    """The note that lost is kept as a comment: no words of people are thrown away."""
    return (story(f"resolution-kept:{seen.changed_at.isoformat()}", seen, text),)


def _resolution_to_case(case: Case, policy: Policy, seen: Seen, now: Agreement) -> Part:
    assert seen.value is not None
    if not policy.allows_in(Field.RESOLUTION_NOTES):
        return Part(Reason.DIRECTION_OFF, settled=now)
    if case.status is CaseStatus.CLOSED:
        tell = story(f"resolution:{seen.changed_at.isoformat()}", seen, f"Resolution note in PagerDuty: {seen.value}")
        return Part(Reason.CASE_CLOSED, settled=now, tells=(tell,))
    if case.status is not CaseStatus.RESOLVED:
        # Kept until the Case is resolved, whichever of the two webhooks comes first.
        return Part(Reason.NOTED)
    reason = _reads_as(seen.value)
    assert reason is not None
    actor = seen.by or PAGERDUTY
    action = ChangeCase(Field.RESOLUTION_NOTES, actor, Agreement(reason, seen.value), reason=reason)
    return Part(Reason.APPLIED, case_actions=(action,), tells=_whole(seen) if reason != seen.value else ())


def _resolution_to_incident(case: Case, policy: Policy, now: Agreement) -> Part:
    if not policy.allows_out(Field.RESOLUTION_NOTES):
        return Part(Reason.DIRECTION_OFF, settled=now)
    if not case.resolution_reason or not policy.posts_resolution_notes:
        return Part(Reason.APPLIED if case.resolution_reason else Reason.NO_EQUIVALENT, settled=now)
    at = case.resolution_changed_at.isoformat() if case.resolution_changed_at else ""
    tell = Tell("outbound", "resolution_note", f"resolution:{at}", case.changed_by, case.resolution_reason)
    return Part(Reason.APPLIED, settled=now, tells=(tell,))


def noted_reason(link: Link, policy: Policy) -> str | None:
    """The resolution note that came before the resolve it belongs to."""
    seen = link.seen(Field.RESOLUTION_NOTES)
    if seen is None or not policy.allows_in(Field.RESOLUTION_NOTES):
        return None
    return None if seen.value == link.agreed(Field.RESOLUTION_NOTES).incident else _reads_as(seen.value)


# ------------------------------------------------------------------ comments and notes


def plan_comments(link: Link, ledger: Ledger) -> Part:
    """What waits in the ledger for either side. Where a note of ours may stand already, the notes are read first."""
    inbound = tuple(PlaceComment(entry) for entry in ledger.waiting("inbound"))
    waiting = ledger.waiting("outbound")
    reads = link.wants_notes or any(entry.state == "sending" for entry in waiting)
    outbound: tuple[IncidentAction, ...] = (ReadNotes(),) if reads else tuple(PostNote(entry) for entry in waiting)
    if not inbound and not outbound:
        return Part(Reason.IN_STEP)
    return Part(Reason.APPLIED, case_actions=inbound, incident_actions=outbound)


def story(source_id: str, seen: Seen | None, text: str) -> Tell:
    """A comment in which we say what happened in PagerDuty, in the name of whoever did it."""
    text = cut_characters(text, COMMENT_CHARACTERS)
    return Tell("inbound", "story", source_id, (seen.by if seen else None) or PAGERDUTY, text)
