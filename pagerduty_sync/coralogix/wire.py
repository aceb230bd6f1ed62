"""Cases and their timelines in the JSON of Coralogix's Cases API, version 5, and back.

Writing keeps to the published schema, whatever stands in the database; reading is tolerant of fields, enum values and
one-of members that are newer than this code. Knows nothing of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pagerduty_sync.domain.cases import SYSTEM, Actor, Case, CaseCategory, CasePriority, CaseStatus, TimelineEvent
from pagerduty_sync.errors import PayloadError

Json = dict[str, Any]

STATUS_PREFIX = "CASE_STATUS_"
PRIORITY_PREFIX = "CASE_PRIORITY_"
CATEGORY_PREFIX = "CASE_CATEGORY_"

UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
LONGEST_ACTOR_TEXT = 256
LONGEST_REASON_IN_EVENT = 500
MOST_PAIRS = 1_000


def case_json(case: Case) -> Json:
    """A Case. `duration` is given once it has ended: before that it would be another with every reading."""
    body: Json = {
        "id": case.id,
        "title": case.title,
        "status": STATUS_PREFIX + case.status,
        "priority": PRIORITY_PREFIX + case.priority,
        "priorityDetails": _priorities_json({"system": case.system_priority, "override": case.override_priority}),
        "category": CATEGORY_PREFIX + case.category,
        "createTime": time_text(case.created_at),
        "updateTime": time_text(case.updated_at),
        "labels": _pairs_json(case.labels),
        "groupings": _pairs_json(case.groupings),
        "impactedEntities": [],
    }
    ended_at = case.resolved_at or (case.status_changed_at if case.status is CaseStatus.CLOSED else None)
    optional = {
        "readableId": case.readable_id,
        "assignee": {"userId": case.assignee_user_id} if case.assignee_user_id else None,
        "acknowledgeTime": time_text(case.acknowledged_at) if case.acknowledged_at else None,
        "duration": str((ended_at - case.created_at) // timedelta(milliseconds=1)) if ended_at else None,
        "resolutionDetails": _resolution_json(case),
    }
    return body | {name: value for name, value in optional.items() if value}


def event_json(event: TimelineEvent) -> Json:
    """One line of a timeline."""
    write = _CONTENT.get(event.kind, dict)
    body: Json = {
        "eventId": event.event_id,
        "eventTime": time_text(event.created_at),
        "createTime": time_text(event.created_at),
        "actor": actor_json(event.actor),
        "eventData": {event.kind: write(event.content)},
    }
    return body | ({"updateTime": time_text(event.updated_at)} if event.updated_at else {})


def actor_json(actor: Actor) -> Json:
    """The one-of of actors: a single member, named after the actor's kind."""
    fields: dict[str, str] = {}
    match actor.kind:
        case "pagerDuty":
            fields = {"pagerDutyUserId": actor.id, "displayName": actor.label, "userEmail": actor.email}
        case "apiKey":
            fields = {"id": actor.id, "name": actor.name}
        case "user":
            # Only Coralogix's own ids may stand here; a user that another system named has none.
            fields = {"id": actor.id if UUID.fullmatch(actor.id) else ""}
    return {actor.kind: {name: text[:LONGEST_ACTOR_TEXT] for name, text in fields.items() if text}}


