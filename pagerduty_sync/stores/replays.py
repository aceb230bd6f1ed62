"""The second chance of what was handled before: attempts by their numbers, webhooks and changes of Cases put back.

Every write belongs to the caller's transaction, and none makes a row that is waiting already wait twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from pagerduty_sync.domain.deliveries import Delivery
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.deliveries import _delivery_of as delivery_of
from pagerduty_sync.stores.inbox import _COLUMNS as INBOX_COLUMNS
from pagerduty_sync.stores.inbox import InboxRow


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a Case as the sync was told of it, and the line of the timeline it is about."""

    id: int
    case_id: str
    kind: str
    timeline_event_id: str | None
    is_handled: bool


class Replays:
    """Reads `notification_deliveries`, `inbox` and `case_events` by their ids, and puts rows of the last two back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def deliveries(self, ids: Sequence[int]) -> dict[int, Delivery]:
        """Attempts by their numbers; those past their retention are missing."""
        with self._database.transaction() as conn:
            rows = conn.execute("SELECT * FROM notification_deliveries WHERE id = ANY(%s::bigint[])", (list(ids),))
            return {row["id"]: delivery_of(row) for row in rows}

    def webhooks(self, ids: Sequence[int]) -> dict[int, InboxRow]:
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(InboxRow)) as cursor,
        ):
            query = f"SELECT {INBOX_COLUMNS} FROM inbox i WHERE i.id = ANY(%s::bigint[])"  # noqa: S608
            return {row.id: row for row in cursor.execute(query.encode(), (list(ids),))}

    def changes(self, ids: Sequence[int]) -> dict[int, Change]:
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(Change)) as cursor,
        ):
            found = cursor.execute(
                """
                SELECT id, case_id::text AS case_id, kind, timeline_event_id::text AS timeline_event_id,
                       handled_at IS NOT NULL AS is_handled
                FROM case_events WHERE id = ANY(%s::bigint[])
                """,
                (list(ids),),
            )
            return {row.id: row for row in found}

    def attempt_on(self, row: InboxRow) -> Delivery | None:
        """The attempt that put a webhook aside; found by its reason, of which there are few."""
        with self._database.transaction() as conn:
            found = conn.execute(
                """
                SELECT * FROM notification_deliveries
                WHERE reason = %(reason)s AND at >= %(since)s AND cause = %(cause)s ORDER BY at LIMIT 1
                """,
                {"reason": row.reason, "since": row.received_at, "cause": f"inbox:{row.id}"},
            ).fetchone()
        return delivery_of(found) if found else None

    def wait_again(self, conn: Connection, id_: int, link_id: str, event_id: str) -> bool:
        """A handled webhook waits for its link anew; False when it waits already or another one has its event."""
        return self._mark(conn, id_, "waiting", "", event_id, link_id)

    def end_again(self, conn: Connection, id_: int, reason: str, event_id: str | None, state: str = "done") -> bool:
        """Nothing will come of a handled webhook, for this reason; False as for `wait_again`."""
        return self._mark(conn, id_, state, reason, event_id, None)

    def _mark(
        self, conn: Connection, id_: int, state: str, reason: str, event_id: str | None, link_id: str | None
    ) -> bool:
        if event_id is not None:
            # As where webhooks are read for the first time: of two with one event, the second waits here.
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('inbox:' || %s, 0))", (event_id,))
        marked = conn.execute(
            """
            UPDATE inbox
            SET state = %(state)s, reason = %(reason)s, event_id = coalesce(%(event_id)s, event_id),
                link_id = coalesce(%(link_id)s, link_id),
                handled_at = CASE WHEN %(state)s <> 'waiting' THEN now() END
            WHERE id = %(id)s AND state IN ('done', 'quarantined') AND archive = '' AND NOT EXISTS (
                SELECT FROM inbox other
                WHERE other.integration_id = inbox.integration_id AND other.id <> inbox.id
                  AND other.event_id = %(event_id)s)
            """,
            {"id": id_, "state": state, "reason": reason, "event_id": event_id, "link_id": link_id},
        ).rowcount
        return marked > 0

    def look_again(self, conn: Connection, change_ids: Sequence[int]) -> int:
        """These changes of Cases are to be looked at anew; how many were handled before."""
        return conn.execute(
            "UPDATE case_events SET handled_at = NULL WHERE id = ANY(%s::bigint[]) AND handled_at IS NOT NULL",
            (list(change_ids),),
        ).rowcount

    def forget(self, conn: Connection, entry_ids: Sequence[str]) -> None:
        """Texts that were dropped, as if they had never been heard of."""
        conn.execute("DELETE FROM comment_ledger WHERE id = ANY(%s::uuid[]) AND state = 'dropped'", (list(entry_ids),))

    def give_back(self, conn: Connection, link_id: str, token: str) -> None:
        """Give a claimed link back for a look; what is due stays due when it was."""
        conn.execute(
            """
            UPDATE links SET lease_token = NULL, lease_until = NULL, dirty_at = now()
            WHERE id = %(id)s AND lease_token = %(token)s
            """,
            {"id": link_id, "token": token},
        )
