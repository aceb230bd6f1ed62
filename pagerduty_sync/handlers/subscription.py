"""Our webhook subscription at PagerDuty: made, recognised, mended, tested and taken away.

The secret is told once, when a subscription is made. One that has our address but a secret nobody knows is useless and
is deleted; one whose secret we hold is kept, because webhooks may be waiting in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.errors import IncidentNotFoundError, PagerDutyError
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.pagerduty.resources import Subscription
from pagerduty_sync.pagerduty.schemas import SUBSCRIBED_EVENT_TYPES
from pagerduty_sync.pagerduty.subscriptions import SubscriptionFilter
from pagerduty_sync.stores.integrations import ROTATING, Integrations
from pagerduty_sync.stores.subscriptions import Subscriptions

log = structlog.get_logger(__name__)

PING_SECONDS = 10.0
PING_POLL_SECONDS = 0.25
OVERLAP_SECONDS = 3600.0
"""For so long a subscription goes on beside the one that replaced it: its last deliveries may be on their way still."""

# Every reason that is about the subscription begins with one of these, so that the check of the key leaves it alone.
_NOT_ARRIVED, _AWAITED, _NOT_MADE = (
    "the test event did not arrive at",
    "the test event is awaited at",
    "the webhook subscription",
)


@dataclass(frozen=True, slots=True)
class Ensured:
    """The subscription in use, and what had to be done for it, in sentences."""

    subscription_id: str
    actions: Sequence[str]


class SubscriptionKeeper:
    """Keeps exactly one subscription for an integration, to our address, for the whole account."""

    def __init__(
        self,
        integrations: Integrations,
        subscriptions: Subscriptions,
        public_url: str,
        *,
        is_wanted: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._integrations = integrations
        self._subscriptions = subscriptions
        self._public_url = public_url.rstrip("/")
        # False where PagerDuty cannot reach us and everything is learned by reading.
        self.is_wanted = is_wanted
        self._sleep = sleep

    def url(self, integration_id: str) -> str:
        """Where PagerDuty delivers this integration's webhooks."""
        return f"{self._public_url}/webhooks/pagerduty/{integration_id}"

    def ensure(self, integration: Integration, client: PagerDutyClient) -> Ensured:
        """Make it so that one healthy subscription exists whose secret we hold; raises any PagerDutyError."""
        url = self.url(integration.id)
        held, unreadable = self._held(integration.id)
        listed = client.list_webhook_subscriptions()
        ours = {one.id: one for one in listed if one.url == url or one.id in held or one.id in unreadable}
        actions = self._delete([one for one in ours.values() if one.id not in held], client)
        kept = next((ours[id_] for id_ in held if id_ in ours and ours[id_].url == url), None)
        if kept is not None:
            kept_id = kept.id
            actions += self._mend(kept, client)
        else:
            kept_id = self._make(integration, client)
            actions.append(f"made the webhook subscription {kept_id}")
        retiring = self._subscriptions.retiring(integration.id, OVERLAP_SECONDS)
        older = [ours[id_] for id_ in held if id_ in ours and id_ != kept_id]
        # Only now, so that an old address hears of events until the new one does.
        actions += self._delete([one for one in older if one.url != url or one.id not in retiring], client)
        for gone in (set(held) | unreadable) - set(ours):
            self._subscriptions.remove(gone)
            actions.append(f"forgot the webhook subscription {gone}, which PagerDuty has no more")
        return Ensured(kept_id, actions)

    def make_another(self, integration: Integration, client: PagerDutyClient) -> str:
        """A subscription with a secret of its own beside the one in use, until `ensure` ends the overlap."""
        return self._make(integration, client)

    def drop(self, subscription_id: str, client: PagerDutyClient) -> None:
        """Delete one subscription there and forget its secret; raises any PagerDutyError."""
        with suppress(IncidentNotFoundError):
            client.delete_webhook_subscription(subscription_id)
        self._subscriptions.remove(subscription_id)

    def remove_all(self, integration: Integration, client: PagerDutyClient) -> list[str]:
        """Delete our subscriptions at PagerDuty and forget them; raises any PagerDutyError with the rest undone."""
        held, unreadable = self._held(integration.id)
        url = self.url(integration.id)
        ours = [s for s in client.list_webhook_subscriptions() if s.url == url or s.id in held or s.id in unreadable]
        actions = self._delete(ours, client)
        for id_ in (set(held) | unreadable) - {one.id for one in ours}:
            self._subscriptions.remove(id_)
        return actions

    def has_any(self, integration_id: str) -> bool:
        """Whether we still hold a subscription of this integration."""
        held, unreadable = self._held(integration_id)
        return bool(held or unreadable)

    def ping(self, client: PagerDutyClient, subscription_id: str) -> None:
        """Ask PagerDuty for a test event, without waiting for it."""
        client.ping_webhook_subscription(subscription_id)

    def ping_and_wait(self, integration_id: str, client: PagerDutyClient, subscription_id: str) -> bool:
        """Ask for a test event and wait until it has come through us; False when it has not after some seconds."""
        before = self._integrations.heard_from(integration_id).get(subscription_id)
        client.ping_webhook_subscription(subscription_id)
        for _ in range(round(PING_SECONDS / PING_POLL_SECONDS)):
            if self._integrations.heard_from(integration_id).get(subscription_id) != before:
                return True
            self._sleep(PING_POLL_SECONDS)
        return False

    def is_heard(self, integration_id: str) -> bool:
        """Whether a test event has come through since the status last changed."""
        since = self._integrations.status_at(integration_id)
        heard = [at for at in self._integrations.heard_from(integration_id).values() if at is not None]
        return since is not None and any(at >= since for at in heard)

    def not_arrived(self, integration_id: str) -> str:
        return f"{_NOT_ARRIVED} {self.url(integration_id)}"

    def awaited(self, integration_id: str) -> str:
        return f"{_AWAITED} {self.url(integration_id)}"

    def _held(self, integration_id: str) -> tuple[list[str], frozenset[str]]:
        """The ids of the subscriptions whose secret we can read, newest first, and of those we cannot."""
        signers = self._subscriptions.signers().get(integration_id)
        return (list(signers.secrets), signers.unreadable) if signers else ([], frozenset())

    def _make(self, integration: Integration, client: PagerDutyClient) -> str:
        is_marked = integration.status is not IntegrationStatus.CONNECTING
        if is_marked:
            # From now on a webhook whose signature we cannot judge is told to come again.
            self._integrations.set_status_reason(integration.id, ROTATING)
        try:
            made = client.create_webhook_subscription(
                self.url(integration.id),
                f"pagerduty-sync: {integration.name}",
                SubscriptionFilter.account(),
                SUBSCRIBED_EVENT_TYPES,
            )
            self._subscriptions.add(integration.id, made.id, made.secret)
        finally:
            if is_marked:
                self._integrations.set_status_reason(integration.id, integration.status_reason)
        log.info("subscription_made", integration=integration.id, subscription=made.id)
        return made.id

    def _mend(self, found: Subscription, client: PagerDutyClient) -> list[str]:
        actions = []
        has_right_scope = found.filter_type.startswith("account") and set(found.events) == set(SUBSCRIBED_EVENT_TYPES)
        if not has_right_scope or not found.is_active:
            client.update_webhook_subscription(
                found.id, events=SUBSCRIBED_EVENT_TYPES, filter=SubscriptionFilter.account(), is_active=True
            )
            actions.append(f"set the events, scope and state of the webhook subscription {found.id} right")
        if found.is_temporarily_disabled:
            client.enable_webhook_subscription(found.id)
            actions.append(f"switched the webhook subscription {found.id} on again, which PagerDuty had disabled")
        return actions

    def _delete(self, doomed: Sequence[Subscription], client: PagerDutyClient) -> list[str]:
        for one in doomed:
            with suppress(IncidentNotFoundError):  # Somebody was faster.
                client.delete_webhook_subscription(one.id)
            self._subscriptions.remove(one.id)
        return [f"deleted the webhook subscription {one.id}" for one in doomed]


def not_made(why: PagerDutyError) -> str:
    """The reason of an integration whose subscription PagerDuty refuses."""
    return f"{_NOT_MADE} could not be made: {why}"


def is_about_subscription(reason: str) -> bool:
    """Whether a status reason is one of this module's."""
    return reason.startswith((_NOT_ARRIVED, _AWAITED, _NOT_MADE))


def is_degraded_otherwise(integration: Integration) -> bool:
    """Whether something degrades the integration that the subscription has no part in."""
    is_degraded = integration.status is IntegrationStatus.DEGRADED
    return is_degraded and not is_about_subscription(integration.status_reason)
