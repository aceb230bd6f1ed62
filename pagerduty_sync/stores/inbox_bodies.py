"""Bodies of handled webhooks on their way out of the inbox, and back. The rows stay until their own retention ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from psycopg.rows import class_row

from pagerduty_sync.stores.database import Database


@dataclass(frozen=True, slots=True)
class StoredBody:
    """What is kept of a webhook elsewhere: its body, and what tells whose it is. No secret, and no signature."""

    id: int
    integration_id: str
    webhook_id: str
    event_id: str | None
    received_at: datetime
    reason: str
    body: bytes


class InboxBodies:
    """The column `body` of the table `inbox`, and `archive`, which names the file a body was moved to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_handled(self, before: datetime, *, after_id: int, limit: int) -> list[StoredBody]:
        """Bodies of webhooks received by then that are done with, in order of their numbers."""
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(StoredBody)) as cursor,
        ):
            return cursor.execute(
                """
                SELECT id, integration_id::text AS integration_id, webhook_id, event_id, received_at, reason, body
                FROM inbox
                WHERE state = 'done' AND archive = '' AND received_at < %(before)s AND id > %(after)s
                ORDER BY id LIMIT %(limit)s
                """,
                {"before": before, "after": after_id, "limit": limit},
            ).fetchall()

    def clear(self, written: Sequence[StoredBody], archive: str) -> int:
        """Empty these, if they are still what was written and nobody wants to look at them again; how many."""
        with self._database.transaction() as conn:
            return conn.execute(
                """
                UPDATE inbox SET body = '', archive = %(archive)s
                FROM unnest(%(ids)s::bigint[], %(digests)s::bytea[]) AS written (id, digest)
                WHERE inbox.id = written.id AND state = 'done' AND archive = '' AND sha256(inbox.body) = written.digest
                """,
                {
                    "archive": archive,
                    "ids": [one.id for one in written],
                    "digests": [sha256(one.body).digest() for one in written],
                },
            ).rowcount

    def restore(self, stored: Sequence[StoredBody]) -> int:
        """Give these back to the rows they were taken from, as far as those are still there; how many."""
        with self._database.transaction() as conn:
            return conn.execute(
                """
                UPDATE inbox SET body = stored.body, archive = ''
                FROM unnest(%(ids)s::bigint[], %(webhooks)s::text[], %(bodies)b::bytea[]) AS stored (id, webhook, body)
                WHERE inbox.id = stored.id AND inbox.webhook_id = stored.webhook AND archive <> ''
                """,
                {
                    "ids": [one.id for one in stored],
                    "webhooks": [one.webhook_id for one in stored],
                    "bodies": [one.body for one in stored],
                },
            ).rowcount
