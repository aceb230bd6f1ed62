"""DataPrime over a real PostgreSQL: results, limits, and the two ways to ask, the API and the command line."""

from __future__ import annotations

import csv
import io
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import web.app
from pagerduty_sync.commands.query import query as command
from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.domain.cases import SYSTEM, CasePriority
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.errors import InvalidRequestError, StorageError
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.cases import CaseStore
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.queries import AT_ONCE, Queries
from pagerduty_sync.stores.secrets import generate_key
from pagerduty_sync.stores.tokens import Tokens
from tests.unit.test_dataprime import WORDS
from web.api import dataprime

INTEGRATION = "0f8fad5b-d9cb-469f-a165-70867728950e"
CONNECTOR = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture(scope="module")
def database(shared_database_url):
    database = Database(shared_database_url)
    with database.transaction() as connection:
        connection.execute(
            """
            INSERT INTO integrations (id, name, base_url, api_key_encrypted, api_key_last4, key_kind, user_email,
                                      user_id, consented_at, status)
            VALUES (%(id)s, 'main', 'https://x', 'x', 'last', 'user', 'a@example.com', 'P1', now(), 'connected')
            """,
            {"id": INTEGRATION},
        )
        connection.execute(
            """
            INSERT INTO connectors (id, name, path, integration_id, service_id)
            VALUES (%(id)s, 'checkout', 'bidirectional', %(integration)s, 'PSERVICE')
            """,
            {"id": CONNECTOR, "integration": INTEGRATION},
        )
    yield database
    database.close()


@pytest.fixture(scope="module")
def case(database):
    return CaseStore(database).create_case(
        "Checkout is slow", CasePriority.P2, actor=SYSTEM, labels={"team": ["payments", "web"]}
    )


@pytest.fixture(scope="module")
def log(database, case):
    """Three attempts: one went well, one was refused, one has to wait and is nobody's."""
    sent = a_delivery(
        case_id=case.id,
        case_name=case.name,
        incident_id="Q1",
        connector_id=CONNECTOR,
        integration_id=INTEGRATION,
        http_status=201,
        duration_ms=80,
        cause=f"case_event:{case_event(database, case)}",
    )
    rows = [
        sent,
        replace(sent, outcome=Outcome.FAILED, reason=Reason.REFUSED, detail="It said: no.", http_status=400, cause=""),
        a_delivery(outcome=Outcome.DEFERRED, reason=Reason.RATE_LIMITED, http_status=429, event_id="E1"),
        a_delivery(at=datetime.now(UTC) - timedelta(days=3)),
    ]
    return Deliveries(database).add(None, rows)


@pytest.fixture
def ask(database, log):
    """The rows a query gives, as mappings."""

    def ask(text, **options):
        result = Queries(database).run(text, **options)
        return [dict(zip([column.name for column in result.columns], row, strict=True)) for row in result.rows]

    return ask


def a_delivery(**changed):
    return replace(Delivery(Direction.OUTBOUND, "create_incident", Outcome.DELIVERED, Reason.APPLIED), **changed)


def case_event(database, case):
    with database.transaction() as connection:
        row = connection.execute(
            "UPDATE case_events SET occurred_at = now() - interval '90 seconds' WHERE case_id = %s RETURNING id",
            (case.id,),
        ).fetchone()
    return row["id"]


# ------------------------------------------------------------------ results


def test_what_was_not_delivered_is_listed_with_its_reasons(ask):
    found = ask(
        """
        source system/notification.deliveries
        | filter $d.source.entityType == 'cases' && $d.outcome.status != 'Success'
        | choose $m.timestamp, $d.destination.connectorInfo.name as connector, $d.outcome.status as status,
                 $d.outcome.https.responseStatusCode as http, $d.outcome.statusReasons as why
        | orderby $m.timestamp desc
        | limit 100
        """
    )
    assert [row["status"] for row in found] == ["Failure", "Failure"]
    assert [row["connector"] for row in found] == [None, "checkout"]
    assert [row["http"] for row in found] == [429, 400]
    assert found[1]["why"] == {"type": "refused", "message": "It said: no."}
    assert found[0]["$m.timestamp"] > found[1]["$m.timestamp"]


