"""Links: which Case and which incident are a pair, what was last seen of both, and what an operator may do about it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import g, url_for
from marshmallow import RAISE

from pagerduty_sync.domain.links import SYNCED_FIELDS, Link
from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.handlers.link_care import LinkReport, Synced
from pagerduty_sync.stores.link_edits import LinkFilters, Pace
from web import wakeups
from web.api.blueprint import api_blueprint, refuses
from web.api.link_views import (
    AskedLinks,
    AskedSync,
    Farewell,
    LinkDetail,
    Links,
    MadeLink,
    NewLink,
    ParkedKey,
    SyncView,
    Unlinked,
)
from web.api.shapes import asks_pagerduty, who
from web.parts import application
from web.permissions import requires

blueprint = api_blueprint("links", "/api/v1/links", "Pairs of one Case and one incident.")


@blueprint.route("", methods=["GET"])
@requires("deliveries:Read")
@blueprint.arguments(AskedLinks, location="query", unknown=RAISE)
@blueprint.response(200, Links)
def list_links(asked: dict[str, Any]) -> dict[str, Any]:
    """Links, the latest made first; everything given must hold."""
    page = {"limit": asked.pop("limit"), "page_token": asked.pop("page_token", None)}
    if "connector_id" in asked:
        asked["connector_id"] = str(asked["connector_id"])
    if "state" in asked:
        asked["state"] = asked["state"].value
    found, more = application().link_edits.find(LinkFilters(**asked), **page)
    return {"links": [_view(*each) for each in found], "next_page_token": more}


@blueprint.route("/<uuid:link_id>", methods=["GET"])
@requires("deliveries:Read")
@blueprint.response(200, LinkDetail)
def get_link(link_id: UUID) -> dict[str, Any]:
    """One link: what was last seen of the incident, what both sides agreed on, and what was refused."""
    return _detail(application().link_care.get(str(link_id)))


@blueprint.route("", methods=["POST"])
@asks_pagerduty
@refuses(404, 409)
@requires("integrations:Manage")
@blueprint.arguments(NewLink)
@blueprint.response(201, MadeLink)
def make_link(new: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Join a Case with an incident that is there already."""
    made = application().linking.link(
        new["case"],
        new["incident_id"],
        connector_id=str(new["connector_id"]) if new["connector_id"] else None,
        is_dry_run=new["dry_run"],
        actor=g.actor,
        who=who(),
    )
    if new["dry_run"]:
        return {"link": None, "plan": made.plan}, 201, {}
    wakeups.links_changed([made.link.id])
    address = url_for("links.get_link", link_id=made.link.id)
    return {"link": _detail(application().link_care.get(made.link.id)), "plan": made.plan}, 201, {"Location": address}


@blueprint.route("/sync", methods=["POST"])
@refuses(404)
@requires("integrations:Manage")
@blueprint.arguments(AskedSync)
@blueprint.response(200, SyncView)
def sync_now(asked: dict[str, Any]) -> dict[str, Any]:
    """Bring one Case, or everything, in step now; with `dry_run` only the plan is shown."""
    care, case = application().link_care, asked.get("case")
    if asked["dry_run"]:
        return _synced(care.plan_case(case) if case else care.plan_all(), is_dry_run=True)
    synced = care.sync_case(case) if case else care.sync_all()
    wakeups.links_changed(synced.link_ids)
    if synced.integration_id is not None:
        wake = wakeups.calls_are_due if case else wakeups.account_is_back
        wake(synced.integration_id)
    return _synced(synced, is_dry_run=False)


@blueprint.route("/<uuid:link_id>/unlink", methods=["POST"])
@refuses(409)
@requires("integrations:Manage")
@blueprint.arguments(Farewell)
@blueprint.response(200, Unlinked)
def unlink(farewell: dict[str, Any], link_id: UUID) -> dict[str, Any]:
    """Take a pair apart; a comment and a note say why. The Case opens no second incident."""
    warnings = application().unlinking.unlink(str(link_id), farewell["reason"], actor=g.actor, who=who())
    return {"link": _detail(application().link_care.get(str(link_id))), "warnings": warnings}


@blueprint.route("/<uuid:link_id>/retry", methods=["POST"])
@refuses(409)
@requires("integrations:Manage")
@blueprint.arguments(ParkedKey)
@blueprint.response(200, LinkDetail)
def retry_parked(asked: dict[str, Any], link_id: UUID) -> dict[str, Any]:
    """Try again what PagerDuty or the Case refused."""
    application().link_care.retry(str(link_id), asked.get("key"), who=who())
    wakeups.links_changed([str(link_id)])
    return _detail(application().link_care.get(str(link_id)))


@blueprint.route("/<uuid:link_id>/drop", methods=["POST"])
@refuses(409)
@requires("integrations:Manage")
@blueprint.arguments(ParkedKey)
@blueprint.response(200, LinkDetail)
def drop_parked(asked: dict[str, Any], link_id: UUID) -> dict[str, Any]:
    """Let a refusal be; it is no longer shown."""
    if "key" not in asked:
        raise InvalidRequestError("Name the refusal to let be.", "key")
    application().link_care.drop(str(link_id), asked["key"], who=who())
    return _detail(application().link_care.get(str(link_id)))


def _synced(synced: Synced, *, is_dry_run: bool) -> dict[str, Any]:
    shown = ("looked_at", "reads", "plans", "is_cut_short")
    return {**{name: getattr(synced, name) for name in shown}, "is_dry_run": is_dry_run}


def _view(link: Link, pace: Pace) -> dict[str, Any]:
    shown = ("id", "case_id", "connector_id", "service_id", "incident_id", "incident_number", "incident_url", "state")
    return {
        **{name: getattr(link, name) for name in (*shown, "ended_reason", "attempts", "failing_since")},
        "case": link.case_name,
        "parked": [{"key": key, "said": one.detail, "at": one.at} for key, one in sorted(link.parked.items())],
        "created_at": pace.created_at,
        "updated_at": pace.updated_at,
        "due_at": pace.due_at,
    }


def _detail(report: LinkReport) -> dict[str, Any]:
    link = report.link
    pictures = {}
    for name in SYNCED_FIELDS:
        agreed, seen = link.agreed(name), link.seen(name)
        incident = None
        if seen is not None:
            by = seen.by.label if seen.by else ""
            incident = {"value": seen.value, "at": seen.at, "changed_at": seen.changed_at, "by": by}
        pictures[name.value] = {"agreed_case": agreed.case, "agreed_incident": agreed.incident, "incident": incident}
    return {**_view(link, report.pace), "pictures": pictures, "texts": report.texts}
