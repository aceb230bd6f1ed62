"""The comment ledger: one row per text that stands, or shall stand, on both sides of a link."""

from __future__ import annotations

from collections.abc import Sequence

from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.links import Ledger, LedgerEntry
from pagerduty_sync.stores.case_rows import actor_json, actor_of
from pagerduty_sync.stores.database import Connection, Database


class LedgerStore:
    """The table `comment_ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_link(self, link_id: str) -> Ledger:
        with self._database.transaction() as conn:
            rows = conn.execute(
                "SELECT * FROM comment_ledger WHERE link_id = %s ORDER BY sequence", (link_id,)
            ).fetchall()
        return Ledger(
            tuple(
                LedgerEntry(
                    id=str(row["id"]),
                    direction=row["direction"],
                    kind=row["kind"],
                    source_id=row["source_id"],
                    author=actor_of(row["author"]),
                    text=row["text"],
                    state=row["state"],
                    remote_id=row["remote_id"],
                    reason=Reason(row["reason"]) if row["reason"] else None,
                )
                for row in rows
            )
        )

    def record(self, conn: Connection, link_id: str, entries: Sequence[LedgerEntry]) -> None:
        """Write new and changed entries; the caller holds the link's lease and writes the link in this transaction."""
        for entry in entries:
            conn.execute(
                """
                INSERT INTO comment_ledger (id, link_id, direction, kind, source_id, author, text, state, remote_id,
                                            reason, placed_at)
                VALUES (%(id)s, %(link_id)s, %(direction)s, %(kind)s, %(source_id)s, %(author)s, %(text)s, %(state)s,
                        %(remote_id)s, %(reason)s, CASE WHEN %(state)s = 'placed' THEN now() END)
                ON CONFLICT (id) DO UPDATE
                SET kind = excluded.kind, text = excluded.text, state = excluded.state,
                    remote_id = excluded.remote_id, reason = excluded.reason,
                    placed_at = coalesce(comment_ledger.placed_at, excluded.placed_at)
                """,
                {
                    "id": entry.id,
                    "link_id": link_id,
                    "direction": entry.direction,
                    "kind": entry.kind,
                    "source_id": entry.source_id,
                    "author": actor_json(entry.author),
                    "text": entry.text,
                    "state": entry.state,
                    "remote_id": entry.remote_id,
                    "reason": entry.reason.value if entry.reason else "",
                },
            )