def test_outcomes_are_counted_by_connector(ask):
    found = ask(
        """
        source system/notification.deliveries
        | filter $d.source.entityType == 'cases'
        | groupby $d.destination.connectorInfo.name as connector, $d.outcome.status as status aggregate count() as n
        | orderby n desc
        """
    )
    assert found == [
        {"connector": "checkout", "status": "Failure", "n": 1},
        {"connector": "checkout", "status": "Success", "n": 1},
        {"connector": None, "status": "Failure", "n": 1},
    ]


def test_every_field_of_a_record_reads(ask, case, log):
    (record,) = ask("filter reason == 'applied'")
    at = record["$m.timestamp"]
    shown = {name: value for name, value in record.items() if value is not None}
    lateness = shown.pop("outcome.e2eDuration")
    assert 90_000 < lateness < 150_000
    assert shown.pop("sync.lateness_ms") == lateness
    assert shown == {
        "$m.cxEventId": str(log[0]),
        "$m.timestamp": at,
        "$m.severity": "Info",
        "$m.priorityClass": "medium",
        "$m.entityType": "notificationDeliveries",
        "$l": {"team": ["payments", "web"]},
        "notificationDeliveryId": str(log[0]),
        "source.notificationId": record["sync.cause"],
        "source.requestTimestamp": at - timedelta(milliseconds=80),
        "source.entityType": "cases",
        "source.entitySubType": "create_incident",
        "destination.type": "PAGERDUTY_INCIDENTS",
        "destination.connectorInfo.id": CONNECTOR,
        "destination.connectorInfo.userFacingId": CONNECTOR,
        "destination.connectorInfo.name": "checkout",
        "outcome.timestamp": at,
        "outcome.durationMs": 80,
        "outcome.protocol": "https",
        "outcome.https.responseStatusCode": 201,
        "outcome.status": "Success",
        "outcome.statusReasons.type": "applied",
        "sync.id": log[0],
        "sync.at": at,
        "sync.direction": "outbound",
        "sync.operation": "create_incident",
        "sync.outcome": "delivered",
        "sync.reason": "applied",
        "sync.case": case.name,
        "sync.case_id": case.id,
        "sync.incident": "Q1",
        "sync.connector": "checkout",
        "sync.connector_id": CONNECTOR,
        "sync.integration": "main",
        "sync.integration_id": INTEGRATION,
        "sync.attempt": 1,
        "sync.http_status": 201,
        "sync.duration_ms": 80,
        "sync.cause": record["sync.cause"],
    }


def test_labels_of_the_case_can_be_asked_for(ask):
    assert ask("countby $l.team as team, $l['no such'] as none") == [
        {"team": "payments", "none": None, "_count": 2},
        {"team": None, "none": None, "_count": 1},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("filter $m.severity == ERROR | count into n", [{"n": 2}]),
        ("filter [WARNING, error].arrayContains($m.severity) | count into n", [{"n": 2}]),
        ("filter case == 'CASE-1' && !(http_status > 300) | choose reason", [{"reason": "applied"}]),
        ("filter case_id == 'nonsense' | count into n", [{"n": 0}]),
        ("choose (now() - at).toTimeUnit('h') < 24 as young | distinct young", [{"young": True}]),
        ("aggregate max(at) <= now() as ok, percentile(0.5, http_status) as p", [{"ok": True, "p": 400}]),
        (
            "choose 90m.toTimeUnit('hour') as h, 2.toInterval('m') as i | limit 1",
            [{"h": 1.5, "i": timedelta(minutes=2)}],
        ),
        ("choose '2026-02-30' as t | choose t:timestamp as t | distinct t", [{"t": None}]),
        ("choose 'x1' as n | choose n:number as n, 1 / 0 as d | distinct n, d", [{"n": None, "d": None}]),
        (
            "choose '2026-02-28T10:00+02:00' as t | choose t:timestamp as t | distinct t",
            [{"t": datetime(2026, 2, 28, 8, tzinfo=UTC)}],
        ),
        ("orderby http_status | limit 2 | filter http_status > 201 | choose http_status as h", [{"h": 400}]),
        ("aggregate any_value($d.outcome.statusReasons) as o | choose o != null as o", [{"o": True}]),
        ("aggregate collect(reason) as c | filter c.arrayContains('refused') | count into n", [{"n": 1}]),
        ("limit 2 | limit 5 | count into n", [{"n": 2}]),
        ("choose 0.000001 * 1000 as x | distinct x", [{"x": 0.001}]),
    ],
)
def test_answers(ask, text, expected):
    assert ask(text) == expected


