"""Configuration as the sync reads it: the integration, connectors, presets and routing rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.incidents import Priority


class Field(StrEnum):
    """What is kept in step, each with a direction of its own."""

    STATUS = "status"
    PRIORITY = "priority"
    COMMENTS = "comments"
    RESOLUTION_NOTES = "resolution_notes"


class FieldDirection(StrEnum):
    BOTH = "both"
    IN = "in"
    OUT = "out"
    OFF = "off"


class ConnectorPath(StrEnum):
    BIDIRECTIONAL = "bidirectional"
    SERVICE_KEY = "service_key"


class IntegrationStatus(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DEGRADED = "degraded"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Integration:
    """One PagerDuty account. The key itself is read from its store only where a client is made."""

    id: str
    name: str
    base_url: str
    key_kind: str
    user_email: str
    user_id: str
    is_two_way: bool
    status: IntegrationStatus
    status_reason: str = ""
    api_key_last4: str = ""
    priorities: Sequence[Priority] = ()


@dataclass(frozen=True, slots=True)
class Connector:
    """One service's path. `priority_map` goes from the Case's priority to the account's priority id."""

    id: str
    name: str
    path: ConnectorPath
    integration_id: str | None = None
    service_id: str | None = None
    service_name: str = ""
    directions: Mapping[Field, FieldDirection] = field(default_factory=dict)
    priority_map: Mapping[CasePriority, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preset:
    """How a Case reads as an incident: one template a field."""

    id: str
    name: str
    path: ConnectorPath
    entity: str
    templates: Mapping[str, str]
    is_builtin: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    connector_id: str
    preset_id: str


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Fires for every Case its condition holds for; a fallback rule only when no other did."""

    id: str
    name: str
    source: str
    condition: str
    destinations: Sequence[Destination]
    is_enabled: bool = True
    is_fallback: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything configured that the planner asks about one link."""

    directions: Mapping[Field, FieldDirection] = field(default_factory=dict)
    priority_map: Mapping[CasePriority, str] = field(default_factory=dict)
    is_two_way: bool = True
    unacknowledges_cases: bool = True
    posts_resolution_notes: bool = True

    def allows_in(self, name: Field) -> bool:
        return self.is_two_way and self._direction(name) in (FieldDirection.BOTH, FieldDirection.IN)

    def allows_out(self, name: Field) -> bool:
        return self._direction(name) in (FieldDirection.BOTH, FieldDirection.OUT)

    def _direction(self, name: Field) -> FieldDirection:
        return self.directions.get(name, FieldDirection.BOTH)
