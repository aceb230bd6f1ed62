"""Connectors: the paths Cases and alerts take to PagerDuty, each with its badge and its state."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import url_for
from marshmallow import Schema, fields, validate

from pagerduty_sync.domain.connectors import ConnectorPath
from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.handlers.connector_changes import OF_PATH, ConnectorStanding
from web.api.blueprint import api_blueprint, refuses
from web.api.shapes import (
    LONGEST_ID,
    LONGEST_TEMPLATE,
    FindingView,
    SecretView,
    asks_pagerduty,
    directions_field,
    masked,
    name_field,
    priority_map_field,
    secret_field,
    who,
)
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("connectors", "/api/v1/connectors", "Paths to PagerDuty.")

MOST_EVENTS = 200
KEY = "The routing key of one service's Events API v2 integration."
KEY_TEMPLATE = {"description": "A template that yields the routing key of each event; the key stands in when it fails."}


class NewConnector(Schema):
    """`service`, `directions` and `priority_map` are for the path bidirectional, the other fields for service_key."""

    name = name_field(required=True)
    path = fields.Enum(ConnectorPath, by_value=True, required=True)
    service = fields.String(
        validate=validate.Length(1, LONGEST_ID), metadata={"description": "Id or name of the PagerDuty service."}
    )
    directions = directions_field()
    priority_map = priority_map_field(metadata={"description": "Case priority to id; by default by name or severity."})
    routing_key = secret_field(KEY)
    key_template = fields.String(validate=validate.Length(1, LONGEST_TEMPLATE), metadata=KEY_TEMPLATE)
    region = fields.String(
        validate=validate.Length(1, 500), metadata={"description": "us, eu, or the address of an Events API."}
    )


class ChangedConnector(Schema):
    """What is left out stays; the path and the service always do."""

    name = name_field()
    path = fields.Enum(ConnectorPath, by_value=True, metadata={"description": "May be repeated, but not changed."})
    directions = directions_field(metadata={"description": "Field by field; those left out stay."})
    priority_map = priority_map_field(metadata={"description": "Replaces the whole table."})
    routing_key = secret_field(KEY)
    key_template = fields.String(validate=validate.Length(1, LONGEST_TEMPLATE), metadata=KEY_TEMPLATE)


class ConnectorService(Schema):
    id = fields.String()
    name = fields.String()


class ConnectorView(Schema):
    id = fields.String()
    name = fields.String()
    path = fields.Enum(ConnectorPath, by_value=True)
    badge = fields.String(metadata={"description": "bidirectional or service_key."})
    state = fields.String(metadata={"description": "one_way by service key, else the account's status."})
    banner = fields.String(metadata={"description": "What keeps it from working as it should; else empty."})
    integration_id = fields.String(allow_none=True)
    service = fields.Nested(ConnectorService, allow_none=True)
    routing_key = fields.Nested(SecretView, allow_none=True)
    key_template = fields.String(allow_none=True)
    events_url = fields.String(allow_none=True)
    directions = directions_field()
    priority_map = priority_map_field()
    findings = fields.List(fields.Nested(FindingView))


class MadeConnector(ConnectorView):
    warnings = fields.List(fields.String())


class Connectors(Schema):
    connectors = fields.List(fields.Nested(ConnectorView))


class TestResult(Schema):
    is_working = fields.Boolean()
    said = fields.List(fields.String(), metadata={"description": "What PagerDuty said."})


class Changes(Schema):
    directions = directions_field(load_default=dict)
    priority_map = priority_map_field(load_default=None, allow_none=True)
    last = fields.Integer(load_default=50, validate=validate.Range(1, MOST_EVENTS))


class Outcome(Schema):
    reason = fields.String()
    does = fields.String(metadata={"description": "The write it leads to; empty for none."})


class PreviewedEvent(Schema):
    at = fields.AwareDateTime(format="iso")
    direction = fields.String()
    event = fields.String()
    case = fields.String()
    incident_id = fields.String()
    now = fields.Nested(Outcome)
    then = fields.Nested(Outcome)
    is_different = fields.Boolean()


class MappingPreview(Schema):
    findings = fields.List(fields.Nested(FindingView))
    premise = fields.String()
    different = fields.Integer()
    events = fields.List(fields.Nested(PreviewedEvent), metadata={"description": "Newest first."})


@blueprint.route("", methods=["GET"])
@requires("notification-center-connectors:ReadSummary")
@blueprint.response(200, Connectors)
def list_connectors() -> dict[str, Any]:
    """Every connector, by name, with its badge and its state."""
    return {"connectors": [_view(one) for one in application().connector_changes.all()]}


@blueprint.route("", methods=["POST"])
@asks_pagerduty
@requires("notification-center-connectors:UpdateConfig")
@blueprint.arguments(NewConnector)
@blueprint.response(201, MadeConnector)
def create_connector(new: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Make a connector of either path."""
    path = new.pop("path")
    _require_fields_of(path, new)
    warnings: list[str] = []
    if path is ConnectorPath.SERVICE_KEY:
        made = application().service_key_connectors.create_service_key_connector(**new, who=who())
    else:
        if "service" not in new:
            raise InvalidRequestError("A connector with the path bidirectional needs a service.", "service")
        report = application().configuration.create_connector(**new, who=who())
        made, warnings = report.connector, list(report.warnings)
    shown = _view(application().connector_changes.get(made.id))
    address = url_for("connectors.get_connector", connector_id=made.id)
    return {**shown, "warnings": warnings}, 201, {"Location": address}


