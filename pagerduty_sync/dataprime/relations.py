"""The rows at one point of a query, as the SELECT they will be: where they come from, which of them, in which order.

Commands give a new relation. A name is an expression until something forces a subquery; then it is a plain column, so
no name of the query ever becomes part of the SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from pagerduty_sync.dataprime.scope import Scope, Segments
from pagerduty_sync.dataprime.tree import Position
from pagerduty_sync.dataprime.values import Value, error, sortable

LARGEST = 2_000
"""Pieces of SQL in all expressions of a relation together: names built upon names grow quickly."""

MOST_COLUMNS = 150


@dataclass(frozen=True, slots=True)
class SortKey:
    value: Value
    is_descending: bool

    def sql(self) -> sql.Composable:
        """Nulls last either way; not said where there are none, which lets an index give the order."""
        words = " DESC" if self.is_descending else " ASC"
        words += " NULLS LAST" if self.value.is_nullable else ""
        return sql.SQL("{}{}").format(sortable(self.value), sql.SQL(words))


@dataclass(frozen=True, slots=True)
class Relation:
    """`order` is how the rows come out when nothing else is said; `is_record` as long as a row is a whole record."""

    source: sql.Composable
    scope: Scope
    conditions: tuple[Value, ...] = ()
    order: tuple[SortKey, ...] = ()
    limit: int | None = None
    is_record: bool = True

    def require_bounded(self, at: Position) -> Relation:
        """This relation; raises DataPrimeError when the query has become too large."""
        values = [value for _, value in self.scope.outputs()]
        if len(values) > MOST_COLUMNS:
            raise error(at, f"more than {MOST_COLUMNS} fields are too many for one query")
        size = sum(value.size for value in (*values, *self.conditions, *(key.value for key in self.order)))
        if size > LARGEST:
            raise error(at, "the query becomes too large here; give fewer names to long expressions")
        return self

    def where(self, condition: Value) -> Relation:
        """The rows of these for which the condition holds."""
        return replace(self, conditions=(*self.conditions, condition))

    def select(self, columns: Sequence[sql.Composable], *, ordered: bool) -> sql.Composed:
        """The statement, with these columns."""
        parts: list[sql.Composable] = [sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), self.source)]
        if self.conditions:
            joined = sql.SQL(" AND ").join([condition.sql for condition in self.conditions])
            parts.append(sql.SQL("WHERE {}").format(joined))
        if ordered and self.order:
            parts.append(sql.SQL("ORDER BY {}").format(sql.SQL(", ").join([key.sql() for key in self.order])))
        if self.limit is not None:
            parts.append(sql.SQL(f"LIMIT {self.limit:d}"))
        return sql.SQL(" ").join(parts)

    def settled(self) -> Relation:
        """The same rows ready for another condition: those a limit has cut off stay away."""
        return self if self.limit is None else self.as_subquery()

    def as_subquery(self, *extra: Value) -> Relation:
        """The same rows with every name a plain column; `extra` ones follow as x1, x2, …"""
        leaves = list(self.scope.outputs())
        columns = named(
            "c",
            [value for _, value in leaves],
        )
        columns += named("o", [key.value for key in self.order]) + named("x", extra)
        inner = self.select(columns, ordered=self.limit is not None)
        scope = Scope(
            {segments: column(f"c{number}", value) for number, (segments, value) in enumerate(leaves, 1)},
            self.scope.shorts,
        )
        order = tuple(replace(key, value=column(f"o{number}", key.value)) for number, key in enumerate(self.order, 1))
        return Relation(subquery(inner), scope, order=order, is_record=self.is_record)


def named(letter: str, values: Sequence[Value]) -> list[sql.Composable]:
    """Columns called by a letter and a number."""
    return [
        sql.SQL("{} AS {}").format(value.sql, sql.Identifier(f"{letter}{number}"))
        for number, value in enumerate(values, 1)
    ]


def column(name: str, value: Value) -> Value:
    """The value, read as a column of a subquery."""
    return Value(sql.SQL("t.{}").format(sql.Identifier(name)), value.kind, value.is_nullable, item=value.item)


def subquery(inner: sql.Composable) -> sql.Composed:
    return sql.SQL("({}) AS t").format(inner)


def require_place(scope: Scope, segments: Segments, at: Position) -> None:
    """Raise DataPrimeError when a result could not hold both this path and the others."""
    for other in scope.leaves:
        shorter, longer = sorted((segments, other), key=len)
        if shorter != longer and longer[: len(shorter)] == shorter:
            name = ".".join(other)
            raise error(at, f"{'.'.join(segments)!r} and {name!r} cannot both be in one result; rename one by `as`")