# ------------------------------------------------------------------ limits


def test_without_a_range_the_last_day_is_asked_about(ask):
    now = datetime.now(UTC)
    assert ask("count into n") == [{"n": 3}]
    assert ask("count into n", since=now - timedelta(days=4)) == [{"n": 4}]
    assert ask("count into n", since=now - timedelta(days=4), until=now - timedelta(days=2)) == [{"n": 1}]
    assert ask("count into n", until=now - timedelta(days=2, hours=12)) == [{"n": 1}]
    with pytest.raises(InvalidRequestError, match="ends before"):
        ask("count", since=now, until=now)
    with pytest.raises(InvalidRequestError, match="too early"):
        ask("count", until=datetime.min.replace(tzinfo=UTC))


def test_months_outside_of_the_range_are_not_touched(database, log):
    Deliveries(database).ensure_partitions(2)
    statement = Queries(database)
    now = datetime.now(UTC)
    seen = []
    statement._fetch = lambda made: (seen.append(made), ([], True))[1]
    statement.run("filter reason == 'echo'", since=now - timedelta(minutes=1), until=now)
    with database.transaction() as connection:
        plan = connection.execute("EXPLAIN " + seen[0].sql.as_string(connection), seen[0].parameters).fetchall()
    text = str(plan)
    assert f"notification_deliveries_{now:%Y_%m}" in text
    assert f"notification_deliveries_{now + timedelta(days=32):%Y_%m}" not in text
    # A filter by one reason names no other table, so none is read.
    assert "presets" in text  # the whole record was asked for
    statement.run("filter reason == 'echo' | choose at, reason", since=now - timedelta(minutes=1), until=now)
    with database.transaction() as connection:
        plan = connection.execute("EXPLAIN " + seen[1].sql.as_string(connection), seen[1].parameters).fetchall()
    assert "presets" not in str(plan)
    assert "cases" not in str(plan)


def test_a_result_is_cut_at_the_limit_and_says_so(database, log):
    result = Queries(database).run("choose reason", limit=2)
    assert len(result.rows) == 2
    assert "first 2 rows" in result.warnings[0]
    assert Queries(database).run("choose reason", limit=3).warnings == ()
    for limit in (0, 12_001):
        with pytest.raises(InvalidRequestError):
            Queries(database).run("count", limit=limit)


def test_a_result_of_huge_rows_is_cut_too(database, log, monkeypatch):
    monkeypatch.setattr("pagerduty_sync.stores.queries.LARGEST_RESULT", 30)
    monkeypatch.setattr("pagerduty_sync.stores.queries._LARGEST_BATCH", 1)
    result = Queries(database).run("groupby reason aggregate collect(concat(reason, ' and so on and so on')) as c")
    assert result.is_cut
    assert "too large" in result.warnings[0]


