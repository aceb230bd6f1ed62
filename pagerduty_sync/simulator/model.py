"""The things an account holds, as plain records made of JSON values, so that a snapshot is a dump of their fields.

No rules live here: what may happen to an incident is decided in `incidents.py`, how it looks in `render.py`.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]


class Agent(NamedTuple):
    """Who did something: a user, a service (automation) or an integration (Events API)."""

    kind: str
    id: str


@dataclass(frozen=True)
class Actor:
    """The acting party of one change. `agent` None is automation; `named` False hides a person from webhooks."""

    agent: Agent | None
    channel: str
    named: bool = True
    client: Json | None = None

    @property
    def user_id(self) -> str | None:
        return self.agent.id if self.agent and self.agent.kind == "user" else None


@dataclass(frozen=True)
class Team:
    id: str
    name: str


@dataclass(frozen=True)
class User:
    id: str
    name: str
    email: str
    role: str
    team_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Priority:
    id: str
    name: str
    description: str


@dataclass(frozen=True)
class Policy:
    """An escalation policy: one tuple of user ids a level. An empty level means that nobody is on call."""

    id: str
    name: str
    levels: tuple[tuple[str, ...], ...]
    team_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    id: str
    name: str
    policy_id: str
    team_ids: tuple[str, ...]
    integration_id: str
    routing_key: str
    acknowledgement_timeout: int | None = None
    auto_resolve_timeout: int | None = None
    disabled: bool = False


@dataclass(frozen=True)
class Key:
    """A REST API key. A general key has no user; a user token acts as its user."""

    secret: str
    read_only: bool = False
    user_id: str | None = None


@dataclass
class Note:
    id: str
    user_id: str
    content: str
    created_at: float
    updated_at: float


@dataclass
class LogEntry:
    id: str
    type: str
    summary: str
    created_at: float
    incident_id: str
    agent: Agent
    channel: Json
    note: str | None = None


@dataclass
class Alert:
    id: str
    key: str
    summary: str
    severity: str
    status: str
    created_at: float
    service_id: str
    details: Any = None


@dataclass
class Incident:
    id: str
    number: int
    title: str
    service_id: str
    policy_id: str
    key: str | None
    created_at: float
    updated_at: float
    last_status_change_at: float
    last_status_change_by: Agent
    status: str = "triggered"
    urgency: str = "high"
    priority_id: str | None = None
    body: Any = None
    incident_type: str = "incident_default"
    conference_bridge: Json | None = None
    assignments: list[tuple[str, float]] = field(default_factory=list)
    assigned_via: str = "escalation_policy"
    acknowledgements: list[tuple[str, float]] = field(default_factory=list)
    escalation_level: int = 1
    resolved_at: float | None = None
    reopened_at: float | None = None
    merged_into: str | None = None
    unacknowledge_at: float | None = None
    resolve_at: float | None = None
    last_event_at: float = 0.0
    notes: list[Note] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    custom_fields: dict[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.status != "resolved"


@dataclass(frozen=True)
class Event:
    """Something a webhook can report, before it is known who has subscribed to it."""

    event_type: str
    resource_type: str
    occurred_at: float
    agent: Json | None
    client: Json | None
    data: Json
    resource_id: str
    service_ids: frozenset[str]
    team_ids: frozenset[str]


@dataclass
class Subscription:
    id: str
    delivery_method_id: str
    url: str
    secret: str
    events: list[str]
    filter_type: str
    filter_id: str | None = None
    description: str = ""
    active: bool = True
    custom_headers: list[dict[str, str]] = field(default_factory=list)
    oauth_client_id: str | None = None
    disabled_until: float | None = None
    strikes: int = 0


@dataclass
class Webhook:
    """One signed request to one subscription. Its id stays the same on every retry."""

    id: str
    subscription_id: str
    lane: str
    event_type: str
    event_id: str
    incident_id: str | None
    body: str
    created_at: float
    not_before: float
    attempts: int = 0
    signing: str = "good"  # "bad" by fault; "forged" or "unsigned" when somebody else pretends to be PagerDuty
