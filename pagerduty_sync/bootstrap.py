"""Picks the real parts and joins them. Nothing here connects anywhere: the database and Redis are reached when used."""

from __future__ import annotations

import hashlib
import threading
from datetime import timedelta

import redis

from pagerduty_sync.handlers.accounts import Accounts
from pagerduty_sync.handlers.asking import Asking
from pagerduty_sync.handlers.bulk import Bulk
from pagerduty_sync.handlers.caller import Caller
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.case_side import CaseSide
from pagerduty_sync.handlers.claims import Claims
from pagerduty_sync.handlers.configuration import Configuration
from pagerduty_sync.handlers.configuration_file import ConfigurationFile
from pagerduty_sync.handlers.configuration_plan import ConfigurationPlan
from pagerduty_sync.handlers.connection import Connection
from pagerduty_sync.handlers.connector_changes import ConnectorChanges
from pagerduty_sync.handlers.discarding import Discarding
from pagerduty_sync.handlers.event_calls import EventCalls
from pagerduty_sync.handlers.event_sending import EventSender
from pagerduty_sync.handlers.event_text import Triggers
from pagerduty_sync.handlers.explain import Explain
from pagerduty_sync.handlers.health import Health
from pagerduty_sync.handlers.inbound import Inbound
from pagerduty_sync.handlers.incident_side import IncidentSide
from pagerduty_sync.handlers.intake import Intake
from pagerduty_sync.handlers.link_care import LinkCare
from pagerduty_sync.handlers.linking import Linking
from pagerduty_sync.handlers.mapping_preview import MappingPreview
from pagerduty_sync.handlers.notifications import Notifier
from pagerduty_sync.handlers.preset_changes import PresetChanges
from pagerduty_sync.handlers.pushes import PushReader
from pagerduty_sync.handlers.quickstart import Quickstart
from pagerduty_sync.handlers.reconcile import Reconcile
from pagerduty_sync.handlers.replay import Replay
from pagerduty_sync.handlers.rotation import Rotation
from pagerduty_sync.handlers.routing import Router
from pagerduty_sync.handlers.rule_changes import RuleChanges
from pagerduty_sync.handlers.second_looks import SecondLooks
from pagerduty_sync.handlers.service_keys import ServiceKeyConnectors
from pagerduty_sync.handlers.subscription import SubscriptionKeeper
from pagerduty_sync.handlers.sync import Sync
from pagerduty_sync.handlers.unlinking import Unlinking
from pagerduty_sync.handlers.upkeep import Sweep, Upkeep
from pagerduty_sync.handlers.visits import Visits
from pagerduty_sync.pagerduty.budget import Budget, key_id_of
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.case_events import CaseEvents
from pagerduty_sync.stores.cases import CaseStore
from pagerduty_sync.stores.connector_edits import ConnectorEdits
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.event_queue import EventQueue
from pagerduty_sync.stores.heartbeats import Heartbeats
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.integrations import Integrations, no_such_integration
from pagerduty_sync.stores.job_runs import JobRuns
from pagerduty_sync.stores.ledger import LedgerStore
from pagerduty_sync.stores.link_edits import LinkEdits
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.notifications import Notifications
from pagerduty_sync.stores.overview import Overviews
from pagerduty_sync.stores.pushes import Pushes
from pagerduty_sync.stores.quarantine import Quarantine
from pagerduty_sync.stores.recent_events import RecentEvents
from pagerduty_sync.stores.replays import Replays
from pagerduty_sync.stores.routing import Routing
from pagerduty_sync.stores.routing_edits import RoutingEdits
from pagerduty_sync.stores.secrets import SecretBox
from pagerduty_sync.stores.service_keys import ServiceKeys
from pagerduty_sync.stores.subscriptions import Subscriptions
from pagerduty_sync.stores.tokens import Tokens
from pagerduty_sync.stores.traces import Traces

REDIS_SECONDS = 2.0
"""Nothing waits longer for Redis, which is never the truth about anything."""


