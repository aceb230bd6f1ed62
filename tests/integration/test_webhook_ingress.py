"""The webhook endpoint over a real PostgreSQL: every answer it gives, what it stores, and what it survives."""

import io
import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from pagerduty_sync.embedded.throwaway import start_throwaway
from pagerduty_sync.pagerduty.signature import sign
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.database import Database, migrate
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.inbox import Inbox, Received
from pagerduty_sync.stores.secrets import SecretBox, generate_key
from pagerduty_sync.stores.subscriptions import Subscriptions
from tests.builders import SUBSCRIPTION_ID, WEBHOOK_SECRET, a_ping, a_webhook, as_bytes, signed
from web import group_commit, webhooks

LIMIT = 4_096


@dataclass
class CountingInbox:
    """The inbox, and how many transactions it took."""

    inbox: Inbox
    transactions: int = 0

    def insert(self, rows: list[Received]) -> list[int | None]:
        self.transactions += 1
        return self.inbox.insert(rows)


@dataclass
class Wired:
    """The parts of the application that the endpoint touches, and the ids it would have sent to a worker."""

    database: Database
    inbox: CountingInbox
    subscriptions: Subscriptions
    deliveries: Deliveries
    settings: Settings
    nudged: list[int]
    integration_id: str = ""
    app: Flask | None = None

    def post(self, body: bytes | None = None, /, integration_id: str | None = None, **options: Any) -> TestResponse:
        body = as_bytes(a_webhook()) if body is None else body
        options = {"data": body, "headers": signed(body)} | options
        assert self.app is not None
        return self.app.test_client().post(f"/webhooks/pagerduty/{integration_id or self.integration_id}", **options)

    def rows(self) -> list[dict[str, Any]]:
        with self.database.transaction() as conn:
            return conn.execute("SELECT * FROM inbox ORDER BY id").fetchall()

    def rejected(self) -> list[dict[str, Any]]:
        with self.database.transaction() as conn:
            return conn.execute("SELECT * FROM notification_deliveries ORDER BY id").fetchall()

    def execute(self, statement: str, *parameters: object) -> None:
        with self.database.transaction() as conn:
            conn.execute(statement.encode(), parameters)


