"""Taking in what is new on a link: webhooks one by one, then comments and changes of the Case; each gets its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pagerduty_sync.domain.cases import CaseEvent, Comment
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason, outcome_of
from pagerduty_sync.domain.incidents import IncidentEvent
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.domain.observing import PAGERDUTY, look_at_comments, look_at_event
from pagerduty_sync.errors import PayloadError
from pagerduty_sync.handlers.case_side import CaseSide, Settled
from pagerduty_sync.handlers.incident_side import field_of
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.pagerduty.schemas import parse_event
from pagerduty_sync.stores.inbox import Inbox, InboxRow

READ = "read"
"""Under this name a link remembers what asked for a read of its incident."""
RECONCILE, POLL = "reconcile", "poll"
"""Askers: the comparison, which heals what no event told, and the reading of the log, a way in of its own."""

FIELD_OF_CHANGE = {
    "created": Field.STATUS,
    "statusChanged": Field.STATUS,
    "priorityDetailsChanged": Field.PRIORITY,
    "resolutionReasonChangedEvent": Field.RESOLUTION_NOTES,
    "comment": Field.COMMENTS,
}
"""Which field a change of a Case is about; every other kind has no equivalent in PagerDuty."""


class Intake:
    def __init__(
        self,
        *,
        inbox: Inbox,
        visits: Visits,
        case_side: CaseSide,
        list_comments: Callable[[str], Sequence[Comment]],
    ) -> None:
        self._inbox = inbox
        self._visits = visits
        self._case_side = case_side
        self._list_comments = list_comments

    def take_in(self, visit: Visit) -> Settled:
        """Fold in webhooks in the order they happened, then the Case's changes; settle after each.

        While the incident is not known yet its webhooks stay where they are.
        """
        if visit.link.state is not LinkState.OPENING:
            for row, event in self._events_of(visit):
                self._take_in_event(visit, row, event)
        comments = self._list_comments(visit.case.id)
        visit.ledger = look_at_comments(visit.link, visit.ledger, comments, visit.policy, self._visits.new_ids())
        settled = self.settle(visit)
        for change in visit.changes:
            self._take_in_change(visit, change, settled)
        visit.changes = ()
        return settled

    def settle(self, visit: Visit) -> Settled:
        """Settle, and log writes on the Case that follow a read or an opening; what only reconcile told is healed."""
        settled = self._case_side.settle(visit)
        cause = visit.link.causes.get(READ, "")
        reason = Reason.HEALED if cause == RECONCILE else Reason.APPLIED
        for name, operation in settled.wrote.items():
            seen = visit.link.seen(name) if name is not Field.COMMENTS else None
            actor = seen.by.label if seen and seen.by else ""
            visit.log(Direction.INBOUND, operation, reason, cause=cause, actor=actor)
        if cause and not visit.link.is_doubtful and not visit.link.wants_notes:
            causes = {name: what for name, what in visit.link.causes.items() if name != READ}
            visit.link = replace(visit.link, causes=causes)
        return settled

    def _events_of(self, visit: Visit) -> list[tuple[InboxRow, IncidentEvent]]:
        found = []
        for row in self._inbox.waiting_for(visit.link.id):
            try:
                found.append((row, parse_event(row.body)))
            except PayloadError as exc:
                visit.events_done.append((row.id, Reason.UNREADABLE))
                visit.log(Direction.INBOUND, "webhook", Reason.UNREADABLE, detail=str(exc), cause=f"inbox:{row.id}")
        return sorted(found, key=lambda pair: (pair[1].occurred_at, pair[0].id))

    def _take_in_event(self, visit: Visit, row: InboxRow, event: IncidentEvent) -> None:
        visit.asked_class = None
        looked = look_at_event(visit.link, visit.ledger, event, visit.case, visit.policy, self._visits.new_id())
        visit.link, visit.ledger = looked.link, looked.ledger
        settled = self._case_side.settle(visit, is_complete=False)
        reason = looked.reason or _reason_of_event(looked.field, settled)
        outcome = Outcome.DELIVERED if settled.wrote and reason is not Reason.ECHO else outcome_of(reason)
        if reason is Reason.CHECKED:
            outcome = Outcome.DEFERRED
            visit.link = replace(visit.link, causes={**visit.link.causes, READ: f"inbox:{row.id}"})
        visit.events_done.append((row.id, reason))
        visit.log(
            Direction.INBOUND,
            event.event_type,
            reason,
            outcome=outcome,
            detail=", ".join(sorted(settled.wrote.values())),
            event_id=event.id,
            cause=f"inbox:{row.id}",
            actor=(event.agent or PAGERDUTY).label,
        )

    def _take_in_change(self, visit: Visit, change: CaseEvent, settled: Settled) -> None:
        """A change of the Case gets its row here only when no call will be made for it; a call writes its own."""
        visit.changes_done.append(change.id)
        visit.asked_class = None
        cause = f"case_event:{change.id}"
        name = FIELD_OF_CHANGE.get(change.kind)
        if name is None:
            visit.log(Direction.OUTBOUND, change.kind, Reason.NO_EQUIVALENT, cause=cause, actor=change.actor.label)
            return
        if name is Field.COMMENTS:
            self._take_in_comment(visit, change, cause)
            return
        visit.link = replace(visit.link, causes={**visit.link.causes, name.value: cause})
        if any(field_of(action) is name for action in settled.plan.incident_actions):
            return
        reason = settled.reasons.get(name, Reason.IN_STEP)
        if change.actor.kind == "pagerDuty" and reason in (Reason.IN_STEP, Reason.APPLIED):
            reason = Reason.ECHO
        visit.log(Direction.OUTBOUND, change.kind, reason, cause=cause, actor=change.actor.label)

    def _take_in_comment(self, visit: Visit, change: CaseEvent, cause: str) -> None:
        entry = visit.ledger.by_source("outbound", change.timeline_event_id or "")
        if entry is not None and entry.state != "dropped":
            visit.link = replace(visit.link, causes={**visit.link.causes, entry.source_id: cause})
            if visit.link.state is not LinkState.ENDED:
                return
            # No call will be made for it, unless somebody links the Case anew.
            reason = Reason.LINK_ENDED
        else:
            reason = Reason.ECHO if entry is None else entry.reason or Reason.DIRECTION_OFF
        visit.log(Direction.OUTBOUND, change.kind, reason, cause=cause, actor=change.actor.label)


def _reason_of_event(name: Field | None, settled: Settled) -> Reason:
    """What became of a webhook that told something new."""
    if name is None:
        return Reason.NOT_SYNCED
    reason = settled.reasons.get(name, Reason.IN_STEP)
    if reason is not Reason.APPLIED or name in settled.wrote:
        return reason
    if name is Field.COMMENTS:
        return Reason.CHECKED
    waits_for_call = any(field_of(action) is name for action in settled.plan.incident_actions)
    return Reason.OVERRULED if waits_for_call else reason
