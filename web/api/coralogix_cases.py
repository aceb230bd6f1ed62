"""The built-in Cases under Coralogix's own addresses: whatever speaks to its Cases API can speak to this service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, g, request

from pagerduty_sync.coralogix import requests as bodies
from pagerduty_sync.coralogix.listing import ListCases
from pagerduty_sync.coralogix.wire import case_json, event_json
from pagerduty_sync.domain.cases import Actor, Case
from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.stores.case_changes import CaseChanges
from pagerduty_sync.stores.case_listing import CaseFilters, CaseOrder
from pagerduty_sync.stores.case_rows import READABLE_ID, UUID
from web import nudges
from web.bodies import read
from web.parts import application
from web.permissions import requires

blueprint = Blueprint("coralogix_cases", __name__, url_prefix="/mgmt/openapi/5/cases")

Body = dict[str, Any]


@blueprint.post("/cases/v1")
@requires("case:Read")
def list_cases() -> Body:
    asked = read(ListCases)
    filters, order = CaseFilters(**asked.pop("filters")), CaseOrder(asked.pop("order"))
    page, more = application().cases.list_cases(filters, order, **asked)
    return {"cases": [case_json(case) for case in page], "pagination": {"nextPageToken": more} if more else {}}


@blueprint.get("/cases/v1/<case_id>")
@requires("case:Read")
def get_case(case_id: str) -> Body:
    return {"case": case_json(application().cases.get_case(_case_id(case_id)))}


@blueprint.put("/cases/v1/<case_id>")
@requires("case:Update")
def update_case(case_id: str) -> Body:
    return _changed(application().cases.update(_case_id(case_id), g.actor, **read(bodies.UpdateCase)))


@blueprint.get("/cases/v1/<case_id>/deep-links")
@requires("case:Read")
def get_deep_links(case_id: str) -> Body:
    case = application().cases.get_case(_case_id(case_id))
    return {"deepLinks": {"detail": f"{application().settings.public_url}/cases/{case.name}"}}


@blueprint.put("/acknowledged/v1/<case_id>")
@requires("case:Acknowledge")
def acknowledge(case_id: str) -> Body:
    read(bodies.Nothing)
    return _changed(application().cases.acknowledge(_case_id(case_id), g.actor))


@blueprint.delete("/acknowledged/v1/<case_id>")
@requires("case:Acknowledge")
def unacknowledge(case_id: str) -> Body:
    read(bodies.Nothing)
    return _changed(application().cases.unacknowledge(_case_id(case_id), g.actor))


@blueprint.post("/acknowledged/v1")
@requires("case:Acknowledge")
def acknowledge_many() -> Body:
    asked = read(bodies.BulkAcknowledge)
    # The one operation whose caller says for whom it acts.
    actor = Actor("user", id=asked["actor"]["user_id"].lower())
    return _changed_all(asked["ids"], lambda changes, case_id: changes.acknowledge(case_id), actor)


@blueprint.put("/resolved/v1/<case_id>")
@requires("case:Close")
def resolve(case_id: str) -> Body:
    return _changed(application().cases.resolve(_case_id(case_id), g.actor, **read(bodies.ResolveCase)))


@blueprint.post("/resolved/v1")
@requires("case:Close")
def resolve_many() -> Body:
    asked = read(bodies.BulkResolve)
    return _changed_all(asked["ids"], lambda changes, case_id: changes.resolve(case_id, asked["reason"]))


@blueprint.post("/closed/v1/<case_id>")
@requires("case:Close")
def close(case_id: str) -> Body:
    read(bodies.Nothing)
    return _changed(application().cases.close(_case_id(case_id), g.actor))


@blueprint.post("/closed/v1")
@requires("case:Close")
def close_many() -> Body:
    return _changed_all(read(bodies.BulkClose)["ids"], lambda changes, case_id: changes.close(case_id))


@blueprint.post("/assigned/v1/<case_id>")
@requires("case:Assign")
def assign(case_id: str) -> Body:
    user_id = read(bodies.AssignCase)["assignee"]["user_id"]
    return _changed(application().cases.assign(_case_id(case_id), g.actor, user_id))


@blueprint.delete("/assigned/v1/<case_id>")
@requires("case:Assign")
def unassign(case_id: str) -> Body:
    read(bodies.Nothing)
    return _changed(application().cases.unassign(_case_id(case_id), g.actor))


@blueprint.put("/assigned/v1")
@requires("case:Assign")
def assign_many() -> Body:
    asked = read(bodies.BulkAssign)
    user_id = asked["assignee"]["user_id"]
    return _changed_all(asked["ids"], lambda changes, case_id: changes.assign(case_id, user_id))


@blueprint.delete("/assigned/v1")
@requires("case:Assign")
def unassign_many() -> Body:
    return _changed_all(_ids_of_query(), lambda changes, case_id: changes.unassign(case_id))


@blueprint.put("/priority-override/v1/<case_id>")
@requires("case:Update")
def override_priority(case_id: str) -> Body:
    priority = read(bodies.SetPriorityOverride)["priority"]
    return _changed(application().cases.override_priority(_case_id(case_id), g.actor, priority))


@blueprint.delete("/priority-override/v1/<case_id>")
@requires("case:Update")
def clear_priority_override(case_id: str) -> Body:
    read(bodies.Nothing)
    return _changed(application().cases.override_priority(_case_id(case_id), g.actor, None))


@blueprint.post("/priority-override/v1")
@requires("case:Update")
def override_priority_of_many() -> Body:
    asked = read(bodies.BulkSetPriorityOverride)
    return _changed_all(asked["ids"], lambda changes, case_id: changes.override_priority(case_id, asked["priority"]))


@blueprint.delete("/priority-override/v1")
@requires("case:Update")
def clear_priority_override_of_many() -> Body:
    return _changed_all(_ids_of_query(), lambda changes, case_id: changes.override_priority(case_id, None))


@blueprint.get("/cases/v1/<case_id>/events")
@requires("case:Read")
def list_events(case_id: str) -> Body:
    return {"events": [event_json(event) for event in application().cases.list_events(_case_id(case_id))]}


@blueprint.get("/events/v1/<event_id>")
@requires("case:Read")
def get_event(event_id: str) -> Body:
    return {"event": event_json(application().cases.get_event(_event_id(event_id)))}


@blueprint.post("/cases/v1/<case_id>/comments")
@requires("case:Comment")
def create_comment(case_id: str) -> Body:
    event = application().cases.add_comment(_case_id(case_id), g.actor, read(bodies.WriteComment)["text"])
    nudges.case_changed([event.case_id])
    return {"event": event_json(event)}


@blueprint.put("/events/v1/<event_id>/comments")
@requires("case:Comment")
def update_comment(event_id: str) -> Body:
    event = application().cases.update_comment(_event_id(event_id), g.actor, read(bodies.WriteComment)["text"])
    nudges.case_changed([event.case_id])
    return {"event": event_json(event)}


@blueprint.delete("/events/v1/<event_id>/comments")
@requires("case:Comment")
def delete_comment(event_id: str) -> Body:
    read(bodies.Nothing)
    nudges.case_changed([application().cases.delete_comment(_event_id(event_id), g.actor)])
    return {}


def _changed(case: Case) -> Body:
    nudges.case_changed([case.id])
    return {"case": case_json(case)}


def _changed_all(
    case_ids: Sequence[str], change: Callable[[CaseChanges, str], Case], actor: Actor | None = None
) -> Body:
    changed = application().cases.change_all(case_ids, actor or g.actor, change)
    nudges.case_changed([case.id for case in changed])
    return {"cases": [case_json(case) for case in changed]}


def _ids_of_query() -> list[str]:
    ids: list[str] = bodies.load(bodies.BulkClose, {"ids": request.args.getlist("ids")})["ids"]
    return ids


def _case_id(case_id: str) -> str:
    if not (READABLE_ID.fullmatch(case_id) or UUID.fullmatch(case_id)) or len(case_id) > 64:
        raise InvalidRequestError("The id of a Case is a UUID or looks like CASE-123.", "id")
    return case_id


def _event_id(event_id: str) -> str:
    if not UUID.fullmatch(event_id):
        raise InvalidRequestError("The id of an event is a UUID.", "event_id")
    return event_id
