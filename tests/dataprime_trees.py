"""Random queries that make sense, and random rows to ask them of."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from pagerduty_sync.dataprime import tree
from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason

STRING, NUMBER, TIME, SPAN, TRUTH = "string", "number", "timestamp", "interval", "boolean"

FIELDS = {
    STRING: [
        *("reason", "outcome", "direction", "operation", "case", "case_id", "incident", "detail", "$d.sync.reason"),
        *("$m.severity", "$d.outcome.status", "$d.outcome.statusReasons.message"),
    ],
    NUMBER: ["attempt", "http_status", "duration_ms", "$d.outcome.https.responseStatusCode"],
    TIME: ["at", "$m.timestamp", "$d.outcome.timestamp"],
    SPAN: [],
    TRUTH: [],
}
CASE_IDS = ["0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"]
TEXTS = ["", "a", "A", "é", "ß'", '"', "%s", "\\", "\n", "1", "12", "x" * 20, "🚒", "CASE-1", "no", "n_o"]
AGGREGATES = "count count_if rate sum avg min max percentile distinct_count any_value collect max_by".split()  # noqa: SIM905
WORDS = [*TEXTS, "delivered", "failed", "echo", "inbound", "Failure", "Success", "Error", *CASE_IDS]

deliveries = st.fixed_dictionaries(
    {
        "direction": st.sampled_from([one.value for one in Direction]),
        "operation": st.sampled_from(["incident.resolved", "create"]),
        "outcome": st.sampled_from([one.value for one in Outcome]),
        "reason": st.sampled_from([Reason.APPLIED, Reason.ECHO, Reason.NO_REPLY, Reason.REFUSED]).map(str),
        "detail": st.sampled_from(TEXTS),
        "case_id": st.sampled_from([None, *CASE_IDS]),
        "case_name": st.sampled_from(["", "CASE-1", "CASE-2"]),
        "incident_id": st.sampled_from(["", "Q1", "é"]),
        "attempt": st.integers(1, 3),
        "http_status": st.sampled_from([None, 200, 404, 500]),
        "duration_ms": st.sampled_from([None, 0, 7, 12]),
        "seconds_ago": st.integers(0, 4000),
    }
)


@st.composite
def queries(draw):
    names = {kind: list(known) for kind, known in FIELDS.items()}
    commands = []
    for number in range(draw(st.integers(1, 5))):
        command, names = draw(_commands(names, number))
        commands.append(command)
    return tree.Query(tree.Source("notification_deliveries"), tuple(commands))


@st.composite
def _commands(draw, names, number):
    shape = draw(st.sampled_from(["filter"] * 4 + ["orderby", "limit", "choose", "create", "group", "count", "dedupe"]))
    if shape == "filter":
        return tree.Filter(draw(expressions(names, TRUTH, 3))), names
    if shape == "orderby":
        return tree.OrderBy(tuple(draw(st.lists(_sorts(names), min_size=1, max_size=2)))), names
    if shape == "limit":
        return tree.Limit(draw(st.integers(1, 6))), names
    if shape == "create":
        kind, expression = draw(_anything(names))
        name = f"new{number}"
        return tree.Create(tree.Path((name,)), expression), {**names, kind: [*names[kind], name]}
    if shape == "dedupe":
        keys = [key for _, key in draw(st.lists(_anything(names, 1), min_size=1, max_size=2))]
        order = tuple(draw(st.lists(_sorts(names), max_size=2)))
        return tree.DedupeBy(tuple(keys), draw(st.integers(1, 2)), order), names
    if shape == "choose":
        kept, items = _named(draw(st.lists(_anything(names), min_size=1, max_size=4)), f"c{number}_")
        return tree.Choose(items), kept
    kept, keys = _named(draw(st.lists(_anything(names, 1), min_size=0 if shape == "group" else 1, max_size=2)), "k")
    if shape == "count":
        kept = {**kept, NUMBER: [*kept[NUMBER], "n"]}
        return tree.CountBy(keys, tree.Path(("n",)), draw(st.booleans())), kept
    found = draw(st.lists(_aggregates(names, kept), min_size=1, max_size=3))
    results, aggregates = _named(found, "r")
    return tree.GroupBy(keys, aggregates), {kind: [*kept[kind], *results[kind]] for kind in kept}


def _named(found, stem):
    kept = {kind: [] for kind in FIELDS}
    items = []
    for number, (kind, expression) in enumerate(found):
        name = f"{stem}{number}"
        if kind in kept:
            kept[kind].append(name)
        items.append(tree.Named(expression, tree.Path((name,))))
    return kept, tuple(items)


@st.composite
def _anything(draw, names, depth=2):
    kind = draw(st.sampled_from([STRING, STRING, NUMBER, TIME, TRUTH]))
    return kind, draw(expressions(names, kind, depth))


@st.composite
def _sorts(draw, names):
    return tree.Sort(draw(_anything(names, 1))[1], draw(st.booleans()))


@st.composite
def _aggregates(draw, names, keys):
    name = draw(st.sampled_from(AGGREGATES))
    if name == "count":
        return NUMBER, tree.Call("count", ())
    if name == "count_if":
        return NUMBER, tree.Call(name, (draw(expressions(names, TRUTH, 2)),))
    if name == "rate":
        part = tree.Call("count_if", (draw(expressions(names, TRUTH, 2)),))
        return NUMBER, tree.Arithmetic("/", part, draw(expressions(keys, NUMBER, 1)))
    if name in ("sum", "avg"):
        return NUMBER, tree.Call(name, (draw(expressions(names, NUMBER, 1)),))
    if name == "percentile":
        part = tree.Literal(draw(st.sampled_from([0.0, 0.25, 0.5, 0.95, 1.0])))
        return NUMBER, tree.Call(name, (part, draw(expressions(names, NUMBER, 1))))
    kind = draw(st.sampled_from([STRING, NUMBER, TIME]))
    value = draw(expressions(names, kind, 1))
    if name == "max_by":
        return kind, tree.Call(name, (draw(expressions(names, NUMBER, 1)), value))
    result = {"distinct_count": NUMBER, "collect": "array"}.get(name, kind)
    return result, tree.Call(name, (value,))


@st.composite
def expressions(draw, names, kind, depth):
    """An expression of one kind."""
    leaves = [st.just(tree.Path(tuple(name.split(".")))) for name in names[kind]]
    leaves.append(_literals(kind))
    if depth == 0 or (kind != TRUTH and draw(st.booleans())):
        return draw(draw(st.sampled_from(leaves)))

    def of(wanted):
        return draw(expressions(names, wanted, depth - 1))

    return draw(st.sampled_from(_INNER[kind]))(draw, of)


def _literals(kind):
    return {
        STRING: st.sampled_from(WORDS).map(tree.Literal),
        NUMBER: st.integers(0, 9).map(float).map(tree.Literal),
        TIME: st.sampled_from(["2026-01-31T12:00:00Z", "2020-02-29", "2021-06-01T00:00:00+02:00"]).map(_instant),
        SPAN: st.sampled_from([1, 60, 3600]).map(lambda seconds: tree.Literal(timedelta(seconds=seconds))),
        TRUTH: st.booleans().map(tree.Literal),
    }[kind]


def _instant(text):
    return tree.Cast(tree.Literal(text), "timestamp")


def _if(kind):
    def made(draw, of):
        otherwise = () if draw(st.booleans()) else (of(kind),)
        return tree.Call("if", (of(TRUTH), of(kind), *otherwise))

    return made


def _first(kind):
    return lambda draw, of: tree.Call("firstNonNull", (of(kind), of(kind)))


def _compare(draw, of):
    kind = draw(st.sampled_from([STRING, STRING, NUMBER, TIME]))
    operators = ["==", "!=", "<", "<=", ">", ">="] + (["~", "=="] if kind == STRING else [])
    return tree.Compare(draw(st.sampled_from(operators)), of(kind), of(kind))


def _null(draw, of):
    kind = draw(st.sampled_from([STRING, NUMBER, TIME, TRUTH]))
    return tree.Compare(draw(st.sampled_from(["==", "!="])), of(kind), tree.Literal(None))


def _logic(draw, of):
    parts = [of(TRUTH) for _ in range(draw(st.integers(2, 3)))]
    operator = draw(st.sampled_from(["&&", "||"]))
    return tree.Logic(operator, tuple(parts))


def _among(draw, of):
    kind = draw(st.sampled_from([STRING, NUMBER]))
    if draw(st.booleans()):
        return tree.Call("in", (of(kind), draw(_literals(kind)), draw(_literals(kind))))
    return tree.Call("arrayContains", (tree.ArrayOf((draw(_literals(kind)), draw(_literals(kind)))), of(kind)))


_INNER = {
    TRUTH: [
        *[_compare] * 3,
        _null,
        _logic,
        _among,
        lambda draw, of: tree.Not(of(TRUTH)),
        _if(TRUTH),
        _first(TRUTH),
        lambda draw, of: tree.Compare("==", of(TRUTH), of(TRUTH)),
        lambda draw, of: tree.Call(
            draw(st.sampled_from(["startsWith", "endsWith", "contains"])), (of(STRING), of(STRING))
        ),
    ],
    STRING: [
        _if(STRING),
        _first(STRING),
        lambda draw, of: tree.Call("concat", (of(STRING), of(STRING))),
        lambda draw, of: tree.Call("toLowerCase", (of(STRING),)),
        lambda draw, of: tree.Cast(of(draw(st.sampled_from([TIME, TRUTH, STRING]))), "string"),
    ],
    NUMBER: [
        _if(NUMBER),
        _first(NUMBER),
        lambda draw, of: tree.Arithmetic(draw(st.sampled_from("+-*/%")), of(NUMBER), of(NUMBER)),
        lambda draw, of: tree.Negative(of(NUMBER)),
        lambda draw, of: tree.Call("length", (of(STRING),)),
        lambda draw, of: tree.Call(draw(st.sampled_from(["abs", "floor", "round"])), (of(NUMBER),)),
        lambda draw, of: tree.Cast(of(STRING), "number"),
        lambda draw, of: tree.Call("toTimeUnit", (of(SPAN), tree.Literal(draw(st.sampled_from("smh"))))),
    ],
    TIME: [
        _if(TIME),
        lambda draw, of: tree.Arithmetic(draw(st.sampled_from("+-")), of(TIME), of(SPAN)),
        lambda draw, of: tree.Call("roundTime", (of(TIME), draw(_literals(SPAN)))),
    ],
    SPAN: [
        lambda draw, of: tree.Arithmetic("-", of(TIME), of(TIME)),
        lambda draw, of: tree.Call("diffTime", (of(TIME), of(TIME))),
        lambda draw, of: tree.Arithmetic("+", of(SPAN), of(SPAN)),
    ],
}
