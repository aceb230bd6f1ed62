"""What the sync has still to look at: one row for each change of a Case, waiting until it is marked handled."""

from __future__ import annotations

from collections.abc import Sequence

from pagerduty_sync.domain.cases import CaseEvent
from pagerduty_sync.stores.case_rows import actor_of
from pagerduty_sync.stores.database import Connection, Database


class CaseEvents:
    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self, case_id: str) -> list[CaseEvent]:
        """The changes of one Case that are not handled yet, in the order they were made."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT * FROM case_events WHERE case_id = %(case_id)s AND handled_at IS NULL ORDER BY id",
                {"case_id": case_id},
            )
            return [
                CaseEvent(
                    id=row["id"],
                    case_id=str(row["case_id"]),
                    kind=row["kind"],
                    actor=actor_of(row["actor"]),
                    occurred_at=row["occurred_at"],
                    timeline_event_id=str(row["timeline_event_id"]) if row["timeline_event_id"] else None,
                )
                for row in rows
            ]

    def cases_waiting(self, limit: int, older_than_seconds: float = 0) -> list[str]:
        """Cases with a change that has waited this long, the longest wait first."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """
                SELECT case_id FROM case_events
                WHERE handled_at IS NULL
                GROUP BY case_id
                HAVING min(occurred_at) <= clock_timestamp() - make_interval(secs => %(seconds)s)
                ORDER BY min(id)
                LIMIT %(limit)s
                """,
                {"seconds": older_than_seconds, "limit": limit},
            )
            return [str(row["case_id"]) for row in rows]

    def mark_handled(self, connection: Connection | None, event_ids: Sequence[int]) -> int:
        """Say that these changes were looked at, in the caller's transaction if there is one; returns how many now."""
        with self._database.joined(connection) as joined:
            return joined.execute(
                """
                UPDATE case_events SET handled_at = clock_timestamp()
                WHERE id = ANY(%(ids)s::bigint[]) AND handled_at IS NULL
                """,
                {"ids": list(event_ids)},
            ).rowcount
