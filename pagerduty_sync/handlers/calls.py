"""One integration's way to PagerDuty: the client, its budget, and what the last reply measured."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from pagerduty_sync.domain.deliveries import Delivery
from pagerduty_sync.domain.plans import IncidentAction, OpenIncident
from pagerduty_sync.errors import RateLimitError
from pagerduty_sync.pagerduty.budget import Budget, CallClass, Operation
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.pagerduty.replies import Reply

LONGEST_FREEZE_SECONDS = 60.0
"""PagerDuty counts by the minute (REST API Rate Limits): a refusal that says nothing is over by then."""


class Calls:
    """Made once per integration and process; safe for threads."""

    def __init__(self, make_client: Callable[[Callable[[Reply], None]], PagerDutyClient], budget: Budget) -> None:
        self._local = threading.local()
        self.budget = budget
        self.client = make_client(self._heard)

    def wait_for(self, action: IncidentAction, call_class: CallClass) -> float:
        """Take the budget for one action: 0.0 when it may be made now, else the seconds to wait."""
        if _is_create(action):
            return self.budget.take(call_class, operation=Operation.CREATE)
        return self.budget.take_reading() if call_class is CallClass.RECONCILE else self.budget.take(call_class)

    def throttled(self, action: IncidentAction, error: RateLimitError) -> None:
        """PagerDuty refused for its rate: hold back what that limit is about, for as long as it says."""
        seconds = error.retry_after_seconds
        if _is_create(action):
            self.budget.throttled(Operation.CREATE, seconds)
        else:
            self.budget.freeze(LONGEST_FREEZE_SECONDS if seconds is None else seconds)

    def begin(self) -> None:
        """Forget the replies of the action before."""
        self._local.reply = None

    def measured(self, delivery: Delivery) -> Delivery:
        """The delivery with status, duration and request id of the last reply."""
        reply: Reply | None = getattr(self._local, "reply", None)
        if reply is None:
            return delivery
        return replace(
            delivery,
            http_status=reply.status or None,
            duration_ms=reply.duration_ms,
            request_id=reply.request_id or "",
        )

    def _heard(self, reply: Reply) -> None:
        self._local.reply = reply
        if reply.ratelimit is not None and reply.status != 429:
            limit = reply.ratelimit
            operation = Operation.CREATE if (reply.method, reply.path) == ("POST", "/incidents") else None
            self.budget.observe(limit.limit, limit.remaining, limit.reset_seconds, operation)


def _is_create(action: IncidentAction) -> bool:
    return isinstance(action, OpenIncident) and not action.looks_first
