"""Text to tree. Whatever the text is, the outcome is a tree of bounded size or a DataPrimeError that says where."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from importlib import resources

from lark import Lark, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from pagerduty_sync.dataprime import tree
from pagerduty_sync.dataprime.builder import TreeBuilder
from pagerduty_sync.dataprime.errors import DataPrimeError, nearest

LONGEST_QUERY = 16_384
MOST_COMMANDS = 50
DEEPEST = 60
"""Levels of nesting in one expression."""

COMMANDS = (
    "source",
    "filter",
    "choose",
    "create",
    "groupby",
    "aggregate",
    "countby",
    "count",
    "distinct",
    "dedupeby",
    "orderby",
    "limit",
)
_KEYWORDS = (*COMMANDS, "from", "into", "keep", "as", "asc", "desc")
_OTHER_LANGUAGES = {
    "=": "==",
    "&": "&&",
    "and": "&&",
    "or": "||",
    "not": "!",
    "<>": "!=",
    "where": "filter",
    "select": "choose",
    "order": "orderby",
    "group": "groupby",
    ";": "|",
}


def parse(text: str) -> tree.Query:
    """The tree of a query; raises DataPrimeError."""
    _require_readable(text)
    try:
        query: tree.Query = _parser().parse(text)  # type: ignore[assignment]
    except UnexpectedInput as exc:
        raise _translated(text, exc) from None
    except VisitError as exc:
        if isinstance(exc.orig_exc, DataPrimeError):
            raise exc.orig_exc from None
        raise
    _require_bounded(query)
    return query


@functools.cache
def _parser() -> Lark:
    grammar = (resources.files("pagerduty_sync.dataprime") / "grammar.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=TreeBuilder(), maybe_placeholders=False)


def _require_readable(text: str) -> None:
    if len(text) > LONGEST_QUERY:
        raise DataPrimeError(0, 0, f"The query has {len(text)} characters; at most {LONGEST_QUERY} are read.")
    for number, line in enumerate(text.split("\n"), 1):
        for column, character in enumerate(line, 1):
            if character == "\0" or "\ud800" <= character <= "\udfff":
                raise DataPrimeError(number, column, "a character stands here that is not valid text.")
    if not text.strip():
        raise DataPrimeError(1, 1, "the query is empty; begin with `source notification_deliveries`.")


def _translated(text: str, exc: UnexpectedInput) -> DataPrimeError:
    if isinstance(exc, UnexpectedToken) and exc.token.type == "$END":
        lines = text.split("\n")
        return DataPrimeError(len(lines), len(lines[-1]) + 1, f"the query ends too early;{_expected(exc)}.")
    found = text[exc.pos_in_stream or 0]
    if isinstance(exc, UnexpectedToken):
        found = str(exc.token)
    words = _words(exc)
    suggestion = _OTHER_LANGUAGES.get(found.lower(), "") or nearest(found, words)
    if isinstance(exc, UnexpectedCharacters) and found in "'\"":
        return DataPrimeError(exc.line, exc.column, "this text has no closing quote.")
    shown = found if len(found) <= 40 else f"{found[:40]}…"
    return DataPrimeError(exc.line, exc.column, f"{shown!r} cannot stand here;{_expected(exc)}.", suggestion)


def _words(exc: UnexpectedInput) -> list[str]:
    """The keywords that could stand there."""
    expected: Iterable[str] = ()
    if isinstance(exc, UnexpectedToken):
        expected = exc.accepts or exc.expected
    elif isinstance(exc, UnexpectedCharacters):
        expected = exc.allowed or ()
    return [word for word in _KEYWORDS if word.upper() in set(expected)]


def _expected(exc: UnexpectedInput) -> str:
    if isinstance(exc, UnexpectedCharacters):
        return " it is no sign of the language"
    words = _words(exc)
    if "filter" in words:
        return f" a command is expected: {', '.join(words)}"
    return f" {', '.join(words)} or an operator could" if words else " a field, a value or an operator is expected"


def _require_bounded(query: tree.Query) -> None:
    if len(query.commands) > MOST_COMMANDS:
        last = query.commands[MOST_COMMANDS].at
        raise DataPrimeError(last.line, last.column, f"a query has at most {MOST_COMMANDS} commands.")
    waiting = [(expression, 1) for command in query.commands for expression in _expressions(command)]
    while waiting:
        expression, depth = waiting.pop()
        if depth > DEEPEST:
            at = expression.at
            raise DataPrimeError(at.line, at.column, f"this is nested deeper than {DEEPEST} levels.")
        waiting += [(part, depth + 1) for part in tree.parts_of(expression)]


def _expressions(command: tree.Command) -> Iterator[tree.Expression]:
    match command:
        case tree.Filter(expression) | tree.Create(_, expression):
            yield expression
        case tree.Choose(items) | tree.Distinct(items) | tree.CountBy(items):
            yield from (item.expression for item in items)
        case tree.GroupBy(keys, aggregates):
            yield from (item.expression for item in (*keys, *aggregates))
        case tree.DedupeBy(expressions, _, order):
            yield from expressions
            yield from (sort.expression for sort in order)
        case tree.OrderBy(order):
            yield from (sort.expression for sort in order)
        case _:
            return
