"""A Case, its states and its timeline, and the protocol any Case system must speak.

Knows the rules of the state machine; knows neither where Cases are stored nor that PagerDuty exists,
except that a PagerDuty user may be the actor of a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol


class CaseStatus(StrEnum):
    """The five states, in Coralogix's words without their CASE_STATUS_ prefix."""

    PENDING_ACTIVATION = "PENDING_ACTIVATION"
    ACTIVE = "ACTIVE"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"

    @property
    def is_open(self) -> bool:
        return self in (CaseStatus.ACTIVE, CaseStatus.ACKNOWLEDGED)


TRANSITIONS: Mapping[CaseStatus, frozenset[CaseStatus]] = {
    CaseStatus.PENDING_ACTIVATION: frozenset({CaseStatus.ACTIVE, CaseStatus.RESOLVED}),
    CaseStatus.ACTIVE: frozenset({CaseStatus.ACKNOWLEDGED, CaseStatus.RESOLVED, CaseStatus.CLOSED}),
    CaseStatus.ACKNOWLEDGED: frozenset({CaseStatus.ACTIVE, CaseStatus.RESOLVED, CaseStatus.CLOSED}),
    CaseStatus.RESOLVED: frozenset({CaseStatus.CLOSED}),
    CaseStatus.CLOSED: frozenset(),
}
"""Which state may follow which. RESOLVED never re-opens and CLOSED is final (Coralogix: Cases overview)."""


class CasePriority(StrEnum):
    """P1 is the most severe."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    P5 = "P5"


class CaseCategory(StrEnum):
    AVAILABILITY = "AVAILABILITY"
    SECURITY = "SECURITY"


ActorKind = Literal["system", "user", "apiKey", "pagerDuty"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something. `kind` is the member name Coralogix uses for its one-of."""

    kind: ActorKind
    id: str = ""
    name: str = ""
    email: str = ""

    @property
    def label(self) -> str:
        """How people read it: the name, else the e-mail, else the id, else the kind."""
        return self.name or self.email or self.id or self.kind


SYSTEM = Actor("system", name="system")


@dataclass(frozen=True, slots=True)
class Case:
    """One Case as it stands. Times are aware datetimes; the `*_changed_at` ones are the Case system's own clock.
    `changed_by` is who last changed the status or the resolution reason, SYSTEM where nobody is known."""

    id: str
    title: str
    status: CaseStatus
    system_priority: CasePriority
    category: CaseCategory
    created_at: datetime
    updated_at: datetime
    status_changed_at: datetime
    priority_changed_at: datetime
    override_priority: CasePriority | None = None
    readable_id: str | None = None
    assignee_user_id: str | None = None
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: Actor | None = None
    resolution_reason: str | None = None
    resolution_changed_at: datetime | None = None
    changed_by: Actor = SYSTEM
    description: str = ""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groupings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def priority(self) -> CasePriority:
        """The effective priority: the override if set, else the system's."""
        return self.override_priority or self.system_priority

    @property
    def name(self) -> str:
        """CASE-12, or the id while the Case has no readable one yet."""
        return self.readable_id or self.id


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a Case's timeline. `reference` is set on those we placed: the ledger entry they stand for."""

    event_id: str
    text: str
    actor: Actor
    created_at: datetime
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One line of a Case's timeline; `kind` and `content` are Coralogix's eventData member and its fields."""

    event_id: str
    case_id: str
    kind: str
    actor: Actor
    content: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime | None = None
    reference: str | None = None


class CaseSystem(Protocol):
    """Where Cases live. The sync reads a Case whole, decides, and writes through these calls.

    Every write names its actor and may be repeated: asking for the state a Case is already in changes nothing.
    Writes raise NotFoundError for an unknown Case and TransitionError for a change its state forbids.
    """

    def get_case(self, case_id: str) -> Case: ...

    def list_comments(self, case_id: str) -> Sequence[Comment]: ...

    def acknowledge(self, case_id: str, actor: Actor) -> Case: ...

    def unacknowledge(self, case_id: str, actor: Actor) -> Case: ...

    def resolve(self, case_id: str, actor: Actor, reason: str | None = None) -> Case: ...

    def set_resolution_reason(self, case_id: str, actor: Actor, reason: str) -> Case: ...

    def override_priority(self, case_id: str, actor: Actor, priority: CasePriority | None) -> Case:
        """Set the override, or clear it with None."""
        ...

    def place_comment(self, case_id: str, actor: Actor, text: str, reference: str) -> str:
        """Put one comment; a second call with the same `reference` finds the first. Returns the event id."""
        ...


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """One change of a Case for the sync to look at.

    `kind` is the kind of the timeline event it names, or `commentUpdated` or `commentDeleted`.
    """

    id: int
    case_id: str
    kind: str
    actor: Actor
    occurred_at: datetime
    timeline_event_id: str | None = None
