"""Routing rules: which Case and which alert takes which connector, with which preset; and trying them on a Case."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import url_for
from marshmallow import Schema, fields, validate

from pagerduty_sync.domain.connectors import Destination, RoutingRule
from pagerduty_sync.handlers.rule_changes import ALERTS, CASES, TWO_MATCHES, Trial
from web.api.blueprint import api_blueprint, refuses
from web.api.shapes import LONGEST_ID, LONGEST_TEMPLATE, name_field, who
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("rules", "/api/v1/rules", f"Routing rules, in order. {TWO_MATCHES}")
routing = api_blueprint("routing", "/api/v1/routing", "Trying the rules on a Case.")

MOST_DESTINATIONS = 50
MOST_RULES = 10_000
CONDITION = {"description": 'Empty for always, or such as: case.priority in ["P1", "P2"]'}


class GivenDestination(Schema):
    connector_id = fields.UUID(required=True)
    preset_id = fields.UUID(load_default=None, allow_none=True, metadata={"description": "Else the built-in one."})


def _destinations(**options: Any) -> fields.List[Any]:
    return fields.List(fields.Nested(GivenDestination), validate=validate.Length(1, MOST_DESTINATIONS), **options)


class NewRule(Schema):
    name = name_field(required=True)
    source = fields.String(load_default=CASES, validate=validate.OneOf([CASES, ALERTS]))
    condition = fields.String(load_default="true", validate=validate.Length(max=LONGEST_TEMPLATE), metadata=CONDITION)
    destinations = _destinations(required=True)
    is_enabled = fields.Boolean(load_default=True)
    is_fallback = fields.Boolean(load_default=False)


class ChangedRule(Schema):
    """What is left out stays; the source always does."""

    name = name_field()
    condition = fields.String(validate=validate.Length(max=LONGEST_TEMPLATE), metadata=CONDITION)
    destinations = _destinations()
    is_enabled = fields.Boolean()
    is_fallback = fields.Boolean()


class DestinationView(Schema):
    connector_id = fields.String()
    preset_id = fields.String()


class RuleView(Schema):
    id = fields.String()
    name = fields.String()
    source = fields.String()
    condition = fields.String()
    destinations = fields.List(fields.Nested(DestinationView))
    is_enabled = fields.Boolean()
    is_fallback = fields.Boolean()
    warnings = fields.List(fields.String())


class Rules(Schema):
    rules = fields.List(fields.Nested(RuleView), metadata={"description": "In their order."})


class Order(Schema):
    rule_ids = fields.List(fields.UUID(), required=True, validate=validate.Length(max=MOST_RULES))


class TrialCase(Schema):
    case = fields.String(
        required=True, validate=validate.Length(1, LONGEST_ID), metadata={"description": "Id or readable id."}
    )


class VerdictView(Schema):
    rule_id = fields.String()
    name = fields.String()
    is_true = fields.Boolean()
    fires = fields.Boolean()
    why = fields.String()


class OpensView(Schema):
    connector_id = fields.String()
    connector = fields.String()
    preset_id = fields.String()


class TrialView(Schema):
    case = fields.String()
    rules = fields.List(fields.Nested(VerdictView))
    opens_through = fields.Nested(OpensView, allow_none=True)
    told_one_way = fields.List(fields.String(), metadata={"description": "Connectors by service key that are told."})
    passed_over = fields.List(fields.String(), metadata={"description": "Rule → connector."})
    problems = fields.List(fields.String())
    stated_rule = fields.String(metadata={"description": "How one of several matches is chosen."})


@blueprint.route("", methods=["GET"])
@requires("notification-center-routers:ReadSummary")
@blueprint.response(200, Rules)
def list_rules() -> dict[str, Any]:
    """Every routing rule, in order."""
    return {"rules": [_view(rule) for rule in application().rule_changes.all()]}


@blueprint.route("", methods=["POST"])
@requires("notification-center-routers:UpdateConfig")
@blueprint.arguments(NewRule)
@blueprint.response(201, RuleView)
def create_rule(new: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Make a rule, behind all others."""
    rule = RoutingRule(id="", **{**new, "destinations": _chosen(new["destinations"])})
    made = application().rule_changes.create(rule, who=who())
    return _view(made), 201, {"Location": url_for("rules.get_rule", rule_id=made.id)}


@blueprint.route("/order", methods=["PUT"])
@requires("notification-center-routers:UpdateConfig")
@blueprint.arguments(Order)
@blueprint.response(200, Rules)
def reorder_rules(order: dict[str, Any]) -> dict[str, Any]:
    """Put all rules in this order."""
    rules = application().rule_changes.reorder([str(id_) for id_ in order["rule_ids"]], who=who())
    return {"rules": [_view(rule) for rule in rules]}


@blueprint.route("/<uuid:rule_id>", methods=["GET"])
@requires("notification-center-routers:ReadConfig")
@blueprint.response(200, RuleView)
def get_rule(rule_id: UUID) -> dict[str, Any]:
    """One routing rule."""
    return _view(application().rule_changes.get(str(rule_id)))


@blueprint.route("/<uuid:rule_id>", methods=["PATCH"])
@requires("notification-center-routers:UpdateConfig")
@blueprint.arguments(ChangedRule)
@blueprint.response(200, RuleView)
def update_rule(changes: dict[str, Any], rule_id: UUID) -> dict[str, Any]:
    """Change a rule, or switch it on or off."""
    if "destinations" in changes:
        changes["destinations"] = _chosen(changes["destinations"])
    return _view(application().rule_changes.update(str(rule_id), changes, who=who()))


@blueprint.route("/<uuid:rule_id>", methods=["DELETE"])
@requires("notification-center-routers:UpdateConfig")
@blueprint.response(204)
def delete_rule(rule_id: UUID) -> None:
    """Forget a rule; Cases linked because of it stay linked."""
    application().rule_changes.delete(str(rule_id), who=who())


@routing.route("/test", methods=["POST"])
@refuses(404)
@requires("notification-center-routers:ReadConfig")
@routing.arguments(TrialCase)
@routing.response(200, TrialView)
def try_rules(asked: dict[str, Any]) -> dict[str, Any]:
    """Which rules this Case matches and why, and where its incident would be opened; nothing is changed."""
    case = application().cases.get_case(asked["case"])
    return _trial(case.name, application().rule_changes.try_on(case))


def _chosen(given: list[dict[str, Any]]) -> tuple[Destination, ...]:
    return tuple(Destination(str(each["connector_id"]), str(each["preset_id"] or "")) for each in given)


def _view(rule: RoutingRule) -> dict[str, Any]:
    shown = ("id", "name", "source", "condition", "destinations", "is_enabled", "is_fallback")
    return {**{name: getattr(rule, name) for name in shown}, "warnings": application().rule_changes.warnings(rule)}


def _trial(case_name: str, trial: Trial) -> dict[str, Any]:
    match = trial.match
    opens = None
    if match.connector is not None and match.destination is not None:
        opens = {
            "connector_id": match.connector.id,
            "connector": match.connector.name,
            "preset_id": match.destination.preset_id,
        }
    return {
        "case": case_name,
        "rules": [
            {
                "rule_id": verdict.rule.id,
                "name": verdict.rule.name,
                "is_true": verdict.is_true,
                "fires": verdict.fires,
                "why": verdict.why,
            }
            for verdict in trial.verdicts
        ],
        "opens_through": opens,
        "told_one_way": [connector.name for _, connector in match.one_way],
        "passed_over": match.passed_over,
        "problems": match.problems,
        "stated_rule": TWO_MATCHES,
    }