def test_a_query_that_takes_too_long_is_stopped(database, log):
    with database.transaction() as connection:
        connection.execute("CREATE TABLE kept AS TABLE notification_deliveries")
        connection.execute(
            "INSERT INTO notification_deliveries (direction, operation, outcome, reason, detail) "
            "SELECT 'inbound', 'x', 'ignored', 'echo', repeat(n::text, 50) FROM generate_series(1, 100000) AS n"
        )
    try:
        with pytest.raises(DataPrimeError, match=r"longer than 0\.02 seconds"):
            Queries(database, timeout_seconds=0.02).run("groupby detail.toLowerCase() aggregate collect(detail)")
    finally:
        with database.transaction() as connection:
            connection.execute("DELETE FROM notification_deliveries WHERE reason = 'echo'")
            connection.execute("DROP TABLE kept")
    # The time limit was the transaction's own.
    with database.transaction() as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == {"statement_timeout": "15s"}


def test_a_number_out_of_range_is_told(ask):
    with pytest.raises(DataPrimeError, match="out of range"):
        ask("choose attempt * 1e300 * 1e300 as x")
    with pytest.raises(DataPrimeError, match="out of range"):
        ask("choose (attempt * 1e21):timestamp as x")
    with pytest.raises(DataPrimeError, match="out of range"):
        ask("choose (attempt * 1e300):timestamp as x")
    with pytest.raises(DataPrimeError):
        ask("choose (attempt * 1e300).toInterval('s') as x")


def test_only_a_few_queries_run_at_a_time(database, log):
    queries = Queries(database, timeout_seconds=0.05)
    for _ in range(AT_ONCE):
        queries._turns.acquire()
    with pytest.raises(StorageError, match="try again"):
        queries.run("count")
    queries = Queries(database)
    for _ in range(AT_ONCE - 1):
        queries._turns.acquire()
    assert queries.run("count").rows == [(3,)]


def test_queries_run_beside_each_other(database, log):
    queries, counts = Queries(database), []
    threads = [threading.Thread(target=lambda: counts.append(queries.run("count").rows)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [[(3,)]] * 6


# ------------------------------------------------------------------ no way in


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE notification_deliveries; --",
        "x' OR '1'='1",
        "%(p1)s",
        "%s",
        "%%",
        "$1",
        "\\'; DELETE FROM cases; --",
        '"; SELECT pg_sleep(10); --',
        "{}",
        "{0}",
        "$$; SELECT 1; $$",
    ],
)
def test_a_text_is_a_text_whatever_it_says(ask, text):
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert ask(f"filter reason == {quoted} || detail ~ {quoted} || case_id == {quoted}") == []
    assert ask(f"choose {quoted} as x | distinct x") == [{"x": text}]
    assert ask(f"choose $l[{quoted}] as x | distinct x") == [{"x": None}]
    assert ask(f"countby [{quoted}].arrayContains(reason) as x into n") == [{"x": False, "n": 3}]
    assert ask("count into n") == [{"n": 3}]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_any_text_comes_back_as_it_was(database, log, text):
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    result = Queries(database).run(f"choose {quoted} as x, detail == {quoted} as y | limit 1")
    assert result.rows[0][0] == text


@pytest.mark.parametrize(
    "text",
    [
        "filter pg_sleep(10) == null",
        "choose current_setting('server_version')",
        "source pg_shadow",
        "source notification_deliveries; DROP TABLE cases",
        "choose api_key_encrypted",
        "choose body",
        "filter reason == 'x'--",
        "filter (select 1) == 1",
        'choose reason as "x; drop"',
    ],
)
def test_sql_is_not_understood(ask, text):
    with pytest.raises(DataPrimeError):
        ask(text)


def test_a_query_cannot_write(database, log, monkeypatch):
    from psycopg import sql

    queries = Queries(database)
    statement = replace_sql(queries, sql.SQL("SELECT nextval('case_numbers')"))
    with pytest.raises(StorageError, match="permission denied"):
        queries._fetch(statement)


