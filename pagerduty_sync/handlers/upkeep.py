"""Work by the clock: what lost its nudge, what an event did not tell, whether the key and the subscription stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

import structlog

from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.errors import PagerDutyError, UnauthorizedError
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.health import Health
from pagerduty_sync.handlers.reconcile import Reconcile, Reconciled
from pagerduty_sync.stores.case_events import CaseEvents
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.event_queue import EventQueue
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.leg_signs import LegSigns
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.notifications import Notifications
from pagerduty_sync.stores.pushes import Pushes

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 500
NUDGE_SECONDS = 3.0
"""A nudge that has not arrived by then is taken for lost."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the sweep found waiting."""

    inbox_ids: list[int] = field(default_factory=list)
    case_ids: list[str] = field(default_factory=list)
    link_ids: list[str] = field(default_factory=list)
    integration_ids: list[str] = field(default_factory=list)
    # The one-way path's: Cases it has not looked at, events to be sent, pushes to be read.
    untold_case_ids: list[str] = field(default_factory=list)
    notification_ids: list[int] = field(default_factory=list)
    push_ids: list[int] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many of each, under the names of the fields."""
        return {each.name: len(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class ToRead:
    """After reading: which integrations have reads due because of it, and in how many seconds to go on, if ever."""

    integration_ids: list[str] = field(default_factory=list)
    again_in: float | None = None


class Sweep:
    def __init__(
        self,
        *,
        inbox: Inbox,
        case_events: CaseEvents,
        links: Links,
        notifications: Notifications,
        event_queue: EventQueue,
        pushes: Pushes,
    ) -> None:
        self._inbox = inbox
        self._case_events = case_events
        self._links = links
        self._notifications = notifications
        self._event_queue = event_queue
        self._pushes = pushes

    def find(self) -> Found:
        """Everything in PostgreSQL that wants work now and seems to have no nudge on the way."""
        found = Found(
            self._inbox.found_late(SWEPT_AT_ONCE, NUDGE_SECONDS),
            self._case_events.cases_waiting(SWEPT_AT_ONCE, NUDGE_SECONDS),
            self._links.wanting_a_look(SWEPT_AT_ONCE, NUDGE_SECONDS),
            self._links.integrations_with_due_calls(),
            self._notifications.cases_unseen(SWEPT_AT_ONCE, NUDGE_SECONDS),
            self._event_queue.due(SWEPT_AT_ONCE, NUDGE_SECONDS),
            self._pushes.found_late(SWEPT_AT_ONCE, NUDGE_SECONDS),
        )
        counts = found.counts()
        if any(counts.values()):
            log.info("swept", **counts)
        return found


class Upkeep:
    def __init__(
        self,
        *,
        integrations: Integrations,
        reconcile: Reconcile,
        health: Health,
        calls_of: Callable[[str], Calls],
        inbox: Inbox,
        deliveries: Deliveries,
        event_queue: EventQueue,
        pushes: Pushes,
        signs: LegSigns,
        inbox_retention_days: int,
        deliveries_retention_days: int,
    ) -> None:
        self._integrations = integrations
        self._reconcile = reconcile
        self._health = health
        self._calls_of = calls_of
        self._inbox = inbox
        self._deliveries = deliveries
        self._event_queue = event_queue
        self._pushes = pushes
        self._signs = signs
        self._inbox_retention_days = inbox_retention_days
        self._deliveries_retention_days = deliveries_retention_days

    def reconcile(self) -> ToRead:
        """Compare, or go on comparing."""
        return self._read(self._reconcile.run)

    def poll(self) -> ToRead:
        """Read the account's log, or go on reading it."""
        return self._read(self._read_log)

    def _read_log(self, integration: Integration, calls: Calls) -> Reconciled:
        result = self._reconcile.poll(integration, calls)
        if result.again_in is None:
            self._signs.log_is_read(integration.id)
        return result

    def _read(self, how: Callable[[Integration, Calls], Reconciled]) -> ToRead:
        integration = self._integrations.only()
        if integration is None or integration.status in (IntegrationStatus.DISCONNECTED, IntegrationStatus.CONNECTING):
            return ToRead()
        try:
            result = how(integration, self._calls_of(integration.id))
        except UnauthorizedError as exc:
            self._health.disconnect_because(integration.id, str(exc))
            return ToRead()
        except PagerDutyError as exc:
            log.warning("reconcile_put_off", error=str(exc))
            return ToRead()
        doubted, noted = len(result.doubted), len(result.noted)
        if result.compared or doubted or noted:
            log.info("reconciled", compared=result.compared, doubted=doubted, noted=noted, again_in=result.again_in)
        return ToRead([integration.id] if doubted or noted else [], result.again_in)

    def watch(self) -> bool:
        """Look after the webhook subscription, or that none is left; True when events may be missing."""
        integration = self._integrations.only()
        if integration is None:
            return False
        report = self._health.check_subscription(integration.id)
        if report.is_right:
            self._signs.subscription_is_right(integration.id)
        return integration.is_two_way and report.may_have_missed

    def check_keys(self) -> list[str]:
        """Look after the key; the integrations that are connected again."""
        integration = self._integrations.only()
        if integration is None:
            return []
        return [integration.id] if self._health.check_key(integration.id).is_back else []

    def prune(self) -> None:
        """Delete what is past its retention and prepare the months ahead."""
        self._deliveries.ensure_partitions()
        self._deliveries.prune(datetime.now(UTC) - timedelta(days=self._deliveries_retention_days))
        self._inbox.prune(self._inbox_retention_days)
        self._pushes.prune(self._inbox_retention_days)
        self._event_queue.prune(self._deliveries_retention_days)
