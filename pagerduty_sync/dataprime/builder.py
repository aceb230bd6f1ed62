"""Makes the tree while the parser reads, bottom up, so that no depth of nesting can exhaust the stack."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from lark import Token, Transformer

from pagerduty_sync.dataprime import tree
from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.dataprime.tree import Position

Parts = list[Any]

LONGEST_INTERVAL = timedelta(days=36_525)
MOST_ROWS = 1_000_000_000
_MICROSECONDS = {
    "ns": 0.001,
    "us": 1.0,
    "ms": 1e3,
    "s": 1e6,
    "m": 60e6,
    "h": 3600e6,
    "d": 86400e6,
    "w": 604800e6,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class TreeBuilder(Transformer[Token, Any]):
    """One method for each rule of the grammar; the parser calls them."""

    # -------------------------------------------------------------- commands

    def start(self, parts: Parts) -> tree.Query:
        steps = _nodes(parts)
        source = steps.pop(0) if isinstance(steps[0], tree.Source) else None
        return tree.Query(source, tuple(steps), at=Position(1, 1))

    def source(self, parts: Parts) -> tree.Source:
        return tree.Source(str(parts[1]), at=_at(parts[1]))

    def filter(self, parts: Parts) -> tree.Filter:
        return tree.Filter(parts[1], at=_at(parts[0]))

    def choose(self, parts: Parts) -> tree.Choose:
        return tree.Choose(tuple(_nodes(parts)), at=_at(parts[0]))

    def create(self, parts: Parts) -> tree.Create:
        return tree.Create(parts[1], parts[3], at=_at(parts[0]))

    def groupby(self, parts: Parts) -> tree.GroupBy:
        keys = [part for part in _nodes(parts) if isinstance(part, tree.Named)]
        aggregates = parts[-1] if isinstance(parts[-1], tuple) else ()
        return tree.GroupBy(tuple(keys), aggregates, at=_at(parts[0]))

    def aggregate(self, parts: Parts) -> tree.GroupBy:
        return tree.GroupBy((), parts[1], at=_at(parts[0]))

    def aggregates(self, parts: Parts) -> tuple[tree.Named, ...]:
        return tuple(_nodes(parts))

    def countby(self, parts: Parts) -> tree.CountBy:
        keys = tuple(part for part in parts if isinstance(part, tree.Named))
        into = next((part for part in parts if isinstance(part, tree.Path)), None)
        return tree.CountBy(keys, into, _token(parts, "ASC") is not None, at=_at(parts[0]))

    def count(self, parts: Parts) -> tree.Count:
        return tree.Count(parts[-1] if len(parts) > 1 else None, at=_at(parts[0]))

    def distinct(self, parts: Parts) -> tree.Distinct:
        return tree.Distinct(tuple(_nodes(parts)), at=_at(parts[0]))

    def dedupeby(self, parts: Parts) -> tree.DedupeBy:
        keep = _token(parts, "NUMBER")
        order = parts[-1] if isinstance(parts[-1], tuple) else ()
        keys = tuple(part for part in _nodes(parts) if not isinstance(part, tuple))
        return tree.DedupeBy(keys, _count(keep) if keep else 1, order, at=_at(parts[0]))

    def orderby(self, parts: Parts) -> tree.OrderBy:
        return tree.OrderBy(parts[1], at=_at(parts[0]))

    def limit(self, parts: Parts) -> tree.Limit:
        return tree.Limit(_count(parts[1]), at=_at(parts[0]))

    def sorts(self, parts: Parts) -> tuple[tree.Sort, ...]:
        return tuple(_nodes(parts))

    def sort(self, parts: Parts) -> tree.Sort:
        return tree.Sort(parts[0], _token(parts, "DESC") is not None, at=parts[0].at)

    def named(self, parts: Parts) -> tree.Named:
        return tree.Named(parts[0], parts[2] if len(parts) > 2 else None, at=parts[0].at)

    def keypath(self, parts: Parts) -> tree.Path:
        return tree.Path(tuple(str(part) for part in parts if part.type != "DOT"), at=_at(parts[0]))

    # -------------------------------------------------------------- expressions

    def either(self, parts: Parts) -> tree.Logic:
        return tree.Logic("||", tuple(_nodes(parts)), at=_at(parts[1]))

    def both(self, parts: Parts) -> tree.Logic:
        return tree.Logic("&&", tuple(_nodes(parts)), at=_at(parts[1]))

    def comparison(self, parts: Parts) -> tree.Compare:
        left, operator, right = parts
        return tree.Compare(str(operator), left, right, at=_at(operator))

    def arithmetic(self, parts: Parts) -> tree.Arithmetic:
        left, operator, right = parts
        return tree.Arithmetic(str(operator), left, right, at=_at(operator))

    def negation(self, parts: Parts) -> tree.Not:
        return tree.Not(parts[1], at=_at(parts[0]))

    def negative(self, parts: Parts) -> tree.Negative:
        return tree.Negative(parts[1], at=_at(parts[0]))

    def member(self, parts: Parts) -> tree.Path:
        owner, segment = parts[0], parts[2]
        if not isinstance(owner, tree.Path):
            raise _error(segment, "only a field has members")
        name = _text(segment) if segment.type == "STRING" else str(segment)
        return tree.Path((*owner.segments, name), at=owner.at)

    def method(self, parts: Parts) -> tree.Call:
        arguments = parts[4] if isinstance(parts[4], tuple) else ()
        return tree.Call(str(parts[2]), (parts[0], *arguments), at=_at(parts[2]))

    def call(self, parts: Parts) -> tree.Call:
        return tree.Call(str(parts[0]), parts[2] if isinstance(parts[2], tuple) else (), at=_at(parts[0]))

    def cast(self, parts: Parts) -> tree.Cast:
        return tree.Cast(parts[0], str(parts[2]), at=_at(parts[2]))

    def arguments(self, parts: Parts) -> tuple[tree.Expression, ...]:
        return tuple(_nodes(parts))

    def array(self, parts: Parts) -> tree.ArrayOf:
        return tree.ArrayOf(parts[1] if isinstance(parts[1], tuple) else (), at=_at(parts[0]))

    def inside(self, parts: Parts) -> tree.Expression:
        inner: tree.Expression = parts[1]
        return inner

    def path(self, parts: Parts) -> tree.Path:
        return tree.Path((str(parts[0]),), at=_at(parts[0]))

    def string(self, parts: Parts) -> tree.Literal:
        return tree.Literal(_text(parts[0]), at=_at(parts[0]))

    def instant(self, parts: Parts) -> tree.Cast:
        return tree.Cast(tree.Literal(_text(parts[1]), at=_at(parts[1])), "timestamp", at=_at(parts[0]))

    def number(self, parts: Parts) -> tree.Literal:
        value = float(parts[0])
        if value == float("inf"):
            raise _error(parts[0], "the number is too large")
        return tree.Literal(value, at=_at(parts[0]))

    def interval(self, parts: Parts) -> tree.Literal:
        pieces = re.findall(r"([0-9]+)([a-z]+)", parts[0])
        # A number of a thousand digits would not fit into a float.
        if any(len(digits) > 20 for digits, _ in pieces):
            raise _error(parts[0], "the interval is too long")
        microseconds = sum(int(digits) * _MICROSECONDS[unit] for digits, unit in pieces)
        if microseconds > LONGEST_INTERVAL / timedelta(microseconds=1):
            raise _error(parts[0], "the interval is too long")
        return tree.Literal(timedelta(microseconds=microseconds), at=_at(parts[0]))

    def true(self, parts: Parts) -> tree.Literal:
        return tree.Literal(True, at=_at(parts[0]))

    def false(self, parts: Parts) -> tree.Literal:
        return tree.Literal(False, at=_at(parts[0]))

    def null(self, parts: Parts) -> tree.Literal:
        return tree.Literal(None, at=_at(parts[0]))


def _nodes(parts: Parts) -> Parts:
    return [part for part in parts if not isinstance(part, Token | tuple)]


def _token(parts: Parts, kind: str) -> Token | None:
    return next((part for part in parts if isinstance(part, Token) and part.type == kind), None)


def _at(token: Token) -> Position:
    return Position(token.line or 0, token.column or 0)


def _error(token: Token, reason: str) -> DataPrimeError:
    return DataPrimeError(token.line or 0, token.column or 0, f"{reason}.")


def _count(token: Token) -> int:
    if not token.isdigit() or len(token) > 10 or not 1 <= int(token) <= MOST_ROWS:
        raise _error(token, f"a whole number from 1 to {MOST_ROWS} must stand here")
    return int(token)


def _text(token: Token) -> str:
    return re.sub(r"\\(u([0-9a-fA-F]{4})|.|\n)", lambda found: _escape(token, found), token[1:-1], flags=re.DOTALL)


def _escape(token: Token, found: re.Match[str]) -> str:
    if found[2] is None:
        return _ESCAPES.get(found[1], found[1])
    character = chr(int(found[2], 16))
    if character == "\0" or "\ud800" <= character <= "\udfff":
        raise _error(token, f"\\u{found[2]} stands for no character")
    return character
