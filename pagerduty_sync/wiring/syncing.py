"""Keeping links in step: the two-way sync and the work of the clock."""

from __future__ import annotations

from pagerduty_sync.handlers.bulk import Bulk
from pagerduty_sync.handlers.caller import Caller
from pagerduty_sync.handlers.case_side import CaseSide
from pagerduty_sync.handlers.inbound import Inbound
from pagerduty_sync.handlers.incident_side import IncidentSide
from pagerduty_sync.handlers.intake import POLL, RECONCILE, Intake
from pagerduty_sync.handlers.legs import LegWatch
from pagerduty_sync.handlers.reconcile import Reconcile
from pagerduty_sync.handlers.routing import Router
from pagerduty_sync.handlers.sync import Sync
from pagerduty_sync.handlers.upkeep import Sweep, Upkeep
from pagerduty_sync.handlers.visits import Visits
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.job_runs import JobRuns
from pagerduty_sync.stores.legs import Legs
from pagerduty_sync.stores.readings import Readings
from pagerduty_sync.wiring.account import AccountParts


class SyncParts(AccountParts):
    """The parts that keep links in step."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        case_url = f"{settings.public_url}/cases/{{name}}"
        self.job_runs = JobRuns(self.database)
        self.inbound = Inbound(
            database=self.database,
            inbox=self.inbox,
            subscriptions=self.subscriptions,
            integrations=self.integrations,
            links=self.links,
            deliveries=self.deliveries,
        )
        self.router = Router(
            database=self.database,
            cases=self.cases,
            case_events=self.case_events,
            links=self.links,
            routing=self.routing,
            connectors=self.connectors,
            deliveries=self.deliveries,
            case_url=case_url,
            goes_one_way=self.notifications.has_told,
        )
        visits = self.visits = Visits(
            database=self.database,
            leases=self.leases,
            ledger=self.ledger,
            inbox=self.inbox,
            case_events=self.case_events,
            deliveries=self.deliveries,
            connectors=self.connectors,
            cases=self.cases,
            unacknowledges_cases=settings.unacknowledge_cases,
            posts_resolution_notes=settings.resolution_notes == "visible",
        )
        case_side = CaseSide(self.cases, self.links, visits)
        incident_side = IncidentSide(self.routing.preset, lambda name: case_url.format(name=name), visits.new_id)
        intake = Intake(inbox=self.inbox, visits=visits, case_side=case_side, list_comments=self.cases.list_comments)
        caller = Caller(
            visits=visits,
            incident_side=incident_side,
            disconnect=self.health.disconnect_because,
            give_up_after_seconds=settings.retry_hours * 3600,
        )
        self.sync = Sync(
            links=self.links,
            leases=self.leases,
            integrations=self.integrations,
            visits=visits,
            intake=intake,
            caller=caller,
            bulk=Bulk(intake, caller),
            calls_of=self.calls,
        )
        self.sweep = Sweep(
            inbox=self.inbox,
            case_events=self.case_events,
            links=self.links,
            notifications=self.notifications,
            event_queue=self.event_queue,
            pushes=self.pushes,
        )
        self.upkeep = Upkeep(
            integrations=self.integrations,
            reconcile=Reconcile(
                self.links,
                self.integrations,
                Readings(self.database),
                RECONCILE if settings.inbound == "webhooks" else POLL,
                lambda: visits.now(),
            ),
            health=self.health,
            calls_of=self.calls,
            inbox=self.inbox,
            deliveries=self.deliveries,
            event_queue=self.event_queue,
            pushes=self.pushes,
            signs=self.leg_signs,
            inbox_retention_days=settings.inbox_retention_days,
            deliveries_retention_days=settings.deliveries_retention_days,
        )
        self.leg_watch = LegWatch(
            legs=Legs(self.database),
            signs=self.leg_signs,
            integrations=self.integrations,
            keeper=self.keeper,
            get_case=self.cases.get_case,
            way=settings.inbound,
            poll_seconds=settings.poll_seconds,
        )
