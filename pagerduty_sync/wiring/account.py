"""The PagerDuty account: its client and budget, made on first use, and what keeps it connected."""

from __future__ import annotations

import hashlib
import threading

import redis

from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.configuration import Configuration
from pagerduty_sync.handlers.connection import Connection
from pagerduty_sync.handlers.health import Health
from pagerduty_sync.handlers.subscription import SubscriptionKeeper
from pagerduty_sync.pagerduty.budget import Budget, key_id_of
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.integrations import no_such_integration
from pagerduty_sync.wiring.stores import Stores

REDIS_SECONDS = 2.0
"""Nothing waits longer for Redis, which is never the truth about anything."""


class AccountParts(Stores):
    """The way to PagerDuty, and the use cases of being connected to it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._making = threading.RLock()
        self._redis: redis.Redis | None = None
        self._calls: dict[str, tuple[str, Calls]] = {}
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
            audit=self.audit,
            client=self.client,
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


def make_client(api_key: str, email: str | None, base_url: str) -> PagerDutyClient:
    """A client that acts as the user with this e-mail, or as the token's own user without one."""
    return PagerDutyClient(api_key, email, base_url)
