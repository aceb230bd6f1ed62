"""The configuration as a YAML text: its shape, and the places of its secrets, which a text itself never holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from pagerduty_sync.coralogix.requests import load
from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import ConnectorPath, Field, FieldDirection
from pagerduty_sync.errors import InvalidRequestError

LONGEST_NAME, LONGEST_TEXT, MOST_ITEMS = 200, 20_000, 10_000
LONGEST_SECRET_FILE = 10_000


class SecretPlace(Schema):
    """`env: NAME` or `file: PATH`."""

    env = fields.String(validate=validate.Regexp(r"[A-Za-z_][A-Za-z0-9_]*\Z", error="Must be a variable's name."))
    file = fields.String(validate=validate.Length(1, 4_096))

    @validates_schema
    def require_one(self, given: Mapping[str, Any], **_: Any) -> None:
        if len(given) != 1:
            raise ValidationError("Say where the secret is, by `env: NAME` or `file: PATH`.")


class DirectionField(fields.Enum[FieldDirection]):
    """A direction; to YAML a bare `off` is the word false."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> FieldDirection:
        return super()._deserialize("off" if value is False else value, *args, **kwargs)


def _name(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(1, LONGEST_NAME), **options)


def _text(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(max=LONGEST_TEXT), **options)


def _list(schema: type[Schema], **options: Any) -> fields.List[Any]:
    return fields.List(fields.Nested(schema), validate=validate.Length(max=MOST_ITEMS), **options)


class IntegrationPart(Schema):
    name = _name(required=True)
    region = _text()
    email = _text()
    is_two_way = fields.Boolean()
    consent = fields.Boolean()
    api_key = fields.Nested(SecretPlace)


class ConnectorPart(Schema):
    name = _name(required=True)
    path = fields.Enum(ConnectorPath, by_value=True, load_default=ConnectorPath.BIDIRECTIONAL)
    service = _name()
    directions = fields.Dict(fields.Enum(Field, by_value=True), DirectionField(FieldDirection, by_value=True))
    priority_map = fields.Dict(fields.Enum(CasePriority, by_value=True), _name())
    routing_key = fields.Nested(SecretPlace)
    key_template = _text()
    region = _text()


class PresetPart(Schema):
    name = _name(required=True)
    path = fields.Enum(ConnectorPath, by_value=True, load_default=ConnectorPath.BIDIRECTIONAL)
    entity = fields.String(load_default="cases", validate=validate.OneOf(["cases", "alerts"]))
    templates = fields.Dict(_name(), _text(), required=True)


class DestinationPart(Schema):
    connector = _name(required=True)
    preset = _name(load_default=None, allow_none=True)


class RulePart(Schema):
    name = _name(required=True)
    source = fields.String(load_default="cases", validate=validate.OneOf(["cases", "alerts"]))
    condition = _text()
    destinations = _list(DestinationPart)
    is_enabled = fields.Boolean()
    is_fallback = fields.Boolean()


class Parts(Schema):
    """What is not named in a text is not touched."""

    integration = fields.Nested(IntegrationPart)
    connectors = _list(ConnectorPart, load_default=list)
    presets = _list(PresetPart, load_default=list)
    rules = _list(RulePart, load_default=list)


def read(text: str) -> dict[str, Any]:
    """The parts of a text; raises InvalidRequestError, naming the line or the field."""
    try:
        given = yaml.safe_load(text)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise InvalidRequestError(f"{where}{exc.problem or exc.context or 'not YAML'}.") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise InvalidRequestError("The text is not YAML.") from None
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise InvalidRequestError("The text must be a mapping with integration, connectors, presets or rules.")
    parts: dict[str, Any] = load(Parts, given)
    for kind in ("connectors", "presets", "rules"):
        names = [one["name"].strip() for one in parts[kind]]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidRequestError(f"The text has two {kind} named {twice[0]}.", kind)
    return parts


def write(parts: Mapping[str, Any]) -> str:
    """A text that `read` reads as these parts."""
    return yaml.safe_dump(dict(parts), sort_keys=False, allow_unicode=True, width=100)


def secret(place: Mapping[str, str], field: str, environment: Mapping[str, str] | None = None) -> str:
    """What stands at a secret's place; raises InvalidRequestError, which names the place and never shows the secret."""
    if "env" in place:
        value = (os.environ if environment is None else environment).get(place["env"], "")
        if not value.strip():
            raise InvalidRequestError(f"The variable {place['env']} is not set.", field)
        return value.strip()
    path = Path(place["file"])
    try:
        with path.open(encoding="utf-8") as file:
            value = file.read(LONGEST_SECRET_FILE)
    except (OSError, UnicodeError, ValueError) as exc:
        raise InvalidRequestError(f"The file {path} cannot be read: {type(exc).__name__}.", field) from None
    if not value.strip():
        raise InvalidRequestError(f"The file {path} is empty.", field)
    return value.strip()
