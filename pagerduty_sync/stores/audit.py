"""The audit: one row for each change of the configuration, written with it. Whoever adds a row leaves secrets out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pagerduty_sync.stores.database import Connection, Database

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what, and how it read before and after; None where there was or is nothing."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    before: Facts | None
    after: Facts | None


class Audit:
    """The audit table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        connection: Connection | None,
        who: str,
        action: str,
        subject: str,
        before: Facts | None = None,
        after: Facts | None = None,
    ) -> None:
        """Record one change, in the caller's transaction if there is one."""
        with self._database.joined(connection) as conn:
            conn.execute(
                """
                INSERT INTO audit (who, action, subject, before, after)
                VALUES (%(who)s, %(action)s, %(subject)s, %(before)s, %(after)s)
                """,
                {
                    "who": who,
                    "action": action,
                    "subject": subject,
                    "before": None if before is None else Jsonb(dict(before)),
                    "after": None if after is None else Jsonb(dict(after)),
                },
            )

    def latest(self, limit: int = 100) -> list[AuditEntry]:
        """The most recent changes, newest first."""
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(AuditEntry)) as cursor,
        ):
            return cursor.execute("SELECT * FROM audit ORDER BY id DESC LIMIT %(limit)s", {"limit": limit}).fetchall()
