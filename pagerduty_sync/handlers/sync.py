"""Keeping one link in step: claim it, take in what is new, plan, act, record, and give it back.

`look` never calls PagerDuty; `call` does, for whatever is due, as far as the budget allows. Both go through the same
steps, so that whichever worker comes next finds the link as the one before left it, also when that one died.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from pagerduty_sync.domain.cases import CaseEvent, Comment
from pagerduty_sync.domain.connectors import Field, IntegrationStatus
from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason, outcome_of
from pagerduty_sync.domain.incidents import IncidentEvent
from pagerduty_sync.domain.links import LinkState, Parked
from pagerduty_sync.domain.observing import look_at_comments, look_at_event
from pagerduty_sync.domain.plans import IncidentAction, OpenIncident, Plan, PostNote
from pagerduty_sync.domain.retries import Disconnect, GiveUp, Retry, decide
from pagerduty_sync.errors import (
    IncidentNotFoundError,
    LinkConflictError,
    NotFoundError,
    PagerDutyError,
    PayloadError,
    RateLimitError,
    ServerError,
    SyncError,
    TransportError,
)
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.case_side import CaseSide, Settled, case_values
from pagerduty_sync.handlers.incident_side import IncidentSide, class_of, field_of, operation_of
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.pagerduty.schemas import parse_event
from pagerduty_sync.stores.case_events import CaseEvents
from pagerduty_sync.stores.inbox import Inbox, InboxRow
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.links import Claim, Due, LeaseLostError, Links

log = structlog.get_logger(__name__)

LINKS_PER_CALL = 50
ACTIONS_PER_VISIT = 40
OWN_FAILURE_SECONDS = 5.0

READ, RECONCILE = "read", "reconcile"
"""Under the first name a link remembers what asked for a read of its incident; the second is one such cause."""

FIELD_OF_CHANGE = {
    "created": Field.STATUS,
    "statusChanged": Field.STATUS,
    "priorityDetailsChanged": Field.PRIORITY,
    "resolutionReasonChangedEvent": Field.RESOLUTION_NOTES,
    "comment": Field.COMMENTS,
}
"""Which field a change of a Case is about; every other kind has no equivalent in PagerDuty."""


@dataclass(frozen=True, slots=True)
class Looked:
    """After a look: which integration has a call due now, and whether something new came in meanwhile."""

    integration_id: str | None = None
    is_dirty: bool = False


class Sync:
    def __init__(
        self,
        *,
        links: Links,
        inbox: Inbox,
        case_events: CaseEvents,
        integrations: Integrations,
        visits: Visits,
        case_side: CaseSide,
        incident_side: IncidentSide,
        calls_of: Callable[[str], Calls],
        disconnect: Callable[[str, str], object],
        list_comments: Callable[[str], Sequence[Comment]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._links = links
        self._inbox = inbox
        self._case_events = case_events
        self._integrations = integrations
        self._visits = visits
        self._case_side = case_side
        self._incident_side = incident_side
        self._calls_of = calls_of
        self._disconnect = disconnect
        self._list_comments = list_comments
        self._chance = chance

    # ------------------------------------------------------------ looking

    def look(self, link_id: str) -> Looked:
        """Take in what is new on one link and do everything that needs no call to PagerDuty."""
        # Marked before the claim: whoever holds the link now sees the mark when giving it back.
        self._links.mark_dirty([link_id])
        claim = self._links.claim(link_id)
        if claim is None:
            return Looked()
        with self._giving_back_on_failure(claim):
            visit = self._open(claim)
            if visit is None:
                return Looked()
            settled = self._take_in(visit)
            self._record(visit)
            due = _due(settled.plan, 0.0)
            is_dirty = self._links.release(claim, due, keeps_backoff=True)
        return Looked(claim.link.integration_id if due else None, is_dirty)

    def _open(self, claim: Claim) -> Visit | None:
        """None when the Case is gone: then the link is over."""
        try:
            return self._visits.open(claim)
        except NotFoundError as exc:
            log.warning("case_is_gone", case=claim.link.case_name, error=str(exc))
            self._links.end(claim, Reason.NOT_FOUND.value)
            return None

    def _take_in(self, visit: Visit) -> Settled:
        """Fold in webhooks one by one in the order they happened, then the Case's changes; settle after each."""
        if visit.link.state is not LinkState.OPENING:
            for row, event in self._events_of(visit):
                self._take_in_event(visit, row, event)
        comments = self._list_comments(visit.case.id)
        visit.ledger = look_at_comments(visit.link, visit.ledger, comments, visit.policy, self._visits.new_ids())
        settled = self._case_side.settle(visit)
        self._log_writes(visit, settled)
        for change in self._case_events.waiting(visit.case.id):
            self._take_in_change(visit, change, settled)
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
        looked = look_at_event(visit.link, visit.ledger, event, visit.case, visit.policy, self._visits.new_id())
        visit.link, visit.ledger = looked.link, looked.ledger
        settled = self._case_side.settle(visit)
        reason = looked.reason or _reason_of_event(looked.field, settled)
        if reason is Reason.CHECKED:
            visit.link = replace(visit.link, causes={**visit.link.causes, READ: f"inbox:{row.id}"})
        detail = ", ".join(sorted(settled.wrote.values()))
        outcome = Outcome.DELIVERED if settled.wrote and reason is not Reason.ECHO else outcome_of(reason)
        if reason is Reason.CHECKED:
            outcome = Outcome.DEFERRED
        visit.events_done.append((row.id, reason))
        visit.log(
            Direction.INBOUND,
            event.event_type,
            reason,
            outcome=outcome,
            detail=detail,
            event_id=event.id,
            cause=f"inbox:{row.id}",
        )

    def _take_in_change(self, visit: Visit, change: CaseEvent, settled: Settled) -> None:
        """A change of the Case gets its row here only when no call will be made for it; a call writes its own."""
        visit.changes_done.append(change.id)
        cause = f"case_event:{change.id}"
        name = FIELD_OF_CHANGE.get(change.kind)
        if name is None:
            visit.log(Direction.OUTBOUND, change.kind, Reason.NO_EQUIVALENT, cause=cause)
            return
        if name is Field.COMMENTS:
            entry = visit.ledger.by_source("outbound", change.timeline_event_id or "")
            if entry is not None and entry.state != "dropped":
                visit.link = replace(visit.link, causes={**visit.link.causes, entry.source_id: cause})
                return
            reason = Reason.ECHO if entry is None else entry.reason or Reason.DIRECTION_OFF
            visit.log(Direction.OUTBOUND, change.kind, reason, cause=cause)
            return
        visit.link = replace(visit.link, causes={**visit.link.causes, name.value: cause})
        if any(field_of(action) is name for action in settled.plan.incident_actions):
            return
        reason = settled.reasons.get(name, Reason.IN_STEP)
        if change.actor.kind == "pagerDuty" and reason in (Reason.IN_STEP, Reason.APPLIED):
            reason = Reason.ECHO
        visit.log(Direction.OUTBOUND, change.kind, reason, cause=cause)

    def _log_writes(self, visit: Visit, settled: Settled) -> None:
        """Writes on the Case that follow a read or an opening; what only reconcile's read told counts as healed."""
        cause = visit.link.causes.get(READ, "")
        reason = Reason.HEALED if cause == RECONCILE else Reason.APPLIED
        for operation in settled.wrote.values():
            visit.log(Direction.INBOUND, operation, reason, cause=cause)
        if not visit.link.is_doubtful:
            visit.link = replace(
                visit.link, causes={name: what for name, what in visit.link.causes.items() if name != READ}
            )

    # ------------------------------------------------------------ calling

    def call(self, integration_id: str) -> float | None:
        """Make the calls that are due. Returns the seconds until more may be made, None when nothing is left."""
        integration = self._integrations.by_id(integration_id)
        if integration is None or integration.status in (IntegrationStatus.DISCONNECTED, IntegrationStatus.CONNECTING):
            return None
        calls = self._calls_of(integration_id)
        highest, wait = CallClass.RECONCILE.value, 0.0
        for _ in range(LINKS_PER_CALL):
            claim = self._links.claim_due(integration_id, highest)
            if claim is None:
                return wait or None
            refused = self._serve(claim, calls)
            if refused is None:
                continue
            if refused.call_class == CallClass.URGENT.value:
                return refused.in_seconds
            # No budget left for words; there may be some for a page.
            highest, wait = refused.call_class - 1, refused.in_seconds
        return wait

    def _serve(self, claim: Claim, calls: Calls) -> Due | None:
        """Bring one link in step. Returns what had to wait for the budget, None when nothing had to."""
        with self._giving_back_on_failure(claim):
            visit = self._open(claim)
            if visit is None:
                return None
            settled = self._take_in(visit)
            for _ in range(ACTIONS_PER_VISIT):
                if not settled.plan.incident_actions:
                    break
                action = settled.plan.incident_actions[0]
                wait = calls.wait_for(action)
                if wait > 0:
                    due = Due(wait, class_of(action).value)
                    self._record(visit)
                    self._links.release(claim, due)
                    return due
                failed = self._make(visit, action, calls)
                if failed is not None:
                    self._record(visit)
                    self._links.release(claim, failed)
                    return None
                settled = self._case_side.settle(visit)
                self._log_writes(visit, settled)
                self._record(visit)
            self._record(visit)
            self._links.release(claim, _due(settled.plan, 0.0))
        return None

    def _make(self, visit: Visit, action: IncidentAction, calls: Calls) -> Due | None:
        """Make one call and log it. Returns when to try again after a failure, None when the link can go on."""
        if self._incident_side.prepare(visit, action):
            self._record(visit)
        if isinstance(action, PostNote):
            action = PostNote(visit.ledger.by_source("outbound", action.entry.source_id) or action.entry)
        calls.begin()
        operation, cause = operation_of(action), _cause(visit, action)
        try:
            done = self._incident_side.act(visit, action, calls.client)
        except PagerDutyError as exc:
            return self._failed(visit, action, exc, calls)
        logged = visit.log(Direction.OUTBOUND, operation, done.reason, detail=done.detail, cause=cause)
        visit.deliveries[-1] = calls.measured(logged)
        visit.link = replace(visit.link, attempts=0, failing_since=None)
        return None

    def _failed(self, visit: Visit, action: IncidentAction, error: PagerDutyError, calls: Calls) -> Due | None:
        now = self._visits.now()
        since = visit.link.failing_since or now
        attempt = visit.link.attempts + 1
        is_gone = isinstance(error, IncidentNotFoundError) and not isinstance(action, OpenIncident)
        decision = decide(error, attempt, (now - since).total_seconds(), jitter=self._chance())
        reason = Reason.NOT_FOUND if is_gone else _reason_of_failure(error, decision)
        logged = visit.log(
            Direction.OUTBOUND, operation_of(action), reason, detail=str(error), cause=_cause(visit, action)
        )
        visit.deliveries[-1] = replace(calls.measured(logged), http_status=error.status or None)
        if isinstance(error, RateLimitError):
            calls.throttled(action, error)
        if not isinstance(error, ServerError | TransportError):
            self._unmark(visit, action)
        if is_gone:
            visit.end(Reason.NOT_FOUND)
            return None
        match decision:
            case Retry(after_seconds):
                visit.link = replace(visit.link, attempts=attempt, failing_since=since)
                return Due(after_seconds, class_of(action).value)
            case Disconnect(why):
                self._disconnect(visit.link.integration_id, why)
                return Due(0.0, class_of(action).value)
            case GiveUp(why):
                self._park(visit, action, why, now)
                visit.link = replace(visit.link, attempts=0, failing_since=None)
                return None

    def _unmark(self, visit: Visit, action: IncidentAction) -> None:
        """A clear no: what was marked as begun has not happened."""
        if isinstance(action, OpenIncident) and not action.looks_first:
            visit.link = replace(visit.link, is_open_attempted=False)
        if isinstance(action, PostNote):
            visit.put(replace(action.entry, state="intended"))

    def _park(self, visit: Visit, action: IncidentAction, why: str, now: datetime) -> None:
        """PagerDuty's final no stays on the link with its words; everything that does not depend on it flows on."""
        if isinstance(action, PostNote):
            visit.put(replace(action.entry, state="dropped", reason=Reason.REFUSED))
            visit.link = visit.link.park(f"note:{action.entry.source_id}", Parked(why, now))
            return
        if isinstance(action, OpenIncident):
            visit.link = visit.link.park("open", Parked(why, now))
            return
        name = field_of(action)
        seen = visit.link.seen(name)
        visit.link = visit.link.park(f"incident:{name.value}", Parked(why, now, visit.link.agreed(name)))
        visit.link = visit.link.agree(name, case_values(visit.case).get(name), seen.value if seen else None)
        visit.link = replace(visit.link, is_doubtful=False, wants_notes=False)

    def _record(self, visit: Visit) -> None:
        try:
            self._visits.record(visit)
        except LinkConflictError as exc:
            # Two merges into one incident at the same moment: the one that came second has no incident of its own.
            log.info("link_conflict", case=visit.link.case_name, error=str(exc))
            visit.end(Reason.MERGED)
            visit.link = replace(visit.link, incident_id=visit.claim.link.incident_id)
            self._visits.record(visit)

    def _giving_back_on_failure(self, claim: Claim) -> _GivingBack:
        return _GivingBack(self._links, claim)


