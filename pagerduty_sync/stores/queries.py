"""Runs a DataPrime query over one dataset: read-only, for a bounded time, with a bounded result."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from pagerduty_sync.dataprime import tree
from pagerduty_sync.dataprime.compiler import Column, Statement, compile_query
from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.errors import InvalidRequestError, StorageError
from pagerduty_sync.stores import reader
from pagerduty_sync.stores.database import Connection, Database

DEFAULT_SPAN = timedelta(hours=24)
DEFAULT_LIMIT = 2_000
LARGEST_LIMIT = 12_000
TIMEOUT_SECONDS = 5.0
AT_ONCE = 2
"""Queries of one process at the same time: the others' work needs connections too."""

LARGEST_RESULT = 16 * 1024 * 1024
"""Characters of a result, roughly; the rest of it is left out."""

_CURSOR = "dataprime"
_LARGEST_BATCH = 500
_MOST_READ = 4
"""A row counts for more in PostgreSQL, where quotes are doubled; it must not end before what is shown here."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows in the order of the columns. `warnings` say what was left out, `shown` which columns a table shows."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]
    shown: tuple[int, ...]
    is_cut: bool
    warnings: tuple[str, ...]
    since: datetime
    until: datetime
    seconds: float


class Queries:
    def __init__(self, database: Database, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def run(
        self,
        query: str | tree.Query,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = DEFAULT_LIMIT,
        default_source: str = "",
    ) -> QueryResult:
        """The query's result over what happened from `since` until before `until`; by default the last 24 hours.

        Raises DataPrimeError for a query that cannot be read or run, InvalidRequestError for a range or a limit that
        makes no sense, StorageError also when too many queries run already.
        """
        started = time.monotonic()
        now = datetime.now(UTC)
        since, until = _span(since, until, now)
        if not 1 <= limit <= LARGEST_LIMIT:
            raise InvalidRequestError(f"limit must be from 1 to {LARGEST_LIMIT}.", "limit")
        statement = compile_query(
            query, since=since, until=until, now=now, limit=limit + 1, default_source=default_source
        )
        with self._turn():
            rows, is_whole = self._fetch(statement)
        warnings = []
        if len(rows) > limit:
            warnings.append(f"Only the first {limit} rows are shown; narrow the query, or ask for more by `limit`.")
        elif not is_whole:
            warnings.append(f"Only the first {len(rows)} rows are shown: the result is too large.")
        return QueryResult(
            statement.columns,
            rows[:limit],
            statement.shown,
            bool(warnings),
            tuple(warnings),
            since,
            until,
            time.monotonic() - started,
        )

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=self._timeout_seconds):
            raise StorageError(f"{AT_ONCE} queries run already; try again in a few seconds.")
        try:
            yield
        finally:
            self._turns.release()

    def _fetch(self, statement: Statement) -> tuple[list[tuple[Any, ...]], bool]:
        """The rows, and whether those are all. The reader asks where there is one, else the login itself."""
        with self._database.transaction() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(
                "SELECT set_config('statement_timeout', %(milliseconds)s, true), set_config('jit', 'off', true), "
                # The causes of a day's deliveries are looked up one by one, not by reading the whole inbox.
                "set_config('random_page_cost', '1.1', true), set_config('cursor_tuple_fraction', '1', true)",
                {"milliseconds": f"{self._timeout_seconds * 1000:.0f}"},
            )
            asked = as_reader(connection, statement) if reader.is_ready(connection) else statement
            try:
                return _rows(connection, asked)
            except psycopg.errors.QueryCanceled:
                raise DataPrimeError(
                    0,
                    0,
                    f"The query took longer than {self._timeout_seconds:g} seconds and was stopped; ask for a shorter "
                    "time, or filter by a Case, an incident, an outcome or a reason first.",
                ) from None
            except psycopg.DataError as exc:
                said = exc.diag.message_primary or "a value is out of range"
                raise DataPrimeError(0, 0, f"The query cannot be computed: {said}.") from exc


def as_reader(connection: Connection, statement: Statement) -> Statement:
    """The same question, put through the reader's function: as one text, in which the driver has quoted every value."""
    text = psycopg.ClientCursor(connection).mogrify(statement.sql, statement.parameters)
    columns = [sql.SQL(f"c{number} {column.sql_type}") for number, column in enumerate(statement.columns, 1)]
    wrapped = sql.SQL("SELECT * FROM {}(%(text)s, %(most)s) AS t ({})").format(
        sql.Identifier(reader.FUNCTION), sql.SQL(", ").join(columns)
    )
    return replace(statement, sql=wrapped, parameters={"text": text, "most": _MOST_READ * LARGEST_RESULT})


def _rows(connection: Connection, statement: Statement) -> tuple[list[tuple[Any, ...]], bool]:
    """Fetched in pieces, so that a result of huge rows ends early instead of filling the memory."""
    rows: list[tuple[Any, ...]] = []
    size, batch = 0, min(10, _LARGEST_BATCH)
    with connection.cursor(_CURSOR, row_factory=tuple_row) as cursor:
        cursor.execute(statement.sql, statement.parameters)
        while found := cursor.fetchmany(batch):
            rows += found
            size += sum(len(str(value)) for row in found for value in row)
            if size > LARGEST_RESULT:
                return rows, cursor.fetchone() is None
            batch = max(1, min(_LARGEST_BATCH, (LARGEST_RESULT - size) * len(rows) // (size + 1)))
    return rows, True


def _span(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    # A row may be a moment younger than this process's clock.
    until = until or now + timedelta(minutes=1)
    try:
        since = since or min(until, now) - DEFAULT_SPAN
    except OverflowError:
        raise InvalidRequestError("The end of the time range is too early.", "endDate") from None
    if since >= until:
        raise InvalidRequestError("The time range ends before it begins.", "startDate")
    return since, until
