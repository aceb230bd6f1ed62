"""DataPrime once more, in plain Python over a list of rows: what the SQL of a query has to agree with.

It knows nothing of scopes, kinds or SQL. A row is a mapping from names as the query writes them to values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from typing import Any

from pagerduty_sync.dataprime import tree

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
Row = dict[str, Any]


# ------------------------------------------------------------------ expressions


def evaluate(node: Any, row: Row, group: Sequence[Row] | None = None) -> Any:
    def of(part):
        return evaluate(part, row, group)

    match node:
        case tree.Literal(value):
            return value
        case tree.Path():
            return row[str(node)]
        case tree.Not(part):
            return of(part) is not True
        case tree.Negative(part):
            value = of(part)
            return None if value is None else -value
        case tree.Logic("&&", parts):
            return all(of(part) is True for part in parts)
        case tree.Logic("||", parts):
            return any(of(part) is True for part in parts)
        case tree.Compare(operator, left, right):
            return compare(operator, of(left), of(right))
        case tree.Arithmetic(operator, left, right):
            return calculate(operator, of(left), of(right))
        case tree.Cast(part, to):
            return cast(of(part), to)
        case tree.Call(name, arguments) if name in AGGREGATES:
            assert group is not None
            return AGGREGATES[name](group, *arguments)
        case tree.Call("if", (condition, then, *otherwise)):
            if of(condition) is True:
                return of(then)
            return of(otherwise[0]) if otherwise else None
        case tree.Call("arrayContains", (tree.ArrayOf(items), wanted)):
            return of(wanted) in [of(item) for item in items]
        case tree.Call(name, arguments):
            return call(name, [of(argument) for argument in arguments])
    raise AssertionError(node)


def compare(operator: str, left: Any, right: Any) -> bool:
    if operator == "==":
        return left == right
    if operator == "!=":
        return left != right
    if left is None or right is None:
        return False
    return {
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
        "~": lambda: right.lower() in left.lower(),
    }[operator]()


def calculate(operator: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if operator in "/%" and right == 0:
        return None
    return {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "/": lambda: left / right,
        "%": lambda: left - right * math.trunc(left / right),
    }[operator]()


def cast(value: Any, to: str) -> Any:
    if value is None or (to == "string" and isinstance(value, str)):
        return value
    if to == "string":
        if isinstance(value, datetime):
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        return str(value).lower() if isinstance(value, bool) else f"{value:g}"
    if to == "number" and isinstance(value, str):
        return float(value) if value.isdigit() and value.isascii() and len(value) < 16 else None
    if to == "timestamp" and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


def call(name: str, values: list[Any]) -> Any:
    if name == "firstNonNull":
        return next((value for value in values if value is not None), None)
    if name == "in":
        return values[0] in values[1:] if values[0] is not None else False
    if None in values:
        return False if name in ("startsWith", "endsWith", "contains") else None
    return {
        "length": lambda text: float(len(text)),
        "toLowerCase": str.lower,
        "startsWith": str.startswith,
        "endsWith": str.endswith,
        "contains": lambda text, part: part in text,
        "concat": lambda *texts: "".join(texts)[:10_000],
        "abs": abs,
        "round": lambda number: float(round(number)),
        "floor": lambda number: float(math.floor(number)),
        "roundTime": lambda moment, step: EPOCH + (moment - EPOCH) // step * step,
        "toTimeUnit": lambda span, unit: span / timedelta(seconds=1) / UNITS[unit],
        "diffTime": lambda left, right: left - right,
    }[name](*values)


# ------------------------------------------------------------------ aggregates


def _present(group: Sequence[Row], argument: Any) -> list[Any]:
    return [value for row in group if (value := evaluate(argument, row)) is not None]


def _or_null(function: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    return lambda group, argument: function(values) if (values := _present(group, argument)) else None


def _percentile(group: Sequence[Row], part: tree.Literal, argument: Any) -> Any:
    values = sorted(_present(group, argument))
    if not values:
        return None
    place = part.value * (len(values) - 1)
    low = math.floor(place)
    return values[low] + (values[math.ceil(place)] - values[low]) * (place - low)


def _max_by(group: Sequence[Row], key: Any, argument: Any) -> Any:
    pairs = [(evaluate(key, row), evaluate(argument, row)) for row in group]
    pairs = [pair for pair in pairs if pair[0] is not None]
    if not pairs:
        return None
    largest = max(pair[0] for pair in pairs)
    # Nulls come last, as they do in every order.
    values = sorted((pair[1] is None, pair[1] if pair[1] is not None else "") for pair in pairs if pair[0] == largest)
    return None if values[0][0] else values[0][1]


AGGREGATES: dict[str, Callable[..., Any]] = {
    "count": lambda group, argument=None: float(len(group) if argument is None else len(_present(group, argument))),
    "count_if": lambda group, condition: float(sum(evaluate(condition, row) is True for row in group)),
    "sum": _or_null(math.fsum),
    "avg": _or_null(lambda values: math.fsum(values) / len(values)),
    "min": _or_null(min),
    "max": _or_null(max),
    "percentile": _percentile,
    "distinct_count": lambda group, argument: float(len(set(_present(group, argument)))),
    "any_value": _or_null(min),
    "collect": lambda group, argument: sorted(_present(group, argument))[:100],
    "max_by": _max_by,
}


# ------------------------------------------------------------------ commands


def run(query: tree.Query, rows: list[Row]) -> list[Row]:
    """The result of a query over rows that come newest first."""
    for command in query.commands:
        rows = apply(command, rows)
    return rows


def apply(command: Any, rows: list[Row]) -> list[Row]:
    match command:
        case tree.Filter(condition):
            return [row for row in rows if evaluate(condition, row) is True]
        case tree.Choose(items):
            return [{str(item.name): evaluate(item.expression, row) for item in items} for row in rows]
        case tree.Create(name, expression):
            return [{**row, str(name): evaluate(expression, row)} for row in rows]
        case tree.GroupBy(keys, aggregates):
            return grouped(rows, keys, aggregates)
        case tree.Distinct(keys):
            return grouped(rows, keys, ())
        case tree.Count(into):
            return [{str(into): float(len(rows))}]
        case tree.CountBy(keys, into, is_ascending):
            counted = grouped(rows, keys, (tree.Named(tree.Call("count", ()), into),))
            return sorted(counted, key=lambda row: row[str(into)], reverse=not is_ascending)
        case tree.DedupeBy(keys, keep, order):
            taken: dict[tuple[Any, ...], int] = {}
            kept = []
            for place, row in ordered(list(enumerate(rows)), order, of=lambda pair: pair[1]):
                key = tuple(evaluate(part, row) for part in keys)
                taken[key] = taken.get(key, 0) + 1
                if taken[key] <= keep:
                    kept.append((place, row))
            return [row for _, row in sorted(kept, key=lambda pair: pair[0])]
        case tree.OrderBy(order):
            return ordered(rows, order)
        case tree.Limit(limit):
            return rows[:limit]
    raise AssertionError(command)


def grouped(rows: list[Row], keys: Sequence[tree.Named], aggregates: Sequence[tree.Named]) -> list[Row]:
    names = [str(item.name) for item in keys]
    groups: dict[tuple[Any, ...], list[Row]] = {} if keys else {(): []}
    for row in rows:
        groups.setdefault(tuple(evaluate(item.expression, row) for item in keys), []).append(row)
    results = []
    for key, group in groups.items():
        result = dict(zip(names, key, strict=True))
        results.append({**result, **{str(item.name): evaluate(item.expression, result, group) for item in aggregates}})
    return ordered(results, [tree.Sort(tree.Path((name,))) for name in names])


def ordered(rows: list[Any], order: Sequence[tree.Sort], of: Callable[[Any], Row] = lambda row: row) -> list[Any]:
    """Sorted, nulls last in either direction; what is equal keeps its order."""

    def compared(one: Any, other: Any) -> int:
        for sort in order:
            left, right = evaluate(sort.expression, of(one)), evaluate(sort.expression, of(other))
            if left == right:
                continue
            if left is None or right is None:
                return 1 if left is None else -1
            return (-1 if left < right else 1) * (-1 if sort.is_descending else 1)
        return 0

    return sorted(rows, key=cmp_to_key(compared))


# ------------------------------------------------------------------ back to text


def text_of(node: Any) -> str:
    """A query or a part of it, as somebody could have written it."""
    match node:
        case tree.Query(source, commands):
            return "\n| ".join([f"source {source.name}", *map(text_of, commands)])
        case tree.Filter(condition):
            return f"filter {text_of(condition)}"
        case tree.Choose(items):
            return f"choose {_listed(items)}"
        case tree.Create(name, expression):
            return f"create {name} from {text_of(expression)}"
        case tree.GroupBy((), aggregates):
            return f"aggregate {_listed(aggregates)}"
        case tree.GroupBy(keys, aggregates):
            return f"groupby {_listed(keys)} aggregate {_listed(aggregates)}"
        case tree.Distinct(keys):
            return f"distinct {_listed(keys)}"
        case tree.Count(into):
            return f"count into {into}"
        case tree.CountBy(keys, into, is_ascending):
            return f"countby {_listed(keys)} into {into}{' asc' if is_ascending else ''}"
        case tree.DedupeBy(keys, keep, order):
            end = f" orderby {_listed(order)}" if order else ""
            return f"dedupeby {_listed(keys)} keep {keep}{end}"
        case tree.OrderBy(order):
            return f"orderby {_listed(order)}"
        case tree.Limit(rows):
            return f"limit {rows}"
        case tree.Named(expression, name):
            return f"{text_of(expression)} as {name}"
        case tree.Sort(expression, is_descending):
            return f"{text_of(expression)}{' desc' if is_descending else ''}"
        case _:
            return _expression(node)


def _expression(node: Any) -> str:
    match node:
        case tree.Literal(None):
            return "null"
        case tree.Literal(bool(value)):
            return str(value).lower()
        case tree.Literal(str(value)):
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case tree.Literal(timedelta() as value):
            return f"{value // timedelta(seconds=1)}s"
        case tree.Literal(value):
            return f"{value:g}"
        case tree.Path():
            return str(node)
        case tree.ArrayOf(items):
            return f"[{_listed(items)}]"
        case tree.Not(of):
            return f"!({text_of(of)})"
        case tree.Negative(of):
            return f"-({text_of(of)})"
        case tree.Logic(operator, parts):
            return f" {operator} ".join(f"({text_of(part)})" for part in parts)
        case tree.Compare(operator, left, right) | tree.Arithmetic(operator, left, right):
            return f"({text_of(left)}) {operator} ({text_of(right)})"
        case tree.Cast(of, to):
            return f"({text_of(of)}):{to}"
        case tree.Call(name, arguments):
            return f"{name}({_listed(arguments)})"
    raise AssertionError(node)


def _listed(nodes: Sequence[Any]) -> str:
    return ", ".join(map(text_of, nodes))
