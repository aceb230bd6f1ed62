"""How JSON becomes values we can trust: strict where a wrong value would mislead the sync, tolerant elsewhere.

Knows no resource of PagerDuty's, only the kinds of field they are made of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.errors import PayloadError

MAX_ID_LENGTH = 255
"""Ids are opaque (REST API: Resource References); this only keeps a hostile one out of indexes and paths."""

MAX_NUMBER = 2**63 - 1

# PostgreSQL stores neither NUL nor half a surrogate pair in a text.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """The text with every character a database cannot hold replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def load_json(body: bytes) -> Any:
    """Decode JSON text, or raise PayloadError, whatever the bytes are."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise PayloadError("the body is nested too deeply to be read") from None
    except ValueError as exc:
        raise PayloadError(f"the body is not JSON: {clean(str(exc))[:200]}") from exc


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def load(schema: Schema, value: object, path: str) -> dict[str, Any]:
    """Load with a schema; PayloadError names the first field that is wrong, as a path below `path`."""
    try:
        loaded: dict[str, Any] = schema.load(value)  # type: ignore[arg-type]
    except ValidationError as exc:
        where, what = _first_problem(exc.messages)
        name = ".".join(part for part in (path, where) if part)
        raise PayloadError(f"{name or 'the body'}: {what}", field=name or None) from exc
    return loaded


def _first_problem(messages: object) -> tuple[str, str]:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            where, what = _first_problem(inner)
            return ".".join(part for part in ("" if key == "_schema" else str(key), where) if part), what
    if isinstance(messages, list) and messages:
        return _first_problem(messages[0])
    return "", str(messages)


class WireSchema(Schema):
    """A schema that ignores what it does not know: PagerDuty adds fields without notice (REST API: Versioning)."""

    class Meta:
        unknown = EXCLUDE


class Id(fields.Field[str]):
    """A non-empty name of something, unchanged or refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValidationError("must be a text that is not empty")
        if len(value) > MAX_ID_LENGTH or value != clean(value):
            raise ValidationError("is too long or holds characters no id has")
        return value


class Text(fields.Field[str]):
    """A text, cleaned for storage. Anything else is refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be a text")
        return clean(value)


class Label(fields.Field[str]):
    """A text people see and nothing depends on: empty when it is missing or of another type."""

    def __init__(self) -> None:
        super().__init__(load_default="", allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> str:
        return clean(value) if isinstance(value, str) else ""


class Number(fields.Field[int]):
    """A count people see and nothing depends on: 0 when it is missing or odd."""

    def __init__(self) -> None:
        super().__init__(load_default=0, allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> int:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return value if is_number and 0 <= value <= MAX_NUMBER else 0


class Instant(fields.Field[datetime]):
    """An ISO 8601 date with time, as an aware datetime in UTC. Without a zone it is read as UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or "T" not in value:
            raise ValidationError("must be a date with time")
        try:
            parsed = datetime.fromisoformat(value)
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as exc:
            raise ValidationError("must be a date with time") from exc


class Status(fields.Field[IncidentStatus]):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> IncidentStatus:
        try:
            return IncidentStatus(value)
        except ValueError as exc:
            raise ValidationError("must be triggered, acknowledged or resolved") from exc


class ReferenceSchema(WireSchema):
    """`{"id": …, "type": …_reference, "summary": …}` (REST API: Resource References)."""

    id = Id(required=True)


class ResolveReasonSchema(WireSchema):
    """Merging is the only reason there is so far (API reference: Merge incidents)."""

    type = Label()
    incident = fields.Nested(ReferenceSchema, load_default=None, allow_none=True)


def merged_into(reason: Mapping[str, Any] | None, path: str) -> str | None:
    """The incident a merge went into, None when the reason is no merge.

    Raises PayloadError for a merge without a target: read as an ordinary resolve it would close a Case by mistake.
    """
    if reason is None or reason["type"] not in ("merge_resolve_reason", ""):
        return None
    if reason["incident"] is None:
        raise PayloadError(f"{path}.incident: a merge must name its target", field=f"{path}.incident")
    return str(reason["incident"]["id"])


class AgentField(fields.Field[Actor | None]):
    """Who did it: None for automation and for what cannot be read.

    Users, services, integrations and workflows all come as references, and more kinds may appear (Webhooks: Overview);
    the id tells them apart, so the type is not looked at.
    """

    def __init__(self) -> None:
        super().__init__(load_default=None, allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Actor | None:
        if not isinstance(value, Mapping):
            return None
        name, agent_id = value.get("summary"), value.get("id")
        actor = Actor(
            kind="pagerDuty",
            id=clean(agent_id)[:MAX_ID_LENGTH] if isinstance(agent_id, str) else "",
            name=clean(name) if isinstance(name, str) else "",
        )
        return actor if actor.id or actor.name else None
