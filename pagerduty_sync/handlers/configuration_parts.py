"""Things that are set up as a configuration text has them, and how one thing differs from another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pagerduty_sync.domain.connectors import Connector, ConnectorPath, Preset
from pagerduty_sync.handlers.accounts import Standing
from pagerduty_sync.pagerduty.events import EVENTS_URLS
from pagerduty_sync.stores.connector_edits import KeyEnd

Parts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one thing, before and after; `before` is None for a thing that is not there yet. No secrets."""

    subject: str
    field: str
    before: Any
    after: Any
    is_new: bool = False

    def __str__(self) -> str:
        sign = "+" if self.is_new else "~"
        return f"{sign} {self.subject}: {self.field}: {self.before!r} → {self.after!r}"


def integration_part(standing: Standing) -> dict[str, Any]:
    """The integration as a text has it, but for its key."""
    one = standing.integration
    return {"name": one.name, "region": standing.region, "email": one.user_email, "is_two_way": one.is_two_way}


def connector_part(connector: Connector, key: KeyEnd) -> dict[str, Any]:
    """A connector as a text has it, but for its key."""
    if connector.path is ConnectorPath.SERVICE_KEY:
        regions = {url: name for name, url in EVENTS_URLS.items()}
        template = {"key_template": key.template} if key.template else {}
        return {"path": connector.path.value, **template, "region": regions.get(key.events_url, key.events_url)}
    return {
        "path": connector.path.value,
        "service": connector.service_id,
        "directions": {name.value: direction.value for name, direction in connector.directions.items()},
        "priority_map": {name.value: id_ for name, id_ in connector.priority_map.items()},
    }


def preset_part(preset: Preset) -> dict[str, Any]:
    """A preset as a text has it."""
    return {"path": preset.path.value, "entity": preset.entity, "templates": dict(preset.templates)}


def compared(subject: str, before: Parts, wanted: Parts, *, is_new: bool) -> list[Change]:
    """One change a field that differs."""
    return [
        Change(subject, field, before.get(field), value, is_new)
        for field, value in wanted.items()
        if before.get(field) != value
    ]


def end_of(text: str | None) -> str | None:
    """All that is shown of a secret."""
    return None if text is None else f"…{text[-4:] if len(text) >= 16 else ''}"


def variable_of(connector_name: str) -> str:
    """The variable an export names for a connector's routing key."""
    return f"PAGERDUTY_ROUTING_KEY_{re.sub(r'[^A-Z0-9]+', '_', connector_name.upper()).strip('_')}"
