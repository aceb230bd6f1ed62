"""The one-way path's rules: which events a Case or an alert gives, under which key, and how severe they read.

An event is told and forgotten: nothing of what PagerDuty makes of it comes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pagerduty_sync.domain.cases import Case, CasePriority, CaseStatus
from pagerduty_sync.domain.deliveries import Reason

LONGEST_DEDUP_KEY = 255
"""Events API v2: Send an Alert Event."""


class EventAction(StrEnum):
    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"

    @property
    def operation(self) -> str:
        """How the delivery log calls it."""
        return f"{self.value}_event"


class Severity(StrEnum):
    """The four words the Events API knows."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


SEVERITY: Mapping[CasePriority, Severity] = {
    CasePriority.P1: Severity.CRITICAL,
    CasePriority.P2: Severity.ERROR,
    CasePriority.P3: Severity.WARNING,
    CasePriority.P4: Severity.INFO,
    CasePriority.P5: Severity.INFO,
}
UNKNOWN_SEVERITY = Severity.ERROR
"""What an alert has that says nothing we know: better to page for too little than to keep still about too much."""

_SEVERITY_WORDS: Mapping[str, Severity] = {
    **{priority.value.lower(): severity for priority, severity in SEVERITY.items()},
    **{severity.value: severity for severity in Severity},
    "fatal": Severity.CRITICAL,
    "high": Severity.ERROR,
    "medium": Severity.WARNING,
    "warn": Severity.WARNING,
    "low": Severity.INFO,
    "verbose": Severity.INFO,
    "debug": Severity.INFO,
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as its push told it. `action` is what the push asks for; `labels` hold lists, as a Case's do."""

    id: str
    name: str
    action: EventAction
    description: str = ""
    priority: str = ""
    severity: str = ""
    url: str = ""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What one connector was told under one dedup key so far: the latest event of each kind, by its number."""

    latest: Mapping[EventAction, int] = field(default_factory=dict)
    last_occurred_at: datetime | None = None

    @property
    def is_triggered(self) -> bool:
        return EventAction.TRIGGER in self.latest

    @property
    def is_resolved(self) -> bool:
        """Whether the last word, an acknowledgement aside, was a resolve."""
        return self.latest.get(EventAction.RESOLVE, 0) > self.latest.get(EventAction.TRIGGER, 0)


NOTHING_TOLD = History()


def case_dedup_key(case_id: str) -> str:
    return f"case-{case_id}"


def alert_dedup_key(alert_id: str) -> str:
    """Made of the alert's id alone; one too long for PagerDuty keeps its beginning and gets a hash for its end."""
    key = f"alert-{alert_id}"
    if len(key) <= LONGEST_DEDUP_KEY:
        return key
    digest = hashlib.sha256(alert_id.encode("utf-8", "replace")).hexdigest()
    return f"{key[: LONGEST_DEDUP_KEY - len(digest) - 1]}-{digest}"


def severity_of(priority: str, severity: str = "") -> Severity:
    """The first of the two that is a word we know decides."""
    for word in (priority, severity):
        known = _SEVERITY_WORDS.get(word.strip().lower())
        if known is not None:
            return known
    return UNKNOWN_SEVERITY


def steps_of_case(status: CaseStatus, told: History) -> tuple[EventAction, ...]:
    """What is to be told of a Case in this state; what was told already is among it and is known by its change id.

    A Case that is over before anybody was told of it stays untold: there is nobody to call off.
    """
    if not told.is_triggered:
        if not status.is_open:
            return ()
        acknowledged = (EventAction.ACKNOWLEDGE,) if status is CaseStatus.ACKNOWLEDGED else ()
        return (EventAction.TRIGGER, *acknowledged)
    if told.is_resolved or status in (CaseStatus.PENDING_ACTIVATION, CaseStatus.ACTIVE):
        return ()
    return (EventAction.ACKNOWLEDGE if status is CaseStatus.ACKNOWLEDGED else EventAction.RESOLVE,)


def case_change_id(action: EventAction, case: Case) -> str:
    """A Case is triggered once and resolved once, for it never opens again; it may be acknowledged repeatedly."""
    if action is EventAction.ACKNOWLEDGE:
        return f"{action}:{case.status_changed_at.isoformat()}"
    return action.value


def alert_change_id(action: EventAction, body: bytes, told: History) -> str:
    """The same push in the same state of the alert is the same change; once the state has turned it is a new one."""
    turn = EventAction.RESOLVE if action is EventAction.TRIGGER else EventAction.TRIGGER
    return f"{action}:{told.latest.get(turn, 0)}:{hashlib.sha256(body).hexdigest()}"


def refusal_of_alert(alert: Alert, told: History) -> Reason | None:
    """Why a push is not to be told to somebody with this history; None when it is."""
    if alert.occurred_at and told.last_occurred_at and alert.occurred_at < told.last_occurred_at:
        return Reason.STALE
    if alert.action is EventAction.TRIGGER:
        return None
    if told.is_resolved:
        return Reason.DUPLICATE
    return None if told.is_triggered else Reason.NOT_OPEN