@blueprint.route("/<uuid:connector_id>", methods=["GET"])
@requires("notification-center-connectors:ReadConfig")
@blueprint.response(200, ConnectorView)
def get_connector(connector_id: UUID) -> dict[str, Any]:
    """One connector with its settings and what there is to say about them."""
    return _view(application().connector_changes.get(str(connector_id)))


@blueprint.route("/<uuid:connector_id>", methods=["PATCH"])
@requires("notification-center-connectors:UpdateConfig")
@blueprint.arguments(ChangedConnector)
@blueprint.response(200, ConnectorView)
def update_connector(changes: dict[str, Any], connector_id: UUID) -> dict[str, Any]:
    """Change the name, the directions, the priorities or the key."""
    path = changes.pop("path", None)
    known = application().connector_changes.required(str(connector_id))
    if path not in (None, known.path):
        raise InvalidRequestError(
            f"The path of a connector cannot change; {known.name} is {known.path}. Make another connector.", "path"
        )
    return _view(application().connector_changes.update(known.id, **changes, who=who()))


@blueprint.route("/<uuid:connector_id>", methods=["DELETE"])
@refuses(409)
@requires("notification-center-connectors:UpdateConfig")
@blueprint.response(204)
def delete_connector(connector_id: UUID) -> None:
    """Forget a connector; refused while rules lead to it or Cases are linked through it."""
    application().connector_changes.delete(str(connector_id), who=who())


@blueprint.route("/<uuid:connector_id>/test", methods=["POST"])
@asks_pagerduty
@requires("notification-center-connectors:UpdateConfig")
@blueprint.response(200, TestResult)
def test_connector(connector_id: UUID) -> dict[str, Any]:
    """Ask PagerDuty whether it works; by service key this opens and resolves an alert that says it is a test."""
    connector = application().connector_changes.required(str(connector_id))
    result = application().service_key_connectors.test_connector(connector.name)
    return {"is_working": result.is_good, "said": result.said}


@blueprint.route("/<uuid:connector_id>/mapping/preview", methods=["POST"])
@requires("notification-center-connectors:ReadConfig")
@blueprint.arguments(Changes)
@blueprint.response(200, MappingPreview)
def preview_mapping(changes: dict[str, Any], connector_id: UUID) -> dict[str, Any]:
    """What the last real events would have led to under other settings; nothing is written."""
    connector = application().connector_changes.required(str(connector_id))
    return dict(application().mapping_preview.of(connector, **changes))


def _require_fields_of(path: ConnectorPath, given: dict[str, Any]) -> None:
    for field in given:
        if {**OF_PATH, "service": ConnectorPath.BIDIRECTIONAL, "region": ConnectorPath.SERVICE_KEY}.get(
            field, path
        ) is not path:
            raise InvalidRequestError(f"A connector with the path {path} has no {field}.", field)


def _view(standing: ConnectorStanding) -> dict[str, Any]:
    one, key = standing.connector, standing.key
    is_one_way = one.path is ConnectorPath.SERVICE_KEY
    return {
        "id": one.id,
        "name": one.name,
        "path": one.path,
        "badge": one.path.value,
        "state": standing.state,
        "banner": standing.banner,
        "integration_id": one.integration_id,
        "service": {"id": one.service_id, "name": one.service_name} if one.service_id else None,
        "routing_key": {"is_set": key.is_set, "last4": key.last4} if is_one_way else None,
        "key_template": masked(key.template) if key.template else None,
        "events_url": key.events_url if is_one_way else None,
        "directions": one.directions,
        "priority_map": one.priority_map,
        "findings": standing.findings,
    }