def replace_sql(queries, statement):
    seen = []
    queries_fetch, queries._fetch = queries._fetch, lambda made: (seen.append(made), ([], True))[1]
    queries.run("count")
    queries._fetch = queries_fetch
    return replace(seen[0], sql=statement)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(WORDS, max_size=20).map(" ".join))
def test_any_text_gives_rows_or_a_complaint(database, log, text):
    for query in (text, f"filter {text}", f"choose {text}", f"groupby reason aggregate {text}"):
        try:
            Queries(database).run(query)
        except DataPrimeError as exc:
            assert str(exc)


# ------------------------------------------------------------------ the API


@pytest.fixture(scope="module")
def app(database):
    if dataprime.blueprint not in web.app.API_BLUEPRINTS:
        web.app.API_BLUEPRINTS = (*web.app.API_BLUEPRINTS, dataprime.blueprint)
    return web.app.create_app(
        SimpleNamespace(
            settings=Settings(encryption_keys=(generate_key(),), public_url="https://cases.example.com"),
            database=database,
            tokens=Tokens(database),
            deliveries=Deliveries(database),
            inbox=Inbox(database),
        )
    )


@pytest.fixture
def post(app, database, log):
    def post(body, permissions=("deliveries:Read",)):
        _, clear = Tokens(database).create("test", permissions)
        headers = {"Authorization": f"Bearer {clear}"}
        return app.test_client().post("/api/v1/dataprime/query", json=body, headers=headers)

    return post


def lines(reply):
    assert reply.status_code == 200, reply.text
    assert reply.content_type == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def test_the_reply_has_the_shape_of_coralogix(post):
    now = datetime.now(UTC)
    about = {
        "tier": "TIER_FREQUENT_SEARCH",
        "syntax": "QUERY_SYNTAX_DATAPRIME",
        "startDate": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}.00Z",
        "endDate": f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%S.%f}",
        "defaultSource": "notification_deliveries",
        "limit": 2,
        "strictFieldsValidation": False,
    }
    first, result, warning, last = lines(
        post({"query": "choose $m.timestamp, $l.team, $d.outcome.status, http_status as http", "metadata": about})
    )
    assert list(first) == ["queryId"]
    assert first["queryId"]["queryId"]
    one, other = result["result"]["results"]
    assert one["metadata"][0]["key"] == "timestamp"
    assert one["labels"] == []
    assert other["labels"] == [{"key": "team", "value": "payments"}]
    assert json.loads(other["userData"]) == {"outcome": {"status": "Failure"}, "http": 400}
    assert "first 2 rows" in warning["warning"]["numberOfResultsLimitWarning"]["warningMessage"]
    assert last["statistics"]["status"] == "COMPLETED"
    assert last["statistics"]["outputRowCount"] == "2"


def test_a_query_alone_is_enough(post):
    _, result, last = lines(post({"query": "source notification_deliveries | countby reason"}))
    assert [json.loads(row["userData"]) for row in result["result"]["results"]] == [
        {"reason": reason, "_count": 1} for reason in ("applied", "rate_limited", "refused")
    ]
    assert last["statistics"]["outputRowCount"] == "3"
    _, last = lines(post({"query": "filter reason == 'none'", "metadata": {"limit": 99_999}}))
    assert last["statistics"]["outputRowCount"] == "0"


