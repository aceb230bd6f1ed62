"""Explaining, replaying and quarantine."""

from __future__ import annotations

from datetime import timedelta

from pagerduty_sync.handlers.asking import Asking
from pagerduty_sync.handlers.discarding import Discarding
from pagerduty_sync.handlers.explain import Explain
from pagerduty_sync.handlers.offloading import Offloading
from pagerduty_sync.handlers.replay import Replay
from pagerduty_sync.handlers.second_events import SecondEvents
from pagerduty_sync.handlers.second_looks import SecondLooks
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.inbox_bodies import InboxBodies
from pagerduty_sync.stores.overview import Overviews
from pagerduty_sync.stores.quarantine import Quarantine
from pagerduty_sync.stores.replays import Replays
from pagerduty_sync.stores.traces import Traces
from pagerduty_sync.wiring.administration import AdministrationParts


class HindsightParts(AdministrationParts):
    """The parts that tell what happened and why, and try it again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        replays = Replays(self.database)
        self.quarantine = Quarantine(self.database)
        self.discarding = Discarding(self.database, self.quarantine, self.audit)
        self.offloading = Offloading(InboxBodies(self.database), self.audit)
        self.explain = Explain(
            cases=self.cases,
            links=self.links,
            visits=self.visits,
            traces=Traces(self.database),
            overviews=Overviews(self.database),
            deliveries=self.deliveries,
            integrations=self.integrations,
            connectors=self.connectors,
            routing=self.routing,
            router=self.router,
            asking=Asking(self.client, self.subscriptions, polls=settings.inbound == "poll"),
            case_url=f"{settings.public_url}/cases/{{name}}",
            give_up_after=timedelta(hours=settings.retry_hours),
            snapshot=self.database.snapshot,
        )
        self.replay = Replay(
            database=self.database,
            replays=replays,
            quarantine=self.quarantine,
            second_looks=SecondLooks(
                replays=replays,
                links=self.links,
                integrations=self.integrations,
                subscriptions=self.subscriptions,
                of_event=SecondEvents(self.event_queue, self.service_keys, self.cases).target,
            ),
            leases=self.leases,
            ledger=self.ledger,
            deliveries=self.deliveries,
            visits=self.visits,
            router=self.router,
            cases=self.cases,
            audit=self.audit,
            event_queue=self.event_queue,
        )
