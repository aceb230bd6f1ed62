"""The ground floor: settings, the database, and the stores on it. Nothing connects before it is used."""

from __future__ import annotations

from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.case_events import CaseEvents
from pagerduty_sync.stores.cases import CaseStore
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.event_queue import EventQueue
from pagerduty_sync.stores.heartbeats import Heartbeats
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.leases import Leases
from pagerduty_sync.stores.ledger import LedgerStore
from pagerduty_sync.stores.leg_signs import LegSigns
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.notifications import Notifications
from pagerduty_sync.stores.pushes import Pushes
from pagerduty_sync.stores.routing import Routing
from pagerduty_sync.stores.secrets import SecretBox
from pagerduty_sync.stores.service_keys import ServiceKeys
from pagerduty_sync.stores.subscriptions import Subscriptions
from pagerduty_sync.stores.tokens import Tokens


class Stores:
    """The settings, the database and everything that knows SQL."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.box = SecretBox(settings.require_encryption_keys())
        self.database = Database(settings.require_database_url())

        self.cases = CaseStore(self.database)
        self.case_events = CaseEvents(self.database)
        self.links = Links(self.database)
        self.leases = Leases(self.database, settings.lease_seconds)
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
        self.leg_signs = LegSigns(self.database)
