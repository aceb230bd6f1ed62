"""How the sync is: one state per leg, since when and why, and how much no webhook had told of."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from pagerduty_sync.domain.legs import Leg, LegState
from pagerduty_sync.stores.leg_signs import MOST
from web.api.blueprint import api_blueprint
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("legs", "/api/v1/health", "One state per leg of the sync.")

STATES = (
    "working: everything gets through within seconds. degraded: late, or not all of it. stopped: nothing, until "
    "somebody mends it. off: nothing is expected. unknown: nobody has looked for a minute."
)


class LegView(Schema):
    leg = fields.Enum(Leg, by_value=True, metadata={"description": "inbound is from PagerDuty, outbound to PagerDuty."})
    state = fields.Enum(LegState, by_value=True, metadata={"description": STATES})
    why = fields.String(metadata={"description": "In a sentence, with what to do."})
    since = fields.AwareDateTime(format="iso", allow_none=True, metadata={"description": "Of the state."})
    looked_at = fields.AwareDateTime(format="iso", allow_none=True)


class HealedView(Schema):
    last_hour = fields.Integer()
    last_day = fields.Integer()


class ConditionView(Schema):
    is_well = fields.Boolean(metadata={"description": "Every leg is working, or off on purpose."})
    legs = fields.List(fields.Nested(LegView))
    healed = fields.Nested(
        HealedView,
        metadata={
            "description": "Changes learned by reading the incident and not by a webhook. Where webhooks should come, "
            f"more than a few an hour degrade the inbound leg. Counted up to {MOST}."
        },
    )


@blueprint.route("", methods=["GET"])
@requires("integrations:ReadConfig")
@blueprint.response(200, ConditionView)
def get_health() -> dict[str, Any]:
    """How every leg is. The answer is 200 also when one has stopped."""
    found = application().leg_watch.condition()
    return {"is_well": found.is_well, "legs": found.legs, "healed": found.healed}
