"""What is on record about one Case or one incident, for telling its story. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.stores.case_rows import actor_of
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.inbox import _COLUMNS as INBOX_COLUMNS
from pagerduty_sync.stores.inbox import InboxRow

MOST_ROWS = 500
"""A story of more lines than this is told from its end."""


@dataclass(frozen=True, slots=True)
class CaseChange:
    """One change of a Case: what its timeline says of it, and since when the sync is done with it."""

    id: int
    kind: str
    actor: Actor
    content: Mapping[str, Any]
    occurred_at: datetime
    handled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A webhook of an account that nobody we trust had signed."""

    at: datetime
    detail: str


class Traces:
    """Reads `inbox`, `case_events`, `links` and `notification_deliveries`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, case_id: str) -> list[CaseChange]:
        """The latest changes of a Case, oldest first."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT e.*, coalesce(t.content, '{}') AS content
                FROM case_events e LEFT JOIN case_timeline t ON t.event_id = e.timeline_event_id
                WHERE e.case_id = %(case_id)s ORDER BY e.id DESC LIMIT %(limit)s
                """,
                {"case_id": case_id, "limit": MOST_ROWS},
            ).fetchall()
        return [
            CaseChange(
                row["id"], row["kind"], actor_of(row["actor"]), row["content"], row["occurred_at"], row["handled_at"]
            )
            for row in reversed(rows)
        ]

    def webhooks(self, ids: Sequence[int], link_id: str | None) -> list[InboxRow]:
        """Stored webhooks by their ids, and those that wait for this link, in order of arrival."""
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(InboxRow)) as cursor,
        ):
            query = f"""
                SELECT {INBOX_COLUMNS} FROM inbox i WHERE i.id = ANY(%(ids)s::bigint[])
                UNION ALL
                SELECT {INBOX_COLUMNS} FROM inbox i
                WHERE i.link_id = %(link_id)s::uuid AND i.state = 'waiting' AND i.id <> ALL(%(ids)s::bigint[])
                """  # noqa: S608 a constant of another store
            found = cursor.execute(query.encode(), {"ids": list(ids), "link_id": link_id}).fetchall()
        return sorted(found, key=lambda row: row.id)

    def last_rejection(self, integration_id: str, since: datetime) -> Rejection | None:
        """The latest webhook of an account that was refused for its signature since then."""
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                SELECT at, detail FROM notification_deliveries
                WHERE reason = 'rejected_signature' AND at >= %(since)s AND integration_id::text = %(id)s
                ORDER BY at DESC LIMIT 1
                """,
                {"since": since, "id": integration_id},
            ).fetchone()
        return Rejection(row["at"], row["detail"]) if row else None

    def an_incident_url(self, integration_id: str) -> str:
        """The address of any incident of an account: it tells where the account lives."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT incident_url FROM links WHERE integration_id::text = %(id)s AND incident_url <> '' LIMIT 1",
                {"id": integration_id},
            ).fetchone()
        return row["incident_url"] if row else ""
