"""The last real events of one connector's links, both ways: for asking what other settings would make of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pagerduty_sync.stores.database import Database


@dataclass(frozen=True, slots=True)
class RecentWebhook:
    """A webhook that was about a link: its bytes, and what came of it."""

    inbox_id: int
    case_id: str
    body: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class RecentChange:
    """A change of a linked Case that PagerDuty did not cause, with its content on the timeline."""

    case_event_id: int
    case_id: str
    kind: str
    content: dict[str, Any]
    occurred_at: datetime
    author: str


class RecentEvents:
    """Reads `inbox` and `case_events` by connector; refuses to know what is in a body."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def webhooks(self, connector_id: str, limit: int) -> list[RecentWebhook]:
        """The latest, newest first; those that wait still included, repeats and echoes of our own writes left out."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT i.id, l.case_id::text AS case_id, i.body, i.reason
                FROM inbox i JOIN links l ON l.id = i.link_id
                WHERE l.connector_id = %(id)s AND i.state IN ('waiting', 'done')
                  AND i.reason NOT IN ('duplicate', 'echo') AND i.archive = ''
                ORDER BY i.id DESC LIMIT %(limit)s
                """,
                {"id": UUID(connector_id), "limit": limit},
            ).fetchall()
        return [RecentWebhook(row["id"], row["case_id"], row["body"], row["reason"]) for row in rows]

    def changes(self, connector_id: str, limit: int) -> list[RecentChange]:
        """The latest, newest first."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT e.id, e.case_id::text AS case_id, e.kind, coalesce(t.content, '{}') AS content, e.occurred_at,
                       coalesce(e.actor ->> 'name', '') AS author
                FROM case_events e
                JOIN links l ON l.case_id = e.case_id
                LEFT JOIN case_timeline t ON t.event_id = e.timeline_event_id
                WHERE l.connector_id = %(id)s AND e.actor ->> 'kind' <> 'pagerDuty'
                ORDER BY e.id DESC LIMIT %(limit)s
                """,
                {"id": UUID(connector_id), "limit": limit},
            ).fetchall()
        return [
            RecentChange(row["id"], row["case_id"], row["kind"], row["content"], row["occurred_at"], row["author"])
            for row in rows
        ]
