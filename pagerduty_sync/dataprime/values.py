"""What an expression becomes: a piece of SQL and what is known about it. Literals are parameters, always."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from psycopg import sql

from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.dataprime.tree import Expression, Position


class Kind(StrEnum):
    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    INTERVAL = "interval"
    ARRAY = "array"
    OBJECT = "object"
    NULL = "null"


SQL_TYPES = {
    Kind.STRING: "text",
    Kind.NUMBER: "double precision",
    Kind.BOOLEAN: "boolean",
    Kind.TIMESTAMP: "timestamptz",
    Kind.INTERVAL: "interval",
    Kind.OBJECT: "jsonb",
    Kind.NULL: "text",
}
ORDERED = frozenset({Kind.STRING, Kind.NUMBER, Kind.BOOLEAN, Kind.TIMESTAMP, Kind.INTERVAL})


@dataclass(frozen=True, slots=True)
class Value:
    """SQL of one expression.

    `size` counts what the SQL is made of, so that expressions built upon each other cannot grow without bound.
    `column` names the column behind an unchanged field whose index a comparison with a text may use.
    """

    sql: sql.Composable
    kind: Kind
    is_nullable: bool = True
    size: int = 1
    item: Kind | None = None
    column: str = ""


@dataclass(slots=True)
class Parameters:
    """The values of a statement by the names they have in it."""

    values: dict[str, object] = field(default_factory=dict)

    def add(self, value: str | float | bool | datetime | timedelta | int | list[str], sql_type: str) -> sql.Composed:
        """The place of a value in the statement."""
        name = f"p{len(self.values) + 1}"
        self.values[name] = value
        return sql.Composed([sql.Placeholder(name), sql.SQL(f"::{sql_type}")])

    def literal(self, value: str | float | bool | timedelta | None) -> Value:
        """A literal of the query."""
        kind = kind_of(value)
        if value is None:
            return Value(sql.SQL("NULL::text"), kind)
        return Value(self.add(value, SQL_TYPES[kind]), kind, is_nullable=False)


def kind_of(value: object) -> Kind:
    match value:
        case None:
            return Kind.NULL
        case bool():
            return Kind.BOOLEAN
        case float():
            return Kind.NUMBER
        case timedelta():
            return Kind.INTERVAL
        case _:
            return Kind.STRING


def error(at: Position, reason: str, suggestion: str = "") -> DataPrimeError:
    return DataPrimeError(at.line, at.column, f"{reason}.", suggestion)


def sql_type(value: Value) -> str:
    """The type a value has in PostgreSQL."""
    return f"{SQL_TYPES[value.item or Kind.NULL]}[]" if value.kind is Kind.ARRAY else SQL_TYPES[value.kind]


def as_kind(value: Value, kind: Kind) -> sql.Composable:
    """The value's SQL, with a null that has no kind yet as a null of this one."""
    if value.kind is Kind.NULL and kind is not Kind.NULL:
        return sql.SQL(f"NULL::{SQL_TYPES[kind]}")
    return value.sql


def sortable(value: Value) -> sql.Composable:
    """SQL that sorts texts by their code points, whatever the database's own order is."""
    return sql.SQL('({} COLLATE "C")').format(value.sql) if value.kind is Kind.STRING else value.sql


def as_text_of_time(value: sql.Composable) -> sql.Composed:
    """A timestamp as the text it is shown as."""
    return sql.SQL("""to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""").format(value)


def of_kind(value: Value, node: Expression, kinds: Sequence[Kind], taker: str) -> Value:
    """The value, if it is of one of the kinds; a null becomes one of the first. Raises DataPrimeError."""
    if value.kind is Kind.NULL:
        return replace(value, sql=as_kind(value, kinds[0]), kind=kinds[0])
    if value.kind not in kinds:
        wanted = " or ".join(a_kind(kind) for kind in kinds)
        raise error(node.at, f"{taker} takes {wanted} here; this is {a_kind(value.kind)}")
    return value


def a_kind(kind: Kind) -> str:
    """The kind with its article."""
    return f"{'an' if kind.value[0] in 'aeiou' else 'a'} {kind.value}" if kind is not Kind.NULL else "null"
