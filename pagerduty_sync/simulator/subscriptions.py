"""Webhook subscriptions: what a request for one must say, and which of them an event concerns.

Follows the "Webhook Subscriptions" API pages. Delivering is the business of `delivery.py`.
"""

import secrets
import threading
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from .errors import ApiError, invalid
from .model import Event, Json, Subscription
from .state import Account, new_id

# "Webhooks Overview" page, as of 2026. `pagey.ping` cannot be subscribed to.
EVENT_TYPES = frozenset(
    {
        "incident.acknowledged",
        "incident.action_invocation.created",
        "incident.action_invocation.terminated",
        "incident.action_invocation.updated",
        "incident.annotated",
        "incident.conference_bridge.updated",
        "incident.custom_field_values.updated",
        "incident.delegated",
        "incident.escalated",
        "incident.incident_type.changed",
        "incident.priority_updated",
        "incident.reassigned",
        "incident.reopened",
        "incident.resolved",
        "incident.responder.added",
        "incident.responder.replied",
        "incident.role.assigned",
        "incident.service_updated",
        "incident.status_update_published",
        "incident.task.completed",
        "incident.task.created",
        "incident.task.updated",
        "incident.triggered",
        "incident.unacknowledged",
        "incident.workflow.completed",
        "incident.workflow.started",
        "service.created",
        "service.custom_field_values.updated",
        "service.deleted",
        "service.updated",
    }
)


class Subscriptions:
    """All subscriptions of the account. `strike` counts webhooks dropped in a row; the third one disables."""

    def __init__(self, account: Account, limit: Callable[[], int], disable_seconds: Callable[[], float]) -> None:
        self._account = account
        self._limit = limit
        self._disable_seconds = disable_seconds
        self._lock = threading.Lock()
        self._by_id: dict[str, Subscription] = {}

    def all(self) -> list[Subscription]:
        with self._lock:
            return list(self._by_id.values())

    def get(self, id_: str) -> Subscription | None:
        return self._by_id.get(id_)

    def load(self, subscriptions: list[Subscription]) -> None:
        with self._lock:
            self._by_id = {subscription.id: subscription for subscription in subscriptions}

    def create(self, fields: Json) -> Subscription:
        """Raises ApiError; the reply to this call is the only place that shows the secret."""
        if fields.get("type") != "webhook_subscription":
            raise invalid("Type must be 'webhook_subscription'.")
        url, headers = _delivery_method(fields.get("delivery_method"))
        events = check_events(fields.get("events"))
        filter_type, filter_id = self.check_filter(fields.get("filter"))
        active, description = check_active(fields.get("active", True)), check_description(fields.get("description", ""))
        with self._lock:
            scope = (filter_type, filter_id)
            if sum((s.filter_type, s.filter_id) == scope for s in self._by_id.values()) >= self._limit():
                # Wording and code of the "Webhooks" support page.
                text = "Failed to create webhook. Webhook subscription limit exceeded for the selected scope."
                raise ApiError(400, text, 2019)
            subscription = Subscription(
                id=new_id("P", 7),
                delivery_method_id=new_id("P", 7),
                url=url,
                secret=secrets.token_hex(32),
                events=events,
                filter_type=filter_type,
                filter_id=filter_id,
                description=description,
                active=active,
                custom_headers=headers,
            )
            self._by_id[subscription.id] = subscription
        return subscription

    def update(self, subscription: Subscription, fields: Json) -> None:
        """`delivery_method` cannot be updated and is left as it was ("Update a webhook subscription" API page)."""
        events = check_events(fields["events"]) if "events" in fields else subscription.events
        scope = (subscription.filter_type, subscription.filter_id)
        if "filter" in fields:
            scope = self.check_filter(fields["filter"])
        active = check_active(fields.get("active", subscription.active))
        description = check_description(fields.get("description", subscription.description))
        client = fields.get("oauth_client_id", subscription.oauth_client_id)
        if client is not None and not isinstance(client, str):
            raise invalid("OAuth client id must be a string.")
        subscription.events, subscription.active, subscription.description = events, active, description
        subscription.filter_type, subscription.filter_id = scope
        subscription.oauth_client_id = client

    def delete(self, subscription: Subscription) -> None:
        with self._lock:
            self._by_id.pop(subscription.id, None)

    def check_filter(self, value: object) -> tuple[str, str | None]:
        if not isinstance(value, dict):
            raise invalid("Filter cannot be empty.")
        kind, id_ = value.get("type"), value.get("id")
        if kind == "account_reference":
            return "account", None
        records: dict[str, Collection[str]] = {
            "service_reference": self._account.services,
            "team_reference": self._account.teams,
        }
        if not isinstance(kind, str) or kind not in records:
            raise invalid("Filter type must be account_reference, service_reference or team_reference.")
        known = records[kind]
        if not isinstance(id_, str) or id_ not in known:
            raise invalid("Filter id does not name a service or team.")
        return kind.removesuffix("_reference"), id_

    def is_disabled(self, subscription: Subscription) -> bool:
        return (subscription.disabled_until or 0) > self._account.clock.now()

    def interested(self, event: Event) -> list[Subscription]:
        """Active, not switched off, subscribed to the type, and the filter covers the incident's service or team."""
        return [
            subscription
            for subscription in self.all()
            if subscription.active
            and event.event_type in subscription.events
            and not self.is_disabled(subscription)
            and _covers(subscription, event)
        ]

    def strike(self, subscription: Subscription) -> bool:
        """Count a dropped webhook; true when it was the third in a row ("Webhook Behavior" page)."""
        with self._lock:
            subscription.strikes += 1
            if subscription.strikes < 3:
                return False
        self.disable(subscription)
        return True

    def disable(self, subscription: Subscription) -> None:
        subscription.disabled_until = self._account.clock.now() + self._disable_seconds()
        subscription.strikes = 0

    def enable(self, subscription: Subscription) -> None:
        subscription.disabled_until = None
        subscription.strikes = 0


