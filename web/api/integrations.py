"""The one PagerDuty account: connect it, change it, see how it stands."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import url_for
from marshmallow import RAISE, Schema, fields, validate

from pagerduty_sync.domain.connectors import IntegrationStatus
from pagerduty_sync.handlers.accounts import Standing, banner_of
from pagerduty_sync.handlers.connection import ConnectReport
from web import wakeups
from web.api.blueprint import api_blueprint, refuses
from web.api.shapes import LONGEST_NAME, PriorityView, SecretView, asks_pagerduty, name_field, secret_field, who
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("integrations", "/api/v1/integrations", "The PagerDuty account; there is at most one.")

REGION = {"description": "us, eu, or the base URL of another REST API."}
CONSENT = {
    "description": "That Case titles, descriptions, comments and users' names are sent to PagerDuty; must be true."
}


class NewIntegration(Schema):
    name = name_field(required=True)
    api_key = secret_field("A REST API key that may write, or a user's token.", required=True)
    email = fields.String(
        load_default="",
        validate=validate.Length(max=320),
        metadata={"description": "The login e-mail of the user to act as; needed with an account's key."},
    )
    region = fields.String(load_default="us", validate=validate.Length(1, 500), metadata=REGION)
    is_two_way = fields.Boolean(load_default=False)
    consent = fields.Boolean(required=True, metadata=CONSENT)


class ChangedIntegration(Schema):
    """What is left out stays as it is; everything is checked with PagerDuty anew."""

    name = name_field()
    api_key = secret_field("Another key. Without one, the known key is used.")
    email = fields.String(validate=validate.Length(max=320))
    region = fields.String(validate=validate.Length(1, 500), metadata=REGION)
    is_two_way = fields.Boolean()
    consent = fields.Boolean(metadata=CONSENT)


class Switch(Schema):
    is_two_way = fields.Boolean(required=True)


class ServiceQuery(Schema):
    query = fields.String(validate=validate.Length(1, LONGEST_NAME), metadata={"description": "A part of the name."})


class SubscriptionView(Schema):
    id = fields.String()
    created_at = fields.AwareDateTime(format="iso")
    heard_at = fields.AwareDateTime(format="iso", allow_none=True, metadata={"description": "Of its last test event."})
    is_retiring = fields.Boolean(metadata={"description": "Replaced, and still listened to until it is deleted."})


class IntegrationView(Schema):
    id = fields.String()
    name = fields.String()
    region = fields.String(metadata=REGION)
    base_url = fields.String()
    api_key = fields.Nested(SecretView)
    key_kind = fields.String(metadata={"description": "account, or user for a user's own token."})
    user_email = fields.String()
    is_two_way = fields.Boolean()
    status = fields.Enum(IntegrationStatus, by_value=True)
    reason = fields.String(metadata={"description": "Why it is not connected as it should be; else empty."})
    since = fields.AwareDateTime(format="iso", allow_none=True)
    banner = fields.String(metadata={"description": "To be shown with whatever goes through this account; else empty."})
    priorities = fields.List(fields.Nested(PriorityView), metadata={"description": "Most severe first."})
    webhook_url = fields.String()
    webhook_secret = fields.Nested(SecretView)
    subscriptions = fields.List(fields.Nested(SubscriptionView), metadata={"description": "Newest first."})


class Integrations(Schema):
    integrations = fields.List(fields.Nested(IntegrationView))


class Report(Schema):
    integration = fields.Nested(IntegrationView)
    done = fields.List(fields.String())
    warnings = fields.List(fields.String())
    problem = fields.String(allow_none=True, metadata={"description": "Why it is not connected as it should be."})


class Done(Schema):
    done = fields.List(fields.String())


class ServiceView(Schema):
    id = fields.String()
    name = fields.String()
    status = fields.String()
    html_url = fields.String()


class Services(Schema):
    services = fields.List(fields.Nested(ServiceView))


@blueprint.route("", methods=["GET"])
@requires("integrations:ReadConfig")
@blueprint.response(200, Integrations)
def list_integrations() -> dict[str, Any]:
    """The account, or none."""
    return {"integrations": [_view(one) for one in application().accounts.all()]}


@blueprint.route("", methods=["POST"])
@asks_pagerduty
@refuses(409)
@requires("integrations:Manage")
@blueprint.arguments(NewIntegration)
@blueprint.response(201, Report)
def connect(new: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Check the key and the user, store the account, and for two-way subscribe to its events."""
    report = application().accounts.connect(**new, who=who())
    address = url_for("integrations.get_integration", integration_id=report.integration.id)
    return _report(report), 201, {"Location": address}


