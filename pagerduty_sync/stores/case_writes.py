"""The statements that lock, save and record a Case. What may be written is decided by `case_changes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from pagerduty_sync.domain.cases import Actor, Case, TimelineEvent
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.stores.case_rows import (
    UUID,
    actor_json,
    case_key,
    case_of,
    case_parameters,
    event_of,
    no_such_case,
)
from pagerduty_sync.stores.database import Connection

Content = Mapping[str, Any]


def lock_case(connection: Connection, case_id: str) -> tuple[Case, datetime]:
    """The Case, locked, and the instant of the change about to be made: always later than the Case's last one."""
    # The inner query waits for the lock, the outer one reads the clock after it.
    row = connection.execute(
        """
        SELECT locked.*, greatest(clock_timestamp(), locked.updated_at + interval '1 microsecond') AS changing_at
        FROM (
            SELECT * FROM cases WHERE id = %(id)s OR readable_id = %(readable_id)s FOR UPDATE
        ) AS locked
        """,
        case_key(case_id),
    ).fetchone()
    if row is None:
        raise no_such_case(case_id)
    return case_of(row), row["changing_at"]


def lock_comment(connection: Connection, event_id: str) -> tuple[Case, datetime, TimelineEvent]:
    """A comment that still stands, with its Case locked; raises NotFoundError."""
    missing = NotFoundError(f"There is no comment {ascii(event_id[:64])[1:-1]}.")
    if not UUID.fullmatch(event_id):
        raise missing
    query = "SELECT * FROM case_timeline WHERE event_id = %(event_id)s AND kind = 'comment'"
    found = connection.execute(query, {"event_id": event_id}).fetchone()
    if found is None:
        raise missing
    case, at = lock_case(connection, str(found["case_id"]))
    row = connection.execute(query, {"event_id": event_id}).fetchone()
    if row is None:
        raise missing
    return case, at, event_of(row)


def placed_comment(connection: Connection, case: Case, reference: str) -> TimelineEvent | None:
    """What stands, or stood, on the timeline under this reference."""
    row = connection.execute(
        "SELECT * FROM case_timeline WHERE case_id = %(case_id)s AND reference = %(reference)s",
        {"case_id": case.id, "reference": reference},
    ).fetchone()
    return event_of(row) if row else None


def save_case(connection: Connection, case: Case, at: datetime) -> Case:
    """Write every column a change may touch; the Case is updated `at`."""
    saved = replace(case, updated_at=at)
    connection.execute(
        """
        UPDATE cases SET
            readable_id = %(readable_id)s,
            title = %(title)s,
            status = %(status)s,
            status_changed_at = %(status_changed_at)s,
            system_priority = %(system_priority)s,
            override_priority = %(override_priority)s,
            priority_changed_at = %(priority_changed_at)s,
            assignee_user_id = %(assignee_user_id)s,
            acknowledged_at = %(acknowledged_at)s,
            resolved_at = %(resolved_at)s,
            resolved_by = %(resolved_by)s,
            resolution_reason = %(resolution_reason)s,
            resolution_changed_at = %(resolution_changed_at)s,
            changed_by = %(changed_by)s,
            updated_at = %(updated_at)s
        WHERE id = %(id)s
        """,
        case_parameters(saved),
    )
    return saved


def next_readable_id(connection: Connection) -> str:
    row = connection.execute("SELECT 'CASE-' || nextval('case_numbers') AS readable_id").fetchone()
    assert row is not None
    return str(row["readable_id"])


def add_to_timeline(
    connection: Connection, case: Case, at: datetime, actor: Actor, kind: str, content: Content, reference: str | None
) -> TimelineEvent:
    row = connection.execute(
        """
        INSERT INTO case_timeline (case_id, kind, actor, content, reference, created_at)
        VALUES (%(case_id)s, %(kind)s, %(actor)s, %(content)s, %(reference)s, %(at)s)
        RETURNING *
        """,
        {
            "case_id": case.id,
            "kind": kind,
            "actor": actor_json(actor),
            "content": Jsonb(content),
            "reference": reference,
            "at": at,
        },
    ).fetchone()
    assert row is not None
    return event_of(row)


def rewrite_comment(
    connection: Connection, event: TimelineEvent, at: datetime, kind: str, content: Content
) -> TimelineEvent:
    connection.execute(
        """
        UPDATE case_timeline SET kind = %(kind)s, content = %(content)s, updated_at = %(at)s
        WHERE event_id = %(event_id)s
        """,
        {"event_id": event.event_id, "kind": kind, "content": Jsonb(content), "at": at},
    )
    return replace(event, kind=kind, content=content, updated_at=at)


def tell_sync(connection: Connection, case: Case, at: datetime, actor: Actor, kind: str, event_id: str) -> None:
    """Leave the row that the sync has to look at."""
    connection.execute(
        """
        INSERT INTO case_events (case_id, kind, actor, timeline_event_id, occurred_at)
        VALUES (%(case_id)s, %(kind)s, %(actor)s, %(event_id)s, %(at)s)
        """,
        {"case_id": case.id, "kind": kind, "actor": actor_json(actor), "event_id": event_id, "at": at},
    )


def insert_case(connection: Connection, columns: Mapping[str, Any]) -> Case:
    row = connection.execute(
        """
        INSERT INTO cases (title, description, status, system_priority, category, labels, groupings, readable_id)
        VALUES (%(title)s, %(description)s, %(status)s, %(priority)s, %(category)s, %(labels)s, %(groupings)s,
                %(readable_id)s)
        RETURNING *
        """,
        columns,
    ).fetchone()
    assert row is not None
    return case_of(row)


def lock_cases(connection: Connection, case_ids: Sequence[str]) -> dict[str, str]:
    """Lock several Cases in one fixed order, so that two bulks cannot wait for each other; ids by either name."""
    keys = [case_key(case_id) for case_id in case_ids]
    rows = connection.execute(
        """
        SELECT id, readable_id FROM cases
        WHERE id = ANY(%(ids)s::uuid[]) OR readable_id = ANY(%(readable_ids)s::text[])
        ORDER BY id FOR UPDATE
        """,
        {"ids": [key["id"] for key in keys], "readable_ids": [key["readable_id"] for key in keys]},
    ).fetchall()
    return {str(name): str(row["id"]) for row in rows for name in (row["id"], row["readable_id"])}
