"""The log of deliveries: what was tried, in which direction, and why it ended as it did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason
from pagerduty_sync.stores.deliveries import LARGEST_PAGE, DeliveryFilters
from web.api.blueprint import api_blueprint
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("deliveries", "/api/v1/deliveries", "What was attempted, and what came of it.")

LONGEST = 200


class Asked(Schema):
    """What to look for; everything given must hold."""

    case = fields.String(validate=validate.Length(1, LONGEST), metadata={"description": "Id or readable id."})
    since = fields.AwareDateTime()


class AskedDeliveries(Asked):
    incident_id = fields.String(validate=validate.Length(1, LONGEST))
    link_id = fields.UUID()
    direction = fields.Enum(Direction, by_value=True)
    outcome = fields.Enum(Outcome, by_value=True)
    reason = fields.Enum(Reason, by_value=True)
    operation = fields.String(validate=validate.Length(1, LONGEST))
    until = fields.AwareDateTime()
    limit = fields.Integer(load_default=100, validate=validate.Range(1, LARGEST_PAGE))
    page_token = fields.String(validate=validate.Length(1, 4_096))


class DeliveryView(Schema):
    id = fields.Integer()
    at = fields.AwareDateTime(format="iso")
    direction = fields.Enum(Direction, by_value=True)
    operation = fields.String()
    outcome = fields.Enum(Outcome, by_value=True)
    reason = fields.String()
    detail = fields.String()
    case_id = fields.String(allow_none=True)
    case_name = fields.String()
    incident_id = fields.String()
    link_id = fields.String(allow_none=True)
    connector_id = fields.String(allow_none=True)
    integration_id = fields.String(allow_none=True)
    attempt = fields.Integer()
    http_status = fields.Integer(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    request_id = fields.String()
    event_id = fields.String()
    cause = fields.String()
    actor = fields.String(metadata={"description": "Who did on one side what was tried on the other."})


class Page(Schema):
    deliveries = fields.List(fields.Nested(DeliveryView))
    next_page_token = fields.String(allow_none=True)


class Summary(Schema):
    since = fields.AwareDateTime(format="iso")
    reasons = fields.Dict(fields.String(), fields.Integer())


@blueprint.route("", methods=["GET"])
@requires("deliveries:Read")
@blueprint.arguments(AskedDeliveries, location="query", unknown=RAISE)
@blueprint.response(200, Page)
def find_deliveries(asked: dict[str, Any]) -> dict[str, Any]:
    """Deliveries, newest first."""
    page = {"limit": asked.pop("limit"), "page_token": asked.pop("page_token", None)}
    if "link_id" in asked:
        asked["link_id"] = str(asked["link_id"])
    found, more = application().deliveries.find(DeliveryFilters(**asked), **page)
    return {"deliveries": found, "next_page_token": more}


@blueprint.route("/summary", methods=["GET"])
@requires("deliveries:Read")
@blueprint.arguments(Asked, location="query", unknown=RAISE)
@blueprint.response(200, Summary)
def count_by_reason(asked: dict[str, Any]) -> dict[str, Any]:
    """How often each reason was given, the most frequent first; without `since`, in the last 24 hours."""
    since = asked.get("since") or datetime.now(UTC) - timedelta(days=1)
    return {"since": since, "reasons": application().deliveries.count_by_reason(since, asked.get("case"))}
