"""The months of the deliveries log: made ahead of time, and dropped whole when they are old."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import psycopg
from psycopg import sql

from pagerduty_sync.errors import StorageError
from pagerduty_sync.stores.database import Connection, Database

_PREFIX = "notification_deliveries_"
_LOCK = 7_243_000_002
PATIENCE, PAUSE_SECONDS, TRIES = "100ms", 0.2, 100


def ensure(database: Database, months_ahead: int) -> list[str]:
    """Make the partitions of this month and the next ones; returns the names of the new.

    Rows of those months that had to go to the default partition meanwhile move into theirs. Raises StorageError when
    somebody reads the log all the time.
    """
    with database.transaction() as connection:
        months = _months(connection, months_ahead)

    def make(connection: Connection, start: datetime, end: datetime) -> str | None:
        name = f"{_PREFIX}{start:%Y_%m}"
        if name in _partitions(connection):
            return None
        _make(connection, name, start, end)
        return name

    made = [_at_a_quiet_moment(database, partial(make, start=start, end=end)) for start, end in months]
    return [name for name in made if name]


def prune(database: Database, before: datetime) -> list[str]:
    """Drop every month that had ended by then, and such rows of the default partition; returns what it dropped.

    Raises StorageError when somebody reads the log all the time; what is dropped by then stays dropped.
    """
    with database.transaction() as connection:
        connection.execute("DELETE FROM notification_deliveries_default WHERE at < %(before)s", {"before": before})
        old = [name for name in _partitions(connection) if _end_of(name) <= before]

    def drop(connection: Connection, name: str) -> str | None:
        if name not in _partitions(connection):
            return None
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        return name

    dropped = [_at_a_quiet_moment(database, partial(drop, name=name)) for name in old]
    return [name for name in dropped if name]


def _at_a_quiet_moment(database: Database, action: Callable[[Connection], str | None]) -> str | None:
    """Do it when nobody has the log.

    Whoever wants to read or write queues behind one that waits for the whole log. So it waits for a moment only, lets
    the others pass, and tries again.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            with database.transaction() as connection:
                connection.execute("SELECT set_config('lock_timeout', %s, true)", (PATIENCE,))
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                return action(connection)
        except StorageError as exc:
            if not tries_left or not isinstance(exc.__cause__, psycopg.errors.LockNotAvailable):
                raise
        time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last try either returns or raises")


def _make(connection: Connection, name: str, start: datetime, end: datetime) -> None:
    table, span = sql.Identifier(name), {"start": start, "end": end}
    connection.execute(
        sql.SQL("CREATE TABLE {} (LIKE notification_deliveries INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table)
    )
    # PostgreSQL refuses a partition while the default one holds rows that belong into it.
    connection.execute("LOCK TABLE notification_deliveries_default IN ACCESS EXCLUSIVE MODE")
    connection.execute(
        sql.SQL(
            """
            WITH moved AS (
                DELETE FROM notification_deliveries_default WHERE at >= %(start)s AND at < %(end)s RETURNING *
            )
            INSERT INTO {} SELECT * FROM moved
            """
        ).format(table),
        span,
    )
    connection.execute(
        sql.SQL("ALTER TABLE notification_deliveries ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            table, sql.Literal(start), sql.Literal(end)
        )
    )


def _months(connection: Connection, ahead: int) -> list[tuple[datetime, datetime]]:
    rows = connection.execute(
        """
        SELECT month AT TIME ZONE 'UTC' AS start, (month + interval '1 month') AT TIME ZONE 'UTC' AS "end"
        FROM generate_series(
            date_trunc('month', now() AT TIME ZONE 'UTC'),
            date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => %(ahead)s),
            interval '1 month') AS month
        """,
        {"ahead": ahead},
    )
    return [(row["start"], row["end"]) for row in rows]


def _partitions(connection: Connection) -> list[str]:
    """The monthly ones, oldest first."""
    rows = connection.execute(
        """
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'notification_deliveries'::regclass AND relname ~ '^notification_deliveries_\\d{4}_\\d{2}$'
        ORDER BY relname
        """
    )
    return [row["relname"] for row in rows]


def _end_of(name: str) -> datetime:
    year, month = (int(part) for part in name.removeprefix(_PREFIX).split("_"))
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
