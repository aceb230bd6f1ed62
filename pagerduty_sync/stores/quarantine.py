"""Webhooks that were authentic and not understood: to be looked at, tried again after an upgrade, or discarded.

Reads and marks rows of the inbox; refuses to know what is in a body.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.page_tokens import read_token, write_token

LARGEST_PAGE = 500
_UNSHOWABLE = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One of them. `body` is as it came, and nobody has said that it is text."""

    id: int
    integration_id: str
    webhook_id: str
    event_id: str | None
    received_at: datetime
    reason: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text that does nothing where it is shown: what is no text, or steers terminals, is escaped."""
        return _UNSHOWABLE.sub(lambda found: ascii(found[0])[1:-1], self.body.decode("utf-8", "backslashreplace"))


_COLUMNS = "id, integration_id::text AS integration_id, webhook_id, event_id, received_at, reason, body"


class Quarantine:
    """The rows of the table `inbox` in the state `quarantined`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, *, limit: int = 100, page_token: str | None = None) -> tuple[list[Quarantined], str | None]:
        """One page, oldest first, and the token of the next, None after the last."""
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidRequestError(f"limit must be from 1 to {LARGEST_PAGE}.", "limit")
        (after,) = read_token(page_token, ["quarantine"], int) if page_token else (0,)
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(Quarantined)) as cursor,
        ):
            found = cursor.execute(
                f"""
                SELECT {_COLUMNS} FROM inbox
                WHERE state = 'quarantined' AND id > %(after)s ORDER BY id LIMIT %(limit)s
                """.encode(),  # noqa: S608 a constant of this module
                {"after": after, "limit": limit + 1},
            ).fetchall()
        page = found[:limit]
        return page, write_token(["quarantine"], page[-1].id) if len(found) > limit else None

    def ids(self, limit: int) -> list[int]:
        """The oldest, so many."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                "SELECT id FROM inbox WHERE state = 'quarantined' ORDER BY id LIMIT %(limit)s", {"limit": limit}
            ).fetchall()
        return [row["id"] for row in rows]

    def get(self, id_: int) -> Quarantined:
        """Raises NotFoundError for what is not in quarantine, or no more."""
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(Quarantined)) as cursor,
        ):
            found = cursor.execute(
                f"SELECT {_COLUMNS} FROM inbox WHERE id = %(id)s AND state = 'quarantined'".encode(),  # noqa: S608
                {"id": id_},
            ).fetchone()
        if found is None:
            raise NotFoundError(f"There is nothing in quarantine under the number {id_}.")
        return found

    def discard(self, conn: Connection, ids: Sequence[int]) -> list[int]:
        """These are done with; those that were in quarantine until now."""
        rows = conn.execute(
            """
            UPDATE inbox SET state = 'done', reason = %(reason)s, handled_at = now()
            WHERE id = ANY(%(ids)s) AND state = 'quarantined'
            RETURNING id
            """,
            {"ids": list(ids), "reason": DISCARDED},
        ).fetchall()
        return sorted(row["id"] for row in rows)
