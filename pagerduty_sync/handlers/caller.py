"""Making one call for one visit: mark what cannot be asked twice, call, log, and decide what a failure means."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Direction, Reason
from pagerduty_sync.domain.links import Parked
from pagerduty_sync.domain.plans import ChangeIncident, IncidentAction, OpenIncident, PostNote, ReadIncident
from pagerduty_sync.domain.retries import Disconnect, GiveUp, Retry, decide
from pagerduty_sync.errors import (
    IncidentNotFoundError,
    LinkConflictError,
    PagerDutyError,
    RateLimitError,
    ServerError,
    TransportError,
)
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.case_side import case_values
from pagerduty_sync.handlers.incident_side import IncidentSide, field_of, operation_of, urgency_of
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.stores.leases import Due

log = structlog.get_logger(__name__)


class Caller:
    def __init__(
        self,
        *,
        visits: Visits,
        incident_side: IncidentSide,
        disconnect: Callable[[str, str], object],
        give_up_after_seconds: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._visits = visits
        self._incident_side = incident_side
        self._disconnect = disconnect
        self._give_up_after_seconds = give_up_after_seconds
        self._chance = chance

    def make(self, visit: Visit, action: IncidentAction, calls: Calls) -> Due | None:
        """Make one call and log it. Returns when to try again after a failure, None when the link can go on.

        Raises LeaseLostError, before anything is called, when this worker stalled and another one has the link.
        """
        if self._incident_side.prepare(visit, action):
            self.record(visit)
        self.hold(visit)
        if isinstance(action, PostNote):
            # As prepared: the entry now says that a call may have been made.
            action = PostNote(visit.ledger.by_source("outbound", action.entry.source_id) or action.entry)
        if isinstance(action, ChangeIncident | PostNote):
            visit.writes += 1
        calls.begin()
        cause = cause_of(visit, action)
        try:
            done = self._incident_side.act(visit, action, calls.client)
        except PagerDutyError as exc:
            return self.failed(visit, action, exc, calls)
        logged = visit.log(
            Direction.OUTBOUND,
            operation_of(action),
            done.reason,
            detail=done.detail,
            cause=cause,
            actor=actor_of(visit, action),
        )
        visit.deliveries[-1] = calls.measured(logged)
        visit.link = replace(visit.link, attempts=0, failing_since=None)
        return None

    def failed(self, visit: Visit, action: IncidentAction, error: PagerDutyError, calls: Calls) -> Due | None:
        """Log a call that PagerDuty did not carry out, and decide what follows."""
        now = self._visits.now()
        since = visit.link.failing_since or now
        attempt = visit.link.attempts + 1
        is_gone = isinstance(error, IncidentNotFoundError) and not isinstance(action, OpenIncident)
        decision = decide(
            error,
            attempt,
            (now - since).total_seconds(),
            jitter=self._chance(),
            give_up_after_seconds=self._give_up_after_seconds,
        )
        reason = Reason.NOT_FOUND if is_gone else _reason_of_failure(error, decision)
        cause = cause_of(visit, action)
        logged = visit.log(Direction.OUTBOUND, operation_of(action), reason, detail=str(error), cause=cause)
        visit.deliveries[-1] = replace(calls.measured(logged), http_status=error.status or None)
        if isinstance(error, RateLimitError):
            calls.throttled(action, error)
        if not isinstance(error, ServerError | TransportError):
            _unmark(visit, action)
        if is_gone:
            visit.end(Reason.NOT_FOUND)
            return None
        match decision:
            case Retry(after_seconds):
                visit.link = replace(visit.link, attempts=attempt, failing_since=since)
                return Due(after_seconds, urgency_of(visit, action).value)
            case Disconnect(why):
                self._disconnect(visit.link.integration_id, why)
                return Due(0.0, urgency_of(visit, action).value)
            case GiveUp(why):
                _park(visit, action, why, now)
                visit.link = replace(visit.link, attempts=0, failing_since=None)
                return None

    def hold(self, visit: Visit) -> None:
        """Go on only while the link is ours for long enough to make a call; prolongs the lease if need be.

        A worker may stall anywhere, so this looks at the clock last. Raises LeaseLostError.
        """
        while self._visits.is_lease_old(visit):
            self.record(visit)

    def record(self, visit: Visit) -> None:
        """Record the visit; of two links that a merge sends to one incident, the second ends."""
        try:
            self._visits.record(visit)
        except LinkConflictError as exc:
            log.info("link_conflict", case=visit.link.case_name, error=str(exc))
            visit.end(Reason.MERGED)
            visit.link = replace(visit.link, incident_id=visit.claim.link.incident_id)
            self._visits.record(visit)


def _unmark(visit: Visit, action: IncidentAction) -> None:
    """A clear no: what was marked as begun has not happened."""
    if isinstance(action, OpenIncident) and not action.looks_first:
        visit.link = replace(visit.link, is_open_attempted=False)
    if isinstance(action, PostNote):
        visit.put(replace(action.entry, state="intended"))


def _park(visit: Visit, action: IncidentAction, why: str, now: datetime) -> None:
    """PagerDuty's final no stays on the link with its words; everything that does not depend on it flows on."""
    if isinstance(action, PostNote):
        visit.put(replace(action.entry, state="dropped", reason=Reason.REFUSED))
        visit.link = visit.link.park(f"note:{action.entry.source_id}", Parked(why, now))
        return
    if isinstance(action, OpenIncident):
        visit.link = visit.link.park("open", Parked(why, now))
        return
    name = field_of(action)
    if name not in visit.link.pictures:
        # The notes cannot be read, so nobody knows which of ours stand there: none is sent a second time.
        for entry in visit.ledger.waiting("outbound"):
            if entry.state == "sending":
                visit.put(replace(entry, state="dropped", reason=Reason.GAVE_UP))
        visit.link = replace(visit.link.park("notes", Parked(why, now)), wants_notes=False)
        return
    seen = visit.link.seen(name)
    if seen is None and isinstance(action, ReadIncident):
        visit.end(Reason.REFUSED)
        return
    visit.link = visit.link.park(f"incident:{name.value}", Parked(why, now, visit.link.agreed(name)))
    visit.link = visit.link.agree(name, case_values(visit.case).get(name), seen.value if seen else None)
    visit.link = replace(visit.link, is_doubtful=False)


def _reason_of_failure(error: PagerDutyError, decision: Retry | GiveUp | Disconnect) -> Reason:
    if isinstance(decision, Disconnect):
        return Reason.DISCONNECTED
    if isinstance(decision, GiveUp):
        return Reason.GAVE_UP if isinstance(error, RateLimitError | ServerError | TransportError) else Reason.REFUSED
    if isinstance(error, RateLimitError):
        return Reason.RATE_LIMITED
    return Reason.NO_REPLY if isinstance(error, TransportError) else Reason.UNAVAILABLE


def actor_of(visit: Visit, action: IncidentAction) -> str:
    """Who on the Case's side a write is made for, as far as known; nobody for a read."""
    if isinstance(action, PostNote):
        return action.entry.author.label
    is_status = isinstance(action, ChangeIncident) and action.field is Field.STATUS
    return visit.case.changed_by.label if is_status else ""


def cause_of(visit: Visit, action: IncidentAction) -> str:
    """Which change of the Case, or which event, a call is made for, as far as known."""
    if isinstance(action, PostNote):
        return visit.link.causes.get(action.entry.source_id, "")
    return visit.link.causes.get(field_of(action).value, "")
