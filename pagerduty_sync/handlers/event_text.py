"""How a Case or an alert reads as an event: a preset's templates at work, and plain words where one of them fails.

A template that fails never keeps an event from going out: the plain value stands in for it, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pagerduty_sync.domain.cases import Case
from pagerduty_sync.domain.connectors import Preset
from pagerduty_sync.domain.notifications import SEVERITY, Alert, Severity
from pagerduty_sync.domain.presets import plain_title
from pagerduty_sync.errors import TemplateError
from pagerduty_sync.handlers.templates import case_context, render

CLIENT = "pagerduty-sync"
LONGEST_DETAILS = 400_000
LONGEST_FIELD = 5_000

Context = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventText:
    """What a trigger is sent with; `problem` says which template failed and why, empty when none did."""

    content: Mapping[str, Any]
    problem: str = ""


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


def event_of_case(preset: Preset | None, case: Case, case_url: str) -> EventText:
    """The trigger of a Case; never raises. It always links back to the Case."""
    plain = {
        "summary": plain_title(case),
        "severity": SEVERITY[case.priority].value,
        "source": "Cases",
        "timestamp": _instant(case.created_at),
        "custom_details": {"case": case.name, "description": case.description, "url": case_url},
    }
    text = _text(preset, case_context(case, case_url), plain)
    extras = {"client": CLIENT, "client_url": case_url, "links": [{"href": case_url, "text": case.name}]}
    return EventText({**text.content, **extras}, text.problem)


def event_of_alert(preset: Preset | None, alert: Alert) -> EventText:
    """The trigger of an alert; never raises."""
    plain: dict[str, Any] = {
        "summary": alert.name,
        "severity": alert.severity or Severity.ERROR.value,
        "source": "Alerts",
        "custom_details": {"alert": alert.id, "description": alert.description},
    }
    if alert.occurred_at is not None:
        plain["timestamp"] = _instant(alert.occurred_at)
    text = _text(preset, alert_context(alert), plain)
    extras: dict[str, Any] = {"client": CLIENT}
    if alert.url:
        extras |= {"client_url": alert.url, "links": [{"href": alert.url, "text": alert.name}]}
    return EventText({**text.content, **extras}, text.problem)


def routing_key_of(template: str, context: Context) -> str:
    """What a connector's template yields as the routing key; raises TemplateError, which does not quote it."""
    return render(template, context, LONGEST_FIELD).strip()


def _text(preset: Preset | None, context: Context, plain: Mapping[str, Any]) -> EventText:
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
    return EventText({"payload": {name: _storable(value) for name, value in payload.items()}}, problem)


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
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
