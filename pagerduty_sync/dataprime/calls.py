"""The functions whose arguments follow rules of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from psycopg import sql

from pagerduty_sync.dataprime import functions, tree
from pagerduty_sync.dataprime.errors import nearest
from pagerduty_sync.dataprime.values import SQL_TYPES, Kind, Parameters, Value, as_kind, error, of_kind

_INSTANT = re.compile(r"[1-9]\d{3}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)


class Compiler(Protocol):
    """What compiles the arguments of a call."""

    @property
    def parameters(self) -> Parameters: ...

    @property
    def now(self) -> Value: ...

    def value(self, node: tree.Expression) -> Value: ...

    def condition(self, node: tree.Expression, *, strictly: bool = False) -> Value: ...


def instant(literal: tree.Literal, parameters: Parameters) -> Value:
    """The moment a text in the query names; raises DataPrimeError when it names none."""
    text = str(literal.value)
    try:
        if not _INSTANT.fullmatch(text):
            raise ValueError
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise error(literal.at, f"{text[:40]!r} is no time such as 2026-01-31T12:00:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Value(parameters.add(moment, "timestamptz"), Kind.TIMESTAMP, is_nullable=False)


def require_count(node: tree.Call, least: int, most: int | None = None) -> None:
    """Raise DataPrimeError unless the call has that many arguments; `most` is `least` unless given."""
    given, most = len(node.arguments), least if most is None else most
    if not least <= given <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise error(node.at, f"{node.name} takes {wanted} arguments, not {given}")


def alike(node: tree.Call, nodes: Sequence[tree.Expression], values: Sequence[Value]) -> Kind:
    """The one kind of all the values that are not null; raises DataPrimeError when there are two."""
    kind = Kind.NULL
    for part, value in zip(nodes, values, strict=True):
        if value.kind in (Kind.ARRAY, Kind.OBJECT):
            raise error(part.at, f"{node.name} takes no {value.kind.value}")
        if kind is Kind.NULL:
            kind = value.kind
        elif value.kind not in (kind, Kind.NULL):
            raise error(part.at, f"{node.name} has a {kind.value} before and a {value.kind.value} here")
    return kind


def _now(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 0)
    return on.now


def _if(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 2, 3)
    condition = on.condition(node.arguments[0])
    answers = [on.value(argument) for argument in node.arguments[1:]]
    kind = alike(node, node.arguments[1:], answers)
    then, *otherwise = (as_kind(answer, kind) for answer in answers)
    pieces = [condition.sql, then, *(otherwise or [sql.SQL("NULL")])]
    return Value(
        sql.SQL("(CASE WHEN {} THEN {} ELSE {} END)").format(*pieces),
        kind,
        not otherwise or any(answer.is_nullable for answer in answers),
        1 + condition.size + sum(answer.size for answer in answers),
    )


def _first_non_null(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 1, 20)
    values = [on.value(argument) for argument in node.arguments]
    kind = alike(node, node.arguments, values)
    joined = sql.SQL(", ").join([as_kind(value, kind) for value in values])
    return Value(
        sql.SQL("coalesce({})").format(joined),
        kind,
        all(value.is_nullable for value in values),
        1 + sum(value.size for value in values),
    )


def _concat(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 1, 20)
    values = [_of_kind(on, argument, Kind.STRING, node) for argument in node.arguments]
    joined = sql.SQL(" || ").join([value.sql for value in values])
    return Value(
        sql.SQL(f"left({{}}, {functions.LONGEST_TEXT})").format(joined),
        Kind.STRING,
        any(value.is_nullable for value in values),
        1 + sum(value.size for value in values),
    )


def _in(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 2, 1_000)
    return _among(on, node, node.arguments[0], node.arguments[1:])


def _array_contains(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 2)
    array, wanted = node.arguments
    if isinstance(array, tree.ArrayOf):
        return _among(on, node, wanted, array.items)
    held, value = on.value(array), on.value(wanted)
    if held.kind is not Kind.ARRAY:
        raise error(array.at, f"{node.name} looks into an array; this is a {held.kind.value}")
    if held.item is not value.kind:
        item = held.item.value if held.item else "thing"
        raise error(wanted.at, f"the array holds values of the kind {item}; this is a {value.kind.value}")
    found = sql.SQL("({} = ANY({}))").format(value.sql, held.sql)
    return Value(found, Kind.BOOLEAN, size=held.size + value.size + 1)


def _among(on: Compiler, node: tree.Call, wanted: tree.Expression, items: Sequence[tree.Expression]) -> Value:
    values = [on.value(part) for part in (wanted, *items)]
    if any(value.kind is Kind.NULL for value in values):
        raise error(node.at, f"{node.name} does not look for null; compare with it by == or !=")
    kind = alike(node, (wanted, *items), values)
    array = sql.SQL(f"ARRAY[{{}}]::{SQL_TYPES[kind]}[]").format(sql.SQL(", ").join([value.sql for value in values[1:]]))
    found = sql.SQL("({} = ANY({}))").format(values[0].sql, array)
    return Value(found, Kind.BOOLEAN, size=1 + sum(value.size for value in values))


def _round_time(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 2)
    moment = _of_kind(on, node.arguments[0], Kind.TIMESTAMP, node)
    step = node.arguments[1]
    if not isinstance(step, tree.Literal) or not isinstance(step.value, timedelta) or not step.value:
        raise error(step.at, f"{node.name} rounds to an interval such as 15m or 1h that stands in the query")
    rounded = sql.SQL("date_bin({}, {}, {})").format(
        on.parameters.add(step.value, "interval"),
        moment.sql,
        on.parameters.add(datetime(1970, 1, 1, tzinfo=UTC), "timestamptz"),
    )
    return Value(rounded, Kind.TIMESTAMP, moment.is_nullable, moment.size + 1)


def _to_time_unit(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 1, 2)
    span = _of_kind(on, node.arguments[0], Kind.INTERVAL, node)
    converted = sql.SQL("(extract(epoch FROM {})::double precision / {})").format(span.sql, _unit(on, node))
    return replace(span, sql=converted, kind=Kind.NUMBER, size=span.size + 2)


def _to_interval(on: Compiler, node: tree.Call) -> Value:
    require_count(node, 1, 2)
    number = _of_kind(on, node.arguments[0], Kind.NUMBER, node)
    converted = sql.SQL("make_interval(secs => {} * {})").format(number.sql, _unit(on, node))
    return replace(number, sql=converted, kind=Kind.INTERVAL, size=number.size + 2)


def _unit(on: Compiler, node: tree.Call) -> sql.Composable:
    """The seconds of the time unit in the second argument; without one, of a nanosecond."""
    unit = node.arguments[1] if len(node.arguments) > 1 else tree.Literal("ns", at=node.at)
    name = unit.value if isinstance(unit, tree.Literal) else None
    if not isinstance(name, str) or name not in functions.UNITS:
        suggestion = nearest(name, functions.UNITS) if isinstance(name, str) else ""
        raise error(unit.at, f"a time unit must stand here: {', '.join(map(repr, functions.UNITS))}", suggestion)
    return on.parameters.add(functions.UNITS[name], "double precision")


def _of_kind(on: Compiler, node: tree.Expression, kind: Kind, call: tree.Call) -> Value:
    return of_kind(on.value(node), node, (kind,), call.name)


SPECIAL: dict[str, Callable[[Compiler, tree.Call], Value]] = {
    "now": _now,
    "if": _if,
    "firstNonNull": _first_non_null,
    "concat": _concat,
    "in": _in,
    "arrayContains": _array_contains,
    "roundTime": _round_time,
    "toTimeUnit": _to_time_unit,
    "toInterval": _to_interval,
}
