"""The calls about webhook subscriptions. Rules cited are of PagerDuty's API reference, section Webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.pagerduty.credentials import path_of
from pagerduty_sync.pagerduty.resources import Subscription, parse_subscription, parse_subscription_secret
from pagerduty_sync.pagerduty.transport import Transport


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """What a subscription hears of: the whole account, one service or one team (Create a webhook subscription)."""

    type: str
    id: str | None = None

    @classmethod
    def account(cls) -> SubscriptionFilter:
        return cls("account_reference")

    @classmethod
    def service(cls, service_id: str) -> SubscriptionFilter:
        return cls("service_reference", service_id)

    @classmethod
    def team(cls, team_id: str) -> SubscriptionFilter:
        return cls("team_reference", team_id)

    def as_json(self) -> dict[str, str]:
        return {"type": self.type} | ({"id": self.id} if self.id else {})


class NewSubscription(NamedTuple):
    """A subscription just made. The secret is told this once."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"NewSubscription(id={self.id!r}, secret=***)"


class SubscriptionCalls(Transport):
    """Every call may raise any PagerDutyError; a docstring names only what is special to it."""

    def list_webhook_subscriptions(self) -> list[Subscription]:
        """All subscriptions the key may see (List webhook subscriptions)."""
        found: list[Subscription] = []
        for answer in self.pages("/webhook_subscriptions"):
            found += answer.many("webhook_subscriptions", parse_subscription)
        return found

    def create_webhook_subscription(
        self, url: str, description: str, filter: SubscriptionFilter, events: Sequence[str]
    ) -> NewSubscription:
        """Subscribe `url` to `events`. The reply is the only place with the secret (Create a webhook subscription).

        After a TransportError a subscription whose secret nobody knows may exist: find it by URL and delete it. A scope
        takes at most 10 (Webhooks); RefusedError tells. Raises InvalidRequestError for no events.
        """
        subscription = {
            "type": "webhook_subscription",
            "active": True,
            "description": description,
            "delivery_method": {"type": "http_delivery_method", "url": url},
            "events": _some(events),
            "filter": filter.as_json(),
        }
        answer = self.write("POST", "/webhook_subscriptions", {"webhook_subscription": subscription})
        made = answer.one("webhook_subscription", parse_subscription)
        return NewSubscription(made.id, answer.one("webhook_subscription", parse_subscription_secret))

    def get_webhook_subscription(self, subscription_id: str) -> Subscription:
        """One subscription; IncidentNotFoundError when it was deleted."""
        answer = self.get(path_of("webhook_subscriptions", subscription_id))
        return answer.one("webhook_subscription", parse_subscription)

    def update_webhook_subscription(
        self,
        subscription_id: str,
        *,
        events: Sequence[str] | None = None,
        filter: SubscriptionFilter | None = None,
        is_active: bool | None = None,
        description: str | None = None,
    ) -> Subscription:
        """Change what is given. The URL cannot change: make a new subscription (Update a webhook subscription).

        Raises InvalidRequestError when nothing would change.
        """
        changes: dict[str, Any] = {}
        if events is not None:
            changes["events"] = _some(events)
        if filter is not None:
            changes["filter"] = filter.as_json()
        if is_active is not None:
            changes["active"] = is_active
        if description is not None:
            changes["description"] = description
        if not changes:
            raise InvalidRequestError("an update must change something")
        path = path_of("webhook_subscriptions", subscription_id)
        return self.write("PUT", path, {"webhook_subscription": changes}).one(
            "webhook_subscription", parse_subscription
        )

    def delete_webhook_subscription(self, subscription_id: str) -> None:
        """Delete; IncidentNotFoundError when it is gone already."""
        self.write("DELETE", path_of("webhook_subscriptions", subscription_id))

    def enable_webhook_subscription(self, subscription_id: str) -> None:
        """Switch on again what PagerDuty has switched off after dropped deliveries (Webhooks: Behavior)."""
        self.write("POST", path_of("webhook_subscriptions", subscription_id, "enable"))

    def ping_webhook_subscription(self, subscription_id: str) -> None:
        """Ask for a signed `pagey.ping` to be delivered (Test a webhook subscription)."""
        self.write("POST", path_of("webhook_subscriptions", subscription_id, "ping"))


def _some(events: Sequence[str]) -> list[str]:
    if not events:
        raise InvalidRequestError("a subscription must name at least one event", "events")
    return list(events)
