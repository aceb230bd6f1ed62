"""The account as administrators see and change it through the API: how it stands, in words, and what may follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.domain.incidents import Service
from pagerduty_sync.errors import ConflictError
from pagerduty_sync.handlers.connection import LONGEST_NAME, Connection, ConnectReport
from pagerduty_sync.handlers.health import Health, HealthReport
from pagerduty_sync.handlers.rotation import Rotation
from pagerduty_sync.pagerduty.client import BASE_URLS, PagerDutyClient
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.integrations import Integrations, no_such_integration
from pagerduty_sync.stores.subscriptions import Held, Subscriptions


@dataclass(frozen=True, slots=True)
class Standing:
    """The integration, since when its status is what it is, and the subscriptions it is heard through."""

    integration: Integration
    since: datetime | None
    subscriptions: Sequence[Held]

    @property
    def region(self) -> str:
        """`us`, `eu`, or the base URL of one's own."""
        return region_of(self.integration.base_url)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found of the key and of the subscription."""

    standing: Standing
    actions: Sequence[str]
    is_back: bool


class Accounts:
    """Use cases around the one integration, for a caller who knows it by its id."""

    def __init__(
        self,
        *,
        connection: Connection,
        health: Health,
        rotation: Rotation,
        integrations: Integrations,
        connectors: Connectors,
        subscriptions: Subscriptions,
        client: Callable[[str], PagerDutyClient],
    ) -> None:
        self._connection = connection
        self._health = health
        self._rotation = rotation
        self._integrations = integrations
        self._connectors = connectors
        self._subscriptions = subscriptions
        self._client = client

    def all(self) -> list[Standing]:
        """None or one."""
        integration = self._integrations.only()
        return [self._standing(integration)] if integration else []

    def get(self, integration_id: str) -> Standing:
        """Raises NotFoundError."""
        return self._standing(self._required(integration_id))

    def connect(
        self, *, name: str, api_key: str, email: str, region: str, is_two_way: bool, consent: bool, who: str
    ) -> ConnectReport:
        """The first connect; raises ConflictError when there is an account already, and what `Connection` raises."""
        known = self._integrations.only()
        if known is not None:
            raise ConflictError(
                f"There is a PagerDuty integration already, {known.name}, and there can be only one. Change it with a "
                "PUT to its own address, or delete it first."
            )
        return self._connection.connect(
            name=name, api_key=api_key, email=email, region=region, is_two_way=is_two_way, consent=consent, who=who
        )

    def reconnect(self, integration_id: str, changes: Mapping[str, object], *, who: str) -> tuple[ConnectReport, bool]:
        """Check everything anew with what has changed, another API key for instance; what is not given stays.

        Also says whether the account was disconnected before, so that what waited may go out now.
        """
        known = self._required(integration_id)
        was_out = known.status is IntegrationStatus.DISCONNECTED
        given = {
            "name": known.name,
            "email": known.user_email,
            "region": known.base_url,
            "is_two_way": known.is_two_way,
            "consent": True,
            **changes,
        }
        if not given.get("api_key"):
            given["api_key"] = self._integrations.api_key(known.id)
        report = self._connection.connect(**given, who=who)  # type: ignore[arg-type]
        return report, was_out and report.integration.status is not IntegrationStatus.DISCONNECTED

    def set_two_way(self, integration_id: str, is_two_way: bool, who: str) -> ConnectReport:
        """Switch inbound delivery; raises NotFoundError."""
        return self._connection.set_two_way(integration_id, is_two_way, who)

    def remove(self, integration_id: str, who: str) -> list[str]:
        """Forget the account; raises ConflictError, naming them, while connectors use it."""
        known = self._required(integration_id)
        names = self._connectors.names_using(integration_id)
        if names:
            raise ConflictError(
                f"The integration {known.name} is used by the connectors {', '.join(names)}; delete these first."
            )
        return self._connection.remove(integration_id, who)

    def check(self, integration_id: str) -> Checked:
        """Ask PagerDuty about the key and the user, look after the subscription, and say how things stand now."""
        key = self._health.check_key(integration_id)
        subscription = self._health.check_subscription(integration_id)
        return Checked(self.get(integration_id), _actions(key, subscription), key.is_back)

    def services(self, integration_id: str, query: str | None) -> list[Service]:
        """The account's services, or those whose name contains `query`; raises any PagerDutyError."""
        if query is not None:
            texts.storable(query, "query")
        self._required(integration_id)
        return self._client(integration_id).list_services(query)

    def rotate_webhook_secret(self, integration_id: str, who: str) -> list[str]:
        """Sign webhooks with a new secret from now on; see `Rotation.begin`."""
        return self._rotation.begin(self._required(integration_id), who)

    def _standing(self, integration: Integration) -> Standing:
        held = self._subscriptions.held(integration.id)
        retiring = self._rotation.retiring(integration.id)
        return Standing(
            integration,
            self._integrations.status_at(integration.id),
            [replace(one, is_retiring=one.id in retiring) for one in held],
        )

    def _required(self, integration_id: str) -> Integration:
        integration = self._integrations.by_id(integration_id)
        if integration is None:
            raise no_such_integration(integration_id)
        return integration


def _actions(*reports: HealthReport) -> list[str]:
    return [f"{action[:1].upper()}{action[1:]}." for report in reports for action in report.actions]


def banner_of(integration: Integration | None) -> str:
    """What is shown with everything that goes through this account while it does not work as it should; else empty."""
    if integration is None:
        return "No PagerDuty account is connected."
    reason = f" Reason: {integration.status_reason}." if integration.status_reason else ""
    match integration.status:
        case IntegrationStatus.DISCONNECTED:
            return (
                f"The PagerDuty integration {integration.name} is disconnected, so nothing is sent. What changes "
                f"meanwhile is kept and goes out once it is reconnected with a valid API key.{reason}"
            )
        case IntegrationStatus.DEGRADED:
            return f"The PagerDuty integration {integration.name} works only in part.{reason}"
        case IntegrationStatus.CONNECTING:
            return f"The PagerDuty integration {integration.name} is being connected; nothing is sent until it is."
        case _:
            return ""


def region_of(base_url: str) -> str:
    """The region with this address, or the address itself where it is none."""
    return {url: name for name, url in BASE_URLS.items()}.get(base_url, base_url)


def checked_name(name: str) -> str:
    """A name as it is stored; raises InvalidRequestError."""
    return texts.clean(name, "name", LONGEST_NAME)