class Application:
    """The wired parts of one process. Build it after a fork, close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.box = SecretBox(settings.require_encryption_keys())
        self.database = Database(settings.require_database_url())

        self.cases = CaseStore(self.database)
        self.case_events = CaseEvents(self.database)
        self.links = Links(self.database, settings.lease_seconds)
        self.ledger = LedgerStore(self.database)
        self.inbox = Inbox(self.database)
        self.deliveries = Deliveries(self.database)
        self.heartbeats = Heartbeats(self.database)
        self.tokens = Tokens(self.database)
        self.integrations = Integrations(self.database, self.box)
        self.subscriptions = Subscriptions(self.database, self.box)
        self.connectors = Connectors(self.database, self.box)
        self.routing = Routing(self.database)
        self.service_keys = ServiceKeys(self.database, self.box)
        self.notifications = Notifications(self.database, self.box)
        self.event_queue = EventQueue(self.database, self.box, settings.lease_seconds)
        self.pushes = Pushes(self.database)
        self.audit = Audit(self.database)

        self.keeper = SubscriptionKeeper(
            self.integrations, self.subscriptions, settings.public_url, is_wanted=settings.inbound != "poll"
        )
        self.connection = Connection(
            database=self.database,
            integrations=self.integrations,
            connectors=self.connectors,
            keeper=self.keeper,
            audit=self.audit,
            client_factory=make_client,
        )
        self.health = Health(integrations=self.integrations, keeper=self.keeper, client=self.client)
        self.configuration = Configuration(
            database=self.database,
            integrations=self.integrations,
            connectors=self.connectors,
            routing=self.routing,
            audit=self.audit,
            client=self.client,
        )
        self.quickstart = Quickstart(
            connection=self.connection,
            health=self.health,
            configuration=self.configuration,
            integrations=self.integrations,
            connectors=self.connectors,
            routing=self.routing,
            tokens=self.tokens,
        )

        self._making = threading.RLock()
        self._redis: redis.Redis | None = None
        self._calls: dict[str, tuple[str, Calls]] = {}
        self._join_sync(settings)
        self._join_one_way(settings)
        self._join_administration(settings)
        self._join_hindsight(settings)

    def _join_sync(self, settings: Settings) -> None:
        """The parts that keep links in step."""
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
            links=self.links,
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
            reconcile=Reconcile(self.links, self.integrations),
            health=self.health,
            calls_of=self.calls,
            inbox=self.inbox,
            deliveries=self.deliveries,
            event_queue=self.event_queue,
            pushes=self.pushes,
            inbox_retention_days=settings.inbox_retention_days,
            deliveries_retention_days=settings.deliveries_retention_days,
        )

    def _join_one_way(self, settings: Settings) -> None:
        """The parts that tell service-key connectors of Cases and alerts."""
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

    def _join_administration(self, settings: Settings) -> None:
        """The parts that administrators set up and look after everything with."""
        links = LinkEdits(self.database)
        routing = RoutingEdits(self.database)
        claims = Claims(self.links)

        def case_url(name: str) -> str:
            return f"{settings.public_url}/cases/{name}"

        self.accounts = Accounts(
            connection=self.connection,
            health=self.health,
            rotation=Rotation(
                keeper=self.keeper, subscriptions=self.subscriptions, audit=self.audit, client=self.client
            ),
            integrations=self.integrations,
            connectors=self.connectors,
            subscriptions=self.subscriptions,
            client=self.client,
        )
        self.connector_changes = ConnectorChanges(
            database=self.database,
            integrations=self.integrations,
            connectors=self.connectors,
            edits=ConnectorEdits(self.database, self.box),
            routing=self.routing,
            audit=self.audit,
        )
        self.mapping_preview = MappingPreview(
            recent=RecentEvents(self.database),
            cases=self.cases,
            integrations=self.integrations,
            unacknowledges_cases=settings.unacknowledge_cases,
            posts_resolution_notes=settings.resolution_notes == "visible",
        )
        self.preset_changes = PresetChanges(
            database=self.database, routing=self.routing, edits=routing, audit=self.audit, case_url=case_url
        )
        self.rule_changes = RuleChanges(
            database=self.database,
            routing=self.routing,
            edits=routing,
            connectors=self.connectors,
            router=self.router,
            audit=self.audit,
            case_url=case_url,
        )
        self.configuration_file = ConfigurationFile(
            plan=ConfigurationPlan(
                accounts=self.accounts,
                connector_changes=self.connector_changes,
                preset_changes=self.preset_changes,
                rule_changes=self.rule_changes,
                integrations=self.integrations,
                connectors=self.connectors,
                routing=self.routing,
            ),
            accounts=self.accounts,
            configuration=self.configuration,
            service_key_connectors=self.service_key_connectors,
            connector_changes=self.connector_changes,
            preset_changes=self.preset_changes,
            rule_changes=self.rule_changes,
            connectors=self.connectors,
            routing=self.routing,
        )
        self.link_edits = links
        self.linking = Linking(
            database=self.database,
            cases=self.cases,
            edits=links,
            ledger=self.ledger,
            deliveries=self.deliveries,
            audit=self.audit,
            connectors=self.connectors,
            integrations=self.integrations,
            visits=self.visits,
            client=self.client,
            case_url=case_url,
        )
        self.unlinking = Unlinking(
            cases=self.cases,
            claims=claims,
            edits=links,
            audit=self.audit,
            visits=self.visits,
            client=self.client,
        )
        self.link_care = LinkCare(
            cases=self.cases,
            links=self.links,
            edits=links,
            ledger=self.ledger,
            claims=claims,
            visits=self.visits,
            router=self.router,
            integrations=self.integrations,
            audit=self.audit,
        )

    def _join_hindsight(self, settings: Settings) -> None:
        """The parts that tell what happened and why, and try it again."""
        replays = Replays(self.database)
        self.quarantine = Quarantine(self.database)
        self.discarding = Discarding(self.database, self.quarantine, self.audit)
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
            ),
            links=self.links,
            ledger=self.ledger,
            deliveries=self.deliveries,
            visits=self.visits,
            router=self.router,
            cases=self.cases,
            audit=self.audit,
        )

    @property
    def redis(self) -> redis.Redis:
        """The client, made on first use; raises SettingsError when no address is set."""
        with self._making:
            if self._redis is None:
                self._redis = redis.Redis.from_url(
                    self.settings.require_redis_url(),
                    socket_timeout=REDIS_SECONDS,
                    socket_connect_timeout=REDIS_SECONDS,
                    health_check_interval=10,
                    client_name="pagerduty_sync",
                )
            return self._redis

    def client(self, integration_id: str) -> PagerDutyClient:
        """The client of an integration as it is configured now. Raises NotFoundError, SecretError."""
        return self.calls(integration_id).client

    def calls(self, integration_id: str) -> Calls:
        """An integration's client and budget, the same until its key changes. Raises NotFoundError, SecretError."""
        integration = self.integrations.by_id(integration_id)
        if integration is None:
            raise no_such_integration(integration_id)
        api_key = self.integrations.api_key(integration_id)
        email = integration.user_email if integration.key_kind == "account" else None
        mark = hashlib.sha256("\n".join((api_key, email or "", integration.base_url)).encode()).hexdigest()
        with self._making:
            known = self._calls.get(integration_id)
            if known is None or known[0] != mark:
                budget = Budget(self.redis, key_id_of(api_key), self.settings.requests_per_minute)
                calls = Calls(
                    lambda heard: PagerDutyClient(api_key, email, integration.base_url, on_response=heard), budget
                )
                known = (mark, calls)
                self._calls[integration_id] = known
            return known[1]

    def close(self) -> None:
        """Give every connection back; the object is of no use afterwards."""
        for _, calls in self._calls.values():
            calls.client.close()
        self.event_calls.close()
        if self._redis is not None:
            self._redis.close()
        self.database.close()


def make_client(api_key: str, email: str | None, base_url: str) -> PagerDutyClient:
    """A client that acts as the user with this e-mail, or as the token's own user without one."""
    return PagerDutyClient(api_key, email, base_url)


def build(settings: Settings) -> Application:
    """The application these settings describe; raises SettingsError for what is missing in them."""
    return Application(settings)
