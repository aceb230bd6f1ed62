"""The functions of a query: what each takes, gives, and is in SQL. Those with rules of their own are in `calls`."""

from __future__ import annotations

from dataclasses import dataclass

from pagerduty_sync.dataprime.values import Kind

LONGEST_TEXT = 10_000
"""Characters of a text that `concat` makes; the rest is cut off, so that no row of a result grows without bound."""


@dataclass(frozen=True, slots=True)
class Function:
    """`sql` has a {0} for each argument; null for a null argument. `may_be_null`: also for others."""

    takes: tuple[Kind, ...]
    gives: Kind
    sql: str
    may_be_null: bool = False

    def size(self, sizes: list[int]) -> int:
        return 1 + sum(size * self.sql.count(f"{{{position}}}") for position, size in enumerate(sizes))


_TEXT, _NUMBER, _TIME, _SPAN, _TRUTH = Kind.STRING, Kind.NUMBER, Kind.TIMESTAMP, Kind.INTERVAL, Kind.BOOLEAN

FUNCTIONS = {
    "length": Function((_TEXT,), _NUMBER, "length({0})::double precision"),
    "toLowerCase": Function((_TEXT,), _TEXT, "lower({0})"),
    "toUpperCase": Function((_TEXT,), _TEXT, "upper({0})"),
    "startsWith": Function((_TEXT, _TEXT), _TRUTH, "starts_with({0}, {1})"),
    "endsWith": Function((_TEXT, _TEXT), _TRUTH, "(right({0}, length({1})) = {1})"),
    "contains": Function((_TEXT, _TEXT), _TRUTH, "(strpos({0}, {1}) > 0)"),
    "abs": Function((_NUMBER,), _NUMBER, "abs({0})"),
    "ceil": Function((_NUMBER,), _NUMBER, "ceil({0})"),
    "floor": Function((_NUMBER,), _NUMBER, "floor({0})"),
    "round": Function((_NUMBER,), _NUMBER, "round({0})"),
    "addTime": Function((_TIME, _SPAN), _TIME, "({0} + {1})"),
    "subtractTime": Function((_TIME, _SPAN), _TIME, "({0} - {1})"),
    "diffTime": Function((_TIME, _TIME), _SPAN, "({0} - {1})"),
}

OPERATORS = {
    ("+", _NUMBER, _NUMBER): Function((_NUMBER, _NUMBER), _NUMBER, "({0} + {1})"),
    ("-", _NUMBER, _NUMBER): Function((_NUMBER, _NUMBER), _NUMBER, "({0} - {1})"),
    ("*", _NUMBER, _NUMBER): Function((_NUMBER, _NUMBER), _NUMBER, "({0} * {1})"),
    ("/", _NUMBER, _NUMBER): Function((_NUMBER, _NUMBER), _NUMBER, "({0} / nullif({1}, 0))", may_be_null=True),
    ("%", _NUMBER, _NUMBER): Function(
        (_NUMBER, _NUMBER), _NUMBER, "({0} - {1} * trunc({0} / nullif({1}, 0)))", may_be_null=True
    ),
    ("+", _TIME, _SPAN): Function((_TIME, _SPAN), _TIME, "({0} + {1})"),
    ("-", _TIME, _SPAN): Function((_TIME, _SPAN), _TIME, "({0} - {1})"),
    ("-", _TIME, _TIME): Function((_TIME, _TIME), _SPAN, "({0} - {1})"),
    ("+", _SPAN, _SPAN): Function((_SPAN, _SPAN), _SPAN, "({0} + {1})"),
    ("-", _SPAN, _SPAN): Function((_SPAN, _SPAN), _SPAN, "({0} - {1})"),
}

# A text that is no number, or no time that exists, becomes null and never an error of the database.
_A_NUMBER = "^[+-]?[0-9]{{1,15}}([.][0-9]{{1,15}})?$"
_A_TIME = (
    "^[1-9][0-9]{{3}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{{1,6}})?)?(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?)?$"
)
_LAST_DAY = (
    "extract(day FROM make_date(substr({0}, 1, 4)::integer, substr({0}, 6, 2)::integer, 1) "
    "+ interval '1 month' - interval '1 day')"
)
_TO_TIME = (
    f"(CASE WHEN {{0}} ~ '{_A_TIME}' THEN CASE WHEN substr({{0}}, 9, 2)::integer <= {_LAST_DAY} "
    "THEN {0}::timestamptz END END)"
)
_SHOWN_TIME = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

CASTS = {
    (_TEXT, _NUMBER): Function(
        (_TEXT,), _NUMBER, f"(CASE WHEN {{0}} ~ '{_A_NUMBER}' THEN {{0}}::double precision END)", may_be_null=True
    ),
    (_TEXT, _TIME): Function((_TEXT,), _TIME, _TO_TIME, may_be_null=True),
    (_NUMBER, _TEXT): Function((_NUMBER,), _TEXT, "{0}::text"),
    (_NUMBER, _TIME): Function((_NUMBER,), _TIME, "to_timestamp({0} / 1e9)"),
    (_TIME, _TEXT): Function((_TIME,), _TEXT, _SHOWN_TIME),
    (_TIME, _NUMBER): Function((_TIME,), _NUMBER, "(extract(epoch FROM {0})::double precision * 1e9)"),
    (_SPAN, _NUMBER): Function((_SPAN,), _NUMBER, "(extract(epoch FROM {0})::double precision * 1e9)"),
    (_TRUTH, _TEXT): Function((_TRUTH,), _TEXT, "{0}::text"),
    (_TRUTH, _NUMBER): Function((_TRUTH,), _NUMBER, "{0}::integer::double precision"),
}
CAST_KINDS = {"string": _TEXT, "number": _NUMBER, "num": _NUMBER, "timestamp": _TIME}

UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "nano": 1e-9,
    "micro": 1e-6,
    "milli": 1e-3,
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}
"""Seconds of each time unit, by its short and its long name."""

SPECIAL = ("now", "if", "firstNonNull", "concat", "in", "arrayContains", "roundTime", "toTimeUnit", "toInterval")

AGGREGATES = (
    "count",
    "count_if",
    "sum",
    "avg",
    "min",
    "max",
    "percentile",
    "median",
    "distinct_count",
    "any_value",
    "collect",
    "max_by",
    "min_by",
)
