"""Rows of the Case tables as domain objects and back. Knows the columns; decides nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from pagerduty_sync.domain.cases import Actor, Case, CaseCategory, CasePriority, CaseStatus, Comment, TimelineEvent
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.stores.database import Connection

UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
READABLE_ID = re.compile(r"[A-Z]+-[0-9]+")


def find_case(connection: Connection, case_id: str) -> Case:
    """The Case with this id or readable id; raises NotFoundError."""
    row = connection.execute(
        "SELECT * FROM cases WHERE id = %(id)s OR readable_id = %(readable_id)s", case_key(case_id)
    ).fetchone()
    if row is None:
        raise no_such_case(case_id)
    return case_of(row)


def case_key(case_id: str) -> dict[str, str | None]:
    """Parameters `id` and `readable_id`, one of them None; raises NotFoundError for what can be neither."""
    if UUID.fullmatch(case_id):
        return {"id": case_id, "readable_id": None}
    if READABLE_ID.fullmatch(case_id):
        return {"id": None, "readable_id": case_id}
    raise no_such_case(case_id)


def no_such_case(case_id: str) -> NotFoundError:
    return NotFoundError(f"There is no Case {ascii(case_id[:64])[1:-1]}.")


def case_of(row: DictRow) -> Case:
    override = row["override_priority"]
    return Case(
        id=str(row["id"]),
        readable_id=row["readable_id"],
        title=row["title"],
        description=row["description"],
        status=CaseStatus(row["status"]),
        system_priority=CasePriority(row["system_priority"]),
        override_priority=CasePriority(override) if override else None,
        category=CaseCategory(row["category"]),
        labels=row["labels"],
        groupings=row["groupings"],
        assignee_user_id=row["assignee_user_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        status_changed_at=row["status_changed_at"],
        priority_changed_at=row["priority_changed_at"],
        acknowledged_at=row["acknowledged_at"],
        resolved_at=row["resolved_at"],
        resolved_by=actor_of(row["resolved_by"]) if row["resolved_by"] else None,
        resolution_reason=row["resolution_reason"],
        resolution_changed_at=row["resolution_changed_at"],
        changed_by=actor_of(row["changed_by"]),
    )


def case_parameters(case: Case) -> dict[str, Any]:
    """Every column of the Case that a change may touch, by its name."""
    return {
        "id": case.id,
        "readable_id": case.readable_id,
        "title": case.title,
        "status": case.status,
        "system_priority": case.system_priority,
        "override_priority": case.override_priority,
        "assignee_user_id": case.assignee_user_id,
        "status_changed_at": case.status_changed_at,
        "priority_changed_at": case.priority_changed_at,
        "acknowledged_at": case.acknowledged_at,
        "resolved_at": case.resolved_at,
        "resolved_by": actor_json(case.resolved_by) if case.resolved_by else None,
        "resolution_reason": case.resolution_reason,
        "resolution_changed_at": case.resolution_changed_at,
        "changed_by": actor_json(case.changed_by),
        "updated_at": case.updated_at,
    }


def event_of(row: DictRow) -> TimelineEvent:
    return TimelineEvent(
        event_id=str(row["event_id"]),
        case_id=str(row["case_id"]),
        kind=row["kind"],
        actor=actor_of(row["actor"]),
        content=row["content"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        reference=row["reference"],
    )


def comment_of(row: DictRow) -> Comment:
    event = event_of(row)
    return Comment(event.event_id, event.content["unsafeText"], event.actor, event.created_at, event.reference)


def actor_of(stored: Mapping[str, Any]) -> Actor:
    return Actor(
        kind=stored["kind"], id=stored.get("id", ""), name=stored.get("name", ""), email=stored.get("email", "")
    )


def actor_fields(actor: Actor) -> dict[str, str]:
    """The shape actors have in every jsonb column."""
    return {"kind": actor.kind, "id": actor.id, "name": actor.name, "email": actor.email}


def actor_json(actor: Actor) -> Jsonb:
    return Jsonb(actor_fields(actor))


def pairs_json(pairs: Mapping[str, Sequence[str]]) -> Jsonb:
    return Jsonb({key: list(values) for key, values in pairs.items()})