def time_text(instant: datetime) -> str:
    """RFC 3339 in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def case_from(body: Mapping[str, Any]) -> Case:
    """The Case in a reply; raises PayloadError when what the sync decides by is missing or unreadable.

    The API tells one time of change for everything, so that stands for each field's own.
    """
    try:
        details = body.get("priorityDetails") or {}
        resolution = body.get("resolutionDetails") or {}
        created_at = read_time(body["createTime"])
        updated_at = _time_or_none(body.get("updateTime")) or created_at
        resolved_at = _time_or_none(resolution.get("resolveTime"))
        return Case(
            id=body["id"],
            title=body["title"],
            status=CaseStatus(body["status"].removeprefix(STATUS_PREFIX)),
            system_priority=_priority_or_none(details.get("system")) or _priority(body["priority"]),
            override_priority=_priority_or_none(details.get("override")),
            category=CaseCategory(body["category"].removeprefix(CATEGORY_PREFIX)),
            created_at=created_at,
            updated_at=updated_at,
            status_changed_at=resolved_at or updated_at,
            priority_changed_at=updated_at,
            readable_id=body.get("readableId"),
            assignee_user_id=(body.get("assignee") or {}).get("userId"),
            acknowledged_at=_time_or_none(body.get("acknowledgeTime")),
            resolved_at=resolved_at,
            resolved_by=_resolver(resolution.get("resolvedBy") or {}) if resolved_at else None,
            resolution_reason=resolution.get("reason") or None,
            resolution_changed_at=updated_at if resolution.get("reason") else None,
            labels=_pairs(body.get("labels") or []),
            groupings=_pairs(body.get("groupings") or []),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise PayloadError(f"Coralogix sent a Case that cannot be read: {type(exc).__name__} {exc}.") from exc


def event_from(body: Mapping[str, Any], case_id: str) -> TimelineEvent:
    """The timeline event in a reply; an unknown kind or actor is kept under its own name, or as the system's."""
    try:
        kind, content = next(iter(body["eventData"].items()), ("unknown", {}))
        return TimelineEvent(
            event_id=body["eventId"],
            case_id=case_id,
            kind=kind,
            actor=_actor(body.get("actor") or {}),
            content=_without_prefixes(content or {}),
            created_at=read_time(body["createTime"]),
            updated_at=_time_or_none(body.get("updateTime")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise PayloadError(f"Coralogix sent an event that cannot be read: {type(exc).__name__} {exc}.") from exc


def read_time(text: str) -> datetime:
    """An instant; raises ValueError for what is none, or has no time zone."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return instant


def _resolution_json(case: Case) -> Json:
    member = {"user": "cxUser"}
    fields: Json = {
        "reason": case.resolution_reason,
        "resolveTime": time_text(case.resolved_at) if case.resolved_at else None,
        "resolvedBy": {member.get(case.resolved_by.kind, case.resolved_by.kind): {}} if case.resolved_by else None,
    }
    return {name: value for name, value in fields.items() if value}


def _pairs_json(pairs: Mapping[str, Sequence[str]]) -> list[Json]:
    return [{"key": key, "value": value} for key, values in pairs.items() for value in values][:MOST_PAIRS]


def _priorities_json(content: Mapping[str, Any]) -> Json:
    return {name: PRIORITY_PREFIX + content[name] for name in ("system", "override") if content.get(name)}


def _texts_json(content: Mapping[str, Any]) -> Json:
    return {name: text[:LONGEST_REASON_IN_EVENT] for name, text in content.items() if text and text.strip()}


_CONTENT: Mapping[str, Callable[[Mapping[str, Any]], Json]] = {
    "created": lambda content: {"priority": PRIORITY_PREFIX + content["priority"]},
    "statusChanged": lambda content: {name: STATUS_PREFIX + status for name, status in content.items()},
    "priorityDetailsChanged": lambda content: {name: _priorities_json(content[name]) for name in ("from", "to")},
    "resolutionReasonChangedEvent": _texts_json,
}


def _actor(body: Mapping[str, Any]) -> Actor:
    kind: str = next(iter(body), "")
    fields: Mapping[str, str] = body.get(kind) or {}
    if kind == "pagerDuty":
        return Actor(
            "pagerDuty", fields.get("pagerDutyUserId", ""), fields.get("displayName", ""), fields.get("userEmail", "")
        )
    if kind == "apiKey":
        return Actor("apiKey", fields.get("id", ""), fields.get("name", ""))
    if kind == "user":
        return Actor("user", fields.get("id", ""))
    if kind in ("serviceNow", "slack", "microsoftTeams"):
        # People behind other systems: what matters is how to name them.
        name = fields.get("displayName") or fields.get("username") or ""
        return Actor("user", fields.get("coralogixUserId", ""), name, fields.get("userEmail", ""))
    return SYSTEM


def _resolver(body: Mapping[str, Any]) -> Actor:
    match next(iter(body), ""):
        case "pagerDuty":
            return Actor("pagerDuty")
        case "apiKey":
            return Actor("apiKey")
        case "cxUser" | "serviceNow" | "slack" | "microsoftTeams":
            return Actor("user")
    return SYSTEM


def _without_prefixes(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _without_prefixes(value) for name, value in content.items()}
    if isinstance(content, str):
        return content.removeprefix(STATUS_PREFIX).removeprefix(PRIORITY_PREFIX)
    return content


def _priority(text: str) -> CasePriority:
    return CasePriority(text.removeprefix(PRIORITY_PREFIX))


def _priority_or_none(text: str | None) -> CasePriority | None:
    return _priority(text) if text and text != PRIORITY_PREFIX + "UNSPECIFIED" else None


def _time_or_none(text: str | None) -> datetime | None:
    return read_time(text) if text else None


def _pairs(pairs: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        found.setdefault(pair["key"], []).append(pair["value"])
    return found