def wire(database_url: str, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Wired:
    database = Database(database_url, wait_seconds=1.0)
    settings = Settings(**({"max_webhook_bytes": LIMIT, "webhook_commit_seconds": 2.0} | changed))
    wired = Wired(
        database,
        CountingInbox(Inbox(database)),
        Subscriptions(database, SecretBox([generate_key()])),
        Deliveries(database),
        settings,
        [],
    )
    monkeypatch.setattr(group_commit, "send_nudge", wired.nudged.extend)
    wired.app = Flask("ingress")
    wired.app.extensions["pagerduty_sync"] = wired
    group_commit.init_app(wired.app, wired)
    wired.app.register_blueprint(webhooks.blueprint)
    with database.transaction() as conn:
        row = conn.execute(
            """
            INSERT INTO integrations (name, base_url, api_key_encrypted, api_key_last4, key_kind, user_email, user_id,
                                      is_two_way, consented_at, status)
            VALUES ('acme', 'https://api.pagerduty.com', 'x', 'wxyz', 'account', 'a@example.com', 'PUSER01', true,
                    now(), 'connected')
            RETURNING id::text
            """
        ).fetchone()
    assert row is not None
    wired.integration_id = row["id"]
    wired.subscriptions.add(wired.integration_id, SUBSCRIPTION_ID, WEBHOOK_SECRET)
    return wired


@pytest.fixture
def wired(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wired]:
    wired = wire(database_url, monkeypatch)
    assert wired.app is not None
    yield wired
    wired.app.extensions["group_committer"].close()
    wired.database.close()


def test_a_signed_webhook_is_stored_as_it_came_and_then_nudged(wired: Wired) -> None:
    body = as_bytes(a_webhook("incident.acknowledged"))
    answer = wired.post(body)
    assert (answer.status_code, answer.json) == (202, {"result": "accepted"})
    [row] = wired.rows()
    assert row["body"] == body
    assert str(row["integration_id"]) == wired.integration_id
    assert (row["webhook_id"], row["subscription_id"], row["state"]) == ("whk-1", SUBSCRIPTION_ID, "received")
    assert row["signature"] == sign(body, WEBHOOK_SECRET)
    assert wired.app is not None
    wired.app.extensions["group_committer"].close()
    assert wired.nudged == [row["id"]]


@pytest.mark.parametrize(
    "body",
    [
        as_bytes(a_ping()),
        as_bytes(a_webhook("incident.of_a_kind_not_invented_yet")),
        b"",
        b"not json",
        b"\x00\xff\xfe",
        b"[" * 2_000,
    ],
    ids=["a ping", "an unknown type", "nothing", "no JSON", "no text", "deep nesting"],
)
def test_whatever_is_signed_is_accepted(wired: Wired, body: bytes) -> None:
    assert wired.post(body).status_code == 202
    assert [bytes(row["body"]) for row in wired.rows()] == [body]


def test_a_repeat_gets_the_same_answer_and_no_second_row(wired: Wired) -> None:
    answers = [wired.post() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert [answer.json for answer in answers][1:] == [{"result": "seen_before"}] * 2
    assert len(wired.rows()) == 1


def test_without_a_webhook_id_the_body_names_itself(wired: Wired) -> None:
    bodies = [as_bytes(a_webhook(event_id=name)) for name in ("01A", "01B", "01A")]
    for body in bodies:
        headers = signed(body)
        del headers["X-Webhook-Id"]
        assert wired.post(body, headers=headers).status_code == 202
    assert [row["webhook_id"][:7] for row in wired.rows()] == ["sha256:", "sha256:"]


@pytest.mark.parametrize("wanted", ["new first", "old first", "one of several secrets"])
def test_a_second_secret_is_as_good_while_two_subscriptions_live(wired: Wired, wanted: str) -> None:
    wired.subscriptions.add(wired.integration_id, "PSUB002", "another-secret")
    body = as_bytes(a_webhook())
    signature = {
        "new first": f"{sign(body, 'another-secret')},{sign(body, 'x')}",
        "old first": f"{sign(body, 'x')},{sign(body, WEBHOOK_SECRET)}",
        "one of several secrets": sign(body, "another-secret"),
    }[wanted]
    assert wired.post(body, headers=signed(body) | {"X-PagerDuty-Signature": signature}).status_code == 202


@pytest.mark.parametrize(
    "signature",
    [None, "", "v1=", "v1=" + "0" * 64, "v0=" + "0" * 64, sign(b"other bytes", WEBHOOK_SECRET), ",,,", "v1=é" * 200],
)
def test_what_nobody_we_trust_has_signed_is_refused_and_written_down(wired: Wired, signature: str | None) -> None:
    body = as_bytes(a_webhook())
    headers = signed(body) | {"X-PagerDuty-Signature": signature or ""}
    if signature is None:
        del headers["X-PagerDuty-Signature"]
    answer = wired.post(body, headers=headers)
    assert (answer.status_code, answer.json) == (401, {"result": "rejected"})
    assert wired.rows() == []
    [row] = wired.rejected()
    assert (row["direction"], row["outcome"], row["reason"]) == ("inbound", "rejected", "rejected_signature")
    assert str(row["integration_id"]) == wired.integration_id
    assert WEBHOOK_SECRET not in str(row)


def test_a_removed_subscription_s_signature_is_refused(wired: Wired) -> None:
    wired.subscriptions.remove(SUBSCRIPTION_ID)
    assert wired.post().status_code == 401


def test_a_flood_of_forgeries_leaves_few_rows(wired: Wired) -> None:
    body = as_bytes(a_webhook())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: wired.post(body, headers={}), range(400)))
    assert {answer.status_code for answer in answers} == {401}
    assert len(wired.rejected()) <= 3
    assert wired.rows() == []


@pytest.mark.parametrize("integration_id", [str(uuid.uuid4()), "not-a-uuid", "%00", "'", "é", "0" * 5_000])
def test_an_unknown_integration_is_not_found(wired: Wired, integration_id: str) -> None:
    answer = wired.post(integration_id=integration_id)
    assert (answer.status_code, answer.json) == (404, {"result": "unknown_integration"})
    assert wired.rows() == []
    assert wired.rejected() == []


