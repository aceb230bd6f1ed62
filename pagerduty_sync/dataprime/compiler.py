"""From the text of a query to one SQL statement with parameters. The only module the runner needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from pagerduty_sync.dataprime import fields, scope, tree
from pagerduty_sync.dataprime.commands import Commands
from pagerduty_sync.dataprime.errors import nearest
from pagerduty_sync.dataprime.parser import parse
from pagerduty_sync.dataprime.relations import Relation, SortKey, named
from pagerduty_sync.dataprime.scope import Segments
from pagerduty_sync.dataprime.values import Kind, Parameters, Value, error, sql_type


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the result: the path it is shown under, what its values are, and their type in PostgreSQL."""

    segments: Segments
    kind: Kind
    sql_type: str

    @property
    def name(self) -> str:
        """The path as people write it: without the prefix of data."""
        return ".".join(self.segments[1:] if self.segments[0] == "$d" else self.segments)


@dataclass(frozen=True, slots=True)
class Statement:
    """A query ready to run. `is_record`: its rows are whole deliveries."""

    sql: sql.Composed
    parameters: dict[str, object]
    columns: tuple[Column, ...]
    is_record: bool


def compile_query(
    query: str | tree.Query,
    *,
    since: datetime,
    until: datetime,
    now: datetime,
    limit: int,
    default_source: str = "",
) -> Statement:
    """The statement for the deliveries from `since` until before `until`, at most `limit` rows of it.

    Raises DataPrimeError.
    """
    if isinstance(query, str):
        query = parse(query)
    _require_source(query, default_source or fields.SOURCES[0])
    parameters = Parameters()
    commands = Commands(parameters, now)
    rows = _deliveries(parameters, since, until)
    for command in query.commands:
        rows = commands.apply(rows, command)
    rows = commands.apply(rows, tree.Limit(limit))
    outputs = list(rows.scope.outputs())
    return Statement(
        rows.select(named("c", [value for _, value in outputs]), ordered=True),
        parameters.values,
        tuple(Column(segments, value.kind, sql_type(value)) for segments, value in outputs),
        rows.is_record,
    )


def _deliveries(parameters: Parameters, since: datetime, until: datetime) -> Relation:
    """Newest first. The time range stands in the statement itself, so that whole months are left out by it."""
    within = sql.SQL("(d.at >= {} AND d.at < {})").format(
        parameters.add(since, "timestamptz"), parameters.add(until, "timestamptz")
    )
    at = Value(sql.SQL("d.at"), Kind.TIMESTAMP, is_nullable=False)
    number = Value(sql.SQL("d.id"), Kind.NUMBER, is_nullable=False)
    return Relation(
        sql.SQL(fields.RELATION),
        scope.record(),
        conditions=(Value(within, Kind.BOOLEAN),),
        order=(SortKey(at, True), SortKey(number, True)),
    )


def _require_source(query: tree.Query, default_source: str) -> None:
    name = query.source.name if query.source else default_source
    if name.lower() in fields.SOURCES:
        return
    at = query.source.at if query.source else tree.Position(1, 1)
    known = " and ".join(f"`{source}`" for source in fields.SOURCES)
    raise error(
        at, f"there is no dataset {name!r} here; {known} are the log of deliveries", nearest(name, fields.SOURCES)
    )
