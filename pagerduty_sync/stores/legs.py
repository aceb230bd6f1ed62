"""The latest verdict on each leg: its state since when, why, and when somebody last looked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from pagerduty_sync.domain.legs import Leg, LegState, Verdict
from pagerduty_sync.stores.database import Database


@dataclass(frozen=True, slots=True)
class StoredLeg:
    """One row, and how many seconds ago it was looked at."""

    leg: str
    state: str
    why: str
    since: datetime
    looked_at: datetime
    age: float


class Legs:
    """The table `legs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, verdicts: Mapping[Leg, Verdict]) -> dict[Leg, LegState | None]:
        """Write what was judged just now. Returns the legs whose state is another than before, with that one."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                WITH was AS (SELECT leg, state FROM legs)
                INSERT INTO legs (leg, state, why, since, looked_at)
                SELECT leg, state, why, now(), now()
                FROM unnest(%(legs)s::text[], %(states)s::text[], %(whys)s::text[]) AS judged (leg, state, why)
                ON CONFLICT (leg) DO UPDATE
                SET state = excluded.state, why = excluded.why, looked_at = excluded.looked_at,
                    since = CASE WHEN legs.state = excluded.state THEN legs.since ELSE excluded.since END
                RETURNING leg, state, (SELECT was.state FROM was WHERE was.leg = legs.leg) AS was
                """,
                {
                    "legs": [str(leg) for leg in verdicts],
                    "states": [str(verdict.state) for verdict in verdicts.values()],
                    "whys": [verdict.why for verdict in verdicts.values()],
                },
            ).fetchall()
        return {
            Leg(row["leg"]): LegState(row["was"]) if row["was"] else None for row in rows if row["was"] != row["state"]
        }

    def latest(self) -> dict[str, StoredLeg]:
        """The last verdict by leg; nothing for a leg nobody has looked at yet."""
        with self._database.transaction() as conn, conn.cursor(row_factory=class_row(StoredLeg)) as cursor:
            rows = cursor.execute(
                """
                SELECT leg, state, why, since, looked_at,
                       extract(epoch FROM clock_timestamp() - looked_at)::float8 AS age
                FROM legs
                """
            ).fetchall()
        return {row.leg: row for row in rows}
