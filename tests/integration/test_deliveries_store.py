"""The log of deliveries and the tokens, against a real server."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pagerduty_sync.domain.cases import SYSTEM, CasePriority
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.stores.cases import CaseStore
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries, DeliveryFilters
from pagerduty_sync.stores.tokens import Tokens

LINK = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture(scope="module")
def database(shared_database_url):
    database = Database(shared_database_url)
    yield database
    database.close()


@pytest.fixture
def deliveries(database):
    with database.transaction() as connection:
        connection.execute("DELETE FROM notification_deliveries")
    return Deliveries(database)


def a_delivery(**changed):
    return replace(Delivery(Direction.INBOUND, "incident.resolved", Outcome.DELIVERED, Reason.APPLIED), **changed)


def partitions(database):
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = 'notification_deliveries'::regclass"
        )
        return {row["relname"] for row in rows}


def test_what_is_logged_comes_back_as_it_was(deliveries):
    whole = a_delivery(
        detail="d",
        case_id=LINK,
        case_name="CASE-1",
        incident_id="Q1",
        link_id=LINK,
        connector_id=LINK,
        integration_id=LINK,
        attempt=3,
        http_status=429,
        duration_ms=12,
        request_id="r",
        event_id="e",
        cause="inbox:1",
    )
    ids = deliveries.add(None, [whole, a_delivery()])
    found, more = deliveries.find()
    assert [delivery.id for delivery in found] == ids[::-1]
    assert replace(found[1], id=None, at=None) == whole
    assert replace(found[0], id=None, at=None) == a_delivery()
    assert more is None


def test_nothing_to_log_is_nothing_to_do(deliveries):
    assert deliveries.add(None, []) == []


def test_rows_are_written_with_the_change_they_tell_of(deliveries, database):
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        deliveries.add(connection, [a_delivery()])
        _ = 1 / 0
    assert deliveries.find() == ([], None)


def test_a_text_no_column_can_hold_is_logged_all_the_same(deliveries):
    deliveries.add(None, [a_delivery(detail="a\0b\ud800")])
    assert deliveries.find()[0][0].detail == "a\ufffdb?"


def test_a_reason_of_a_newer_version_can_be_read(deliveries, database):
    deliveries.add(None, [a_delivery()])
    with database.transaction() as connection:
        connection.execute("UPDATE notification_deliveries SET reason = 'from_the_future'")
    assert deliveries.find()[0][0].reason == "from_the_future"


FILTERS = [
    ({"incident_id": "Q1"}, {"incident"}),
    ({"link_id": LINK}, {"link"}),
    ({"direction": Direction.OUTBOUND}, {"out"}),
    ({"outcome": Outcome.FAILED}, {"failed"}),
    ({"reason": Reason.ECHO}, {"echo"}),
    ({"operation": "ping"}, {"operation"}),
    ({"case": "CASE-777"}, {"name"}),
    ({"case": "CASE-778"}, set()),
    ({"reason": Reason.ECHO, "direction": Direction.OUTBOUND}, set()),
    ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, set()),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=lambda part: str(part))
def test_filters(deliveries, filters, expected):
    deliveries.add(
        None,
        [
            a_delivery(detail="incident", incident_id="Q1"),
            a_delivery(detail="link", link_id=LINK),
            a_delivery(detail="out", direction=Direction.OUTBOUND),
            a_delivery(detail="failed", outcome=Outcome.FAILED),
            a_delivery(detail="echo", reason=Reason.ECHO),
            a_delivery(detail="operation", operation="ping"),
            a_delivery(detail="name", case_name="CASE-777"),
        ],
    )
    assert {delivery.detail for delivery in deliveries.find(DeliveryFilters(**filters))[0]} == expected


def test_a_case_is_found_by_either_name(deliveries, database):
    case = CaseStore(database).create_case("x", CasePriority.P1, actor=SYSTEM)
    deliveries.add(None, [a_delivery(case_id=case.id), a_delivery()])
    for name in (case.id, case.readable_id):
        assert len(deliveries.find(DeliveryFilters(case=name))[0]) == 1
        assert deliveries.count_by_reason(case=name) == {"applied": 1}


def test_pages_hold_every_row_once_newest_first_also_across_partitions(deliveries):
    deliveries.ensure_partitions()
    now = datetime.now(UTC)
    rows = [a_delivery(detail=str(number), at=now - timedelta(days=40 * (number // 3))) for number in range(12)]
    ids = deliveries.add(None, rows)
    found, token = [], None
    while True:
        page, token = deliveries.find(limit=5, page_token=token)
        found += page
        if token is None:
            break
    assert sorted(delivery.id for delivery in found) == ids
    assert [(delivery.at, delivery.id) for delivery in found] == sorted(
        ((delivery.at, delivery.id) for delivery in found), reverse=True
    )


@pytest.mark.parametrize("limit", [0, 501, -1])
def test_a_page_has_its_limits(deliveries, limit):
    with pytest.raises(InvalidRequestError):
        deliveries.find(limit=limit)


def test_a_token_belongs_to_its_question(deliveries):
    deliveries.add(None, [a_delivery(), a_delivery()])
    _, token = deliveries.find(limit=1)
    with pytest.raises(InvalidRequestError):
        deliveries.find(DeliveryFilters(reason=Reason.ECHO), page_token=token)


def test_reasons_are_counted_since_a_moment(deliveries):
    deliveries.add(None, [a_delivery(), a_delivery(reason=Reason.ECHO), a_delivery(reason=Reason.ECHO)])
    assert list(deliveries.count_by_reason().items()) == [("echo", 2), ("applied", 1)]
    assert deliveries.count_by_reason(datetime.now(UTC) + timedelta(minutes=1)) == {}


def test_months_are_made_ahead_once_and_rows_that_came_too_early_move_in(database_url):
    database = Database(database_url)
    deliveries = Deliveries(database)
    (early,) = deliveries.add(None, [a_delivery()])

    made = deliveries.ensure_partitions(2)

    assert len(made) == 3
    assert set(made) < partitions(database)
    assert deliveries.ensure_partitions(2) == []
    assert [delivery.id for delivery in deliveries.find()[0]] == [early]
    (late,) = deliveries.add(None, [a_delivery()])
    assert late > early
    with database.transaction() as connection:
        rows = connection.execute("SELECT tableoid::regclass::text AS part FROM notification_deliveries").fetchall()
        count = "SELECT count(*) AS n FROM pg_indexes WHERE tablename = %s"
        indexes = connection.execute(count, (made[0],)).fetchone()
        wanted = connection.execute(count, ("notification_deliveries",)).fetchone()
    assert {row["part"] for row in rows} == {made[0]}
    assert indexes == wanted
    database.close()


def test_old_months_are_dropped_whole_and_the_young_stay(database_url):
    database = Database(database_url)
    deliveries = Deliveries(database)
    (this_month, *_) = deliveries.ensure_partitions(1)
    now = datetime.now(UTC)
    with database.transaction() as connection:
        connection.execute(
            "CREATE TABLE notification_deliveries_2020_12 PARTITION OF notification_deliveries "
            "FOR VALUES FROM ('2020-12-01 00:00+00') TO ('2021-01-01 00:00+00')"
        )
    deliveries.add(None, [a_delivery(at=datetime(2020, 12, 5, tzinfo=UTC)), a_delivery(at=now - timedelta(days=200))])
    (young,) = deliveries.add(None, [a_delivery()])

    assert deliveries.prune(datetime(2020, 12, 31, tzinfo=UTC)) == []
    assert deliveries.prune_older_than(90) == ["notification_deliveries_2020_12"]

    assert [delivery.id for delivery in deliveries.find()[0]] == [young]
    assert this_month in partitions(database)
    database.close()


def test_dropping_a_month_waits_for_readers_and_nobody_waits_for_it(database_url):
    database = Database(database_url)
    deliveries = Deliveries(database)
    with database.transaction() as connection:
        connection.execute(
            "CREATE TABLE notification_deliveries_2020_01 PARTITION OF notification_deliveries "
            "FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00')"
        )
    dropped = []
    pruning = threading.Thread(target=lambda: dropped.extend(deliveries.prune(datetime(2021, 1, 1, tzinfo=UTC))))
    try:
        with database.transaction() as slow_reader:
            slow_reader.execute("SELECT count(*) FROM notification_deliveries")
            pruning.start()
            for _ in range(20):
                # While the drop waits, these come through: behind a lock held in waiting they would time out.
                deliveries.find(limit=1)
                deliveries.add(None, [a_delivery()])
                time.sleep(0.05)
            assert pruning.is_alive() and not dropped
        pruning.join(10)
        assert dropped == ["notification_deliveries_2020_01"]
    finally:
        database.close()


# ------------------------------------------------------------------ tokens


@pytest.fixture
def tokens(database):
    return Tokens(database)


def test_a_token_is_found_by_its_clear_text_and_by_nothing_else(tokens, database):
    token, clear = tokens.create(" bot ", ["case:Read", "case:Read"])
    assert clear.startswith(f"pds_{token.prefix}_")
    assert (token.name, token.permissions) == ("bot", {"case:Read"})
    assert tokens.find(clear) is not None
    for wrong in ("", clear[:-1], clear + "x", token.prefix, "a\0", "\ud800"):
        assert tokens.find(wrong) is None
    with database.transaction() as connection:
        assert clear not in str(connection.execute("SELECT * FROM api_tokens").fetchall())


def test_a_token_ends_when_it_is_revoked_or_expires(tokens):
    token, clear = tokens.create("bot", ["case:Read"])
    first = tokens.revoke(token.id)
    assert tokens.revoke(token.id).revoked_at == first.revoked_at
    assert tokens.find(clear) is None
    assert tokens.get_live(token.id) is None
    over, clear = tokens.create("bot", ["case:Read"], datetime.now(UTC) - timedelta(seconds=1))
    assert tokens.find(clear) is None
    assert tokens.get_live(over.id) is None
    for unknown in (LINK, "x"):
        with pytest.raises(NotFoundError):
            tokens.revoke(unknown)
        assert tokens.get_live(unknown) is None


def test_the_last_use_is_noted_at_most_once_a_minute(tokens, database):
    token, clear = tokens.create("bot", ["case:Read"])

    def last_used():
        return next(listed.last_used_at for listed in tokens.list_all() if listed.id == token.id)

    tokens.find(clear)
    first = last_used()
    assert first is not None
    tokens.find(clear)
    assert last_used() == first
    with database.transaction() as connection:
        connection.execute("UPDATE api_tokens SET last_used_at = now() - interval '2 minutes'")
    tokens.find(clear)
    assert last_used() > first


@pytest.mark.parametrize("permissions", [[], ["case:read"], ["case:Read", "root"]])
def test_a_permission_nobody_knows_is_refused(tokens, permissions):
    with pytest.raises(InvalidRequestError, match="case:Read"):
        tokens.create("bot", permissions)
