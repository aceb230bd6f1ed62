"""A plan and the actions it may hold: objects to print, test and carry out, with no decision in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pagerduty_sync.domain.cases import Actor, CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.domain.links import Agreement, LedgerDirection, LedgerEntry, LedgerKind


@dataclass(frozen=True, slots=True)
class ChangeCase:
    """A write on the Case. `status`, `priority`, `clears_priority` and `reason` say what; `agreed` is settled by it."""

    field: Field
    actor: Actor
    agreed: Agreement
    status: CaseStatus | None = None
    priority: CasePriority | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PlaceComment:
    """A text that shall stand on the Case."""

    entry: LedgerEntry


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """Create the incident under the link's key. With `looks_first` one may be there already: look, then create."""

    looks_first: bool


@dataclass(frozen=True, slots=True)
class ReadIncident:
    """Read the incident before anything is decided about its status."""


@dataclass(frozen=True, slots=True)
class ReadNotes:
    """Read the incident's notes: a text was trimmed, or a note of ours may already stand there."""


@dataclass(frozen=True, slots=True)
class ChangeIncident:
    """A write on the incident: its status (with a resolution text), or its priority id (None clears it)."""

    field: Field
    agreed: Agreement
    status: IncidentStatus | None = None
    resolution: str | None = None
    priority_id: str | None = None


@dataclass(frozen=True, slots=True)
class PostNote:
    """A text that shall stand on the incident."""

    entry: LedgerEntry


CaseAction = ChangeCase | PlaceComment
IncidentAction = OpenIncident | ReadIncident | ReadNotes | ChangeIncident | PostNote


@dataclass(frozen=True, slots=True)
class Tell:
    """A text we owe one side because of what happened; `source_id` makes it stand once."""

    direction: LedgerDirection
    kind: LedgerKind
    source_id: str
    author: Actor
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next, in this order: settle, tell, act on the Case, act on the incident.

    `follows` names the incident a merge moved to; `ends` the reason for which the link is over.
    """

    settled: Mapping[Field, Agreement] = field(default_factory=dict)
    tells: tuple[Tell, ...] = ()
    case_actions: tuple[CaseAction, ...] = ()
    incident_actions: tuple[IncidentAction, ...] = ()
    reasons: Mapping[Field, Reason] = field(default_factory=dict)
    follows: str | None = None
    ends: Reason | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The plan of one field, which a whole plan is joined of."""

    reason: Reason
    settled: Agreement | None = None
    tells: tuple[Tell, ...] = ()
    case_actions: tuple[CaseAction, ...] = ()
    incident_actions: tuple[IncidentAction, ...] = ()
