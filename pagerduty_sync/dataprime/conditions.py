"""What is true and what is false: comparisons and their connection, with null kept two-valued."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from psycopg import sql

from pagerduty_sync.dataprime import fields, tree
from pagerduty_sync.dataprime.values import ORDERED, Kind, Parameters, Value, a_kind, as_kind, error, sortable

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SIGNS = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}


def strict(value: Value) -> Value:
    """The condition with false in place of null."""
    if not value.is_nullable:
        return value
    return Value(sql.SQL("coalesce({}, false)").format(value.sql), value.kind, False, value.size + 1)


def logic(operator: str, parts: Sequence[Value]) -> Value:
    """Conditions joined by `&&` or `||`."""
    joined = sql.SQL(" AND " if operator == "&&" else " OR ").join([part.sql for part in parts])
    is_nullable = any(part.is_nullable for part in parts)
    return Value(sql.SQL("({})").format(joined), Kind.BOOLEAN, is_nullable, sum(part.size for part in parts))


def negation(strict_condition: Value) -> Value:
    """The opposite of a condition that is never null."""
    return replace(
        strict_condition, sql=sql.SQL("(NOT {})").format(strict_condition.sql), size=strict_condition.size + 1
    )


def comparison(node: tree.Compare, left: Value, right: Value, *, strictly: bool) -> Value:
    """Two values compared; raises DataPrimeError when they are not of one kind."""
    if node.operator in ("==", "!="):
        return _equality(node, left, right, strictly)
    if node.operator == "~":
        return _containing(node, left, right, strictly)
    _require_alike(node, left, right)
    if Kind.NULL in (left.kind, right.kind):
        raise error(node.at, "null has no order; compare with it by == or !=")
    if left.kind not in ORDERED:
        raise error(node.at, f"values of the kind {left.kind.value} have no order")
    compared = sql.SQL("({} {} {})").format(
        sortable(left),
        sql.SQL(_SIGNS[node.operator]),
        sortable(right),
    )
    return _boolean(compared, left, right, strictly)


def by_index(field: Value, literal: tree.Expression, parameters: Parameters) -> Value | None:
    """`field == 'text'` in the words an index answers, true for the same rows; None where there are none."""
    if not field.column or not isinstance(literal, tree.Literal) or not isinstance(literal.value, str):
        return None
    text = literal.value
    if field.column == fields.STATUS_COLUMN:
        found = sql.SQL("(d.outcome = ANY({}) AND {} = {})").format(
            parameters.add(fields.outcomes_of(text), "text[]"), field.sql, parameters.add(text, "text")
        )
    elif field.column in fields.UUID_COLUMNS:
        if not _UUID.fullmatch(text):
            return Value(sql.SQL("false"), Kind.BOOLEAN, is_nullable=False)
        column = sql.SQL(field.column)
        found = sql.SQL("({} = {})").format(column, parameters.add(text, "uuid"))
    else:
        column = sql.SQL(field.column)
        found = sql.SQL("({0} = {1} AND {0} <> '')").format(column, parameters.add(text, "text"))
    return Value(found, Kind.BOOLEAN, size=3)


def _equality(node: tree.Compare, left: Value, right: Value, strictly: bool) -> Value:
    is_equal = node.operator == "=="
    for value, other in ((left, right), (right, left)):
        if other.kind is Kind.NULL:
            template = "({} IS NULL)" if is_equal else "({} IS NOT NULL)"
            return Value(sql.SQL(template).format(value.sql), Kind.BOOLEAN, False, value.size + 1)
    _require_alike(node, left, right)
    if left.kind in (Kind.ARRAY, Kind.OBJECT):
        raise error(node.at, f"values of the kind {left.kind.value} can only be compared with null")
    size = left.size + right.size + 1
    # With one side never null, "=" is at worst null where it should be false.
    plain = not (left.is_nullable or right.is_nullable)
    if not strictly and is_equal:
        plain = not (left.is_nullable and right.is_nullable)
    words = ("=", "<>") if plain else ("IS NOT DISTINCT FROM", "IS DISTINCT FROM")
    compared = sql.SQL("({} {} {})").format(
        left.sql,
        sql.SQL(words[0 if is_equal else 1]),
        right.sql,
    )
    return Value(compared, Kind.BOOLEAN, plain and (left.is_nullable or right.is_nullable), size)


def _containing(node: tree.Compare, left: Value, right: Value, strictly: bool) -> Value:
    for value in (left, right):
        if value.kind not in (Kind.STRING, Kind.NULL):
            raise error(node.at, f"~ looks for a text in a text; one side is of the kind {value.kind.value}")
    found = sql.SQL("(strpos(lower({}), lower({})) > 0)").format(
        as_kind(left, Kind.STRING), as_kind(right, Kind.STRING)
    )
    return _boolean(found, left, right, strictly)


def _boolean(compared: sql.Composable, left: Value, right: Value, strictly: bool) -> Value:
    value = Value(compared, Kind.BOOLEAN, left.is_nullable or right.is_nullable, left.size + right.size + 1)
    return strict(value) if strictly else value


def _require_alike(node: tree.Compare, left: Value, right: Value) -> None:
    if left.kind is right.kind or Kind.NULL in (left.kind, right.kind):
        return
    cast = ""
    if {left.kind, right.kind} == {Kind.STRING, Kind.NUMBER}:
        cast = "; write :number behind the text or :string behind the number"
    if Kind.TIMESTAMP in (left.kind, right.kind):
        cast = "; write :timestamp behind the other one"
    raise error(node.at, f"{node.operator} compares {a_kind(left.kind)} with {a_kind(right.kind)}{cast}")
