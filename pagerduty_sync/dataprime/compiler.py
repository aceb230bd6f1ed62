"""From the text of a query to one SQL statement with parameters. The only module the runner needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from pagerduty_sync.dataprime import scope, tree
from pagerduty_sync.dataprime.commands import Commands
from pagerduty_sync.dataprime.datasets import Dataset, dataset_of
from pagerduty_sync.dataprime.parser import parse
from pagerduty_sync.dataprime.relations import Relation, SortKey, named
from pagerduty_sync.dataprime.scope import Segments
from pagerduty_sync.dataprime.values import Kind, Parameters, Value, sql_type


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
    """A query ready to run. `shown`: the places of the columns that a table shows, few of a whole record, else all."""

    sql: sql.Composed
    parameters: dict[str, object]
    columns: tuple[Column, ...]
    shown: tuple[int, ...]


def compile_query(
    query: str | tree.Query,
    *,
    since: datetime,
    until: datetime,
    now: datetime,
    limit: int,
    default_source: str = "",
) -> Statement:
    """The statement for what happened from `since` until before `until`, at most `limit` rows of it.

    Raises DataPrimeError.
    """
    if isinstance(query, str):
        query = parse(query)
    dataset = dataset_of(query, default_source)
    parameters = Parameters()
    commands = Commands(parameters, now)
    rows = _records(dataset, parameters, since, until)
    for command in query.commands:
        rows = commands.apply(rows, command)
    rows = commands.apply(rows, tree.Limit(limit))
    outputs = list(rows.scope.outputs())
    return Statement(
        rows.select(named("c", [value for _, value in outputs]), ordered=True),
        parameters.values,
        tuple(Column(segments, value.kind, sql_type(value)) for segments, value in outputs),
        _shown(rows, dataset),
    )


def _records(dataset: Dataset, parameters: Parameters, since: datetime, until: datetime) -> Relation:
    """Newest first. The time range stands in the statement itself, so that whole months are left out by it."""
    at = Value(sql.SQL("d.at"), Kind.TIMESTAMP, is_nullable=False)
    number = Value(sql.SQL("d.id"), Kind.NUMBER, is_nullable=False)
    within = sql.SQL("({0} >= {1} AND {0} < {2})").format(
        at.sql, parameters.add(since, "timestamptz"), parameters.add(until, "timestamptz")
    )
    return Relation(
        sql.SQL(dataset.relation),
        scope.record(dataset),
        conditions=(Value(within, Kind.BOOLEAN),),
        order=(SortKey(at, True), SortKey(number, True)),
    )


def _shown(rows: Relation, dataset: Dataset) -> tuple[int, ...]:
    places = {".".join(segments): place for place, segments in enumerate(rows.scope.leaves)}
    names = dataset.table if rows.is_record else places
    return tuple(places[name] for name in names if name in places)
