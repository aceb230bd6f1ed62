"""A new webhook secret without losing an event: a second subscription is made, both deliver for a while, then the
watchdog deletes the first. What both deliver is one event to the inbox; what the first signed is believed to the end.
"""

from __future__ import annotations

from collections.abc import Callable

from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.errors import ConflictError
from pagerduty_sync.handlers.subscription import OVERLAP_SECONDS, SubscriptionKeeper
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.subscriptions import Subscriptions


class Rotation:
    """The one use case of an operator who wants another secret."""

    def __init__(
        self,
        *,
        keeper: SubscriptionKeeper,
        subscriptions: Subscriptions,
        audit: Audit,
        client: Callable[[str], PagerDutyClient],
    ) -> None:
        self._keeper = keeper
        self._subscriptions = subscriptions
        self._audit = audit
        self._client = client

    def begin(self, integration: Integration, who: str) -> list[str]:
        """Make the second subscription and see a test event come through it; sentences about what was done.

        Raises ConflictError when there is nothing to rotate, a rotation is under way, or the test event does not
        arrive: then the new subscription is gone again and the former secret stays in use. Raises any PagerDutyError.
        """
        self._require_ready(integration)
        before = [one.id for one in self._subscriptions.held(integration.id)]
        client = self._client(integration.id)
        made = self._keeper.make_another(integration, client)
        if not self._keeper.ping_and_wait(integration.id, client, made):
            self._keeper.drop(made, client)
            said = self._keeper.not_arrived(integration.id)
            raise ConflictError(f"{said[:1].upper()}{said[1:]}, so the former secret stays in use.")
        facts = {"subscriptions": before}, {"subscriptions": [made, *before]}
        self._audit.add(None, who, "rotate webhook secret", f"integration {integration.name}", *facts)
        minutes = round(OVERLAP_SECONDS / 60)
        return [
            f"Made the webhook subscription {made}, and its test event arrived.",
            *(f"The subscription {one} goes on beside it for {minutes} minutes and is then deleted." for one in before),
        ]

    def retiring(self, integration_id: str) -> set[str]:
        """The subscriptions that a younger one has replaced and that are still listened to."""
        return self._subscriptions.retiring(integration_id, OVERLAP_SECONDS)

    def _require_ready(self, integration: Integration) -> None:
        if not integration.is_two_way:
            raise ConflictError("Two-way sync is off, so there is no webhook secret to replace.")
        if integration.status in (IntegrationStatus.DISCONNECTED, IntegrationStatus.CONNECTING):
            raise ConflictError(f"The integration is {integration.status}; a new secret needs a connection that works.")
        if self.retiring(integration.id):
            raise ConflictError(
                "A rotation is under way: the former subscription is still listened to. Wait for its end."
            )
