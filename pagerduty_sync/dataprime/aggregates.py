"""The aggregates: what each takes and gives. All of them leave nulls out; without any value the result is null."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg import sql

from pagerduty_sync.dataprime import tree
from pagerduty_sync.dataprime.calls import require_count
from pagerduty_sync.dataprime.scope import as_json
from pagerduty_sync.dataprime.values import ORDERED, SQL_TYPES, Kind, Value, a_kind, error, of_kind, sortable

MOST_COLLECTED = 100
"""Values of one `collect`; a group with more keeps the first in their own order."""

Argument = Callable[[tree.Expression], Value]


@dataclass(frozen=True, slots=True)
class Aggregator:
    """Compiles one call. `argument` gives an argument as a column of the rows to be grouped, `condition` one that
    is true or false, `parameter` the place of a number."""

    argument: Argument
    condition: Argument
    parameter: Callable[[float], sql.Composable]

    def __call__(self, node: tree.Call) -> Value:
        name = node.name.lower()
        match name:
            case "count":
                return self._count(node)
            case "count_if":
                return self._count_if(node)
            case "sum" | "avg" | "percentile" | "median":
                return self._of_numbers(node, name)
            case "min" | "max":
                return self._extreme(node, name)
            case "distinct_count":
                value = self._one(node)
                return _number(sql.SQL("count(DISTINCT {})::double precision").format(value.sql))
            case "any_value":
                return self._any(node)
            case "collect":
                return self._collect(node)
            case _:
                return self._by(node, name)

    def _count(self, node: tree.Call) -> Value:
        require_count(node, 0, 1)
        if not node.arguments:
            return _number(sql.SQL("count(*)::double precision"))
        return _number(sql.SQL("count({})::double precision").format(self.argument(node.arguments[0]).sql))

    def _count_if(self, node: tree.Call) -> Value:
        require_count(node, 1, 2)
        condition = self.condition(node.arguments[0])
        counted = self.argument(node.arguments[1]).sql if len(node.arguments) == 2 else sql.SQL("*")
        return _number(sql.SQL("(count({}) FILTER (WHERE {}))::double precision").format(counted, condition.sql))

    def _of_numbers(self, node: tree.Call, name: str) -> Value:
        require_count(node, 2 if name == "percentile" else 1)
        of = node.arguments[-1]
        value = of_kind(self.argument(of), of, (Kind.NUMBER,), node.name)
        if name in ("sum", "avg"):
            template = "sum({})" if name == "sum" else "avg({})"
            return Value(sql.SQL(template).format(value.sql), Kind.NUMBER)
        part = 0.5 if name == "median" else self._part(node)
        found = sql.SQL("percentile_cont({}) WITHIN GROUP (ORDER BY {})").format(self.parameter(part), value.sql)
        return Value(found, Kind.NUMBER)

    def _part(self, node: tree.Call) -> float:
        part = node.arguments[0]
        value = part.value if isinstance(part, tree.Literal) else None
        if not isinstance(value, float) or not 0 <= value <= 1:
            raise error(part.at, f"{node.name} begins with a number from 0 to 1, such as 0.95")
        return value

    def _extreme(self, node: tree.Call, name: str) -> Value:
        value = self._one(node)
        self._require_order(node, value)
        if value.kind is Kind.BOOLEAN:
            template = "bool_and({})" if name == "min" else "bool_or({})"
        else:
            template = "min({})" if name == "min" else "max({})"
        return Value(sql.SQL(template).format(sortable(value)), value.kind)

    def _any(self, node: tree.Call) -> Value:
        value = self._one(node)
        if value.kind in ORDERED:
            # Any will do, and the smallest is the same one every time.
            return self._extreme(node, "min")
        found = sql.SQL("(array_agg({0}) FILTER (WHERE {0} IS NOT NULL))[1]").format(value.sql)
        return Value(found, value.kind)

    def _collect(self, node: tree.Call) -> Value:
        value = self._one(node)
        held = replace(value, sql=as_json(value)) if value.kind is Kind.INTERVAL else value
        item = Kind.NUMBER if value.kind is Kind.INTERVAL else value.kind
        collected = sql.SQL(
            f"coalesce((array_agg({{0}} ORDER BY {{1}}) FILTER (WHERE {{0}} IS NOT NULL))[1:{MOST_COLLECTED}], "
            f"ARRAY[]::{SQL_TYPES[item]}[])"
        ).format(held.sql, sortable(value))
        return Value(collected, Kind.ARRAY, is_nullable=False, item=item)

    def _by(self, node: tree.Call, name: str) -> Value:
        """`max_by(key, value)`: the value where the key is largest; of several, the smallest value."""
        require_count(node, 2)
        key, value = self.argument(node.arguments[0]), self.argument(node.arguments[1])
        self._require_order(node, key)
        _require_no_array(node, value)
        direction = sql.SQL("DESC" if name == "max_by" else "ASC")
        found = sql.SQL("(array_agg({} ORDER BY {} {}, {}) FILTER (WHERE {} IS NOT NULL))[1]").format(
            value.sql, sortable(key), direction, sortable(value), key.sql
        )
        return Value(found, value.kind)

    def _one(self, node: tree.Call) -> Value:
        require_count(node, 1)
        value = self.argument(node.arguments[0])
        _require_no_array(node, value)
        return value

    @staticmethod
    def _require_order(node: tree.Call, value: Value) -> None:
        if value.kind not in ORDERED and value.kind is not Kind.NULL:
            raise error(node.arguments[0].at, f"{node.name} takes what has an order; this is {a_kind(value.kind)}")


def _number(counted: sql.Composable) -> Value:
    return Value(counted, Kind.NUMBER, is_nullable=False)


def _require_no_array(node: tree.Call, value: Value) -> None:
    if value.kind is Kind.ARRAY:
        raise error(node.at, f"{node.name} takes no array")
