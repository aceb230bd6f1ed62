"""What an event, a REST reply or a list of notes adds to a link and its ledger. Pure; decides nothing about writing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pagerduty_sync.domain.cases import Actor, Case, CaseStatus, Comment
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.incidents import Incident, IncidentEvent, Note
from pagerduty_sync.domain.links import Ledger, LedgerEntry, Link, Seen
from pagerduty_sync.domain.mapping import COMMENT_CHARACTERS, cut_characters
from pagerduty_sync.domain.merging import Observed, observe

PAGERDUTY = Actor("pagerDuty", name="PagerDuty")
"""The actor where PagerDuty names nobody: time-outs, automation, things learned by reading."""

STATUS_EVENTS = {
    "incident.triggered": "triggered",
    "incident.acknowledged": "acknowledged",
    "incident.unacknowledged": "no longer acknowledged",
    "incident.resolved": "resolved",
    "incident.reopened": "re-opened",
}
PRIORITY_EVENT = "incident.priority_updated"
NOTE_EVENT = "incident.annotated"


@dataclass(frozen=True, slots=True)
class Looked:
    """A link and its ledger after an observation. `reason` None: something new, the plan says what becomes of it."""

    link: Link
    ledger: Ledger
    field: Field | None = None
    reason: Reason | None = None


def look_at_event(
    link: Link, ledger: Ledger, event: IncidentEvent, case: Case, policy: Policy, entry_id: str
) -> Looked:
    """Fold one webhook. `entry_id` becomes the id of the ledger entry, if one is made."""
    if event.note is not None:
        return look_at_note(link, ledger, event.note, event, policy, entry_id)
    name = Field.PRIORITY if event.event_type == PRIORITY_EVENT else Field.STATUS
    if event.incident is None:
        if event.event_type != PRIORITY_EVENT and event.event_type not in STATUS_EVENTS:
            return Looked(link, ledger, None, Reason.NOT_SYNCED)
        # A large webhook comes without its details ("Webhook Behavior"): what it says has to be read.
        return Looked(replace(link, is_doubtful=True), ledger, name, Reason.CHECKED)
    before = link.seen(name)
    link, observed = look_at_incident(link, event.incident, event.event_type)
    value = event.incident.priority_id if name is Field.PRIORITY else event.incident.status.value
    if observed[name] in (Observed.STALE, Observed.DOUBT) and written(name, value) in link.written:
        return Looked(link, ledger, name, Reason.ECHO)
    is_news = observed[name] is not Observed.SAME and (before is None or before.value != value)
    if is_news and case.status is CaseStatus.CLOSED and not event.incident.merged_into:
        # What happens in PagerDuty now is told on the timeline and changes nothing else; of a merge the plan tells.
        ledger = _tell(ledger, policy, entry_id, f"event:{event.id}", event.agent or PAGERDUTY, _sentence(event))
    if observed[name] is Observed.DOUBT and (event.event_type in STATUS_EVENTS or name is Field.PRIORITY):
        return Looked(replace(link, is_doubtful=True), ledger, name, Reason.CHECKED)
    if event.event_type not in STATUS_EVENTS and name is Field.STATUS and observed[name] is not Observed.NEW:
        return Looked(link, ledger, name, Reason.NOT_SYNCED)
    return Looked(link, ledger, name, _reason(observed[name]))


def written(name: Field, value: str | None) -> str:
    """How a link remembers a value that we wrote to the incident."""
    return f"{name.value}={value or ''}"


def _reason(observed: Observed) -> Reason | None:
    return {Observed.SAME: Reason.ECHO, Observed.STALE: Reason.STALE}.get(observed)


def look_at_incident(
    link: Link, incident: Incident, event_type: str | None = None
) -> tuple[Link, dict[Field, Observed]]:
    """Fold an incident as a webhook (`event_type`) or a REST reply (None) showed it."""
    is_read = event_type is None
    status_changed = _changed_at(link, Field.STATUS, incident, is_read or event_type in STATUS_EVENTS)
    priority_changed = _changed_at(link, Field.PRIORITY, incident, is_read or event_type == PRIORITY_EVENT)
    fresh = {
        Field.STATUS: Seen(incident.status.value, incident.seen_at, status_changed, is_read, incident.by),
        Field.PRIORITY: Seen(incident.priority_id, incident.seen_at, priority_changed, is_read, incident.by),
    }
    observed: dict[Field, Observed] = {}
    for name, seen in fresh.items():
        result = observe(link.seen(name), seen, incident.read_at)
        observed[name] = result.observed
        link = link.see(name, _kept_person(link.seen(name), result.seen, result.observed))
    latest = link.seen(Field.STATUS)
    is_latest = latest is not None and latest.at == incident.seen_at
    link = replace(
        link,
        # An incident may be moved; where it is now is where the lists are to be asked for it.
        service_id=incident.service_id if incident.service_id and is_latest else link.service_id,
        is_doubtful=link.is_doubtful and not is_read,
        incident_number=link.incident_number or incident.number or None,
        incident_url=link.incident_url or incident.html_url,
    )
    if incident.merged_into and observed[Field.STATUS] in (Observed.NEW, Observed.SAME):
        link = replace(link, merged_into=incident.merged_into)
    return link, observed


def _changed_at(link: Link, name: Field, incident: Incident, is_about_it: bool) -> datetime:
    """When the field last changed as far as known: an event about something else says nothing about it."""
    if is_about_it:
        return (incident.status_changed_at if name is Field.STATUS else None) or incident.seen_at
    seen = link.seen(name)
    return seen.changed_at if seen else incident.seen_at


def _kept_person(known: Seen | None, seen: Seen, observed: Observed) -> Seen:
    """Whoever made the value what it is stays named when it is merely seen again."""
    if observed is Observed.SAME and known is not None and known.by is not None:
        return replace(seen, by=known.by)
    return seen


def look_at_note(
    link: Link, ledger: Ledger, note: Note, event: IncidentEvent | None, policy: Policy, entry_id: str
) -> Looked:
    """Fold one note, from its webhook (`event`) or from a list of notes (None): each note counts once."""
    ours = ledger.by_remote("outbound", note.id)
    if ours is not None:
        return Looked(link, ledger, Field.COMMENTS, Reason.ECHO)
    ours = ledger.by_marker(note.text)
    if ours is not None:
        # The webhook, or the list, overtook the reply to our own call; or it is a copy a stalled worker made.
        if ours.state != "placed":
            ledger = ledger.put(replace(ours, state="placed", remote_id=note.id))
        return Looked(link, ledger, Field.COMMENTS, Reason.ECHO)
    if ledger.by_source("inbound", note.id) is not None:
        return Looked(link, ledger, Field.COMMENTS, Reason.DUPLICATE)
    if note.is_trimmed:
        return Looked(replace(link, wants_notes=True), ledger, Field.COMMENTS)
    author = (event.agent if event else None) or note.by or PAGERDUTY
    if note.resolution_text is not None:
        return _look_at_resolution_note(link, ledger, note, author, event, entry_id)
    if not policy.allows_in(Field.COMMENTS):
        entry = LedgerEntry(entry_id, "inbound", "comment", note.id, author, "", "dropped", reason=Reason.DIRECTION_OFF)
        return Looked(link, ledger.put(entry), Field.COMMENTS, Reason.DIRECTION_OFF)
    entry = LedgerEntry(entry_id, "inbound", "comment", note.id, author, cut_characters(note.text, COMMENT_CHARACTERS))
    return Looked(link, ledger.put(entry), Field.COMMENTS)


def _look_at_resolution_note(
    link: Link, ledger: Ledger, note: Note, author: Actor, event: IncidentEvent | None, entry_id: str
) -> Looked:
    at = event.occurred_at if event else note.created_at
    assert at is not None, "a note of a list carries its time"
    known = link.seen(Field.RESOLUTION_NOTES)
    seen = Seen(note.resolution_text, at, at, event is None, author)
    # Notes are facts of their own: an older one is not an older picture of the same thing, but the latest counts.
    is_later = known is None or (seen.at, seen.value or "") > (known.at, known.value or "")
    is_news = is_later and (known is None or known.value != seen.value)
    entry = LedgerEntry(entry_id, "inbound", "resolution_note", note.id, author, note.text, "placed", note.id)
    link = link.see(Field.RESOLUTION_NOTES, seen) if is_later else link
    reason = None if is_news else (Reason.ECHO if is_later else Reason.STALE)
    return Looked(link, ledger.put(entry), Field.RESOLUTION_NOTES, reason)


def look_at_comments(
    link: Link, ledger: Ledger, comments: Iterable[Comment], policy: Policy, entry_ids: Iterable[str]
) -> Ledger:
    """Take up every comment of the Case that is neither ours nor known yet: it shall stand as a note."""
    ids = iter(entry_ids)
    for comment in comments:
        if comment.reference is not None or ledger.by_remote("inbound", comment.event_id) is not None:
            continue
        if ledger.by_source("outbound", comment.event_id) is not None:
            continue
        allowed = policy.allows_out(Field.COMMENTS)
        ledger = ledger.put(
            LedgerEntry(
                next(ids),
                "outbound",
                "comment",
                comment.event_id,
                comment.actor,
                comment.text,
                "intended" if allowed else "dropped",
                reason=None if allowed else Reason.DIRECTION_OFF,
            )
        )
    return ledger


def _tell(ledger: Ledger, policy: Policy, entry_id: str, source_id: str, author: Actor, text: str) -> Ledger:
    if ledger.by_source("inbound", source_id) is not None or not policy.is_two_way:
        return ledger
    return ledger.put(LedgerEntry(entry_id, "inbound", "story", source_id, author, text))


def _sentence(event: IncidentEvent) -> str:
    """One event as a comment reads it."""
    who = (event.agent or PAGERDUTY).label
    incident = event.incident
    assert incident is not None
    number = f"#{incident.number}" if incident.number else incident.id
    if event.event_type == PRIORITY_EVENT:
        return f"The priority of PagerDuty incident {number} was changed by {who} after this Case was closed."
    done = STATUS_EVENTS.get(event.event_type, f"seen {incident.status.value}")
    return f"PagerDuty incident {number} was {done} by {who} after this Case was closed."
