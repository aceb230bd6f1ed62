"""The audit: who changed what of the configuration, and how it read before and after."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from web.api.blueprint import api_blueprint
from web.api.shapes import Page
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("audit", "/api/v1/audit", "Every change of the configuration.")

LONGEST = 400


class AskedEntries(Page):
    who = fields.String(load_default="", validate=validate.Length(max=LONGEST))
    subject = fields.String(
        load_default="",
        validate=validate.Length(max=LONGEST),
        metadata={"description": "As an entry shows it, such as: connector Checkout"},
    )


class EntryView(Schema):
    id = fields.Integer()
    at = fields.AwareDateTime(format="iso")
    who = fields.String()
    action = fields.String()
    subject = fields.String()
    before = fields.Dict(allow_none=True)
    after = fields.Dict(allow_none=True)


class Entries(Schema):
    entries = fields.List(fields.Nested(EntryView))
    next_page_token = fields.String(allow_none=True)


@blueprint.route("", methods=["GET"])
@requires("integrations:ReadConfig")
@blueprint.arguments(AskedEntries, location="query", unknown=RAISE)
@blueprint.response(200, Entries)
def list_entries(asked: dict[str, Any]) -> dict[str, Any]:
    """Changes, newest first."""
    entries, more = application().audit.find(**asked)
    return {"entries": entries, "next_page_token": more}
