"""Signs of life: each part of the service that must be running says so here, and whoever asks reads how long ago."""

from __future__ import annotations

from collections.abc import Sequence

from pagerduty_sync.stores.database import Connection, Database


class Heartbeats:
    """The heartbeats table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, parts: Sequence[str], connection: Connection | None = None) -> None:
        """These parts are alive now."""
        with self._database.joined(connection) as conn:
            conn.execute(
                """
                INSERT INTO heartbeats (part, at)
                SELECT part, clock_timestamp() FROM unnest(%(parts)s::text[]) AS part
                ON CONFLICT (part) DO UPDATE SET at = excluded.at
                """,
                {"parts": sorted(set(parts))},
            )

    def ages(self) -> dict[str, float]:
        """Seconds since each part was last heard of."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                "SELECT part, extract(epoch FROM clock_timestamp() - at)::float8 AS age FROM heartbeats"
            ).fetchall()
        return {row["part"]: row["age"] for row in rows}
