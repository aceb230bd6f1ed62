"""An expression in a scope: its kinds are checked, then it becomes SQL.

Null is a value like any other to `==` and `!=`; every other comparison with it, and every condition that is null,
counts as false. SQL's third truth value is kept out of sight by `strictly`; where PostgreSQL drops null rows by itself,
as in WHERE, it is left out so that an index can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from psycopg import sql

from pagerduty_sync.dataprime import calls, conditions, functions, tree
from pagerduty_sync.dataprime.errors import nearest
from pagerduty_sync.dataprime.scope import Scope
from pagerduty_sync.dataprime.values import Kind, Parameters, Value, a_kind, as_kind, error, of_kind

Aggregator = Callable[[tree.Call], Value]


@dataclass(frozen=True, slots=True)
class Expressions:
    """Compiles expressions over one scope. `aggregate` is set where aggregates may stand."""

    scope: Scope
    parameters: Parameters
    now: Value
    aggregate: Aggregator | None = None

    def value(self, node: tree.Expression) -> Value:
        """The expression as a value: a comparison is true or false, never null."""
        return self._compile(node, strictly=True)

    def condition(self, node: tree.Expression, *, strictly: bool = False) -> Value:
        """The expression as a condition; unless `strictly`, null may stand for false."""
        value = self._compile(node, strictly=strictly)
        if value.kind is Kind.NULL:
            value = replace(value, sql=as_kind(value, Kind.BOOLEAN), kind=Kind.BOOLEAN)
        if value.kind is not Kind.BOOLEAN:
            raise error(node.at, f"a condition is true or false; this is {a_kind(value.kind)}")
        return conditions.strict(value) if strictly else value

    def _compile(self, node: tree.Expression, *, strictly: bool) -> Value:
        match node:
            case tree.Literal(literal):
                return self.parameters.literal(literal)
            case tree.Path():
                return self.scope.find(node, self.parameters)[1]
            case tree.Logic(operator, parts):
                return conditions.logic(operator, [self.condition(part, strictly=strictly) for part in parts])
            case tree.Not(of):
                return conditions.negation(self.condition(of, strictly=True))
            case tree.Compare():
                return self._comparison(node, strictly)
            case tree.Negative(of):
                value = self._of_kind(of, (Kind.NUMBER, Kind.INTERVAL), "the minus sign")
                return Value(sql.SQL("(- {})").format(value.sql), value.kind, value.is_nullable, value.size + 1)
            case tree.Arithmetic():
                return self._arithmetic(node)
            case tree.Cast():
                return self._cast(node)
            case tree.ArrayOf():
                raise error(node.at, "an array can only stand before .arrayContains(…)")
            case tree.Call():
                return self._call(node, strictly)

    # -------------------------------------------------------------- operators

    def _comparison(self, node: tree.Compare, strictly: bool) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if not strictly and node.operator == "==":
            found = conditions.by_index(left, node.right, self.parameters)
            found = found or conditions.by_index(right, node.left, self.parameters)
            if found:
                return found
        return conditions.comparison(node, left, right, strictly=strictly)

    def _arithmetic(self, node: tree.Arithmetic) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        kinds = self._arithmetic_kinds(left.kind, right.kind)
        function = functions.OPERATORS.get((node.operator, *kinds))
        if function is None:
            hint = "; concat(…) joins texts" if Kind.STRING in kinds and node.operator == "+" else ""
            raise error(node.at, f"{node.operator} does not work on {a_kind(left.kind)} and {a_kind(right.kind)}{hint}")
        return self._applied(function, [left, right])

    @staticmethod
    def _arithmetic_kinds(left: Kind, right: Kind) -> tuple[Kind, Kind]:
        """A null is whatever its neighbour can be taken with."""
        if left is Kind.NULL:
            left = Kind.NUMBER if right is Kind.NULL else right
        if right is Kind.NULL:
            right = Kind.INTERVAL if left is Kind.TIMESTAMP else left
        return left, right

    def _cast(self, node: tree.Cast) -> Value:
        to = functions.CAST_KINDS.get(node.to.lower())
        if to is None:
            known = ["string", "number", "timestamp"]
            raise error(
                node.at, f"there is no cast to {node.to!r}, only to {', '.join(known)}", nearest(node.to, known)
            )
        if isinstance(node.of, tree.Literal) and isinstance(node.of.value, str) and to is Kind.TIMESTAMP:
            return calls.instant(node.of, self.parameters)
        value = self.value(node.of)
        if value.kind in (to, Kind.NULL):
            return replace(value, sql=as_kind(value, to), kind=to)
        function = functions.CASTS.get((value.kind, to))
        if function is None:
            raise error(node.at, f"{a_kind(value.kind)} cannot become {a_kind(to)}")
        return self._applied(function, [value])

    # -------------------------------------------------------------- calls

    def _call(self, node: tree.Call, strictly: bool) -> Value:
        known = {name.lower(): name for name in (*functions.FUNCTIONS, *functions.SPECIAL)}
        if node.name.lower() in functions.AGGREGATES:
            if self.aggregate is None:
                raise error(
                    node.at, f"{node.name} is an aggregate: it stands behind `aggregate`, and not inside another"
                )
            return self.aggregate(node)
        name = known.get(node.name.lower())
        if name is None:
            suggestion = nearest(node.name, [*known.values(), *functions.AGGREGATES])
            raise error(node.at, f"there is no function {node.name!r}", suggestion)
        if name in functions.FUNCTIONS:
            value = self._plain(node, functions.FUNCTIONS[name])
        else:
            value = calls.SPECIAL[name](self, node)
        is_chosen = name in ("if", "firstNonNull")  # a null among what they choose from is a value
        return conditions.strict(value) if strictly and value.kind is Kind.BOOLEAN and not is_chosen else value

    def _plain(self, node: tree.Call, function: functions.Function) -> Value:
        calls.require_count(node, len(function.takes))
        values = [
            self._of_kind(argument, (kind,), node.name)
            for argument, kind in zip(node.arguments, function.takes, strict=True)
        ]
        return self._applied(function, values)

    def _of_kind(self, node: tree.Expression, kinds: Sequence[Kind], taker: str) -> Value:
        return of_kind(self.value(node), node, kinds, taker)

    @staticmethod
    def _applied(function: functions.Function, values: Sequence[Value]) -> Value:
        pieces = [as_kind(value, kind) for value, kind in zip(values, function.takes, strict=True)]
        return Value(
            sql.SQL(function.sql).format(*pieces),
            function.gives,
            function.may_be_null or any(value.is_nullable for value in values),
            function.size([value.size for value in values]),
        )
