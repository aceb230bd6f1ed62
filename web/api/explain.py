"""Why a Case and its incident stand as they do: everything on record about them, in the order of time."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from pagerduty_sync.handlers.story import Story
from web.api.blueprint import api_blueprint
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("explain", "/api/v1", "What happened to a Case or an incident, and why.")

LONGEST = 200


class AskedStory(Schema):
    ask = fields.Boolean(
        load_default=False,
        metadata={"description": "Ask PagerDuty as well how the incident and the webhook subscription are: two calls."},
    )


class AskedIncident(AskedStory):
    incident_id = fields.String(required=True, validate=validate.Length(1, LONGEST))


class StepView(Schema):
    at = fields.AwareDateTime(format="iso")
    stage = fields.String()
    text = fields.String()
    values = fields.Dict(fields.String(), fields.String())
    reason = fields.String()
    rule = fields.String(metadata={"description": "What the reason means: the rule that decided."})
    about = fields.String(metadata={"description": "The row it was read from, such as delivery:17."})


class WaitView(Schema):
    what = fields.String()
    until = fields.AwareDateTime(format="iso", allow_none=True)
    since = fields.AwareDateTime(format="iso", allow_none=True)


class FieldNowView(Schema):
    name = fields.String()
    case = fields.String(allow_none=True)
    incident = fields.String(allow_none=True)
    verdict = fields.String()
    rule = fields.String()


class CauseView(Schema):
    code = fields.String()
    says = fields.String()
    mend = fields.String()


def _facts() -> fields.Dict:
    return fields.Dict(fields.String(), fields.String(allow_none=True))


class NowView(Schema):
    case = _facts()
    incident = _facts()
    link = _facts()
    is_in_step = fields.Boolean(allow_none=True)
    compared = fields.List(fields.Nested(FieldNowView))
    waits = fields.List(fields.Nested(WaitView))
    would_do = fields.List(fields.String(), metadata={"description": "What the plan would do now."})
    rules = fields.List(fields.String(), metadata={"description": "What each routing rule says of the Case."})
    asked = fields.Dict(fields.String(), fields.String())
    causes = fields.List(fields.Nested(CauseView), metadata={"description": "The most probable first."})


class StoryView(Schema):
    subject = fields.String()
    steps = fields.List(fields.Nested(StepView))
    now = fields.Nested(NowView)
    is_cut = fields.Boolean(metadata={"description": "Older lines were left out."})


@blueprint.route("/cases/<case_id>/explain", methods=["GET"])
@requires("deliveries:Read")
@blueprint.arguments(AskedStory, location="query", unknown=RAISE)
@blueprint.response(200, StoryView)
def explain_case(asked: dict[str, Any], case_id: str) -> Story:
    """The story of a Case and its incident, by the Case's id or readable id."""
    return application().explain.case(case_id, asks=asked["ask"])


@blueprint.route("/explain", methods=["GET"])
@requires("deliveries:Read")
@blueprint.arguments(AskedIncident, location="query", unknown=RAISE)
@blueprint.response(200, StoryView)
def explain_incident(asked: dict[str, Any]) -> Story:
    """The story of an incident, also of one that belongs to no Case."""
    return application().explain.incident(asked["incident_id"], asks=asked["ask"])
