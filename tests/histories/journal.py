"""What is put down of one history while it is played: facts seen from outside, for the checks at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pair:
    """One Case's link as its keeper sees it; `state` is opening, linked or ended."""

    incident_id: str | None
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """One write of ours on PagerDuty, with the incident's state around it."""

    at: float
    operation: str
    incident_id: str
    before: tuple[str, str | None] | None
    after: tuple[str, str | None] | None
    text: str
    is_linked: bool
    is_repeat: bool
    is_case_over: bool = False
    """The Case was closed before the worker that wrote this began."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One event in PagerDuty, whether or not its webhook arrived."""

    at: float
    event_type: str
    incident_id: str
    agent_id: str | None
    is_merge: bool
    status: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """A note a person wrote on an incident, and the Case that was linked to it then."""

    text: str
    incident_id: str
    case_id: str | None
    is_resolution: bool


@dataclass(slots=True)
class Journal:
    """What was seen of one history from outside."""

    writes: list[Write] = field(default_factory=list)
    events: list[Happened] = field(default_factory=list)
    notes: list[Written] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
