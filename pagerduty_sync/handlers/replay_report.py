"""What a replay comes to: one line for each thing tried again, what changes on each pair, and the new attempt's row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.deliveries import Delivery, Outcome, Reason
from pagerduty_sync.domain.links import Ledger, Link
from pagerduty_sync.domain.observing import look_at_event
from pagerduty_sync.domain.rehearsing import rehearse
from pagerduty_sync.domain.second_tries import Again
from pagerduty_sync.handlers.second_looks import Result, Target
from pagerduty_sync.handlers.visits import Visit

UNREAD = (Reason.UNREADABLE.value, Reason.UNKNOWN_EVENT.value)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one thing. `reason` is today's, where nothing comes of it."""

    delivery_id: int | None
    inbox_id: int | None
    direction: str
    operation: str
    case_name: str
    incident_id: str
    result: Result
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the replay changes on one pair: what is undone first, then what is written."""

    case_name: str
    incident_id: str
    undone: Sequence[str]
    changes: Sequence[str]


@dataclass(slots=True)
class Report:
    """The whole replay, or one portion of it; the links and Cases have something to look at now, the events go out."""

    results: list[Replayed] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    link_ids: list[str] = field(default_factory=list)
    case_ids: list[str] = field(default_factory=list)
    event_ids: list[int] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(one.result.value for one in self.results))

    def add(self, other: Report) -> None:
        for name in ("results", "changes", "link_ids", "case_ids", "event_ids"):
            getattr(self, name).extend(getattr(other, name))


def unless_over(target: Target, visit: Visit) -> Target:
    """Of a closed Case only what is new is told, and what was folded into the link once is not."""
    row = target.row
    was_folded = row is not None and row.link_id == visit.link.id and row.state == "done"
    if visit.case.status is CaseStatus.CLOSED and was_folded:
        return target.with_nothing(Reason.CASE_CLOSED)
    return target


def changes_of(visit: Visit, again: Again, targets: Sequence[Target]) -> Changes | None:
    """What happens because of the replay, and would not happen without it; None when that is nothing."""
    before = rehearse(visit.link, visit.ledger, visit.case, visit.policy).changes
    link, ledger = _folded(visit, again, targets)
    after = rehearse(link, ledger, visit.case, visit.policy).changes
    changes = tuple(change for change in after if change not in before)
    if not changes and not again.undone:
        return None
    return Changes(visit.case.name, visit.link.incident_id or "", again.undone, changes)


def _folded(visit: Visit, again: Again, targets: Sequence[Target]) -> tuple[Link, Ledger]:
    link, ledger = again.link, again.ledger
    events = [one.event for one in targets if one.event is not None and one.result is Result.QUEUED]
    for event in sorted(events, key=lambda event: event.occurred_at):
        looked = look_at_event(link, ledger, event, visit.case, visit.policy, f"again-{event.id}")
        link, ledger = looked.link, looked.ledger
    return link, ledger


def attempt_of(target: Target) -> Delivery:
    """The new attempt, which names the old one."""
    tried, link = target.tried, target.link
    is_queued = target.result is Result.QUEUED
    detail = "to be looked at again" if is_queued else f"nothing comes of it: {target.reason}"
    return Delivery(
        tried.direction,
        target.event.event_type if target.event else tried.operation,
        Outcome.DEFERRED if is_queued else Outcome.FAILED if target.reason in UNREAD else Outcome.IGNORED,
        Reason.REPLAYED,
        f"{detail}; {target.detail}" if target.detail else detail,
        case_id=link.case_id if link else tried.case_id,
        case_name=link.case_name if link else tried.case_name,
        incident_id=(target.event.incident_id if target.event else None) or tried.incident_id,
        link_id=link.id if link else tried.link_id,
        connector_id=link.connector_id if link else tried.connector_id,
        integration_id=link.integration_id if link else tried.integration_id,
        attempt=tried.attempt + 1,
        event_id=target.event.id if target.event else tried.event_id,
        actor=tried.actor,
        cause=f"delivery:{tried.id}" if tried.id is not None else tried.cause,
    )


def told_of(target: Target) -> Replayed:
    tried, link = target.tried, target.link
    return Replayed(
        tried.id,
        target.row.id if target.row else None,
        tried.direction.value,
        target.event.event_type if target.event else tried.operation,
        link.case_name if link else tried.case_name,
        (link.incident_id if link else "") or tried.incident_id,
        target.result,
        target.reason,
        target.detail,
    )