def _covers(subscription: Subscription, event: Event) -> bool:
    if subscription.filter_type == "account":
        return True
    ids = event.service_ids if subscription.filter_type == "service" else event.team_ids
    return subscription.filter_id in ids


def _delivery_method(value: object) -> tuple[str, list[dict[str, str]]]:
    """PagerDuty wants HTTPS; here plain HTTP will do, because the receiver is on this machine."""
    if not isinstance(value, dict) or value.get("type") != "http_delivery_method":
        raise invalid("Delivery method type must be 'http_delivery_method'.")
    url = value.get("url")
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        is_usable = bool(parts and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise invalid("Delivery method url must be an http or https URL.")
    return str(url), _custom_headers(value.get("custom_headers"))


def _custom_headers(value: object) -> list[dict[str, str]]:
    headers: list[dict[str, str]] = []
    for item in value if isinstance(value, list) else []:
        name, text = (item.get("name"), item.get("value")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(text, str) or not _is_header(name, text):
            raise invalid("Custom headers need a name and a value.")
        headers.append({"name": name, "value": text})
    if len({header["name"].lower() for header in headers}) < len(headers):
        raise invalid("Custom header names must be unique.")
    return headers


def _is_header(name: str, text: str) -> bool:
    is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return is_name and text.isascii() and text.isprintable() and text == text.strip()


def check_events(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise invalid("Events cannot be empty.")
    unknown = [item for item in value if not isinstance(item, str) or item not in EVENT_TYPES]
    if unknown:
        raise invalid(f"Unknown event type: {str(unknown[0])[:100]}")
    if len(set(value)) < len(value):
        raise invalid("Events must be unique.")
    return list(value)


def check_active(value: object) -> bool:
    if not isinstance(value, bool):
        raise invalid("Active must be true or false.")
    return value


def check_description(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise invalid("Description must be a string.")
    return value or ""
