"""Cases in this service's own words: make one, and read one together with its incident."""

from __future__ import annotations

from typing import Any

from flask import g, url_for
from marshmallow import Schema, fields, validate

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import Case, CaseCategory, CasePriority, CaseStatus
from pagerduty_sync.stores.case_pages import incident_of_case
from web import nudges
from web.api.blueprint import api_blueprint
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("cases", "/api/v1/cases", "Cases and their incidents.")


def _labels(**options: Any) -> fields.Dict:
    values = fields.List(fields.String(validate=validate.Length(1, texts.LONGEST_LABEL)))
    return fields.Dict(fields.String(validate=validate.Length(1, texts.LONGEST_LABEL)), values, **options)


class NewCase(Schema):
    title = fields.String(required=True, validate=validate.Length(1, texts.LONGEST_TITLE))
    priority = fields.Enum(CasePriority, by_value=True, required=True)
    category = fields.Enum(CaseCategory, by_value=True, load_default=CaseCategory.AVAILABILITY)
    description = fields.String(load_default="", validate=validate.Length(max=texts.LONGEST_DESCRIPTION))
    labels = _labels(load_default=dict)
    groupings = _labels(load_default=dict)


class ActorView(Schema):
    kind = fields.String()
    id = fields.String()
    name = fields.String()
    email = fields.String()


class PagerDutyView(Schema):
    incident_id = fields.String()
    number = fields.Integer(allow_none=True)
    url = fields.String()
    state = fields.String()
    ended_reason = fields.String()


class CaseView(Schema):
    id = fields.String()
    name = fields.String(metadata={"description": "CASE-12, or the id while there is no readable one."})
    url = fields.String(metadata={"description": "The Case's page."})
    title = fields.String()
    description = fields.String()
    status = fields.Enum(CaseStatus, by_value=True)
    priority = fields.Enum(CasePriority, by_value=True, metadata={"description": "The override, else the system's."})
    system_priority = fields.Enum(CasePriority, by_value=True)
    override_priority = fields.Enum(CasePriority, by_value=True, allow_none=True)
    category = fields.Enum(CaseCategory, by_value=True)
    labels = _labels()
    groupings = _labels()
    assignee_user_id = fields.String(allow_none=True)
    created_at = fields.AwareDateTime(format="iso")
    updated_at = fields.AwareDateTime(format="iso")
    acknowledged_at = fields.AwareDateTime(format="iso", allow_none=True)
    resolved_at = fields.AwareDateTime(format="iso", allow_none=True)
    resolved_by = fields.Nested(ActorView, allow_none=True)
    resolution_reason = fields.String(allow_none=True)
    pagerduty = fields.Nested(PagerDutyView, allow_none=True)


@blueprint.route("", methods=["POST"])
@requires("case:Create")
@blueprint.arguments(NewCase)
@blueprint.response(201, CaseView)
def create_case(new: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Make a Case. It is ACTIVE at once, and opens an incident when a routing rule matches."""
    case = application().cases.create_case(**new, actor=g.actor)
    nudges.case_changed([case.id])
    return _view(case), 201, {"Location": url_for("cases.get_case", case_id=case.name)}


@blueprint.route("/<case_id>", methods=["GET"])
@requires("case:Read")
@blueprint.response(200, CaseView)
def get_case(case_id: str) -> dict[str, Any]:
    """One Case, by its id or readable id, with the incident it is linked to."""
    return _view(application().cases.get_case(case_id))


def _view(case: Case) -> dict[str, Any]:
    shown = {name: getattr(case, name) for name in CaseView().fields if name not in ("url", "pagerduty")}
    return {
        **shown,
        "url": f"{application().settings.public_url}/cases/{case.name}",
        "pagerduty": incident_of_case(application().database, case.id),
    }
