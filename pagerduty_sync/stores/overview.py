"""Numbers an operator asks for first: how many links there are, what waits, and when one link is due. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from pagerduty_sync.stores.database import Database


@dataclass(frozen=True, slots=True)
class Overview:
    """What there is and what waits, now."""

    connectors: int
    rules: int
    opening: int
    linked: int
    ended: int
    parked: int
    webhooks_waiting: int
    webhooks_quarantined: int
    case_changes_waiting: int
    calls_due: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Who holds a link until when, since when it wants a look, and when its next call is due."""

    dirty_at: datetime | None
    due_at: datetime | None
    due_class: int | None
    lease_until: datetime | None


class Overviews:
    """Reads across tables; no other store needs them together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> Overview:
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(Overview)) as cursor,
        ):
            found = cursor.execute(
                """
                SELECT
                    (SELECT count(*) FROM connectors) AS connectors,
                    (SELECT count(*) FROM routing_rules WHERE is_enabled) AS rules,
                    (SELECT count(*) FROM links WHERE state = 'opening') AS opening,
                    (SELECT count(*) FROM links WHERE state = 'linked') AS linked,
                    (SELECT count(*) FROM links WHERE state = 'ended') AS ended,
                    (SELECT count(*) FROM links WHERE parked <> '{}') AS parked,
                    (SELECT count(*) FROM inbox WHERE state IN ('received', 'waiting')) AS webhooks_waiting,
                    (SELECT count(*) FROM inbox WHERE state = 'quarantined') AS webhooks_quarantined,
                    (SELECT count(*) FROM case_events WHERE handled_at IS NULL) AS case_changes_waiting,
                    (SELECT count(*) FROM links WHERE due_at IS NOT NULL) AS calls_due
                """
            ).fetchone()
        assert found is not None
        return found

    def schedule(self, link_id: str) -> Schedule | None:
        with (
            self._database.transaction() as conn,
            conn.cursor(row_factory=class_row(Schedule)) as cursor,
        ):
            return cursor.execute(
                """
                SELECT dirty_at, due_at, due_class, CASE WHEN lease_until > now() THEN lease_until END AS lease_until
                FROM links WHERE id = %(id)s::uuid
                """,
                {"id": link_id},
            ).fetchone()
