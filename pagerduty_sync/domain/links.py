"""A link: one Case and one incident, what was last seen of each, and what both last agreed on.

The three pictures per field are all the memory the planner has. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Reason


@dataclass(frozen=True, slots=True)
class Seen:
    """The last accepted observation of one field of the incident, in PagerDuty's clock.

    `at` is its watermark, `changed_at` the latest time at which the field is known to have changed, `is_read` says that
    it came from a REST reply, whose times are whole seconds. `by` is who was named with it.
    """

    value: str | None
    at: datetime
    changed_at: datetime
    is_read: bool = False
    by: Actor | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """A pair of raw values both sides settled on; the halves need not mean the same."""

    case: str | None
    incident: str | None


@dataclass(frozen=True, slots=True)
class Picture:
    """One field: the incident as last seen, and the last agreement. The Case is read whole before every decision."""

    agreed: Agreement
    incident: Seen | None = None


class LinkState(StrEnum):
    OPENING = "opening"
    LINKED = "linked"
    ENDED = "ended"


SYNCED_FIELDS = (Field.STATUS, Field.PRIORITY, Field.RESOLUTION_NOTES)
"""The fields that hold one value a side; comments are sets and have the ledger."""

NOTHING_SEEN = {name: Picture(Agreement(None, None)) for name in SYNCED_FIELDS}
"""The pictures of a pair nobody has looked at yet."""


@dataclass(frozen=True, slots=True)
class Parked:
    """What a vendor finally refused: its words, and the agreement to go back to for another try."""

    detail: str
    at: datetime
    previous: Agreement | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """The pair. `is_doubtful` asks for a read of the incident before anything is decided, `wants_notes` for its notes,
    `is_open_attempted` says that an incident may already stand under `incident_key`, `written` holds the last values
    we wrote to the incident, `writes_at` when we wrote within the last minute, `causes` what made each field move."""

    id: str
    case_id: str
    case_name: str
    connector_id: str
    integration_id: str
    service_id: str
    incident_key: str
    state: LinkState
    pictures: Mapping[Field, Picture]
    preset_id: str | None = None
    incident_id: str | None = None
    incident_number: int | None = None
    incident_url: str = ""
    ended_reason: str = ""
    merged_into: str | None = None
    is_doubtful: bool = False
    wants_notes: bool = False
    is_open_attempted: bool = False
    written: Sequence[str] = ()
    writes_at: Sequence[datetime] = ()
    causes: Mapping[str, str] = field(default_factory=dict)
    parked: Mapping[str, Parked] = field(default_factory=dict)
    attempts: int = 0
    failing_since: datetime | None = None

    def agree(self, name: Field, case: str | None, incident: str | None) -> Link:
        """The same link with this agreement on one field."""
        picture = replace(self.pictures[name], agreed=Agreement(case, incident))
        return replace(self, pictures={**self.pictures, name: picture})

    def see(self, name: Field, seen: Seen) -> Link:
        """The same link with this observation of one field."""
        return replace(self, pictures={**self.pictures, name: replace(self.pictures[name], incident=seen)})

    def agreed(self, name: Field) -> Agreement:
        return self.pictures[name].agreed

    def seen(self, name: Field) -> Seen | None:
        return self.pictures[name].incident

    def park(self, key: str, parked: Parked) -> Link:
        return replace(self, parked={**self.parked, key: parked})


WRITES_A_MINUTE = 60
"""More of our own writes on one link within a minute are no people's doing any more."""
LOOP = "loop"
"""The name under which a link that writes too much is parked."""


def after_writes(link: Link, count: int, now: datetime) -> Link:
    """The link after so many writes of ours, parked when they have become too many."""
    recent = [at for at in link.writes_at if (now - at).total_seconds() < 60]
    link = replace(link, writes_at=(*recent, *[now] * count))
    if len(link.writes_at) <= WRITES_A_MINUTE or LOOP in link.parked:
        return link
    return link.park(LOOP, Parked(f"{len(link.writes_at)} writes within a minute", now))


LedgerDirection = Literal["inbound", "outbound"]
LedgerKind = Literal["comment", "resolution_note", "final_note", "story"]
LedgerState = Literal["intended", "sending", "placed", "dropped"]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One text that stands, or shall stand, on both sides.

    inbound: from the incident to the Case; `source_id` is the note's id, or a key naming what a `story` tells.
    outbound: from the Case to the incident; `source_id` is the timeline event's id, or a key.
    `sending` means that a call may have been made: look for the marker before the next try.
    """

    id: str
    direction: LedgerDirection
    kind: LedgerKind
    source_id: str
    author: Actor
    text: str
    state: LedgerState = "intended"
    remote_id: str | None = None
    reason: Reason | None = None

    @property
    def marker(self) -> str:
        """The short reference an outbound note ends with; unique enough among one incident's 2,000 notes."""
        return f"[c-{self.id.replace('-', '')[:8]}]"


@dataclass(frozen=True, slots=True)
class Ledger:
    """All entries of one link, in order of their making."""

    entries: Sequence[LedgerEntry] = ()

    def waiting(self, direction: LedgerDirection) -> Sequence[LedgerEntry]:
        return [e for e in self.entries if e.direction == direction and e.state in ("intended", "sending")]

    def by_source(self, direction: LedgerDirection, source_id: str) -> LedgerEntry | None:
        return next((e for e in self.entries if e.direction == direction and e.source_id == source_id), None)

    def by_remote(self, direction: LedgerDirection, remote_id: str) -> LedgerEntry | None:
        return next((e for e in self.entries if e.direction == direction and e.remote_id == remote_id), None)

    def by_marker(self, text: str) -> LedgerEntry | None:
        """The outbound entry whose marker ends this note's text."""
        end = text.rstrip()
        return next((e for e in self.entries if e.direction == "outbound" and end.endswith(e.marker)), None)

    def put(self, entry: LedgerEntry) -> Ledger:
        """With this entry added, or in place of the one with its id."""
        if any(e.id == entry.id for e in self.entries):
            return Ledger(tuple(entry if e.id == entry.id else e for e in self.entries))
        return Ledger((*self.entries, entry))
