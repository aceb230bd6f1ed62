"""Connecting the PagerDuty account, and undoing it: what an operator does. What the clock asks for is in `health`.

Every step may be repeated; a second connect with the same particulars keeps the integration and its subscription.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.errors import (
    IncidentNotFoundError,
    InvalidRequestError,
    PagerDutyError,
    PermanentError,
    UnauthorizedError,
)
from pagerduty_sync.handlers import subscription
from pagerduty_sync.handlers.account_check import CheckedAccount, ClientFactory, check_account
from pagerduty_sync.handlers.subscription import SubscriptionKeeper
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.integrations import Account, Integrations, no_such_integration

LONGEST_NAME = 200

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ConnectReport:
    """The integration as it stands now; `done` in sentences, `warnings` about what will not work as expected, and
    `problem` when it is not `connected`."""

    integration: Integration
    done: Sequence[str]
    warnings: Sequence[str] = ()
    problem: str | None = None


def _silent(_: str) -> None:
    """Nobody is watching."""


class Connection:
    """The use cases around the one integration."""

    def __init__(
        self,
        *,
        database: Database,
        integrations: Integrations,
        connectors: Connectors,
        keeper: SubscriptionKeeper,
        audit: Audit,
        client_factory: ClientFactory,
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._keeper = keeper
        self._connectors = connectors
        self._audit = audit
        self._make_client = client_factory

    def connect(
        self,
        *,
        name: str,
        api_key: str,
        email: str,
        region: str,
        is_two_way: bool,
        consent: bool,
        who: str,
        say: Say = _silent,
    ) -> ConnectReport:
        """Check the account, store it, and for two-way subscribe to its events. `region` is us, eu or a base URL.

        Raises InvalidRequestError, naming the field to change, and then nothing is stored; RetryableError when
        PagerDuty could not be asked. A subscription that cannot be made, or a test event that does not arrive, is told
        in the report, and the integration is `degraded`.
        """
        if consent is not True:
            raise InvalidRequestError(
                "Case titles, descriptions, comments and users' names will be sent to PagerDuty; consent to that is "
                "required.",
                "consent",
            )
        name = texts.clean(name, "name", LONGEST_NAME)
        say("checking the key and the user")
        checked = check_account(self._make_client, api_key, email, region)
        client = self._client_for(checked, api_key)
        try:
            account = Account(
                name,
                checked.base_url,
                api_key,
                checked.key_kind,
                checked.user.email,
                checked.user.id,
                checked.priorities,
            )
            before = self._integrations.only()
            warnings = [*checked.warnings, *self._lost_services(before, client)]
            integration = self._store(before, account, is_two_way=is_two_way, who=who)
            done = [f"The API key is {_kind(checked)} and acts as {checked.user.email}."]
            return self._settle(integration, client, done, warnings, say)
        finally:
            client.close()

    def set_two_way(self, integration_id: str, is_two_way: bool, who: str, say: Say = _silent) -> ConnectReport:
        """Switch inbound delivery on or off; links stay, and go one way while it is off. Raises NotFoundError."""
        integration = self._required(integration_id)
        with self._database.transaction() as conn:
            if self._integrations.set_two_way(integration_id, is_two_way, conn):
                facts = {"is_two_way": integration.is_two_way}, {"is_two_way": is_two_way}
                self._audit.add(conn, who, "set two-way", f"integration {integration.name}", *facts)
        changed = self._required(integration_id)
        if changed.status is IntegrationStatus.DISCONNECTED:
            # Nobody answers there; the subscription follows after the reconnect.
            return ConnectReport(changed, [], [], changed.status_reason)
        client = self._client_of(changed)
        try:
            return self._settle(changed, client, [], [], say)
        finally:
            client.close()

    def remove(self, integration_id: str, who: str) -> list[str]:
        """Forget the account and delete our subscription there; returns sentences about what was done.

        Raises InvalidRequestError, naming them, while connectors use it; NotFoundError.
        """
        integration = self._required(integration_id)
        names = self._connectors.names_using(integration_id)
        if names:
            raise InvalidRequestError(
                f"The integration {integration.name} is used by {', '.join(names)}; delete these connectors first.",
                "id",
            )
        done = self._unsubscribe(integration)
        with self._database.transaction() as conn:
            self._integrations.delete(integration_id, conn)
            self._audit.add(conn, who, "remove", f"integration {integration.name}", facts_of(integration), None)
        return [*done, f"The integration {integration.name} is removed."]

    # ------------------------------------------------------------ steps

    def _store(self, before: Integration | None, account: Account, *, is_two_way: bool, who: str) -> Integration:
        with self._database.transaction() as conn:
            if before is None:
                stored = self._integrations.create(account, is_two_way=is_two_way, connection=conn)
                self._audit.add(conn, who, "connect", f"integration {stored.name}", None, facts_of(stored))
            else:
                stored = self._integrations.update(before.id, account, is_two_way=is_two_way, connection=conn)
                facts = facts_of(before), facts_of(stored)
                self._audit.add(conn, who, "reconnect", f"integration {stored.name}", *facts)
        return stored

    def _settle(
        self, integration: Integration, client: PagerDutyClient, done: list[str], warnings: list[str], say: Say
    ) -> ConnectReport:
        """Bring the subscription in line with the switch, then say in the status how that went."""
        problem = None
        if integration.is_two_way and not self._keeper.is_wanted:
            done.append("No webhooks are asked for: what happens in PagerDuty is read from the account's log.")
        if integration.is_two_way and self._keeper.is_wanted:
            problem = self._subscribe(integration, client, done, say)
        elif self._keeper.has_any(integration.id):
            try:
                done += _sentences(self._keeper.remove_all(integration, client))
            except PagerDutyError as exc:
                warnings.append(f"The webhook subscription is not deleted yet, which is tried again: {exc}.")
        if problem:
            self._integrations.set_status(integration.id, IntegrationStatus.DEGRADED, problem)
        elif not subscription.is_degraded_otherwise(integration):
            self._integrations.set_status(integration.id, IntegrationStatus.CONNECTED)
        return ConnectReport(self._required(integration.id), done, warnings, problem)

    def _subscribe(self, integration: Integration, client: PagerDutyClient, done: list[str], say: Say) -> str | None:
        """Subscribe and wait for the test event; what went wrong, None when nothing did."""
        say("subscribing to the account's events")
        try:
            ensured = self._keeper.ensure(integration, client)
            done += _sentences(ensured.actions)
            say(f"waiting for PagerDuty's test event at {self._keeper.url(integration.id)}")
            if self._keeper.ping_and_wait(integration.id, client, ensured.subscription_id):
                done.append(f"The test event arrived at {self._keeper.url(integration.id)}.")
                return None
        except PagerDutyError as exc:
            return subscription.not_made(exc)
        return self._keeper.not_arrived(integration.id)

    def _unsubscribe(self, integration: Integration) -> list[str]:
        """Delete our subscriptions; what cannot be deleted is told, for the account may not let us in any more."""
        if not self._keeper.has_any(integration.id):
            return []
        client = self._client_of(integration)
        try:
            return _sentences(self._keeper.remove_all(integration, client))
        except PermanentError as exc:
            url = self._keeper.url(integration.id)
            return [f"The webhook subscription to {url} must be deleted by hand in PagerDuty: {exc}."]
        finally:
            client.close()

    def _lost_services(self, before: Integration | None, client: PagerDutyClient) -> list[str]:
        """Warnings about connectors whose service the key does not show: another account's key, most likely."""
        warnings = []
        for connector in self._connectors.list_all() if before else ():
            if connector.service_id is None:
                continue
            try:
                client.get_service(connector.service_id)
            except UnauthorizedError:
                raise
            except IncidentNotFoundError:
                warnings.append(
                    f"The service {connector.service_name} of connector {connector.name} is not in this account."
                )
        return warnings

    def _required(self, integration_id: str) -> Integration:
        integration = self._integrations.by_id(integration_id)
        if integration is None:
            raise no_such_integration(integration_id)
        return integration

    def _client_for(self, checked: CheckedAccount, api_key: str) -> PagerDutyClient:
        email = checked.user.email if checked.key_kind == "account" else None
        return self._make_client(api_key, email, checked.base_url)

    def _client_of(self, integration: Integration) -> PagerDutyClient:
        email = integration.user_email if integration.key_kind == "account" else None
        return self._make_client(self._integrations.api_key(integration.id), email, integration.base_url)


def facts_of(integration: Integration) -> Mapping[str, Any]:
    """What the audit may know: everything but the key."""
    return {
        "name": integration.name,
        "base_url": integration.base_url,
        "key_kind": integration.key_kind,
        "api_key_last4": integration.api_key_last4,
        "user_email": integration.user_email,
        "is_two_way": integration.is_two_way,
    }


def _kind(checked: CheckedAccount) -> str:
    return "an account's key" if checked.key_kind == "account" else "a user's token"


def _sentences(actions: Sequence[str]) -> list[str]:
    return [f"{action[:1].upper()}{action[1:]}." for action in actions]
