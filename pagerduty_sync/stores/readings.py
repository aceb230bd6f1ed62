"""How far reading by the clock has come: a run that had to wait for budget goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from pagerduty_sync.domain.reading import LogPlace
from pagerduty_sync.stores.database import Database


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison under way: when it began, by the database's clock, and the offset of the next page."""

    began_at: datetime
    offset: int


@dataclass(frozen=True, slots=True)
class LogReading:
    """Until when the account's log is read, in PagerDuty's clock, and the last lines before.

    While a reading is under way, `place` is its next page; `newest` and `lines` are what it has found to be the end.
    """

    until: datetime | None
    known: frozenset[str]
    place: LogPlace | None = None
    newest: datetime | None = None
    lines: frozenset[str] = frozenset()


class Readings:
    """Columns of `integrations` and `links` that only the reading knows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------ the lists of incidents

    def comparison(self, integration_id: str, oldest_seconds: float) -> Comparison | None:
        """The one under way, unless it is older than that."""
        row = self._row(
            """
            SELECT comparing_since, comparing_offset,
                   comparing_since > now() - make_interval(secs => %(oldest)s) AS is_under_way
            FROM integrations WHERE id::text = %(id)s
            """,
            {"id": integration_id, "oldest": oldest_seconds},
        )
        return Comparison(row["comparing_since"], row["comparing_offset"]) if row["is_under_way"] else None

    def new_comparison(self) -> Comparison:
        """One that begins now."""
        return Comparison(self._row("SELECT now() AS now", {})["now"], 0)

    def set_comparison(self, integration_id: str, comparison: Comparison | None) -> None:
        """Keep where a comparison stands, or that it is done."""
        self._run(
            """
            UPDATE integrations SET comparing_since = %(since)s, comparing_offset = %(offset)s WHERE id::text = %(id)s
            """,
            {
                "id": integration_id,
                "since": comparison.began_at if comparison else None,
                "offset": comparison.offset if comparison else None,
            },
        )

    def services(self, integration_id: str) -> list[str]:
        """Where incidents of pairs that may still move are."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT DISTINCT service_id FROM links
                WHERE integration_id = %s AND state = 'linked'
                  AND (pictures #>> '{fields,status,incident,value}' IS DISTINCT FROM 'resolved'
                       OR updated_at > now() - interval '7 days')
                ORDER BY service_id
                """,
                (integration_id,),
            ).fetchall()
        return [row["service_id"] for row in rows]

    def set_listed(self, integration_id: str, incident_ids: Sequence[str], began_at: datetime) -> None:
        """These incidents stood on a page of the comparison that began then."""
        self._run(
            """
            UPDATE links SET listed_at = %(began_at)s
            WHERE integration_id = %(id)s AND incident_id = ANY(%(incident_ids)s) AND state = 'linked'
            """,
            {"id": integration_id, "incident_ids": list(incident_ids), "began_at": began_at},
        )

    def unlisted(self, integration_id: str, began_at: datetime) -> list[str]:
        """The links that are older than a comparison and seen open, and stood on none of its pages."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT id FROM links
                WHERE integration_id = %(id)s AND state = 'linked' AND created_at < %(began_at)s
                  AND pictures #>> '{fields,status,incident,value}' IS DISTINCT FROM 'resolved'
                  AND (listed_at IS NULL OR listed_at < %(began_at)s)
                ORDER BY id
                """,
                {"id": integration_id, "began_at": began_at},
            ).fetchall()
        return [str(row["id"]) for row in rows]

    # ------------------------------------------------------------ the log

    def log(self, integration_id: str) -> LogReading:
        row = self._row(
            "SELECT log_read_until, log_lines_read, log_reading FROM integrations WHERE id::text = %(id)s",
            {"id": integration_id},
        )
        known = frozenset(row["log_lines_read"])
        under_way = row["log_reading"]
        if under_way is None:
            return LogReading(row["log_read_until"], known)
        return LogReading(
            row["log_read_until"],
            known,
            LogPlace(_instant(under_way["before"]), under_way["offset"]),
            _instant(under_way["newest"]),
            frozenset(under_way["lines"]),
        )

    def set_log(self, integration_id: str, reading: LogReading) -> None:
        place = reading.place
        under_way = place and {
            "before": place.before and place.before.isoformat(),
            "offset": place.offset,
            "newest": reading.newest and reading.newest.isoformat(),
            "lines": sorted(reading.lines),
        }
        self._run(
            """
            UPDATE integrations SET log_read_until = %(until)s, log_lines_read = %(known)s, log_reading = %(under_way)s
            WHERE id::text = %(id)s
            """,
            {
                "id": integration_id,
                "until": reading.until,
                "known": sorted(reading.known),
                "under_way": Jsonb(under_way) if under_way else None,
            },
        )

    def _row(self, statement: str, values: dict[str, Any]) -> Any:
        with self._database.transaction() as conn:
            row = conn.execute(statement.encode(), values).fetchone()
        assert row is not None, "the caller has just read this integration"
        return row

    def _run(self, statement: str, values: dict[str, Any]) -> None:
        with self._database.transaction() as conn:
            conn.execute(statement.encode(), values)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