class _GivingBack:
    """A failure of ours (a database away, a Case system away) gives the link back, to be looked at again soon."""

    def __init__(self, links: Links, claim: Claim) -> None:
        self._links = links
        self._claim = claim

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        if isinstance(error, LeaseLostError):
            log.warning("lease_lost", link=self._claim.link.id, case=self._claim.link.case_name)
            return True
        try:
            self._links.give_back(self._claim, OWN_FAILURE_SECONDS)
        except SyncError:
            log.warning("link_left_to_its_lease", link=self._claim.link.id)
        return False


def _due(plan: Plan, in_seconds: float) -> Due | None:
    if not plan.incident_actions:
        return None
    return Due(in_seconds, min(class_of(action) for action in plan.incident_actions).value)


def _reason_of_event(name: Field | None, settled: Settled) -> Reason:
    """What became of a webhook that told something new."""
    if name is None:
        return Reason.NOT_SYNCED
    reason = settled.reasons.get(name, Reason.IN_STEP)
    waits_for_call = any(field_of(action) is name for action in settled.plan.incident_actions)
    if reason is Reason.APPLIED and name not in settled.wrote and waits_for_call and name is not Field.COMMENTS:
        return Reason.OVERRULED
    if reason is Reason.APPLIED and name is Field.COMMENTS and name not in settled.wrote:
        return Reason.CHECKED
    return reason


def _reason_of_failure(error: PagerDutyError, decision: object) -> Reason:
    if isinstance(decision, Disconnect):
        return Reason.DISCONNECTED
    if isinstance(decision, GiveUp):
        return Reason.GAVE_UP if isinstance(error, RateLimitError | ServerError | TransportError) else Reason.REFUSED
    if isinstance(error, RateLimitError):
        return Reason.RATE_LIMITED
    return Reason.NO_REPLY if isinstance(error, TransportError) else Reason.UNAVAILABLE


def _cause(visit: Visit, action: IncidentAction) -> str:
    if isinstance(action, PostNote):
        return visit.link.causes.get(action.entry.source_id, "")
    return visit.link.causes.get(field_of(action).value, "")
