"""Webhooks that were authentic and not understood: listed, shown as text, discarded. Trying them again is `replay`."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from pagerduty_sync.handlers.discarding import LONGEST_REASON
from pagerduty_sync.stores.quarantine import Quarantined
from web.api.blueprint import api_blueprint
from web.api.shapes import Page, who
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("quarantine", "/api/v1/quarantine", "Authentic webhooks that were not understood.")

MOST_IDS = 500


class QuarantinedView(Schema):
    id = fields.Integer()
    webhook_id = fields.String()
    event_id = fields.String(allow_none=True)
    received_at = fields.AwareDateTime(format="iso")
    reason = fields.String()
    size = fields.Integer(metadata={"description": "Bytes."})


class QuarantinedDetail(QuarantinedView):
    body = fields.String(metadata={"description": "As text; bytes that are none are shown as their escapes."})


class QuarantinePage(Schema):
    webhooks = fields.List(fields.Nested(QuarantinedView))
    next_page_token = fields.String(allow_none=True)


class Discarded(Schema):
    discarded = fields.List(fields.Integer(), metadata={"description": "Those that were in quarantine until now."})


class ToDiscard(Schema):
    ids = fields.List(
        fields.Integer(strict=True, validate=validate.Range(1, 2**63 - 1)),
        required=True,
        validate=validate.Length(1, MOST_IDS),
    )
    reason = fields.String(required=True, validate=validate.Length(1, LONGEST_REASON))


@blueprint.route("", methods=["GET"])
@requires("deliveries:Read")
@blueprint.arguments(Page, location="query", unknown=RAISE)
@blueprint.response(200, QuarantinePage)
def list_quarantined(asked: dict[str, Any]) -> dict[str, Any]:
    """What is in quarantine, oldest first."""
    found, more = application().quarantine.find(limit=asked["limit"], page_token=asked.get("page_token"))
    return {"webhooks": [_view(one) for one in found], "next_page_token": more}


@blueprint.route("/<int:inbox_id>", methods=["GET"])
@requires("deliveries:Read")
@blueprint.response(200, QuarantinedDetail)
def get_quarantined(inbox_id: int) -> dict[str, Any]:
    """One of them with its body."""
    found = application().quarantine.get(inbox_id)
    return {**_view(found), "body": found.text}


@blueprint.route("/discard", methods=["POST"])
@requires("deliveries:Replay")
@blueprint.arguments(ToDiscard)
@blueprint.response(200, Discarded)
def discard_quarantined(asked: dict[str, Any]) -> dict[str, Any]:
    """Be done with some of them; the reason stays in the audit."""
    return {"discarded": application().discarding.discard(asked["ids"], asked["reason"], who=who())}


def _view(one: Quarantined) -> dict[str, Any]:
    shown = ("id", "webhook_id", "event_id", "received_at", "reason")
    return {**{name: getattr(one, name) for name in shown}, "size": len(one.body)}
