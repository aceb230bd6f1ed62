"""The one-way path beside the sync: service keys, alerts, pushes."""

from __future__ import annotations

from pagerduty_sync.handlers.event_calls import EventCalls
from pagerduty_sync.handlers.event_sending import EventSender
from pagerduty_sync.handlers.event_text import Triggers
from pagerduty_sync.handlers.notifications import Notifier
from pagerduty_sync.handlers.pushes import PushReader
from pagerduty_sync.handlers.service_keys import ServiceKeyConnectors
from pagerduty_sync.settings import Settings
from pagerduty_sync.wiring.syncing import SyncParts


class OneWayParts(SyncParts):
    """The parts that tell service-key connectors of Cases and alerts."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.event_calls = EventCalls(lambda: self.redis)
        triggers = Triggers(self.routing.preset, self.service_keys, f"{settings.public_url}/cases/{{name}}")
        self.notifier = Notifier(
            database=self.database,
            cases=self.cases,
            notifications=self.notifications,
            deliveries=self.deliveries,
            triggers=triggers,
            match=self.router.match,
            is_linked=lambda case_id: self.links.of_case(case_id) is not None,
        )
        self.push_reader = PushReader(
            database=self.database,
            pushes=self.pushes,
            cases=self.cases,
            look_again=self.notifier.look_again,
            notifications=self.notifications,
            triggers=triggers,
            routing=self.routing,
            connectors=self.connectors,
            deliveries=self.deliveries,
        )
        self.event_sender = EventSender(
            database=self.database,
            queue=self.event_queue,
            service_keys=self.service_keys,
            deliveries=self.deliveries,
            client_of=self.event_calls.client_of,
            budget_of=self.event_calls.budget_of,
            give_up_after_seconds=settings.retry_hours * 3600,
        )
        self.service_key_connectors = ServiceKeyConnectors(
            database=self.database,
            connectors=self.connectors,
            service_keys=self.service_keys,
            deliveries=self.deliveries,
            audit=self.audit,
            client=self.client,
            client_of=self.event_calls.client_of,
        )
