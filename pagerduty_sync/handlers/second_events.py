"""A second try of what the one-way path could not tell: whether the event is still wanted, and by which key it goes.

Decides nothing anew: the event goes out as it was made, under its own dedup key, so PagerDuty takes a repeat for one.
"""

from __future__ import annotations

from pagerduty_sync.domain.cases import CaseStatus, CaseSystem
from pagerduty_sync.domain.deliveries import Delivery, Reason
from pagerduty_sync.domain.notifications import EventAction
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.handlers.second_looks import Result, Target
from pagerduty_sync.stores.event_queue import Ended, EventQueue
from pagerduty_sync.stores.service_keys import ServiceKeys

ACTIONS = {action.operation: action for action in EventAction}
ENDED_BADLY = ("failed", "dropped")


class SecondEvents:
    """Reads only."""

    def __init__(self, queue: EventQueue, service_keys: ServiceKeys, cases: CaseSystem) -> None:
        self._queue = queue
        self._service_keys = service_keys
        self._cases = cases

    def target(self, tried: Delivery) -> Target:
        """An attempt to send an event, as it stands today."""
        target = Target(tried, Result.QUEUED)
        action = ACTIONS.get(tried.operation)
        event = self._queue.ended(tried.connector_id, tried.event_id, action) if action and tried.connector_id else None
        if event is None:
            return target.impossible("the event itself is past its retention, or was never made")
        if event.state == "waiting":
            return target.waits()
        if event.state not in ENDED_BADLY:
            return target.with_nothing(Reason.IN_STEP, "it was sent meanwhile")
        if event.is_overtaken:
            return target.with_nothing(Reason.STALE, "a later event of the same Case or alert has been sent, or waits")
        try:
            connector = self._service_keys.of(event.connector_id).connector
            if not event.has_own_key:
                self._service_keys.routing_key(event.connector_id)
            if event.entity == "cases" and not self._is_wanted(event):
                return target.with_nothing(Reason.STALE, "the Case has moved on since")
        except NotFoundError as exc:
            return target.with_nothing(Reason.NOT_FOUND, str(exc))
        return target.with_event(event.id, f"{tried.operation} to {connector.name}")

    def _is_wanted(self, event: Ended) -> bool:
        """Whether the Case is still in the state the event tells of; raises NotFoundError."""
        status = self._cases.get_case(event.source_id).status
        if event.action is EventAction.TRIGGER:
            return status.is_open
        return status is CaseStatus.ACKNOWLEDGED if event.action is EventAction.ACKNOWLEDGE else not status.is_open
