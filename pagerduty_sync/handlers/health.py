"""Whether the connection still works: the key, the user and the subscription. Mends what it can.

Called by the clock, so nothing here waits; what a test event says is read at the next look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.errors import PagerDutyError, PermanentError, UnauthorizedError
from pagerduty_sync.handlers import subscription
from pagerduty_sync.handlers.subscription import Ensured, SubscriptionKeeper
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.integrations import Integrations, no_such_integration

log = structlog.get_logger(__name__)

CONNECTING_SECONDS = 120.0
"""A connect takes seconds; one that is under way longer was cut short."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The status after a look, why it is so, whether the look changed it, and what was mended, in sentences."""

    status: IntegrationStatus
    reason: str = ""
    is_changed: bool = False
    actions: tuple[str, ...] = ()
    is_back: bool = False
    """The account lets us in again, so what waited may go out."""
    is_right: bool = False
    """PagerDuty has just shown the subscription, and it is as it should be, mended or not."""

    @property
    def may_have_missed(self) -> bool:
        """Whether events may be missing: the subscription had to be mended, or is heard again only now."""
        is_heard_again = self.is_changed and self.status is IntegrationStatus.CONNECTED
        return bool(self.actions) or is_heard_again


class Health:
    """The looks at the one integration. They raise NotFoundError for an integration that is gone, and SecretError."""

    def __init__(
        self,
        *,
        integrations: Integrations,
        keeper: SubscriptionKeeper,
        client: Callable[[str], PagerDutyClient],
    ) -> None:
        self._integrations = integrations
        self._keeper = keeper
        self._client = client

    def disconnect_because(self, integration_id: str, reason: str) -> bool:
        """Stop sending until the account lets us in again; False when it was stopped for that reason already."""
        return self._set(integration_id, IntegrationStatus.DISCONNECTED, reason)

    def check_key(self, integration_id: str) -> HealthReport:
        """Ask PagerDuty whether it accepts the key and knows the user. No answer changes nothing."""
        integration = self._required(integration_id)
        if self._is_being_connected(integration):
            return _report(integration)
        client = self._client(integration_id)
        try:
            client.list_abilities()
            gone = None
            if integration.key_kind == "account" and client.find_user(integration.user_email) is None:
                gone = f"the user {integration.user_email} is no longer in the account; reconnect with another one"
        except UnauthorizedError:
            reason = "PagerDuty no longer accepts the API key; reconnect with a valid one"
            return self._report_after(integration, IntegrationStatus.DISCONNECTED, reason)
        except PagerDutyError as exc:
            log.warning("key_check_put_off", integration=integration_id, error=str(exc))
            return _report(integration)
        if gone:
            return self._report_after(integration, IntegrationStatus.DEGRADED, gone)
        is_degraded = integration.status is IntegrationStatus.DEGRADED and not subscription.is_degraded_otherwise(
            integration
        )
        if is_degraded or integration.status is IntegrationStatus.CONNECTED:
            return _report(integration)
        return self._report_after(integration, IntegrationStatus.CONNECTED, "")

    def check_subscription(self, integration_id: str) -> HealthReport:
        """See that our subscription is there and as it should be, mend it if not, and have a changed one tested."""
        integration = self._required(integration_id)
        if self._is_being_connected(integration) or integration.status is IntegrationStatus.DISCONNECTED:
            return _report(integration)
        client = self._client(integration_id)
        try:
            if not integration.is_two_way or not self._keeper.is_wanted:
                return self._taken_away(integration, client)
            ensured = self._keeper.ensure(integration, client)
            return self._judged(integration, client, ensured)
        except PermanentError as exc:
            if isinstance(exc, UnauthorizedError):
                return _report(integration)  # That is for the check of the key to say.
            return self._report_after(integration, IntegrationStatus.DEGRADED, subscription.not_made(exc))
        except PagerDutyError as exc:
            log.warning("subscription_check_put_off", integration=integration_id, error=str(exc))
            return _report(integration)

    def _judged(self, integration: Integration, client: PagerDutyClient, ensured: Ensured) -> HealthReport:
        actions = tuple(ensured.actions)
        for action in actions:
            log.warning("subscription_mended", integration=integration.id, action=action)
        reason = self._reason_after(integration, is_mended=bool(actions))
        if subscription.is_degraded_otherwise(integration):
            report = _report(integration, actions)
        else:
            status = IntegrationStatus.DEGRADED if reason else IntegrationStatus.CONNECTED
            report = self._report_after(integration, status, reason, actions)
        if reason:
            # Behind the status, so that the test event is later than it.
            self._keeper.ping(client, ensured.subscription_id)
        return replace(report, is_right=True)

    def _reason_after(self, integration: Integration, *, is_mended: bool) -> str:
        """Why the subscription cannot be relied on yet; empty when it can."""
        if is_mended:
            return self._keeper.awaited(integration.id)
        was_doubtful = subscription.is_about_subscription(integration.status_reason)
        if not was_doubtful or self._keeper.is_heard(integration.id):
            return ""
        return self._keeper.not_arrived(integration.id)

    def _taken_away(self, integration: Integration, client: PagerDutyClient) -> HealthReport:
        """Finish what a switch to one-way could not: PagerDuty was not there then."""
        actions: tuple[str, ...] = ()
        if self._keeper.has_any(integration.id):
            actions = tuple(self._keeper.remove_all(integration, client))
        if subscription.is_about_subscription(integration.status_reason):
            return self._report_after(integration, IntegrationStatus.CONNECTED, "", actions)
        return _report(integration, actions)

    def _is_being_connected(self, integration: Integration) -> bool:
        if integration.status is not IntegrationStatus.CONNECTING:
            return False
        return self._integrations.connecting_seconds(integration.id) < CONNECTING_SECONDS

    def _report_after(
        self, integration: Integration, status: IntegrationStatus, reason: str, actions: tuple[str, ...] = ()
    ) -> HealthReport:
        is_changed = self._set(integration.id, status, reason)
        was_out = integration.status is IntegrationStatus.DISCONNECTED
        is_back = is_changed and was_out and status is not IntegrationStatus.DISCONNECTED
        return HealthReport(status, reason, is_changed, actions, is_back)

    def _set(self, integration_id: str, status: IntegrationStatus, reason: str) -> bool:
        is_changed = self._integrations.set_status(integration_id, status, reason)
        if is_changed:
            log.warning("integration_status", integration=integration_id, status=status.value, reason=reason)
        return is_changed

    def _required(self, integration_id: str) -> Integration:
        integration = self._integrations.by_id(integration_id)
        if integration is None:
            raise no_such_integration(integration_id)
        return integration


def _report(integration: Integration, actions: tuple[str, ...] = ()) -> HealthReport:
    return HealthReport(integration.status, integration.status_reason, actions=actions)
