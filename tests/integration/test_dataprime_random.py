"""Random queries over random deliveries: PostgreSQL and a plain-Python reading of the same tree find the same."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagerduty_sync.dataprime.parser import parse
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.queries import Queries
from tests.dataprime_evaluator import run, text_of
from tests.dataprime_trees import deliveries, queries

STATUS = {
    "delivered": "Success",
    "ignored": "Discarded",
    "deferred": "Discarded",
    "failed": "Failure",
    "rejected": "Rejected",
    "sending": "InternalFailure",
}


@pytest.fixture(scope="module")
def database(shared_database_url):
    database = Database(shared_database_url)
    yield database
    database.close()


def insert(database, rows, now):
    with database.transaction() as connection:
        connection.execute("DELETE FROM notification_deliveries")
        for row in rows:
            columns = {name: value for name, value in row.items() if name != "seconds_ago"}
            connection.execute(
                f"INSERT INTO notification_deliveries (at, {', '.join(columns)}) "
                f"VALUES (%(at)s, {', '.join(f'%({name})s' for name in columns)})",
                {**columns, "at": now - timedelta(seconds=row["seconds_ago"])},
            )


def as_read(row, now):
    """The row under every name the random queries use."""
    at = now - timedelta(seconds=row["seconds_ago"])
    waits = row["outcome"] == "deferred" and row["reason"] == "no_reply"
    status = "Failure" if waits else STATUS[row["outcome"]]
    http = None if row["http_status"] is None else float(row["http_status"])
    return {
        **{name: row[name] for name in ("reason", "outcome", "direction", "operation", "case_id")},
        "$d.sync.reason": row["reason"],
        "case": row["case_name"] or None,
        "incident": row["incident_id"] or None,
        "detail": row["detail"] or None,
        "$d.outcome.statusReasons.message": row["detail"] or None,
        "$d.outcome.status": status,
        "$m.severity": "Info" if status in ("Success", "Discarded") else "Error",
        "attempt": float(row["attempt"]),
        "http_status": http,
        "$d.outcome.https.responseStatusCode": http,
        "duration_ms": None if row["duration_ms"] is None else float(row["duration_ms"]),
        **dict.fromkeys(("at", "$m.timestamp", "$d.outcome.timestamp"), at),
    }


def same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(deliveries, max_size=12), query=queries())
def test_sql_and_python_agree(database, rows, query):
    text = text_of(query)
    assert parse(text) == query
    now = datetime.now(UTC).replace(microsecond=0)
    insert(database, rows, now)
    # Newest first, and of the same moment the one written last.
    newest_first = sorted(enumerate(rows), key=lambda pair: (pair[1]["seconds_ago"], -pair[0]))
    expected = run(query, [as_read(row, now) for _, row in newest_first])

    result = Queries(database).run(text)

    if len(result.shown) < len(result.columns):
        place = next(number for number, column in enumerate(result.columns) if column.name == "sync.at")
        assert [row[place] for row in result.rows] == [row["at"] for row in expected], text
    else:
        found = [dict(zip([column.name for column in result.columns], row, strict=True)) for row in result.rows]
        assert len(found) == len(expected), text
        for one, other in zip(found, expected, strict=True):
            assert one.keys() == other.keys()
            assert all(same(one[name], other[name]) for name in one), (text, one, other)
