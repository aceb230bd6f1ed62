"""What is asked and shown about links."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.handlers.unlinking import LONGEST_REASON
from web.api.shapes import LONGEST_ID, Page

CASE = {"description": "Id or readable id of the Case."}


def _id(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(1, LONGEST_ID), **options)


class AskedLinks(Page):
    case = _id(metadata=CASE)
    incident_id = _id()
    connector_id = fields.UUID()
    state = fields.Enum(LinkState, by_value=True)
    is_parked = fields.Boolean(load_default=False, metadata={"description": "Only those with something refused."})


class NewLink(Schema):
    case = _id(required=True, metadata=CASE)
    incident_id = _id(required=True)
    connector_id = fields.UUID(load_default=None, allow_none=True, metadata={"description": "Else by the service."})
    dry_run = fields.Boolean(load_default=False, metadata={"description": "Show what would come of it, write nothing."})


class Farewell(Schema):
    reason = fields.String(required=True, validate=validate.Length(1, LONGEST_REASON))


class AskedSync(Schema):
    case = _id(metadata={"description": "Id or readable id; without one, every living link."})
    dry_run = fields.Boolean(load_default=False)


class ParkedKey(Schema):
    key = fields.String(
        validate=validate.Length(1, 400), metadata={"description": "As the link shows it; without one, everything."}
    )


class SeenView(Schema):
    value = fields.String(allow_none=True)
    at = fields.AwareDateTime(format="iso")
    changed_at = fields.AwareDateTime(format="iso")
    by = fields.String()


class PictureView(Schema):
    agreed_case = fields.String(allow_none=True)
    agreed_incident = fields.String(allow_none=True)
    incident = fields.Nested(SeenView, allow_none=True)


class ParkedView(Schema):
    key = fields.String()
    said = fields.String(metadata={"description": "The refusal, in the words of whoever refused."})
    at = fields.AwareDateTime(format="iso")


class LinkView(Schema):
    id = fields.String()
    case_id = fields.String()
    case = fields.String()
    connector_id = fields.String()
    service_id = fields.String()
    incident_id = fields.String(allow_none=True)
    incident_number = fields.Integer(allow_none=True)
    incident_url = fields.String()
    state = fields.Enum(LinkState, by_value=True)
    ended_reason = fields.String()
    parked = fields.List(fields.Nested(ParkedView))
    attempts = fields.Integer()
    failing_since = fields.AwareDateTime(format="iso", allow_none=True)
    created_at = fields.AwareDateTime(format="iso")
    updated_at = fields.AwareDateTime(format="iso")
    due_at = fields.AwareDateTime(format="iso", allow_none=True)


class LinkDetail(LinkView):
    pictures = fields.Dict(fields.String(), fields.Nested(PictureView))
    texts = fields.Dict(
        fields.String(),
        fields.Dict(fields.String(), fields.Integer()),
        metadata={"description": "How many comments and notes, by direction and state."},
    )


class Links(Schema):
    links = fields.List(fields.Nested(LinkView))
    next_page_token = fields.String(allow_none=True)


class PlanView(Schema):
    link_id = fields.String(allow_none=True)
    case = fields.String()
    incident_id = fields.String(allow_none=True)
    state = fields.String()
    on_case = fields.List(fields.Dict(fields.String(), fields.String()))
    on_incident = fields.List(fields.Dict(fields.String(), fields.String()))
    settled = fields.Dict(fields.String(), fields.Dict(fields.String(), fields.String(allow_none=True)))
    reasons = fields.Dict(fields.String(), fields.String())
    follows = fields.String(allow_none=True)
    ends = fields.String(allow_none=True)
    is_empty = fields.Boolean()


class MadeLink(Schema):
    link = fields.Nested(LinkDetail, allow_none=True, metadata={"description": "None with a dry run."})
    plan = fields.Nested(PlanView)


class Unlinked(Schema):
    link = fields.Nested(LinkDetail)
    warnings = fields.List(fields.String())


class SyncView(Schema):
    is_dry_run = fields.Boolean()
    looked_at = fields.Integer()
    reads = fields.Integer(metadata={"description": "How many incidents are read anew because of it."})
    plans = fields.List(fields.Nested(PlanView), metadata={"description": "By what is known now."})
    is_cut_short = fields.Boolean()
