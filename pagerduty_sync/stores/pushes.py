"""What Coralogix pushed, as its bytes, from the moment it is accepted until it is handled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from pagerduty_sync.stores.database import Connection, Database

PRUNE_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class NewPush:
    """A push that passed the secret's check and can be read."""

    entity: str
    source_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Push:
    """A stored push."""

    id: int
    entity: str
    source_id: str
    body: bytes


class Pushes:
    """The table `pushes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, rows: Sequence[NewPush]) -> list[int]:
        """Store all rows in one commit; their ids in order."""
        with self._database.transaction() as conn:
            stored = conn.execute(
                """
                INSERT INTO pushes (entity, source_id, body)
                SELECT entity, source_id, body
                FROM unnest(%(entities)s::text[], %(source_ids)s::text[], %(bodies)b::bytea[])
                    WITH ORDINALITY AS given (entity, source_id, body, position)
                ORDER BY position
                RETURNING id
                """,
                {
                    "entities": [row.entity for row in rows],
                    "source_ids": [row.source_id for row in rows],
                    "bodies": [row.body for row in rows],
                },
            ).fetchall()
        return [row["id"] for row in stored]

    def sources(self, push_ids: Sequence[int]) -> list[tuple[str, str]]:
        """What those of these pushes are about that nobody has handled yet: entity and id, each once, in order."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT entity, source_id FROM pushes WHERE id = ANY(%(ids)s::bigint[]) AND state = 'received'
                GROUP BY entity, source_id ORDER BY min(id)
                """,
                {"ids": list(push_ids)},
            ).fetchall()
        return [(row["entity"], row["source_id"]) for row in rows]

    def claim(self, conn: Connection, entity: str, source_id: str) -> list[Push]:
        """Everything received about one Case or alert, in order; nobody else gets any of it in this transaction."""
        conn.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('pushes:' || %(entity)s || ':' || %(source_id)s, 0))",
            {"entity": entity, "source_id": source_id},
        )
        with conn.cursor(row_factory=class_row(Push)) as cursor:
            return cursor.execute(
                """
                SELECT id, entity, source_id, body FROM pushes
                WHERE entity = %(entity)s AND source_id = %(source_id)s AND state = 'received' ORDER BY id
                """,
                {"entity": entity, "source_id": source_id},
            ).fetchall()

    def mark_done(self, conn: Connection, push_id: int, reason: str) -> None:
        conn.execute(
            "UPDATE pushes SET state = 'done', reason = %(reason)s, handled_at = now() WHERE id = %(id)s",
            {"id": push_id, "reason": reason},
        )

    def found_late(self, limit: int, older_than_seconds: float) -> list[int]:
        """Rows whose nudge seems lost: still as received after that time, oldest first."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT id FROM pushes
                WHERE state = 'received' AND received_at <= now() - make_interval(secs => %(seconds)s)
                ORDER BY id LIMIT %(limit)s
                """,
                {"seconds": older_than_seconds, "limit": limit},
            ).fetchall()
        return [row["id"] for row in rows]

    def prune(self, older_than_days: int) -> int:
        """Delete what was handled and is older than that; how many rows went."""
        deleted = 0
        while True:
            with self._database.transaction() as conn:
                gone = conn.execute(
                    """
                    DELETE FROM pushes WHERE id IN (
                        SELECT id FROM pushes
                        WHERE state = 'done' AND received_at < now() - make_interval(days => %(days)s)
                        ORDER BY received_at LIMIT %(batch)s)
                    """,
                    {"days": older_than_days, "batch": PRUNE_BATCH},
                ).rowcount
            deleted += gone
            if gone < PRUNE_BATCH:
                return deleted
