"""The inbox on a real PostgreSQL: each webhook once, each event once, nothing that waits is lost."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagerduty_sync.errors import SecretError, StorageError
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.heartbeats import Heartbeats
from pagerduty_sync.stores.inbox import Inbox, Received
from pagerduty_sync.stores.secrets import SecretBox, generate_key
from pagerduty_sync.stores.subscriptions import Subscriptions

INTEGRATION, LINK = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def inbox(database: Database) -> Inbox:
    return Inbox(database)


def a_row(webhook_id: str = "whk-1", **changed: object) -> Received:
    fields: dict[str, object] = {
        "integration_id": INTEGRATION,
        "webhook_id": webhook_id,
        "subscription_id": "PSUB001",
        "signature": "v1=abc",
        "body": b"\x00\xff not text",
    }
    return Received(**(fields | changed))  # type: ignore[arg-type]


def stored(inbox: Inbox, *webhook_ids: str) -> list[int]:
    ids = inbox.insert([a_row(webhook_id) for webhook_id in webhook_ids])
    assert None not in ids
    return [id_ for id_ in ids if id_ is not None]


def state_of(database: Database, id_: int) -> tuple[str, str, str | None, str | None]:
    with database.transaction() as conn:
        row = conn.execute("SELECT * FROM inbox WHERE id = %s", (id_,)).fetchone()
    assert row is not None
    return row["state"], row["reason"], row["event_id"], row["link_id"] and str(row["link_id"])


def test_a_row_comes_back_as_it_went_in(inbox: Inbox) -> None:
    [id_] = stored(inbox, "whk-1")
    [row] = inbox.received([id_])
    assert (row.integration_id, row.webhook_id, row.subscription_id) == (INTEGRATION, "whk-1", "PSUB001")
    assert (row.signature, row.body, row.state) == ("v1=abc", b"\x00\xff not text", "received")
    assert row.event_id is None
    assert row.link_id is None


def test_no_rows_are_no_work(inbox: Inbox) -> None:
    assert inbox.insert([]) == []
    assert inbox.received([]) == []


def test_a_repeat_gets_no_second_row_not_even_within_one_batch(inbox: Inbox) -> None:
    first = inbox.insert([a_row("b"), a_row("a"), a_row("b"), a_row("b", integration_id=str(uuid.uuid4()))])
    assert [id_ is None for id_ in first] == [False, False, True, False]
    assert inbox.insert([a_row("a"), a_row("c"), a_row("b")])[::2] == [None, None]
    by_id = {row.id: row.webhook_id for row in inbox.received([id_ for id_ in first if id_])}
    assert [by_id[id_] for id_ in first if id_] == ["b", "a", "b"]


def test_processes_that_store_the_same_webhooks_at_once_do_not_lock_each_other_out(inbox: Inbox) -> None:
    rows = [a_row(f"whk-{number}") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(inbox.insert, [rows if at % 2 else rows[::-1] for at in range(16)]))
    assert sum(id_ is not None for ids in results for id_ in ids) == 200


def test_only_rows_nobody_has_handled_are_received(inbox: Inbox, database: Database) -> None:
    first, second, third = stored(inbox, "a", "b", "c")
    with database.transaction() as conn:
        assert inbox.mark_done(conn, second, "ping")
    assert [row.id for row in inbox.received([third, second, first, 999])] == [first, third]


def test_a_claimed_row_is_left_to_its_claimer(inbox: Inbox, database: Database) -> None:
    ids = stored(inbox, "a", "b")
    with database.transaction() as conn:
        assert [row.id for row in inbox.claim_received(conn, ids[:1])] == ids[:1]
        with database.transaction() as other:
            assert [row.id for row in inbox.claim_received(other, ids)] == ids[1:]


def test_a_row_is_found_late_only_while_it_is_as_received(inbox: Inbox, database: Database) -> None:
    ids = stored(inbox, "a", "b", "c", "d")
    with database.transaction() as conn:
        inbox.mark_done(conn, ids[0], "ping")
        inbox.mark_waiting(conn, ids[1], LINK, "E1")
    assert inbox.found_late(limit=10, older_than_seconds=0) == ids[2:]
    assert inbox.found_late(limit=1, older_than_seconds=0) == ids[2:3]
    assert inbox.found_late(limit=10, older_than_seconds=60) == []


def test_events_wait_for_their_link_in_order_of_arrival(inbox: Inbox, database: Database) -> None:
    ids = stored(inbox, "a", "b", "c")
    with database.transaction() as conn:
        for id_, event in zip(reversed(ids), ["E3", "E2", "E1"], strict=True):
            assert inbox.mark_waiting(conn, id_, LINK, event)
    assert [(row.id, row.event_id) for row in inbox.waiting_for(LINK)] == [
        (ids[0], "E1"),
        (ids[1], "E2"),
        (ids[2], "E3"),
    ]
    assert inbox.waiting_for(str(uuid.uuid4())) == []
    with database.transaction() as conn:
        assert inbox.mark_done(conn, ids[0], "applied")
    assert [row.id for row in inbox.waiting_for(LINK)] == ids[1:]
    assert state_of(database, ids[0]) == ("done", "applied", "E1", LINK)


@pytest.mark.parametrize("mark", ["mark_waiting", "mark_done", "quarantine"])
def test_the_second_webhook_of_one_event_is_done_as_a_duplicate(inbox: Inbox, database: Database, mark: str) -> None:
    first, second = stored(inbox, "a", "b")
    arguments = (LINK, "E1") if mark == "mark_waiting" else ("no_link", "E1")
    with database.transaction() as conn:
        assert getattr(inbox, mark)(conn, first, *arguments)
        assert not getattr(inbox, mark)(conn, second, *arguments)
    assert state_of(database, first)[2] == "E1"
    assert state_of(database, second) == ("done", "duplicate", None, None)


def test_the_same_event_id_of_another_integration_is_another_event(inbox: Inbox, database: Database) -> None:
    [first] = stored(inbox, "a")
    [second] = inbox.insert([a_row("a", integration_id=str(uuid.uuid4()))])
    assert second is not None
    with database.transaction() as conn:
        assert inbox.mark_done(conn, first, "ping", "E1")
        assert inbox.mark_done(conn, second, "ping", "E1")


def test_a_handled_row_is_never_put_back(inbox: Inbox, database: Database) -> None:
    [id_] = stored(inbox, "a")
    with database.transaction() as conn:
        assert inbox.mark_waiting(conn, id_, LINK, "E1")
        assert not inbox.mark_waiting(conn, id_, LINK, "E1")
        assert inbox.mark_done(conn, id_, "applied", "E1")
        assert not inbox.mark_waiting(conn, id_, LINK, "E1")
        assert not inbox.quarantine(conn, id_, "unreadable")
        assert not inbox.mark_done(conn, id_, "stale")
    assert state_of(database, id_) == ("done", "applied", "E1", LINK)


def test_many_webhooks_of_one_event_at_once_leave_one_winner(inbox: Inbox, database: Database) -> None:
    ids = stored(inbox, *(f"whk-{number}" for number in range(8)))
    start = threading.Barrier(len(ids))

    def handle(id_: int) -> bool:
        start.wait(10)
        with database.transaction() as conn:
            return inbox.mark_waiting(conn, id_, LINK, "E1")

    with ThreadPoolExecutor(len(ids)) as pool:
        won = list(pool.map(handle, ids))
    assert sum(won) == 1
    assert [state_of(database, id_)[1] for id_ in ids].count("duplicate") == 7


def test_retention_deletes_what_is_handled_and_old_and_never_what_waits(inbox: Inbox, database: Database) -> None:
    ids = stored(inbox, "a", "b", "c", "d", "e")
    with database.transaction() as conn:
        inbox.mark_done(conn, ids[0], "applied")
        inbox.quarantine(conn, ids[1], "unreadable")
        inbox.mark_waiting(conn, ids[2], LINK, "E1")
        conn.execute("UPDATE inbox SET received_at = now() - interval '8 days' WHERE id = ANY(%s)", (ids[:4],))
        inbox.mark_done(conn, ids[4], "applied")
    assert inbox.prune(older_than_days=7) == 2
    assert inbox.prune(older_than_days=7) == 0
    assert [row.id for row in inbox.received(ids)] == [ids[3]]


def test_a_subscription_s_secret_is_stored_unreadably_and_given_back(database: Database) -> None:
    integration = an_integration(database)
    box = SecretBox([generate_key()])
    subscriptions = Subscriptions(database, box)
    subscriptions.add(integration, "PSUB001", "first")
    subscriptions.add(integration, "PSUB001", "poison")
    subscriptions.add(integration, "PSUB002", "second")
    assert subscriptions.secrets(integration) == {"PSUB001": "poison", "PSUB002": "second"}
    with database.transaction() as conn:
        assert "poison" not in str(conn.execute("SELECT * FROM webhook_subscriptions").fetchall())
    subscriptions.pinged("PSUB002")
    subscriptions.remove("PSUB001")
    subscriptions.remove("PSUB001")
    assert subscriptions.secrets(integration) == {"PSUB002": "second"}
    assert subscriptions.integration_state(integration) == {"status": "connected", "is_two_way": True}
    assert subscriptions.integration_state("not-a-uuid") is None
    with pytest.raises(SecretError):
        Subscriptions(database, SecretBox([generate_key()])).secrets(integration)


def test_heartbeats_say_how_long_ago(database: Database) -> None:
    heartbeats = Heartbeats(database)
    assert heartbeats.ages() == {}
    heartbeats.beat(["worker-inbound", "worker-outbound", "worker-inbound"])
    heartbeats.beat(["worker-inbound"])
    assert {part: age < 30 for part, age in heartbeats.ages().items()} == {
        "worker-inbound": True,
        "worker-outbound": True,
    }


def test_without_a_database_every_method_says_so() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", wait_seconds=0.2)
    with pytest.raises(StorageError):
        Inbox(nowhere).insert([a_row()])
    nowhere.close()


def an_integration(database: Database, status: str = "connected") -> str:
    with database.transaction() as conn:
        row = conn.execute(
            """
            INSERT INTO integrations (name, base_url, api_key_encrypted, api_key_last4, key_kind, user_email, user_id,
                                      is_two_way, consented_at, status)
            VALUES ('acme', 'https://api.pagerduty.com', 'x', 'wxyz', 'account', 'a@example.com', 'PUSER01',
                    true, now(), %s)
            RETURNING id::text
            """,
            (status,),
        ).fetchone()
    assert row is not None
    return str(row["id"])