class Measured(io.RawIOBase):
    """An endless body that knows how much of it was read."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.taken += len(buffer)
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


def test_a_body_that_says_it_is_too_large_is_not_read(wired: Wired) -> None:
    endless = Measured()
    answer = wired.post(b"", environ_overrides={"wsgi.input": endless, "CONTENT_LENGTH": str(LIMIT + 2)})
    assert (answer.status_code, answer.json) == (413, {"result": "too_large"})
    assert endless.taken == 0


def test_a_chunked_body_is_read_no_further_than_the_limit(wired: Wired) -> None:
    endless = Measured()
    chunked = {"wsgi.input": endless, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    answer = wired.post(b"", environ_overrides=chunked)
    assert (answer.status_code, answer.json) == (413, {"result": "too_large"})
    assert endless.taken <= 2 * LIMIT


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 202), (LIMIT + 1, 413)])
def test_the_limit_itself_still_fits(wired: Wired, chunked: bool, size: int, status: int) -> None:
    body = b"x" * size
    options: dict[str, Any] = {}
    if chunked:
        headers = signed(body) | {"Transfer-Encoding": "chunked"}
        environ = {"wsgi.input_terminated": True}
        options = {"data": None, "input_stream": io.BytesIO(body), "environ_base": environ, "headers": headers}
    assert wired.post(body, **options).status_code == status
    assert [len(row["body"]) for row in wired.rows()] == ([size] if status == 202 else [])


@pytest.mark.parametrize("moment", ["connecting", "rotating"])
def test_a_subscription_whose_secret_is_about_to_be_stored_is_told_to_come_again(wired: Wired, moment: str) -> None:
    if moment == "connecting":
        wired.subscriptions.remove(SUBSCRIPTION_ID)
        wired.execute("UPDATE integrations SET status = 'connecting'")
    else:
        wired.execute("UPDATE integrations SET status_reason = 'rotating'")
    body = as_bytes(a_webhook())
    early = signed(body, secret="not stored yet", subscription_id="PSUB-NEW")
    assert wired.post(body, headers=early).status_code == 503
    assert wired.post(body, headers={}).status_code == 401
    wired.subscriptions.add(wired.integration_id, "PSUB-NEW", "not stored yet")
    wait_for_signers(wired)
    assert wired.post(body, headers=early).status_code == 202
    assert len(wired.rows()) == 1


def test_a_subscription_stored_a_moment_ago_is_known_at_once(wired: Wired) -> None:
    assert wired.post().status_code == 202
    wired.subscriptions.add(wired.integration_id, "PSUB-NEW", "its secret")
    wait_for_signers(wired)
    body = as_bytes(a_webhook(event_id="01B"))
    assert wired.post(body, headers=signed(body, "its secret", "whk-2", "PSUB-NEW")).status_code == 202


def test_a_secret_that_cannot_be_read_is_no_reason_to_drop_a_webhook(wired: Wired) -> None:
    wired.execute("UPDATE webhook_subscriptions SET secret_encrypted = 'written under a key that is gone'")
    assert wired.post().status_code == 503
    wired.subscriptions.add(wired.integration_id, "PSUB002", "readable")
    wait_for_signers(wired)
    body = as_bytes(a_webhook())
    assert wired.post(body, headers=signed(body, "readable", "whk-2", "PSUB002")).status_code == 202
    assert wired.post(body, headers=signed(body, "forged", "whk-3", "PSUB002")).status_code == 401
    assert wired.post().status_code == 503


def test_a_lock_that_outlasts_the_wait_is_told_to_come_again_and_the_row_is_stored_once(wired: Wired) -> None:
    assert wired.post().status_code == 202
    body = as_bytes(a_webhook(event_id="01B"))
    with wired.database.transaction() as conn:
        conn.execute("LOCK TABLE inbox IN EXCLUSIVE MODE")
        answer = wired.post(body, headers=signed(body, webhook_id="whk-2"))
        assert (answer.status_code, answer.json) == (503, {"result": "not_stored"})
    assert wired.post(body, headers=signed(body, webhook_id="whk-2")).status_code == 202
    assert len(wired.rows()) == 2


def test_webhooks_that_come_together_are_committed_together_and_each_stands_once(wired: Wired) -> None:
    bodies = [as_bytes(a_webhook(event_id=f"01E{number:04}")) for number in range(640)]

    def post(number: int) -> int:
        body = bodies[number]
        return wired.post(body, headers=signed(body, webhook_id=f"whk-{number}")).status_code

    wired.post(bodies[0], headers=signed(bodies[0], webhook_id="whk-0"))
    before = wired.inbox.transactions
    # Every one comes twice, as after a lost answer.
    numbers = [*range(640), *range(640)]
    random.Random(7).shuffle(numbers)
    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(post, numbers)) == {202}
    stored = wired.rows()
    assert sorted(row["webhook_id"] for row in stored) == sorted(f"whk-{number}" for number in range(640))
    assert {bytes(row["body"]) for row in stored} == set(bodies)
    assert wired.inbox.transactions - before < len(numbers) / 2
    assert wired.app is not None
    wired.app.extensions["group_committer"].close()
    assert sorted(wired.nudged) == [row["id"] for row in stored]


JUNK = [
    "",
    " ",
    "é",
    "\xff\xfe",
    "x" * 7_000,
    "\x00",
    "a\x7fb",
    "v1=" * 2_000,
    "'; DROP TABLE inbox; --",
    ",",
    "\t",
    "=1",
]


@pytest.mark.parametrize("header", ["X-Webhook-Id", "X-Webhook-Subscription", "X-PagerDuty-Signature", "Content-Type"])
@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_in_a_header_is_never_an_error_of_ours(wired: Wired, header: str, junk: str) -> None:
    body = as_bytes(a_webhook())
    environ = "HTTP_" + header.upper().replace("-", "_") if header != "Content-Type" else "CONTENT_TYPE"
    # Set beneath werkzeug's test client, which would refuse to send some of these.
    answer = wired.post(body, environ_overrides={environ: junk})
    assert answer.status_code == (401 if header == "X-PagerDuty-Signature" else 202)
    with_good_signature = {environ: f"{sign(body, WEBHOOK_SECRET)},{junk}"} if answer.status_code == 401 else {}
    assert wired.post(body, environ_overrides=with_good_signature).status_code == 202


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "", "9" * 30])
def test_a_length_that_is_none_is_never_an_error_of_ours(wired: Wired, length: str) -> None:
    answer = wired.post(environ_overrides={"CONTENT_LENGTH": length})
    assert answer.status_code in {401, 413}


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_only_posts_are_taken(wired: Wired, method: str) -> None:
    assert wired.app is not None
    answer = getattr(wired.app.test_client(), method)(f"/webhooks/pagerduty/{wired.integration_id}")
    assert answer.status_code == 405


def test_without_a_database_every_webhook_is_told_to_come_again_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with start_throwaway(durable=True) as servers:
        migrate(servers.database_url)
        wired = wire(servers.database_url, monkeypatch)
        assert wired.app is not None
        assert wired.post().status_code == 202
        servers.postgres.kill()
        body = as_bytes(a_webhook(event_id="01B"))
        with ThreadPoolExecutor(8) as pool:
            posts = [pool.submit(wired.post, body, headers=signed(body, webhook_id="whk-2")) for _ in range(8)]
            answers = [post.result() for post in posts]
        assert {answer.status_code for answer in answers} == {503}
        fresh = Flask("a process that has never seen the database")
        fresh.extensions["pagerduty_sync"] = wired
        group_commit.init_app(fresh, wired)
        fresh.register_blueprint(webhooks.blueprint)
        answer = fresh.test_client().post(f"/webhooks/pagerduty/{wired.integration_id}", data=b"", headers=signed(b""))
        assert answer.status_code == 503
        servers.postgres.start()
        wait_for_signers(wired)
        for _ in range(20):
            if (answer := wired.post(body, headers=signed(body, webhook_id="whk-2"))).status_code == 202:
                break
        assert answer.status_code == 202
        assert [row["webhook_id"] for row in wired.rows()] == ["whk-1", "whk-2"]
        wired.app.extensions["group_committer"].close()
        wired.database.close()


def wait_for_signers(wired: Wired) -> None:
    """As if the moment for which signers are remembered had passed."""
    assert wired.app is not None
    wired.app.extensions["signers"]._loaded_at = float("-inf")
