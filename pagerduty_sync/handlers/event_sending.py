"""Sending what the one-way path has to tell: claim, budget, one call, and its outcome on record."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason, outcome_of
from pagerduty_sync.domain.notifications import EventAction
from pagerduty_sync.domain.retries import Retry, decide
from pagerduty_sync.errors import (
    InvalidRequestError,
    NotFoundError,
    PagerDutyError,
    RateLimitError,
    RetryableError,
    SecretError,
    SyncError,
    TransportError,
)
from pagerduty_sync.pagerduty.budget import Budget, CallClass
from pagerduty_sync.pagerduty.events import EVENTS_PER_MINUTE, EventsClient
from pagerduty_sync.pagerduty.replies import Reply
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.event_queue import EventQueue, Notification
from pagerduty_sync.stores.service_keys import ServiceKeys

log = structlog.get_logger(__name__)

OWN_FAILURE_SECONDS = 5.0
UNREADABLE_KEY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Later:
    """An event that could not go out now, and when it may."""

    notification_id: int
    in_seconds: float


class EventSender:
    """`client_of` and `budget_of` give one client per address and one budget per routing key."""

    def __init__(
        self,
        *,
        database: Database,
        queue: EventQueue,
        service_keys: ServiceKeys,
        deliveries: Deliveries,
        client_of: Callable[[str], EventsClient],
        budget_of: Callable[[str], Budget],
        give_up_after_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._queue = queue
        self._service_keys = service_keys
        self._deliveries = deliveries
        self._client_of = client_of
        self._budget_of = budget_of
        self._give_up_after_seconds = give_up_after_seconds
        self._now = now
        self._chance = chance

    def send(self, notification_ids: Sequence[int]) -> list[Later]:
        """Send those that are due and whose turn it is, and after each what waited for it; what has to wait longer.

        Those that are sent already, or another worker's, are passed over, so a second run does nothing.
        """
        later: list[Later] = []
        waiting = deque(notification_ids)
        # How many of one connector already wait for its budget, so that they do not all come back at once.
        queued: dict[str, int] = {}
        while waiting:
            claimed = self._queue.claim(waiting.popleft())
            if claimed is None:
                continue
            wait = self._serve(claimed, queued)
            if wait is not None:
                later.append(Later(claimed.id, wait))
                continue
            following = self._queue.next_after(claimed)
            if following is not None:
                waiting.appendleft(following)
        return later

    def _serve(self, this: Notification, queued: dict[str, int]) -> float | None:
        """Handle one claimed event. The seconds until it may be tried again, None when it is over."""
        try:
            return self._send(this, queued)
        except SecretError as exc:
            log.error("routing_key_unreadable", connector=this.connector_id, error=str(exc))
            self._queue.put_off(None, this, UNREADABLE_KEY_SECONDS)
            return UNREADABLE_KEY_SECONDS
        except Exception:
            # A failure of ours, such as a database that went away: soon again, by the lease if not even this works.
            try:
                self._queue.put_off(None, this, OWN_FAILURE_SECONDS)
            except SyncError:
                log.warning("notification_left_to_its_lease", notification=this.id)
            raise

    def _send(self, this: Notification, queued: dict[str, int]) -> float | None:
        if this.follows_refusal and this.action is not EventAction.TRIGGER:
            why = "Its trigger was refused or not sent, so there is nothing that this could be about."
            self._end(this, "dropped", self._row(this, Reason.NOT_OPEN, why))
            return None
        try:
            sends = self._service_keys.of(this.connector_id)
            key = (
                self._queue.own_key(this.id) if this.has_own_key else self._service_keys.routing_key(this.connector_id)
            )
        except NotFoundError as exc:
            why = "; ".join(filter(None, (str(exc), this.problem)))
            self._end(this, "dropped", self._row(this, Reason.NOT_FOUND, why))
            return None
        budget = self._budget_of(key)
        wait = budget.take(CallClass.URGENT)
        if wait > 0:
            wait += queued.get(this.connector_id, 0) * 60 / EVENTS_PER_MINUTE
            queued[this.connector_id] = queued.get(this.connector_id, 0) + 1
            self._queue.put_off(None, this, wait)
            return wait
        replies: list[Reply] = []
        try:
            self._client_of(sends.events_url).send(key, this.action, this.dedup_key, this.content, heard=replies.append)
        except InvalidRequestError as exc:
            self._end(this, "failed", self._row(this, Reason.REFUSED, str(exc)))
        except PagerDutyError as exc:
            return self._failed(this, exc, budget, replies[-1])
        else:
            self._end(this, "done", self._row(this, Reason.APPLIED, this.problem, reply=replies[-1]))
        return None

    def _failed(self, this: Notification, error: PagerDutyError, budget: Budget, reply: Reply) -> float | None:
        now = self._now()
        since = this.failing_since or now
        decision = decide(
            error,
            this.attempts + 1,
            (now - since).total_seconds(),
            jitter=self._chance(),
            give_up_after_seconds=self._give_up_after_seconds,
        )
        if isinstance(error, RateLimitError) and error.retry_after_seconds is not None:
            budget.freeze(error.retry_after_seconds)
        if isinstance(decision, Retry):
            row = self._row(this, _reason_to_wait(error), str(error), reply=reply)
            with self._database.transaction() as conn:
                self._queue.put_off(conn, this, decision.after_seconds, failing_since=since)
                self._deliveries.add(conn, [row])
            return decision.after_seconds
        # A key that is not accepted is this connector's own matter: there is no account to disconnect.
        reason = Reason.GAVE_UP if isinstance(error, RetryableError) else Reason.REFUSED
        self._end(this, "failed", self._row(this, reason, decision.reason, reply=reply))
        return None

    def _end(self, this: Notification, state: str, row: Delivery) -> None:
        with self._database.transaction() as conn:
            if not self._queue.end(conn, this, state, row.reason.value):
                log.warning("lease_lost", notification=this.id)
            # The attempt was made, whoever holds the row by now.
            self._deliveries.add(conn, [row])

    def _row(self, this: Notification, reason: Reason, detail: str, *, reply: Reply | None = None) -> Delivery:
        is_case = this.entity == "cases"
        return Delivery(
            Direction.OUTBOUND,
            this.action.operation,
            outcome_of(reason),
            reason,
            detail,
            case_id=this.source_id if is_case else None,
            case_name=this.source_name if is_case else "",
            connector_id=this.connector_id,
            attempt=this.attempts + 1,
            http_status=(reply.status or None) if reply else None,
            duration_ms=reply.duration_ms if reply else None,
            request_id=(reply.request_id or "") if reply else "",
            event_id=this.dedup_key,
            cause=this.cause,
        )


def _reason_to_wait(error: PagerDutyError) -> Reason:
    if isinstance(error, RateLimitError):
        return Reason.RATE_LIMITED
    return Reason.NO_REPLY if isinstance(error, TransportError) else Reason.UNAVAILABLE
