"""What a second try needs of a link before it: the way back from a refusal, and from a difference settled by settings.

Pure. A try that what happened since has made pointless changes nothing, so a whole log may be tried again on a pair
that is in step. Whatever is left to do afterwards the plan says, as always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason
from pagerduty_sync.domain.incidents import IncidentEvent
from pagerduty_sync.domain.links import LOOP, Ledger, Link, Parked

SETTLED_BY_SETTINGS = frozenset({Reason.DIRECTION_OFF, Reason.UNMAPPED_PRIORITY, Reason.UNACKNOWLEDGE_OFF})
"""Reasons that other settings may make untrue."""
REFUSALS = frozenset({Reason.REFUSED, Reason.GAVE_UP})

FORGOTTEN = ""
"""In an agreement: no side ever has this value, so the half that holds it counts as moved."""

FIELD_OF: Mapping[str, Field] = {
    "created": Field.STATUS,
    "statusChanged": Field.STATUS,
    "acknowledge_incident": Field.STATUS,
    "resolve_incident": Field.STATUS,
    "read_incident": Field.STATUS,
    "acknowledge_case": Field.STATUS,
    "unacknowledge_case": Field.STATUS,
    "resolve_case": Field.STATUS,
    "priorityDetailsChanged": Field.PRIORITY,
    "set_priority": Field.PRIORITY,
    "clear_priority": Field.PRIORITY,
    "set_priority_override": Field.PRIORITY,
    "clear_priority_override": Field.PRIORITY,
    "resolutionReasonChangedEvent": Field.RESOLUTION_NOTES,
    "set_resolution_reason": Field.RESOLUTION_NOTES,
}
KIND_OF_NOTE = {"post_note": "comment", "post_resolution_note": "resolution_note", "post_final_note": "final_note"}


@dataclass(frozen=True, slots=True)
class Again:
    """The pair as it shall be before the second try, the ledger entries to forget, and what was undone, in words."""

    link: Link
    ledger: Ledger
    forgotten: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()


def after_event(again: Again, reason: str, event: IncidentEvent, policy: Policy) -> Again:
    """Before one webhook is folded again, which ended with `reason`: forget what a setting made of it."""
    if reason not in SETTLED_BY_SETTINGS:
        return again
    if event.note is not None:
        return _forget_note(again, event.note.id, policy)
    if event.incident is None:
        return again
    name = Field.PRIORITY if event.event_type == "incident.priority_updated" else Field.STATUS
    value = event.incident.priority_id if name is Field.PRIORITY else event.incident.status.value
    seen, agreed = again.link.seen(name), again.link.agreed(name)
    is_current = seen is not None and seen.value == value
    if not is_current or agreed.incident != value or not policy.allows_in(name):
        return again
    link = again.link.agree(name, agreed.case, FORGOTTEN)
    return replace(again, link=link, undone=(*again.undone, f"what settled the {_word(name)} is forgotten"))


def _forget_note(again: Again, note_id: str, policy: Policy) -> Again:
    entry = again.ledger.by_source("inbound", note_id)
    if entry is None or entry.state != "dropped" or not policy.allows_in(Field.COMMENTS):
        return again
    ledger = Ledger(tuple(one for one in again.ledger.entries if one.id != entry.id))
    return replace(again, ledger=ledger, forgotten=(*again.forgotten, entry.id))


def after_attempt(again: Again, tried: Delivery, policy: Policy, source_id: str | None) -> Again:
    """Before a look that stands for another try of `tried`. `source_id` names the comment it was about, if any."""
    if tried.reason is Reason.LOOP_SUSPECTED and LOOP in again.link.parked:
        link = replace(again.link, parked=_without(again.link, LOOP), writes_at=())
        return replace(again, link=link, undone=(*again.undone, "the link may write again"))
    if tried.reason in REFUSALS:
        return _unparked(again, tried, source_id)
    if tried.reason in SETTLED_BY_SETTINGS and tried.direction is Direction.OUTBOUND:
        return _unsettled(again, tried, policy, source_id)
    return again


# ------------------------------------------------------------------ the way back from a refusal


def _unparked(again: Again, tried: Delivery, source_id: str | None) -> Again:
    if tried.operation in KIND_OF_NOTE:
        return _revived(again, "outbound", source_id, kind=KIND_OF_NOTE[tried.operation])
    if tried.operation == "place_comment":
        return _revived(again, "inbound", None)
    if tried.operation in ("open_incident", "find_incident") and "open" in again.link.parked:
        # One may stand there all the same, so the next try looks first.
        link = replace(again.link, parked=_without(again.link, "open"), is_open_attempted=True)
        return replace(again, link=link, undone=(*again.undone, "the opening is tried again"))
    if tried.operation == "read_notes" and "notes" in again.link.parked:
        link = replace(again.link, parked=_without(again.link, "notes"), wants_notes=True)
        return _revived(replace(again, link=link, undone=(*again.undone, "the notes are read again")), "outbound", None)
    name = FIELD_OF.get(tried.operation)
    side = "case" if tried.direction is Direction.INBOUND else "incident"
    return _back_to_agreement(again, f"{side}:{name}", name) if name is not None else again


def _back_to_agreement(again: Again, key: str, name: Field) -> Again:
    parked = again.link.parked.get(key)
    if parked is None:
        return again
    link = replace(again.link, parked=_without(again.link, key))
    if parked.previous is not None and not _moved_since(link, name, parked.at):
        link = link.agree(name, parked.previous.case, parked.previous.incident)
    return replace(again, link=link, undone=(*again.undone, f"the refused {_word(name)} is open again"))


def _revived(again: Again, direction: str, source_id: str | None, *, kind: str = "") -> Again:
    """Texts that were refused or given up shall stand again; an outbound one is looked for before it is sent."""
    chosen = [
        entry
        for entry in again.ledger.entries
        if entry.direction == direction
        and entry.state == "dropped"
        and entry.reason in REFUSALS
        and (not kind or entry.kind == kind)
    ]
    named = [entry for entry in chosen if entry.source_id == source_id]
    ledger, link = again.ledger, again.link
    for entry in named or chosen:
        ledger = ledger.put(replace(entry, state="sending" if direction == "outbound" else "intended", reason=None))
        link = replace(link, parked=_without(link, f"note:{entry.source_id}"))
    texts = len(named or chosen)
    undone = (f"{texts} refused text{'' if texts == 1 else 's'} shall stand again",) if texts else ()
    return replace(again, link=link, ledger=ledger, undone=(*again.undone, *undone))


# ------------------------------------------------------------------ the way back from what settings settled


def _unsettled(again: Again, tried: Delivery, policy: Policy, source_id: str | None) -> Again:
    if source_id is not None and tried.operation == "comment":
        entry = again.ledger.by_source("outbound", source_id)
        if entry is None or entry.reason is not Reason.DIRECTION_OFF or not policy.allows_out(Field.COMMENTS):
            return again
        ledger = again.ledger.put(replace(entry, state="intended", reason=None))
        return replace(again, ledger=ledger, undone=(*again.undone, "the comment shall become a note"))
    name = FIELD_OF.get(tried.operation)
    if name is None or tried.at is None or not policy.allows_out(name):
        return again
    agreed, seen = again.link.agreed(name), again.link.seen(name)
    is_latest = again.link.causes.get(name.value, "") == tried.cause
    is_settled = agreed.incident == (seen.value if seen else None)
    if not is_latest or not is_settled or _moved_since(again.link, name, tried.at):
        return again
    link = again.link.agree(name, FORGOTTEN, agreed.incident)
    return replace(again, link=link, undone=(*again.undone, f"what settled the {_word(name)} is forgotten"))


def _moved_since(link: Link, name: Field, at: datetime) -> bool:
    """Somebody changed the status after that: what was decided before is overtaken. Of others no such time is known."""
    seen = link.seen(name)
    return name is Field.STATUS and seen is not None and seen.changed_at > at


def _without(link: Link, *keys: str) -> dict[str, Parked]:
    return {key: parked for key, parked in link.parked.items() if key not in keys}


def _word(name: Field) -> str:
    return name.value.replace("_", " ")


def all_again(
    again: Again, tries: Sequence[tuple[Delivery, IncidentEvent | None, str | None]], policy: Policy
) -> Again:
    """The pair before all these tries: each an attempt with its event, or with the comment it was about."""
    for tried, event, source_id in tries:
        if event is not None:
            again = after_event(again, tried.reason, event, policy)
        again = after_attempt(again, tried, policy, source_id)
    return again
