"""Presets: how a Case or an alert reads in PagerDuty."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import url_for
from marshmallow import Schema, fields, validate

from pagerduty_sync.domain.connectors import ConnectorPath
from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.handlers.rule_changes import ALERTS, CASES
from web.api.blueprint import api_blueprint, refuses
from web.api.shapes import LONGEST_ID, LONGEST_TEMPLATE, name_field, who
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("presets", "/api/v1/presets", "Templates by field; the built-in ones stay as they are.")


def _templates(**options: Any) -> fields.Dict:
    template = fields.String(validate=validate.Length(max=LONGEST_TEMPLATE))
    return fields.Dict(fields.String(validate=validate.Length(1, 50)), template, **options)


def _path(**options: Any) -> fields.Enum[ConnectorPath]:
    return fields.Enum(ConnectorPath, by_value=True, **options)


def _entity(**options: Any) -> fields.String:
    return fields.String(validate=validate.OneOf([CASES, ALERTS]), **options)


class NewPreset(Schema):
    name = name_field(required=True)
    path = _path(load_default=ConnectorPath.BIDIRECTIONAL)
    entity = _entity(load_default=CASES)
    templates = _templates(required=True)


class ChangedPreset(Schema):
    name = name_field(required=True)
    templates = _templates(required=True)


class PresetView(Schema):
    id = fields.String()
    name = fields.String()
    path = _path()
    entity = fields.String()
    is_builtin = fields.Boolean()
    templates = _templates()


class Presets(Schema):
    presets = fields.List(fields.Nested(PresetView))


class AskedPreview(Schema):
    """A preset that is kept, or the templates of one that is not; a Case, or none for a sample."""

    preset_id = fields.UUID()
    path = _path(load_default=ConnectorPath.BIDIRECTIONAL)
    entity = _entity(load_default=CASES)
    templates = _templates()
    case = fields.String(validate=validate.Length(1, LONGEST_ID), metadata={"description": "Id or readable id."})


class PreviewView(Schema):
    name = fields.String(metadata={"description": "Of the Case or alert that was rendered."})
    is_sample = fields.Boolean()
    fields_ = fields.Dict(data_key="fields", attribute="fields")
    problem = fields.String(allow_none=True, metadata={"description": "Which template failed, with line and reason."})


@blueprint.route("", methods=["GET"])
@requires("notification-center-presets:ReadSummary")
@blueprint.response(200, Presets)
def list_presets() -> dict[str, Any]:
    """Every preset, built-in ones first."""
    return {"presets": application().preset_changes.all()}


@blueprint.route("", methods=["POST"])
@requires("notification-center-presets:UpdateConfig")
@blueprint.arguments(NewPreset)
@blueprint.response(201, PresetView)
def create_preset(new: dict[str, Any]) -> tuple[Any, int, dict[str, str]]:
    """Make a preset; its templates are tried on a sample first."""
    made = application().preset_changes.create(**new, who=who())
    return made, 201, {"Location": url_for("presets.get_preset", preset_id=made.id)}


@blueprint.route("/<uuid:preset_id>", methods=["GET"])
@requires("notification-center-presets:ReadConfig")
@blueprint.response(200, PresetView)
def get_preset(preset_id: UUID) -> Any:
    """One preset with its templates."""
    return application().preset_changes.get(str(preset_id))


@blueprint.route("/<uuid:preset_id>", methods=["PUT"])
@refuses(409)
@requires("notification-center-presets:UpdateConfig")
@blueprint.arguments(ChangedPreset)
@blueprint.response(200, PresetView)
def update_preset(changes: dict[str, Any], preset_id: UUID) -> Any:
    """Another name and other templates; path and entity stay."""
    return application().preset_changes.update(str(preset_id), **changes, who=who())


@blueprint.route("/<uuid:preset_id>", methods=["DELETE"])
@refuses(409)
@requires("notification-center-presets:UpdateConfig")
@blueprint.response(204)
def delete_preset(preset_id: UUID) -> None:
    """Forget a preset; refused while rules use it."""
    application().preset_changes.delete(str(preset_id), who=who())


@blueprint.route("/preview", methods=["POST"])
@refuses(404)
@requires("notification-center-presets:ReadConfig")
@blueprint.arguments(AskedPreview)
@blueprint.response(200, PreviewView)
def preview_preset(asked: dict[str, Any]) -> Any:
    """How a Case, or a sample, reads through a preset; nothing is kept or sent."""
    changes = application().preset_changes
    if ("preset_id" in asked) == ("templates" in asked):
        raise InvalidRequestError("Give either a preset_id or templates.", "templates")
    if "preset_id" in asked:
        preset = changes.get(str(asked["preset_id"]))
    else:
        preset = changes.draft(asked["path"], asked["entity"], asked["templates"])
    case = application().cases.get_case(asked["case"]) if "case" in asked else None
    return changes.preview(preset, case)
