"""How a Case or an alert reads as an event: a preset's templates at work, and plain words where one of them fails.

A template that fails never keeps an event from going out: the plain value stands in for it, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pagerduty_sync.domain.cases import Case
from pagerduty_sync.domain.connectors import Preset
from pagerduty_sync.domain.notifications import SEVERITY, Alert, Severity
from pagerduty_sync.domain.presets import plain_title
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, TemplateError
from pagerduty_sync.handlers.templates import case_context, render
from pagerduty_sync.pagerduty.events import checked_routing_key
from pagerduty_sync.stores.service_keys import ServiceKeys

CLIENT = "pagerduty-sync"
LONGEST_DETAILS = 400_000
LONGEST_FIELD = 5_000

Context = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a trigger is sent with; `problem` says which template failed and why, empty when none did.

    `routing_key` is what a connector's template gave; None stands for the connector's own.
    """

    content: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    routing_key: str | None = field(default=None, repr=False)


def alert_context(alert: Alert) -> dict[str, Any]:
    """What templates and conditions see of an alert. Labels are lists of values, as with Cases."""
    labels = {name: list(values) for name, values in alert.labels.items()}
    return {
        "alert": {
            "id": alert.id,
            "name": alert.name,
            "description": alert.description,
            "priority": alert.priority,
            "severity": alert.severity,
            "state": alert.action.value,
            "url": alert.url,
            "labels": labels,
            "timestamp": _instant(alert.occurred_at) if alert.occurred_at else None,
        },
        "_context": {
            "entityType": "alerts",
            "entityLabels": labels,
            "system": {"id": CLIENT, "name": CLIENT},
            "trigger": {"type": "automatic"},
        },
    }


def event_of_case(preset: Preset | None, case: Case, case_url: str) -> Trigger:
    """The trigger of a Case; never raises. It always links back to the Case."""
    plain = {
        "summary": plain_title(case),
        "severity": SEVERITY[case.priority].value,
        "source": "Cases",
        "timestamp": _instant(case.created_at),
        "custom_details": {"case": case.name, "description": case.description, "url": case_url},
    }
    extras = {"client": CLIENT, "client_url": case_url, "links": [{"href": case_url, "text": case.name}]}
    return _trigger(preset, case_context(case, case_url), plain, extras)


def event_of_alert(preset: Preset | None, alert: Alert) -> Trigger:
    """The trigger of an alert; never raises."""
    plain: dict[str, Any] = {
        "summary": alert.name,
        "severity": alert.severity or Severity.ERROR.value,
        "source": "Alerts",
        "custom_details": {"alert": alert.id, "description": alert.description},
    }
    if alert.occurred_at is not None:
        plain["timestamp"] = _instant(alert.occurred_at)
    extras: dict[str, Any] = {"client": CLIENT}
    if alert.url:
        extras |= {"client_url": alert.url, "links": [{"href": alert.url, "text": alert.name}]}
    return _trigger(preset, alert_context(alert), plain, extras)


class Triggers:
    """Makes the triggers that connectors are sent, each with its preset and with the key its connector asks for."""

    def __init__(self, preset: Callable[[str], Preset | None], service_keys: ServiceKeys, case_url: str) -> None:
        self._preset = preset
        self._service_keys = service_keys
        self._case_url = case_url

    def of_case(self, connector_id: str, preset_id: str, case: Case) -> Trigger:
        url = self._case_url.format(name=case.name)
        return self._keyed(event_of_case(self._preset(preset_id), case, url), connector_id, case_context(case, url))

    def of_alert(self, connector_id: str, preset_id: str, alert: Alert) -> Trigger:
        return self._keyed(event_of_alert(self._preset(preset_id), alert), connector_id, alert_context(alert))

    def _keyed(self, trigger: Trigger, connector_id: str, context: Context) -> Trigger:
        try:
            connector = self._service_keys.of(connector_id)
        except NotFoundError:
            # Gone since it matched; whoever sends finds that too, and says so.
            return trigger
        if connector.key_template is None:
            return trigger
        try:
            key = checked_routing_key(render(connector.key_template, context, LONGEST_FIELD))
        except (TemplateError, InvalidRequestError) as exc:
            own = "so the connector's own key was used" if connector.has_key else "and there is no other key"
            problem = f"The template of the routing key failed, {own} ({exc})"
            return replace(trigger, problem="; ".join(filter(None, (trigger.problem, problem))))
        # The key stands somewhere in the Case or alert; the event is read by more people than may use it.
        return replace(trigger, content=_without(key, trigger.content), routing_key=key)


def _trigger(preset: Preset | None, context: Context, plain: Mapping[str, Any], extras: Mapping[str, Any]) -> Trigger:
    payload, problems = dict(plain), []
    for name, read in _FIELDS.items():
        template = preset.templates.get(name) if preset else None
        if template is None:
            continue
        try:
            payload[name] = read(render(template, context, LONGEST_DETAILS).strip())
        except TemplateError as exc:
            problems.append(f"{name}: {exc}")
    problem = ""
    if preset and problems:
        problem = f"Preset {preset.name} failed, so the plain text was used ({'; '.join(problems)})"
    return Trigger(_storable({"payload": payload, **extras}), problem)


def _optional(text: str) -> str:
    return text[:LONGEST_FIELD]


def _line(text: str) -> str:
    if not text:
        raise TemplateError("gives an empty text")
    return " ".join(text.split())[:LONGEST_FIELD]


def _severity(text: str) -> str:
    try:
        return Severity(text.lower()).value
    except ValueError:
        raise TemplateError(f"gives {text[:60]!r}; it must be one of {', '.join(Severity)}") from None


def _time(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise TemplateError(f"gives {text[:60]!r}, which is not a time") from None
    return text


def _details(text: str) -> Any:
    try:
        details = _storable(json.loads(text))
        # Python reads more than JSON has: NaN, and numbers that become infinite.
        json.dumps(details, allow_nan=False)
    except (ValueError, RecursionError):
        raise TemplateError("does not give JSON; write values with the filter json_encode") from None
    if not isinstance(details, dict):
        raise TemplateError("gives JSON, but no object")
    return details


_FIELDS: Mapping[str, Callable[[str], Any]] = {
    "summary": _line,
    "severity": _severity,
    "source": _line,
    "timestamp": _time,
    "component": _optional,
    "group": _optional,
    "class": _optional,
    "custom_details": _details,
}
EVENT_FIELDS = frozenset(_FIELDS)
"""What a preset for service-key connectors may have templates for."""


def _storable(value: Any) -> Any:
    """The value without what neither PostgreSQL nor UTF-8 can hold."""
    return _each_text(value, lambda text: text.replace("\0", "\ufffd").encode("utf-8", "replace").decode())


def _without(secret: str, value: Any) -> Any:
    return _each_text(value, lambda text: text.replace(secret, "***"))


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _each_text(inner, change) for name, inner in value.items()}
    return [_each_text(inner, change) for inner in value] if isinstance(value, list) else value


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
