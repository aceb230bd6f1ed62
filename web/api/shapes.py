"""What several of the API's modules show or ask in the same shape."""

from __future__ import annotations

import re
from typing import Any

from flask import g
from marshmallow import Schema, fields, validate

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import Field, FieldDirection
from web.api.blueprint import refuses

LONGEST_NAME = 200
LONGEST_ID = 200
LONGEST_SECRET = 4_096
LONGEST_TEMPLATE = 20_000
LARGEST_PAGE = 500

asks_pagerduty = refuses(502)
"""For a view that calls PagerDuty, which may be away."""


def who() -> str:
    """Whom the audit names for the current request."""
    return f"{g.token.name} ({g.token.prefix})"


def masked(template: str) -> str:
    """A template without the routing keys that somebody may have written into it: they have 32 characters."""
    return re.sub(r"[0-9A-Za-z]{28}([0-9A-Za-z]{4})(?![0-9A-Za-z])", r"…\1", template)


def name_field(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(1, LONGEST_NAME), **options)


def secret_field(words: str, **options: Any) -> fields.String:
    """A secret to be written; it is never shown."""
    metadata = {"description": words, "format": "password"}
    return fields.String(validate=validate.Length(1, LONGEST_SECRET), load_only=True, metadata=metadata, **options)


def priority_map_field(**options: Any) -> fields.Dict:
    ids = fields.String(validate=validate.Length(1, LONGEST_ID))
    return fields.Dict(fields.Enum(CasePriority, by_value=True), ids, **options)


def directions_field(**options: Any) -> fields.Dict:
    return fields.Dict(fields.Enum(Field, by_value=True), fields.Enum(FieldDirection, by_value=True), **options)


class SecretView(Schema):
    """All that is ever shown of a secret."""

    is_set = fields.Boolean()
    last4 = fields.String()


class PriorityView(Schema):
    id = fields.String()
    name = fields.String()


class FindingView(Schema):
    level = fields.String(metadata={"description": "An error keeps settings from being saved, a warning does not."})
    code = fields.String()
    field = fields.String()
    message = fields.String()


class Page(Schema):
    """How a list is asked for page by page."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, LARGEST_PAGE))
    page_token = fields.String(validate=validate.Length(1, 4_096))
