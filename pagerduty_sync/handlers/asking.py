"""Whether PagerDuty's events reach us, from what is on record; and, on demand, what PagerDuty itself says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pagerduty_sync.domain.connectors import Integration
from pagerduty_sync.domain.links import Link
from pagerduty_sync.errors import IncidentNotFoundError, PagerDutyError, SecretError, UnauthorizedError
from pagerduty_sync.handlers.subscription import is_about_subscription
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.subscriptions import Subscriptions


@dataclass(frozen=True, slots=True)
class Asked:
    """What was found out: in words by subject, and what is wrong with the key and with the way of the webhooks."""

    said: Mapping[str, str] = field(default_factory=dict)
    key_problem: str = ""
    webhooks_problem: str = ""


class Asking:
    """`polls` says that events are read from the account's log, so that no webhook is expected."""

    def __init__(self, client: Callable[[str], PagerDutyClient], subscriptions: Subscriptions, *, polls: bool) -> None:
        self._client = client
        self._subscriptions = subscriptions
        self._polls = polls

    def on_record(self, account: Integration) -> Asked:
        """What the stores tell."""
        if not account.is_two_way or self._polls:
            return Asked()
        if is_about_subscription(account.status_reason):
            return Asked(webhooks_problem=account.status_reason)
        if not self._subscriptions.held(account.id):
            return Asked(webhooks_problem="there is no webhook subscription of ours")
        return Asked()

    def ask(self, account: Integration, link: Link | None) -> Asked:
        """What the stores tell, and what PagerDuty says of the subscription and of the incident: two calls."""
        known = self.on_record(account)
        said: dict[str, str] = {}
        try:
            client = self._client(account.id)
            problem = self._subscription(client, account, said)
            if link is not None and link.incident_id:
                said["incident"] = _incident(client, link.incident_id)
        except UnauthorizedError as exc:
            return Asked({**said, "key": str(exc)}, str(exc), known.webhooks_problem)
        except (PagerDutyError, SecretError) as exc:
            return Asked({**said, "PagerDuty": str(exc)}, "", known.webhooks_problem)
        return Asked(said, "", problem or known.webhooks_problem)

    def _subscription(self, client: PagerDutyClient, account: Integration, said: dict[str, str]) -> str:
        held = self._subscriptions.held(account.id)
        if not held or not account.is_two_way or self._polls:
            return ""
        id_ = held[0].id
        try:
            found = client.get_webhook_subscription(id_)
        except IncidentNotFoundError:
            problem = f"PagerDuty has no webhook subscription {id_} any more"
        else:
            is_off = not found.is_active or found.is_temporarily_disabled
            problem = f"PagerDuty has switched the webhook subscription {id_} off" if is_off else ""
        said["subscription"] = problem or f"{id_} is on, to {found.url}"
        return problem


def _incident(client: PagerDutyClient, incident_id: str) -> str:
    try:
        incident = client.get_incident(incident_id)
    except IncidentNotFoundError:
        return f"{incident_id} is not there any more"
    by = f" by {incident.by.label}" if incident.by else ""
    return (
        f"{incident.status.value}{by}, priority {incident.priority_id or 'none'}, seen {incident.seen_at.isoformat()}"
    )