def test_a_range_may_be_as_long_as_time_itself(post):
    about = {"startDate": "0001-01-01T00:00:00+14:00", "endDate": "9999-12-31T23:59:59-14:00"}
    _, result, _ = lines(post({"query": "count into n", "metadata": about}))
    assert json.loads(result["result"]["results"][0]["userData"]) == {"n": 4}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"query": "source notification_deliveries\n| filter reson == 'x'"}, "line 2, column 10: there is no field"),
        ({"query": "count", "metadata": {"defaultSource": "logs"}}, "no dataset 'logs'"),
        ({"query": "count", "metadata": {"syntax": "QUERY_SYNTAX_LUCENE"}}, "syntax"),
        ({"query": "count", "metadata": {"startDate": "yesterday"}}, "startDate"),
        (
            {"query": "count", "metadata": {"startDate": "2026-02-01T00:00Z", "endDate": "2026-01-01T00:00Z"}},
            "ends before",
        ),
        ({"query": "count", "metadata": {"endDate": "0001-01-01T00:00:00Z"}}, "too early"),
        ({"query": "count", "metadata": {"startDate": "9999-12-31T23:59:59-14:00"}}, ""),
        ({"query": "count", "metadata": {"limit": 0}}, "limit"),
        ({"query": "count", "metadata": []}, "metadata"),
        ({"query": ""}, "query"),
        ({"query": 5}, "query"),
        ({"query": "filter reason == 'a\0'"}, "not valid text"),
        ({}, "query"),
        ([], ""),
    ],
)
def test_what_is_wrong_is_a_bad_request_that_says_what(post, body, said):
    reply = post(body)
    assert reply.status_code == 400, reply.text
    assert said in reply.text


def test_asking_needs_the_right_to_read_deliveries(post, app):
    assert post({"query": "count"}, ["case:Read"]).status_code == 403
    assert app.test_client().post("/api/v1/dataprime/query", json={"query": "count"}).status_code == 401


# ------------------------------------------------------------------ the command line


@pytest.fixture
def typed(shared_database_url, log):
    def typed(*arguments, given=None):
        return CliRunner(env={"PAGERDUTY_SYNC_DATABASE_URL": shared_database_url}).invoke(
            command, list(arguments), input=given, catch_exceptions=False
        )

    return typed


def test_a_table_is_for_people(typed, case):
    shown = typed("filter case != null | choose reason, http_status as http | orderby http")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == ["reason   http", "-------  ----", "applied  201", "refused  400"]
    assert "2 rows in" in shown.stderr
    heading, *_ = typed("limit 1").stdout.splitlines()
    assert heading.split() == [
        *("at", "direction", "operation", "outcome", "reason", "case", "incident", "attempt", "http_status", "detail")
    ]


def test_json_and_csv_are_for_programs(typed):
    text = "filter reason == 'refused' | choose reason, detail, http_status, $d.outcome.statusReasons as why"
    why = {"type": "refused", "message": "It said: no."}
    assert json.loads(typed("--json", text).stdout) == {
        "reason": "refused",
        "detail": "It said: no.",
        "http_status": 400,
        "why": why,
    }
    heading, row = csv.reader(io.StringIO(typed("--csv", given=text).stdout))
    assert heading == ["reason", "detail", "http_status", "why"]
    assert row == ["refused", "It said: no.", "400", json.dumps(why)]


def test_a_mistake_is_pointed_at(typed):
    shown = typed("-", given="source notification_deliveries\n| filter reson == 'x'")
    assert shown.exit_code == 1
    assert "Did you mean reason?" in shown.stderr
    assert "  | filter reson == 'x'\n           ^" in shown.stderr


@pytest.mark.parametrize(("since", "count"), [("4d", "4"), ("1h", "3"), ("2100-01-01", None), ("soon", None)])
def test_since_is_a_time_or_a_span(typed, since, count):
    shown = typed("--csv", "--since", since, "count")
    if count is None:
        assert shown.exit_code != 0
    else:
        assert shown.stdout.splitlines() == ["_count", count]


def test_nothing_from_outside_reaches_the_terminal_as_a_command(typed, database):
    (number,) = Deliveries(database).add(None, [a_delivery(reason=Reason.ECHO, detail="a\x1b[31m\nb" + "c" * 100)])
    try:
        *_, row = typed("filter reason == 'echo' | choose detail").stdout.splitlines()
        assert row == "a\ufffd[31m\ufffdb" + "c" * 51 + "…"
    finally:
        with database.transaction() as connection:
            connection.execute("DELETE FROM notification_deliveries WHERE id = %s", (number,))
