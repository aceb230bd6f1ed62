"""What Coralogix's Generic HTTPS connector pushes: an operator's own template made it, so it is read with tolerance.

A Case's push names the Case and nothing more of it is believed. An alert's push is all there is to know of the alert.
Fields may stand at the top or below `case` or `alert`; what is not named here is ignored.

    {"id": "4711", "name": "Disk is full", "state": "triggered",            required; or resolved, acknowledged
     "priority": "P1", "severity": "critical", "description": "…",          optional
     "url": "https://…", "timestamp": "2026-01-31T12:00:00Z",               optional
     "labels": {"service": "checkout", "team": ["payments", "core"]}}       optional
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from pagerduty_sync.domain.notifications import Alert, EventAction, severity_of
from pagerduty_sync.errors import PayloadError

LONGEST_ID = 1_000
LONGEST_NAME = 4_096
LONGEST_TEXT = 100_000
MOST_LABELS = 1_000

STATES: Mapping[str, EventAction] = {
    "triggered": EventAction.TRIGGER,
    "trigger": EventAction.TRIGGER,
    "active": EventAction.TRIGGER,
    "firing": EventAction.TRIGGER,
    "acknowledged": EventAction.ACKNOWLEDGE,
    "acknowledge": EventAction.ACKNOWLEDGE,
    "resolved": EventAction.RESOLVE,
    "resolve": EventAction.RESOLVE,
    "ok": EventAction.RESOLVE,
}

_IDS = ("id", "alertId", "alert_id", "uniqueIdentifier")
_NAMES = ("name", "title", "alertName", "alert_name")
_STATES = ("state", "status", "alertState")
_TIMES = ("timestamp", "occurredAt", "occurred_at")


def read_case_push(body: bytes) -> str:
    """The id, or readable id, of the Case a push is about; raises PayloadError naming the field."""
    fields = _fields(body, "case")
    return _required(fields, ("id", "caseId", "case_id", "readableId"), LONGEST_ID)


def read_alert_push(body: bytes) -> Alert:
    """The alert a push tells of; raises PayloadError naming the field."""
    fields = _fields(body, "alert")
    state = _required(fields, _STATES, LONGEST_ID)
    action = STATES.get(state.lower())
    if action is None:
        raise PayloadError(f"state must be one of {', '.join(STATES)}, not {state[:40]!a}.", "state")
    alert_id = _required(fields, _IDS, LONGEST_ID)
    # Nothing but a trigger shows the name to anybody.
    has_to_be_named = action is EventAction.TRIGGER
    name = _required(fields, _NAMES, LONGEST_NAME) if has_to_be_named else _text(fields, _NAMES, LONGEST_NAME)
    priority, severity = _text(fields, ("priority",), 40), _text(fields, ("severity",), 40)
    return Alert(
        id=alert_id,
        name=name or alert_id,
        action=action,
        description=_text(fields, ("description",), LONGEST_TEXT),
        priority=priority.upper(),
        severity=severity_of(priority, severity).value,
        url=_url(_text(fields, ("url", "alertUrl", "alert_url"), LONGEST_NAME)),
        labels=_labels(fields.get("labels")),
        occurred_at=_instant(fields),
    )


def _fields(body: bytes, name: str) -> Mapping[str, Any]:
    try:
        content = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise PayloadError("The body is nested too deeply.") from None
    except ValueError:
        raise PayloadError("The body is not JSON.") from None
    if not isinstance(content, dict):
        raise PayloadError("The body must be a JSON object.")
    inner = content.get(name)
    return {**content, **inner} if isinstance(inner, dict) else content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _text(fields: Mapping[str, Any], names: tuple[str, ...], longest: int) -> str:
    """The first of these that is there, as a text; what is no text or number counts as missing."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return _storable(str(value)).strip()[:longest]
    return ""


def _required(fields: Mapping[str, Any], names: tuple[str, ...], longest: int) -> str:
    text = _text(fields, names, longest + 1)
    if not text:
        raise PayloadError(f"{names[0]} is missing or blank.", names[0])
    if len(text) > longest:
        raise PayloadError(f"{names[0]} is longer than {longest} characters.", names[0])
    return text


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        return text if parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:
        return ""


def _labels(given: object) -> dict[str, list[str]]:
    """Names with lists of texts, whichever of the shapes a template gives: a single value, a list, or neither."""
    labels: dict[str, list[str]] = {}
    if not isinstance(given, Mapping):
        return labels
    for name, value in list(given.items())[:MOST_LABELS]:
        values = value if isinstance(value, list) else [value]
        texts = [_storable(str(one)) for one in values[:MOST_LABELS] if isinstance(one, str | int | float)]
        labels[_storable(str(name))] = [text[:LONGEST_NAME] for text in texts]
    return labels


def _instant(fields: Mapping[str, Any]) -> datetime | None:
    """When it happened; None when the push does not say it in a way that can be compared."""
    text = _text(fields, _TIMES, 40)
    try:
        if text.replace(".", "", 1).isdigit():
            seconds = float(text)
            return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
