"""DataPrime without a database: what can be read, what it means, and how a mistake is told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from pagerduty_sync.dataprime import fields, tree
from pagerduty_sync.dataprime.compiler import compile_query
from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.dataprime.parser import COMMANDS, LONGEST_QUERY, parse
from pagerduty_sync.dataprime.records import cell, flat, plain, record_of
from pagerduty_sync.domain.deliveries import Outcome, Reason
from pagerduty_sync.errors import InvalidRequestError
from tests.dataprime_evaluator import text_of
from tests.dataprime_trees import queries

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def compiled(text, **options):
    return compile_query(text, since=NOW - timedelta(days=1), until=NOW, now=NOW, limit=100, **options)


def columns(text):
    return [column.name for column in compiled(text).columns]


def filtered(condition):
    (command,) = parse(f"filter {condition}").commands
    return command.condition


def failure(text):
    with pytest.raises(DataPrimeError) as raised:
        compiled(text)
    return raised.value


# ------------------------------------------------------------------ reading


def path(*segments):
    return tree.Path(segments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 'x'", tree.Compare("==", path("a"), tree.Literal("x"))),
        ('a == "x\\n\\u00e9\\""', tree.Compare("==", path("a"), tree.Literal('x\né"'))),
        ("a.b['c d'] ~ 'x'", tree.Compare("~", path("a", "b", "c d"), tree.Literal("x"))),
        ("!a && b || c", tree.Logic("||", (tree.Logic("&&", (tree.Not(path("a")), path("b"))), path("c")))),
        ("a || b || c", tree.Logic("||", (path("a"), path("b"), path("c")))),
        ("!(a || b)", tree.Not(tree.Logic("||", (path("a"), path("b"))))),
        ("a:number", tree.Cast(path("a"), "number")),
        ("@'2026-01-31'", tree.Cast(tree.Literal("2026-01-31"), "timestamp")),
        ("$d.a.f(1)", tree.Call("f", (path("$d", "a"), tree.Literal(1.0)))),
        ("f()", tree.Call("f", ())),
        ("1h30m", tree.Literal(timedelta(minutes=90))),
        ("[1, 'a'].f()", tree.Call("f", (tree.ArrayOf((tree.Literal(1.0), tree.Literal("a"))),))),
        (
            "1 + 2 * -3",
            tree.Arithmetic(
                "+",
                tree.Literal(1.0),
                tree.Arithmetic("*", tree.Literal(2.0), tree.Negative(tree.Literal(3.0))),
            ),
        ),
        ("1 - 2 - 3", tree.Arithmetic("-", filtered("1 - 2"), tree.Literal(3.0))),
        ("count == limit", tree.Compare("==", path("count"), path("limit"))),
        ("nullable == null", tree.Compare("==", path("nullable"), tree.Literal(None))),
        ("a // the rest is a comment\n == 1 # and so is this", tree.Compare("==", path("a"), tree.Literal(1.0))),
    ],
)
def test_expressions_are_read(text, expected):
    assert filtered(text) == expected


def test_every_command_is_read():
    text = """
        SOURCE system/notification.deliveries // where from
        | filter a == 1 | choose a, $d.b.c as d | create e.f from a | orderby a desc, b | sortby c asc
        | dedupeby a, b keep 3 orderby c desc | groupby a as k, b aggregate count() as n, sum(c)
        | aggregate max(n) as m | countby a into n asc | count into n | distinct a | groupby a | limit 5"""
    query = parse(text)
    kinds = " ".join(type(command).__name__ for command in query.commands)
    assert query.source == tree.Source("system/notification.deliveries")
    assert kinds == (
        "Filter Choose Create OrderBy OrderBy DedupeBy GroupBy GroupBy CountBy Count Distinct GroupBy Limit"
    )
    assert query.commands[5] == tree.DedupeBy((path("a"), path("b")), 3, (tree.Sort(path("c"), True),))


@settings(max_examples=100, deadline=None)
@given(queries())
def test_what_was_written_from_a_tree_is_read_as_that_tree_and_compiles(query):
    assert parse(text_of(query)) == query
    compiled(text_of(query))


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("text", "place", "said", "suggestion"),
    [
        ("fliter a == 1", (1, 1), "a command is expected", "filter"),
        ("source notification_deliveries\n| selct a", (2, 3), "a command is expected", "choose|"),
        ("source notification_deliveries\n| select a", (2, 3), "a command is expected", "choose"),
        ("source notification_deliverys", (1, 8), "no dataset 'notification_deliverys'", "notification_deliveries"),
        (
            "source system/labs.cases.state_update | count",
            (1, 8),
            "`case_state_updates` and `system/labs.cases.state_updates` are the changes of Cases",
            "system/labs.cases.state_updates",
        ),
        ("source logs", (1, 8), "`notification_deliveries` and `system/notification.deliveries` are the log", ""),
        ("source case_state_updates | filter caseNo == 'x'", (1, 36), "no field 'caseNo'", "caseId"),
        ("source case_state_updates | filter metadata.triger == 'x'", (1, 36), "no field", "metadata.trigger"),
        ("source case_state_updates | choose aiSummary", (1, 36), "no field 'aiSummary'", ""),
        ("source case_state_updates | choose lateness_ms", (1, 36), "no field 'lateness_ms'", ""),
        ("choose metadata.trigger", (1, 8), "no field 'metadata.trigger'", ""),
        ("filter reson == 'echo'", (1, 8), "no field 'reson'", "reason"),
        ("filter $d.outcome.statsu == 'x'", (1, 8), "no field '$d.outcome.statsu'", "$d.outcome.status"),
        ("filter outcome == failed", (1, 19), "a text stands in quotes", ""),
        ("filter $m.severity == EROR", (1, 23), "no field 'EROR'", "Error"),
        ("filter http_status > '500'", (1, 20), "compares a number with a string; write :number", ""),
        ("filter http_status == '500'", (1, 20), "compares a number with a string", ""),
        ("filter at > '2026-01-01'", (1, 11), "write :timestamp", ""),
        ("filter at > '2026-02-30':timestamp", (1, 13), "is no time such as", ""),
        ("filter reason = 'echo'", (1, 15), "no sign of the language", "=="),
        ("filter a == 1 and b == 2", (1, 15), "cannot stand here", "&&"),
        ("filter reason == 'echo", (1, 18), "no closing quote", ""),
        ("filter reason", (1, 8), "a condition is true or false; this is a string", ""),
        ("filter reason ~ 5", (1, 15), "~ looks for a text", ""),
        ("filter reason > null", (1, 15), "null has no order", ""),
        ("filter $d.outcome == $d.source", (1, 19), "compares a string with an object", ""),
        ("filter $d.source == $d.source", (1, 18), "can only be compared with null", ""),
        ("orderby $d.source", (1, 9), "have no order", ""),
        ("filter length(attempt) > 1", (1, 15), "length takes a string here; this is a number", ""),
        ("filter lenght(reason) > 1", (1, 8), "no function 'lenght'", "length"),
        ("filter length() > 1", (1, 8), "takes 1 arguments, not 0", ""),
        ("filter count() > 1", (1, 8), "count is an aggregate", ""),
        ("aggregate sum(max(attempt))", (1, 15), "max is an aggregate", ""),
        ("aggregate sum(reason)", (1, 15), "sum takes a number here", ""),
        ("aggregate attempt", (1, 11), "only the keys of the groups are known", ""),
        ("aggregate percentile(95, attempt)", (1, 22), "from 0 to 1", ""),
        ("aggregate count() as n, sum(attempt) as n", (1, 25), "two results called 'n'", ""),
        ("create a from reason + 'x'", (1, 22), "concat", ""),
        ("create $m.a from 1", (1, 8), "live under $d", ""),
        ("create outcome.status.x from 1", (1, 8), "cannot both be in one result", ""),
        ("choose outcome, $d.outcome.status", (1, 17), "rename one by `as`", ""),
        ("choose reason:numbr", (1, 15), "no cast to 'numbr'", "number"),
        ("choose (at - at):string as x", (1, 18), "cannot become a string", ""),
        ("choose roundTime(at, 5)", (1, 22), "rounds to an interval", ""),
        ("choose (at - at).toTimeUnit('hr')", (1, 29), "a time unit", "hour"),
        ("choose [reason] as x", (1, 8), "arrayContains", ""),
        ("choose if(true, 1, 'x')", (1, 20), "a number before and a string here", ""),
        ("choose reason.in(null)", (1, 15), "null", ""),
        ("orderby reason dsc", (1, 16), "cannot stand here", "desc"),
        ("limit 0", (1, 7), "a whole number", ""),
        ("limit 1.5", (1, 7), "a whole number", ""),
        ("filter 99999w > 1h", (1, 8), "too long", ""),
        ("filter attempt > 1e999", (1, 18), "too large", ""),
        ("filter 1.x == 2", (1, 10), "only a field has members", ""),
        ("filter (1).x == 2", (1, 12), "only a field has members", ""),
        ("filter reason ==\n", (2, 1), "ends too early", ""),
        ("", (1, 1), "empty", ""),
        ("  \n", (1, 1), "empty", ""),
        ("count |", (1, 8), "ends too early", ""),
        ("filter reason == 'a\0'", (1, 20), "not valid text", ""),
        ("filter reason == '\ud800'", (1, 19), "not valid text", ""),
        ("filter reason == '\\u0000'", (1, 18), "stands for no character", ""),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_nearest_name(text, place, said, suggestion):
    exc = failure(text)
    assert (exc.line, exc.column) == place
    assert said in exc.reason
    assert exc.suggestion in suggestion.split("|")
    assert isinstance(exc, InvalidRequestError)
    assert exc.field == "query"
    assert str(exc).startswith(f"line {place[0]}, column {place[1]}: ")


@pytest.mark.parametrize(
    "text",
    [
        "filter " + "(" * 8_000 + "true",
        "filter " + "!" * 10_000 + "true",
        "filter 1" + " + 1" * 2_000 + " > 1",
        "choose " + "-" * 10_000 + "1 as x",
        "choose " + "f(" * 4_000 + "1" + ")" * 4_000,
        "choose reason" + ".toLowerCase()" * 1_000,
        "choose reason" + ":string" * 2_000,
        " | ".join(["count into n"] * 60),
        "create a0 from attempt | " + " | ".join(f"create a{n + 1} from a{n} + a{n}" for n in range(40)),
        "choose " + ", ".join(f"reason as r{n}" for n in range(400)),
        "choose " + ", ".join(f"$d.sync as r{n}" for n in range(140)),
        "filter " + "a" * (LONGEST_QUERY + 1),
    ],
    ids=lambda text: text[:25],
)
def test_no_query_is_larger_than_can_be_handled(text):
    failure(text)


def test_a_long_chain_of_alternatives_is_no_nesting_and_neither_are_parentheses():
    compiled("filter " + "(" * 4_000 + "true" + ")" * 4_000)
    compiled("filter " + " || ".join(f"reason == 'r{n}'" for n in range(300)))


WORDS = st.sampled_from(
    [
        *(*COMMANDS, "as", "from", "into", "keep", "asc", "desc", "by", "null", "true", "false", "now", "if", "sum"),
        *("$m", "$l", "$d", "$x", "reason", "outcome", "at", "attempt", "'x'", '"', "'", "1", "1h", "1e5", "0.5"),
        *("||", "&&", "==", "!=", "//", "/*", "--", "%s", "%(p1)s", "\ud800", "ERROR"),
        *"|&!=<>~+-*/%.,:@()[]#$;{}\\\n\t\0é",
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.lists(WORDS, max_size=25).map("".join) | st.text(max_size=60))
def test_whatever_the_text_it_compiles_or_is_told_what_is_wrong(text):
    try:
        statement = compiled(text)
    except DataPrimeError as exc:
        assert str(exc)
        assert exc.line == 0 or 1 <= exc.line <= text.count("\n") + 1
    else:
        assert statement.columns


# ------------------------------------------------------------------ what it becomes


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("choose $m.timestamp, reason, $d.outcome.status", ["$m.timestamp", "reason", "outcome.status"]),
        ("choose timestamp, severity, TIMESTAMP as t", ["timestamp", "$m.severity", "t"]),
        ("choose $d.OUTCOME.Status, $l.team", ["outcome.status", "$l.team"]),
        ("choose now(), now(), 1 + 1", ["_now", "_now2", "_value"]),
        ("count", ["_count"]),
        ("countby reason, outcome into n", ["reason", "outcome", "n"]),
        ("groupby $m.severity aggregate count(), sum(attempt)", ["severity", "_count", "_sum"]),
        ("groupby $m.severity aggregate count() as n | choose $m.severity, $d.n", ["severity", "n"]),
        ("distinct reason as why", ["why"]),
        ("choose reason | create a.b from 1 | choose a", ["a"]),
        ("aggregate max(attempt) as $d.most.tried", ["most.tried"]),
        (
            "source case_state_updates "
            "| choose timestamp, CASEID, metadata.change['$type'], $l.team, metadata.change as c",
            ["$m.timestamp", "caseId", "metadata.change.$type", "$l.team", "c"],
        ),
    ],
)
def test_columns_have_the_names_a_reader_expects(text, names):
    assert columns(text) == names


def test_a_name_is_gone_when_it_was_not_chosen():
    assert "no field 'reason'" in str(failure("choose outcome | filter reason == 'x'"))
    assert "no field 'attempt'" in str(failure("groupby reason aggregate count() | choose attempt"))


def test_the_default_source_is_the_log_of_deliveries():
    assert compiled("count").sql
    assert compiled("count", default_source="notification_deliveries").sql
    assert compiled("choose caseNumber", default_source="System/Labs.Cases.State_Updates").sql
    with pytest.raises(DataPrimeError, match="no dataset 'logs'"):
        compiled("count", default_source="logs")


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40))
def test_no_text_of_a_query_becomes_sql(text):
    marked = f"zq{text}qz"
    quoted = "'" + marked.replace("\\", "\\\\").replace("'", "\\'") + "'"
    statement = compiled(
        f"filter reason == {quoted} && $l[{quoted}] != null && [{quoted}].arrayContains(detail) && case_id == {quoted} "
        f"| create zqname from concat({quoted}, detail) | groupby zqname as zqkey aggregate max_by(zqname, {quoted})"
    )
    assert "zq" not in statement.sql.as_string(None)
    assert marked in statement.parameters.values()


def test_the_statement_holds_no_literal_at_all():
    one = compiled("filter reason == 'a' && attempt > 1 | limit 3").sql.as_string(None)
    other = compiled("filter reason == 'it''s' || true | limit 3".replace("''", "\\'")).sql.as_string(None)
    assert "it's" not in other
    assert re.findall(r"%\(p\d+\)s", one)
    assert isinstance(compiled("count").sql, sql.Composed)


def test_every_outcome_has_a_status_and_every_status_its_outcomes():
    for outcome in Outcome:
        for reason in Reason:
            status = fields.status_of(outcome, reason)
            assert outcome.value in fields.outcomes_of(status)
    assert fields.status_of(Outcome.DEFERRED, Reason.NO_REPLY) == "Failure"
    assert fields.status_of(Outcome.DEFERRED, Reason.NOTED) == "Discarded"
    assert fields.outcomes_of("nonsense") == []


# ------------------------------------------------------------------ how it leaves


def test_a_record_has_the_shape_of_coralogix():
    columns = compiled("choose $m.timestamp, $m.severity, $l, $l.team as t, $d.outcome.status, http_status").columns
    record = record_of(columns, [NOW, "Error", {"team": ["a", "b"]}, "a", "Failure", 500.0])
    assert record == {
        "metadata": [
            {"key": "timestamp", "value": "2026-01-31T12:00:00.000000Z"},
            {"key": "severity", "value": "Error"},
        ],
        "labels": [{"key": "team", "value": "a"}, {"key": "team", "value": "b"}],
        "userData": '{"t": "a", "outcome": {"status": "Failure"}, "http_status": 500}',
    }


def test_values_leave_as_json_knows_them():
    assert plain([1.0, 1.5, None, True, timedelta(minutes=1), NOW]) == [
        *(1, 1.5, None, True, 60),
        "2026-01-31T12:00:00.000000Z",
    ]
    assert plain(1e300) == 1e300
    assert [cell(value) for value in (None, "x", 1.0, ["é"], {"a": None})] == ["", "x", "1", '["é"]', '{"a": null}']
    assert flat(compiled("countby reason").columns, ["echo", 2.0]) == {"reason": "echo", "_count": 2}
