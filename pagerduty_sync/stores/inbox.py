"""The inbox: every authentic webhook as its bytes, from the moment it is accepted until it is handled.

A row is unique by webhook id from its first second and by event id once somebody has read the bytes. This module
refuses to know what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from pagerduty_sync.stores.database import Connection, Database

PRUNE_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Received:
    """A webhook that has passed the signature check and shall be stored."""

    integration_id: str
    webhook_id: str
    subscription_id: str
    signature: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A stored webhook."""

    id: int
    integration_id: str
    webhook_id: str
    event_id: str | None
    subscription_id: str
    signature: str
    body: bytes
    received_at: datetime
    state: str
    link_id: str | None
    reason: str
    archive: str = ""
    """The file its body was moved to."""


_COLUMNS = """
    i.id, i.integration_id::text AS integration_id, i.webhook_id, i.event_id, i.subscription_id, i.signature, i.body,
    i.received_at, i.state, i.link_id::text AS link_id, i.reason, i.archive"""


class Inbox:
    """The inbox table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, rows: Sequence[Received]) -> list[int | None]:
        """Store all rows in one commit; for each its new id, None when this webhook id is already there."""
        # Sorted, so that two processes that store the same repeated webhooks wait for each other in the same order.
        order = sorted(range(len(rows)), key=lambda at: (rows[at].integration_id, rows[at].webhook_id))
        with self._database.transaction() as conn:
            stored = conn.execute(
                """
                INSERT INTO inbox (integration_id, webhook_id, subscription_id, signature, body)
                SELECT * FROM unnest(
                    %(integration_ids)s::uuid[], %(webhook_ids)s::text[], %(subscription_ids)s::text[],
                    %(signatures)s::text[], %(bodies)b::bytea[])
                ON CONFLICT DO NOTHING
                RETURNING id, integration_id::text AS integration_id, webhook_id
                """,
                {
                    "integration_ids": [rows[at].integration_id for at in order],
                    "webhook_ids": [rows[at].webhook_id for at in order],
                    "subscription_ids": [rows[at].subscription_id for at in order],
                    "signatures": [rows[at].signature for at in order],
                    "bodies": [rows[at].body for at in order],
                },
            ).fetchall()
        new_ids = {(row["integration_id"], row["webhook_id"]): row["id"] for row in stored}
        # pop: of two rows with one webhook id in this batch, only the first is the new one.
        return [new_ids.pop((row.integration_id, row.webhook_id), None) for row in rows]

    def received(self, ids: Sequence[int]) -> list[InboxRow]:
        """Those of the rows that nobody has handled yet, oldest first."""
        query = f"SELECT {_COLUMNS} FROM inbox i WHERE i.id = ANY(%(ids)s) AND i.state = 'received' ORDER BY i.id"  # noqa: S608
        with self._database.transaction() as conn:
            return _rows(conn, query, {"ids": list(ids)})

    def claim_received(self, conn: Connection, ids: Sequence[int]) -> list[InboxRow]:
        """The same, locked until the caller's transaction ends; rows another worker has locked are left to it."""
        query = f"""
            SELECT {_COLUMNS} FROM inbox i
            WHERE i.id = ANY(%(ids)s) AND i.state = 'received'
            ORDER BY i.id
            FOR UPDATE SKIP LOCKED
            """  # noqa: S608
        return _rows(conn, query, {"ids": list(ids)})

    def found_late(self, limit: int, older_than_seconds: float) -> list[int]:
        """Rows whose nudge seems lost: still as received after that time, oldest first."""
        with self._database.transaction() as conn:
            found = conn.execute(
                """
                SELECT id FROM inbox
                WHERE state = 'received' AND received_at <= now() - make_interval(secs => %(seconds)s)
                ORDER BY id
                LIMIT %(limit)s
                """,
                {"seconds": older_than_seconds, "limit": limit},
            ).fetchall()
        return [row["id"] for row in found]

    def waiting_for(self, link_id: str) -> list[InboxRow]:
        """The events that wait for this link's next sync, in order of arrival."""
        query = f"SELECT {_COLUMNS} FROM inbox i WHERE i.link_id = %(link_id)s AND i.state = 'waiting' ORDER BY i.id"  # noqa: S608
        with self._database.transaction() as conn:
            return _rows(conn, query, {"link_id": link_id})

    def mark_waiting(self, conn: Connection, id: int, link_id: str, event_id: str) -> bool:
        """The event waits for its link; False when the row was already handled or the event is a repeat."""
        return self._mark(conn, id, "waiting", ["received"], link_id=link_id, event_id=event_id)

    def mark_done(self, conn: Connection, id: int, reason: str, event_id: str | None = None) -> bool:
        """Nothing is left to do, for this reason; False when that was already so or the event is a repeat."""
        return self._mark(conn, id, "done", ["received", "waiting"], reason=reason, event_id=event_id)

    def quarantine(self, conn: Connection, id: int, reason: str, event_id: str | None = None) -> bool:
        """Authentic but not understood: kept for a person; False as for `mark_done`."""
        return self._mark(conn, id, "quarantined", ["received", "waiting"], reason=reason, event_id=event_id)

    def prune(self, older_than_days: int) -> int:
        """Delete what was handled and is older than that; how many rows went. What still waits is never deleted."""
        deleted = 0
        while True:
            with self._database.transaction() as conn:
                gone = conn.execute(
                    """
                    DELETE FROM inbox WHERE id IN (
                        SELECT id FROM inbox
                        WHERE received_at < now() - make_interval(days => %(days)s)
                          AND state IN ('done', 'quarantined')
                        ORDER BY received_at
                        LIMIT %(batch)s)
                    """,
                    {"days": older_than_days, "batch": PRUNE_BATCH},
                ).rowcount
            deleted += gone
            if gone < PRUNE_BATCH:
                return deleted

    def _mark(
        self,
        conn: Connection,
        id_: int,
        state: str,
        only_from: list[str],
        *,
        link_id: str | None = None,
        reason: str = "",
        event_id: str | None = None,
    ) -> bool:
        if event_id is not None:
            # Two webhooks of one event, handled at the same moment, would both find it new: the second waits here.
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('inbox:' || %s, 0))", (event_id,))
        marked = conn.execute(
            """
            UPDATE inbox
            SET state = CASE WHEN is_repeat THEN 'done' ELSE %(state)s END,
                reason = CASE WHEN is_repeat THEN 'duplicate' ELSE %(reason)s END,
                link_id = CASE WHEN is_repeat THEN link_id ELSE coalesce(%(link_id)s, link_id) END,
                event_id = CASE WHEN is_repeat THEN event_id ELSE coalesce(%(event_id)s, event_id) END,
                handled_at = CASE WHEN is_repeat OR %(state)s <> 'waiting' THEN now() END
            FROM (
                SELECT EXISTS (
                    SELECT FROM inbox this JOIN inbox other USING (integration_id)
                    WHERE this.id = %(id)s AND other.id <> this.id AND other.event_id = %(event_id)s) AS is_repeat
            ) seen
            WHERE id = %(id)s AND state = ANY(%(only_from)s)
            RETURNING NOT is_repeat AS is_new
            """,
            {
                "id": id_,
                "state": state,
                "only_from": only_from,
                "link_id": link_id,
                "reason": reason,
                "event_id": event_id,
            },
        ).fetchone()
        return marked is not None and bool(marked["is_new"])


def _rows(conn: Connection, query: Any, params: dict[str, Any]) -> list[InboxRow]:
    with conn.cursor(row_factory=class_row(InboxRow)) as cursor:
        return cursor.execute(query, params).fetchall()