@blueprint.route("/<uuid:integration_id>", methods=["GET"])
@requires("integrations:ReadConfig")
@blueprint.response(200, IntegrationView)
def get_integration(integration_id: UUID) -> dict[str, Any]:
    """How the account stands: status, reason, since when."""
    return _view(application().accounts.get(str(integration_id)))


@blueprint.route("/<uuid:integration_id>", methods=["PUT"])
@asks_pagerduty
@requires("integrations:Manage")
@blueprint.arguments(ChangedIntegration)
@blueprint.response(200, Report)
def reconnect(changes: dict[str, Any], integration_id: UUID) -> dict[str, Any]:
    """Change the account, or replace its key: everything is checked anew, and what waited goes out."""
    report, is_back = application().accounts.reconnect(str(integration_id), changes, who=who())
    if is_back:
        wakeups.account_is_back(report.integration.id)
    return _report(report)


@blueprint.route("/<uuid:integration_id>", methods=["PATCH"])
@asks_pagerduty
@requires("integrations:Manage")
@blueprint.arguments(Switch)
@blueprint.response(200, Report)
def switch_two_way(switch: dict[str, Any], integration_id: UUID) -> dict[str, Any]:
    """Switch inbound delivery on or off. Links stay, and go one way while it is off."""
    return _report(application().accounts.set_two_way(str(integration_id), switch["is_two_way"], who()))


@blueprint.route("/<uuid:integration_id>", methods=["DELETE"])
@asks_pagerduty
@refuses(409)
@requires("integrations:Manage")
@blueprint.response(200, Done)
def remove(integration_id: UUID) -> dict[str, Any]:
    """Forget the account and delete our subscription there; refused while connectors use it."""
    return {"done": application().accounts.remove(str(integration_id), who())}


@blueprint.route("/<uuid:integration_id>/services", methods=["GET"])
@asks_pagerduty
@requires("integrations:ReadConfig")
@blueprint.arguments(ServiceQuery, location="query", unknown=RAISE)
@blueprint.response(200, Services)
def list_services(asked: dict[str, Any], integration_id: UUID) -> dict[str, Any]:
    """The account's services to choose from, all pages."""
    return {"services": application().accounts.services(str(integration_id), asked.get("query"))}


@blueprint.route("/<uuid:integration_id>/check", methods=["POST"])
@asks_pagerduty
@requires("integrations:Manage")
@blueprint.response(200, Report)
def check(integration_id: UUID) -> dict[str, Any]:
    """Look after the key, the user and the subscription now, as the clock does."""
    checked = application().accounts.check(str(integration_id))
    if checked.is_back:
        wakeups.account_is_back(str(integration_id))
    return {
        "integration": _view(checked.standing),
        "done": checked.actions,
        "warnings": [],
        "problem": checked.standing.integration.status_reason or None,
    }


@blueprint.route("/<uuid:integration_id>/webhook-secret/rotate", methods=["POST"])
@asks_pagerduty
@refuses(409)
@requires("integrations:Manage")
@blueprint.response(200, Done)
def rotate_webhook_secret(integration_id: UUID) -> dict[str, Any]:
    """Make a second subscription with a new secret; both are listened to for an hour, then the first is deleted."""
    return {"done": application().accounts.rotate_webhook_secret(str(integration_id), who())}


def _report(report: ConnectReport) -> dict[str, Any]:
    standing = application().accounts.get(report.integration.id)
    return {
        "integration": _view(standing),
        "done": report.done,
        "warnings": report.warnings,
        "problem": report.problem,
    }


def _view(standing: Standing) -> dict[str, Any]:
    one = standing.integration
    shown = ("id", "name", "base_url", "key_kind", "user_email", "is_two_way", "status", "priorities")
    return {
        **{name: getattr(one, name) for name in shown},
        "region": standing.region,
        "api_key": {"is_set": True, "last4": one.api_key_last4},
        "reason": one.status_reason,
        "since": standing.since,
        "banner": banner_of(one),
        "webhook_url": application().keeper.url(one.id),
        "webhook_secret": {"is_set": bool(standing.subscriptions), "last4": ""},
        "subscriptions": standing.subscriptions,
    }
