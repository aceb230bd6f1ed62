"""The audit: one row for each change of the configuration, written with it. Whoever adds a row leaves secrets out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.page_tokens import read_token, write_token

Facts = Mapping[str, Any]
LARGEST_PAGE = 500


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

    def find(
        self, *, who: str = "", subject: str = "", limit: int = 100, page_token: str | None = None
    ) -> tuple[list[AuditEntry], str | None]:
        """One page of changes, newest first, and the token of the next, None after the last. Empty words match all."""
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidRequestError(f"limit must be from 1 to {LARGEST_PAGE}.", "limit")
        question = ["audit", who, subject]
        (after,) = read_token(page_token, question, int) if page_token else (None,)
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(AuditEntry)) as cursor,
        ):
            found = cursor.execute(
                """
                SELECT * FROM audit
                WHERE (%(after)s::bigint IS NULL OR id < %(after)s)
                  AND (%(who)s = '' OR who = %(who)s) AND (%(subject)s = '' OR subject = %(subject)s)
                ORDER BY id DESC LIMIT %(limit)s
                """,
                {"after": after, "who": who, "subject": subject, "limit": limit + 1},
            ).fetchall()
        page = found[:limit]
        return page, write_token(question, page[-1].id) if len(found) > limit else None
