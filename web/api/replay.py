"""Trying attempts of the log again: some by their numbers, those of a filter, or everything in quarantine."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason
from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.handlers.second_looks import Chosen
from pagerduty_sync.stores.deliveries import DeliveryFilters
from web import nudges, wakeups
from web.api.blueprint import api_blueprint, refuses
from web.api.shapes import who
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("replay", "/api/v1/deliveries", "Trying again what was attempted.")

MOST = 500
LONGEST = 200


class ReplayFilter(Schema):
    """As where deliveries are looked for; everything given must hold."""

    case = fields.String(validate=validate.Length(1, LONGEST), metadata={"description": "Id or readable id."})
    incident_id = fields.String(validate=validate.Length(1, LONGEST))
    link_id = fields.UUID()
    direction = fields.Enum(Direction, by_value=True)
    outcome = fields.Enum(Outcome, by_value=True)
    reason = fields.Enum(Reason, by_value=True)
    operation = fields.String(validate=validate.Length(1, LONGEST))
    since = fields.AwareDateTime()
    until = fields.AwareDateTime()


class ToReplay(Schema):
    """One of the three: `ids`, `filter` or `quarantined`."""

    ids = fields.List(
        fields.Integer(strict=True, validate=validate.Range(1, 2**63 - 1)), validate=validate.Length(1, MOST)
    )
    filter = fields.Nested(ReplayFilter, metadata={"description": f"Its newest {MOST} attempts, or `limit` of them."})
    quarantined = fields.Boolean(validate=validate.Equal(True))
    limit = fields.Integer(load_default=MOST, validate=validate.Range(1, MOST))
    dry_run = fields.Boolean(
        load_default=False, metadata={"description": "Change nothing, only say what would change."}
    )


class ReplayedView(Schema):
    delivery_id = fields.Integer(allow_none=True)
    inbox_id = fields.Integer(allow_none=True)
    direction = fields.String()
    operation = fields.String()
    case_name = fields.String()
    incident_id = fields.String()
    result = fields.String(metadata={"description": "queued, nothing, impossible or busy."})
    reason = fields.String()
    detail = fields.String()


class ChangesView(Schema):
    case_name = fields.String()
    incident_id = fields.String()
    undone = fields.List(fields.String(), metadata={"description": "What is taken back first."})
    changes = fields.List(fields.String(), metadata={"description": "What is written then."})


class ReportView(Schema):
    is_dry_run = fields.Boolean()
    counts = fields.Dict(fields.String(), fields.Integer())
    results = fields.List(fields.Nested(ReplayedView))
    changes = fields.List(fields.Nested(ChangesView))


@blueprint.route("/replay", methods=["POST"])
@refuses(404)
@requires("deliveries:Replay")
@blueprint.arguments(ToReplay)
@blueprint.response(200, ReportView)
def replay(asked: dict[str, Any]) -> dict[str, Any]:
    """Put the question again and let today's rules answer it. What is in step stays as it is."""
    is_dry = asked.pop("dry_run")
    report = application().replay.run(_chosen(asked), is_dry=is_dry)
    if not is_dry:
        application().replay.record(who(), ToReplay().dump(asked), report)
        wakeups.links_changed(report.link_ids)
        nudges.case_changed(report.case_ids)
    return {"is_dry_run": is_dry, "counts": report.counts, "results": report.results, "changes": report.changes}


def _chosen(asked: dict[str, Any]) -> list[Chosen]:
    given = [name for name in ("ids", "filter", "quarantined") if name in asked]
    if len(given) != 1:
        raise InvalidRequestError("Give exactly one of ids, filter and quarantined.", given[1] if given else "ids")
    if "ids" in asked:
        return application().replay.chosen_by_id(asked["ids"])
    if "quarantined" in asked:
        return application().replay.chosen_in_quarantine(asked["limit"])
    filters = dict(asked["filter"])
    if not filters:
        raise InvalidRequestError("A filter names at least one condition; `since` will do for everything.", "filter")
    if "link_id" in filters:
        filters["link_id"] = str(filters["link_id"])
    return application().replay.chosen_by_filter(DeliveryFilters(**filters), asked["limit"])
