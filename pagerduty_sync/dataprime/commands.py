"""Each command as a step from relation to relation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg import sql

from pagerduty_sync.dataprime import tree
from pagerduty_sync.dataprime.aggregates import Aggregator
from pagerduty_sync.dataprime.expressions import Expressions
from pagerduty_sync.dataprime.relations import Relation, SortKey, column, named, require_place, subquery
from pagerduty_sync.dataprime.scope import Scope, Segments, whole
from pagerduty_sync.dataprime.values import ORDERED, Kind, Parameters, Value, as_kind, error

_OUTSIDE = "outside of an aggregate, where only the keys of the groups are known"


@dataclass(frozen=True, slots=True)
class Commands:
    """Applies commands. `now` is one moment for the whole query."""

    parameters: Parameters
    now: datetime

    def apply(self, rows: Relation, command: tree.Command) -> Relation:
        """The rows after a command; raises DataPrimeError."""
        return self._apply(rows, command).require_bounded(command.at)

    def _apply(self, rows: Relation, command: tree.Command) -> Relation:
        match command:
            case tree.Filter(condition):
                rows = rows.settled()
                return rows.where(self._on(rows).condition(condition))
            case tree.Choose(items):
                return replace(rows, scope=self._chosen(rows, items), is_record=False)
            case tree.Create():
                return self._create(rows, command)
            case tree.GroupBy(keys, aggregates):
                return self._group(rows, keys, aggregates)
            case tree.Distinct(keys):
                return self._group(rows, keys, ())
            case tree.Count(into):
                return self._group(rows, (), (_counted(into),))
            case tree.CountBy(keys, into, is_ascending):
                grouped = self._group(rows, keys, (_counted(into),))
                *_, counted = (value for _, value in grouped.scope.outputs())
                return replace(grouped, order=(SortKey(counted, not is_ascending), *grouped.order))
            case tree.DedupeBy():
                return self._dedupe(rows, command)
            case tree.OrderBy(order):
                rows = rows.settled()
                # What is equal keeps the order it had.
                return replace(rows, order=(*self._order(rows, order), *rows.order))
            case tree.Limit(limit):
                return replace(rows, limit=limit if rows.limit is None else min(limit, rows.limit))

    def _on(self, rows: Relation) -> Expressions:
        moment = Value(self.parameters.add(self.now, "timestamptz"), Kind.TIMESTAMP, is_nullable=False)
        return Expressions(rows.scope, self.parameters, moment)

    # -------------------------------------------------------------- fields

    def _chosen(self, rows: Relation, items: Sequence[tree.Named]) -> Scope:
        chosen = Scope({})
        for item in items:
            segments, value = self._named(rows, item, chosen)
            require_place(chosen, segments, item.at)
            chosen = Scope({**chosen.leaves, segments: value})
        return chosen

    def _named(self, rows: Relation, item: tree.Named, taken: Scope) -> tuple[Segments, Value]:
        """A value and the path it goes by: the given name, the path itself, or one made from the function's name."""
        if item.name is not None:
            return _own(item.name), self._on(rows).value(item.expression)
        if isinstance(item.expression, tree.Path):
            return rows.scope.find(item.expression, self.parameters)
        return _free(item.expression, taken), self._on(rows).value(item.expression)

    def _create(self, rows: Relation, command: tree.Create) -> Relation:
        segments = _own(command.name)
        value = self._on(rows).value(command.expression)
        others = {known: leaf for known, leaf in rows.scope.leaves.items() if known != segments}
        require_place(Scope(others), segments, command.name.at)
        return replace(rows, scope=Scope({**others, segments: value}, rows.scope.shorts))

    # -------------------------------------------------------------- groups

    def _group(self, rows: Relation, keys: Sequence[tree.Named], aggregates: Sequence[tree.Named]) -> Relation:
        rows = rows.settled()
        key_values: dict[Segments, Value] = {}
        for item in keys:
            segments, value = self._named(rows, item, Scope(key_values))
            # Results live under $d, whatever the key was.
            segments = ("$d", *(segments[1:] or ("labels",)))
            require_place(Scope(key_values), segments, item.at)
            key_values[segments] = value
        key_columns = {
            segments: column(f"k{number}", value) for number, (segments, value) in enumerate(key_values.items(), 1)
        }
        arguments: list[Value] = []
        results = self._aggregated(rows, Scope(key_columns, place=_OUTSIDE), aggregates, arguments)
        inner = rows.select(named("k", list(key_values.values())) + named("x", arguments), ordered=False)
        names = sql.SQL(", ").join([value.sql for value in key_columns.values()])
        everything = {**key_columns, **results}
        grouped = Relation(subquery(inner), Scope(everything)).select(
            named("c", list(everything.values())), ordered=False
        )
        if key_columns:
            grouped = sql.SQL("{} GROUP BY {}").format(grouped, names)
        leaves = {
            segments: column(f"c{number}", value) for number, (segments, value) in enumerate(everything.items(), 1)
        }
        order = [leaves[segments] for segments in key_columns]
        return Relation(
            subquery(grouped),
            Scope(leaves),
            order=tuple(SortKey(value, False) for value in order if value.kind in ORDERED),
            is_record=False,
        )

    def _aggregated(
        self, rows: Relation, keys: Scope, aggregates: Sequence[tree.Named], arguments: list[Value]
    ) -> dict[Segments, Value]:
        """The results by path; what the aggregates need of each row is added to `arguments`."""
        on_row = self._on(rows)

        def needed(value: Value) -> Value:
            arguments.append(replace(value, sql=as_kind(value, value.kind)))
            return column(f"x{len(arguments)}", value)

        aggregator = Aggregator(
            argument=lambda node: needed(on_row.value(node)),
            condition=lambda node: needed(on_row.condition(node, strictly=True)),
            parameter=lambda number: self.parameters.add(number, "double precision"),
        )
        on_group = replace(on_row, scope=keys, aggregate=aggregator)
        results: dict[Segments, Value] = {}
        for item in aggregates:
            taken = Scope({**keys.leaves, **results})
            segments = _own(item.name) if item.name else _free(item.expression, taken)
            require_place(taken, segments, item.at)
            if segments in taken.leaves:
                raise error(item.at, f"there are two results called {'.'.join(segments[1:])!r}")
            results[segments] = on_group.value(item.expression)
        return results

    # -------------------------------------------------------------- order

    def _order(self, rows: Relation, order: Sequence[tree.Sort]) -> list[SortKey]:
        on = self._on(rows)
        keys = []
        for sort in order:
            value = on.value(sort.expression)
            if value.kind not in ORDERED and value.kind is not Kind.NULL:
                raise error(sort.at, f"values of the kind {value.kind.value} have no order")
            keys.append(SortKey(value, sort.is_descending))
        return keys

    def _dedupe(self, rows: Relation, command: tree.DedupeBy) -> Relation:
        rows = rows.settled()
        keys = [self._on(rows).value(key) for key in command.keys]
        order = [*self._order(rows, command.order), *rows.order]
        over = sql.SQL("PARTITION BY {}").format(sql.SQL(", ").join([key.sql for key in keys]))
        if order:
            over = sql.SQL("{} ORDER BY {}").format(over, sql.SQL(", ").join([key.sql() for key in order]))
        place = Value(sql.SQL("row_number() OVER ({})").format(over), Kind.NUMBER)
        kept = sql.SQL("(t.x1 <= {})").format(self.parameters.add(command.keep, "bigint"))
        return rows.as_subquery(place).where(Value(kept, Kind.BOOLEAN))


def _counted(into: tree.Path | None) -> tree.Named:
    return tree.Named(tree.Call("count", ()), into or tree.Path(("_count",)))


def _own(name: tree.Path) -> Segments:
    """Where a name of the query lives; raises DataPrimeError outside the data."""
    segments = whole(name)
    if segments[0] != "$d":
        raise error(name.at, f"new fields live under $d, not under {segments[0]}")
    return segments


def _free(expression: tree.Expression, taken: Scope) -> Segments:
    """A name for what was given none."""
    stem = f"_{expression.name}" if isinstance(expression, tree.Call) else "_value"
    names = (stem if number == 1 else f"{stem}{number}" for number in range(1, len(taken.leaves) + 2))
    return next(("$d", name) for name in names if ("$d", name) not in taken.leaves)
