"""Webhooks that are not what they should be, through the real web and the real workers, signed by the simulator.

What is not authentic is turned away; what is authentic is accepted and, if nobody can make sense of it, kept for a
person with a reason. Nothing is an error to PagerDuty, nothing upsets a worker, and the next good webhook works.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.builders import a_note_webhook, a_webhook, as_bytes
from tests.e2e.agreement import assert_everything_agrees
from tests.e2e.breakable import Breakable, Json, until
from tests.e2e.lives import led_by_pagerduty, living

pytestmark = pytest.mark.e2e

LIMIT = 262_144
SOON_SECONDS = 5.0


def an_event(**changed: Any) -> Json:
    """A webhook of an incident nobody has linked, with an event id of its own; what is named differs."""
    return a_webhook("incident.acknowledged", "PNOBODY", **({"event_id": f"01{uuid.uuid4().hex}"} | changed))


def bent(path: str, value: object) -> bytes:
    """The same with one member, found by its path below the envelope, replaced."""
    body = an_event()
    *parents, name = path.split(".")
    holder = body["event"]
    for parent in parents:
        holder = holder[parent]
    holder[name] = value
    return json.dumps(body).encode()


def raw(path: str, text: str) -> bytes:
    """The same with a member that is this JSON text, as no well-meaning encoder would write it."""
    return bent(path, "INSERT-HERE").replace(b'"INSERT-HERE"', text.encode("utf-8", "surrogateescape"))


UNREADABLE = {
    "nothing at all": b"",
    "no JSON": b"hello, is this PagerDuty?",
    "a form": b"payload=%7B%22event%22%3A+1%7D",
    "cut off in the middle": as_bytes(an_event())[:-40],
    "something behind the end": as_bytes(an_event()) + b"}",
    "JSON null": b"null",
    "a list": b"[]",
    "a number": b"1e999",
    "no event": b"{}",
    "an event that is a list": b'{"event": []}',
    "an event that is null": b'{"event": null}',
    "an id that is a number": bent("id", 7),
    "an id that is empty": bent("id", "  "),
    "an id of 10,000 characters": bent("id", "x" * 10_000),
    "an id with NUL in it": bent("id", "01\0"),
    "an id that is half a character": raw("id", '"01\\ud800"'),
    "a type that is an object": bent("event_type", {"incident": "acknowledged"}),
    "a time that is a number": bent("occurred_at", 1_700_000_000),
    "a time that never was": bent("occurred_at", "2026-13-45T25:61:61Z"),
    "a time before all times": bent("occurred_at", "0001-01-01T00:00:00+23:59"),
    "data that is a text": bent("data", "acknowledged"),
    "data that is a list": bent("data", [1, 2, 3]),
    "data of another kind": bent("data.type", "incident_note"),
    "a status nobody knows": bent("data.status", "exploded"),
    "a status that is a list": bent("data.status", ["acknowledged"]),
    "a priority that is a text": bent("data.priority", "P1"),
    "an incident whose id is a list": bent("data.id", ["PNOBODY"]),
    "100,000 brackets": b"[" * 100_000 + b"]" * 100_000,
    "objects 20,000 deep": b'{"event":' * 20_000 + b"1" + b"}" * 20_000,
    "a number of 100,000 digits": raw("data.number", "9" * 100_000),
    "NaN": raw("data.number", "NaN"),
    "NUL between the members": as_bytes(an_event()).replace(b",", b",\0", 1),
    "bytes that are no UTF-8": raw("data.title", '"\udcff\udcfe\udc80"'),
    "UTF-16": json.dumps(an_event()).encode("utf-16"),
    "gzip": bytes.fromhex("1f8b0800000000000003abae050043bfa6a302000000"),
    "256 KB of white space": b" " * LIMIT,
}

READABLE = {
    "odd where nothing depends on it": (bent("data.title", {"not": "a text"}), "done", "no_link"),
    "a number far too large": (bent("data.number", 10**400), "done", "no_link"),
    "a number that is infinite": (raw("data.number", "1e999"), "done", "no_link"),
    "half a character in the title": (raw("data.title", '"\\ud800\\u0000"'), "done", "no_link"),
    "members nobody knows": (bent("data.__proto__", {"constructor": "x" * 10_000}), "done", "no_link"),
    "10,000 members": (bent("data.more", {f"member {n}": n for n in range(10_000)}), "done", "no_link"),
    "a script as title": (bent("data.title", "<script>alert(1)</script>'; DROP TABLE inbox; --"), "done", "no_link"),
    "a type nobody knows": (bent("event_type", "incident.teleported"), "quarantined", "unknown_event"),
    "a type of a later year": (bent("event_type", "oncall.handover.completed"), "quarantined", "unknown_event"),
    "a type with a line break": (bent("event_type", "incident.\nresolved\x1b[31m"), "quarantined", "unknown_event"),
}


@pytest.fixture(autouse=True)
def undisturbed(breakable: Breakable) -> Iterator[None]:
    """After each test: nobody was upset, PagerDuty still delivers to us, and a good webhook works."""
    sizes = breakable.log_sizes()
    yield
    [subscription] = breakable.simulator("GET", "/_sim/state")["webhook_subscriptions"]
    assert subscription["delivery_method"]["temporarily_disabled"] is False
    good = send(breakable, as_bytes(an_event()))
    assert status_of(breakable, good) == 202
    assert handled(breakable, good)["reason"] == "no_link"
    logged = breakable.logged_since(sizes)
    assert "Traceback" not in logged
    assert '"level": "error"' not in logged
    assert "request_failed" not in logged


# ------------------------------------------------------------ authentic, and yet


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_signed_and_cannot_be_read_is_accepted_and_kept(breakable: Breakable, body: bytes) -> None:
    sent = send(breakable, body)
    assert status_of(breakable, sent) == 202
    row = handled(breakable, sent)
    assert (row["state"], row["reason"]) == ("quarantined", "unreadable")
    assert bytes(row["body"]) == body
    assert [delivery["reason"] for delivery in told(breakable, row)] == ["unreadable"]


@pytest.mark.parametrize(("body", "state", "reason"), READABLE.values(), ids=READABLE.keys())
def test_what_is_signed_and_merely_odd_is_accepted_with_its_reason(
    breakable: Breakable, body: bytes, state: str, reason: str
) -> None:
    sent = send(breakable, body)
    assert status_of(breakable, sent) == 202
    row = handled(breakable, sent)
    assert (row["state"], row["reason"]) == (state, reason)
    assert [delivery["reason"] for delivery in told(breakable, row)] == [reason]


def test_the_same_event_under_another_webhook_id_is_a_duplicate(breakable: Breakable) -> None:
    body = as_bytes(an_event())
    rows = [handled(breakable, send(breakable, body)) for _ in range(2)]
    assert [row["reason"] for row in rows] == ["no_link", "duplicate"]
    assert [told(breakable, row)[0]["reason"] for row in rows] == ["no_link", "duplicate"]


def test_the_same_webhook_again_makes_no_second_row(breakable: Breakable) -> None:
    first, again = as_bytes(an_event()), as_bytes(an_event())
    webhook_id = send(breakable, first)
    handled(breakable, webhook_id)
    send(breakable, again, webhook_id=webhook_id)
    until(lambda: len(breakable.attempts(webhook_id=webhook_id)) == 2, "it was sent twice")
    assert [attempt["status"] for attempt in breakable.attempts(webhook_id=webhook_id)] == [202, 202]
    [row] = breakable.rows("SELECT body FROM inbox WHERE webhook_id = %s", webhook_id)
    assert bytes(row["body"]) == first


# ------------------------------------------------------------ not authentic, or not wanted


@pytest.mark.parametrize("how", ["unsigned", "bad_signature"])
def test_what_is_not_authentic_is_turned_away_and_a_sample_is_written_down(breakable: Breakable, how: str) -> None:
    before = rejected(breakable)
    sent = [send(breakable, as_bytes(an_event()), **{how: "1"}) for _ in range(20)]
    assert {status_of(breakable, webhook_id) for webhook_id in sent} == {401}
    assert breakable.rows("SELECT FROM inbox WHERE webhook_id = ANY(%s)", sent) == []
    # One row in ten seconds for each of the two processes, however many there are.
    assert rejected(breakable) - before <= 4
    assert rejected(breakable) > 0


def test_a_body_that_was_changed_on_its_way_is_turned_away(breakable: Breakable) -> None:
    """Signed by PagerDuty, then cut off: the bytes that arrive are not those that were signed."""
    sent = send(breakable, as_bytes(an_event()))
    row = handled(breakable, sent)
    headers = {"X-PagerDuty-Signature": row["signature"], "X-Webhook-Id": str(uuid.uuid4())}
    body = bytes(row["body"])
    for changed in (body[:-1], body + b" ", b"", body.replace(b"acknowledged", b"resolved")):
        assert post(breakable, changed, headers).status_code == 401
    assert post(breakable, body, headers).status_code == 202


def test_a_body_over_256_kb_is_refused_and_one_of_256_kb_is_not(breakable: Breakable) -> None:
    event = as_bytes(an_event())
    for size, status in ((LIMIT, 202), (LIMIT + 1, 413)):
        assert status_of(breakable, send(breakable, event + b" " * (size - len(event)))) == status


def test_a_gigabyte_is_refused_before_it_is_sent(breakable: Breakable) -> None:
    for header in ("Content-Length: 1000000000", "Transfer-Encoding: chunked"):
        started = time.monotonic()
        assert b" 413 " in first_line_of_answer(breakable, header), header
        assert time.monotonic() - started < SOON_SECONDS


@pytest.mark.parametrize("name", ["00000000-0000-0000-0000-000000000000", "PIABC12", "%00", "..%2f..", "x" * 4_000])
def test_an_integration_nobody_knows_is_not_found(breakable: Breakable, name: str) -> None:
    assert post(breakable, b"{}", {"X-PagerDuty-Signature": "v1=00"}, name).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"X-PagerDuty-Signature": "v1=" + "0" * 7_000},
        {"X-PagerDuty-Signature": ",".join(["v1=" + "0" * 64] * 100)},
        {"X-PagerDuty-Signature": "v2=00,v1,=,,v1=zz"},
        {"X-PagerDuty-Signature": b"v1=\xff\xfe"},
        {"X-PagerDuty-Signature": "v1=00", "X-Webhook-Subscription": "'; DROP TABLE inbox; --"},
        {"X-PagerDuty-Signature": "v1=00", "Content-Encoding": "gzip", "Content-Type": "text/\xe9"},
    ],
    ids=["long", "many", "garbled", "no ASCII", "an injection", "a strange type"],
)
def test_odd_headers_are_turned_away_like_any_others(breakable: Breakable, headers: dict[str, Any]) -> None:
    assert post(breakable, as_bytes(an_event()), headers).status_code == 401


# ------------------------------------------------------------ and people in the middle of it


def test_a_case_and_its_incident_stay_in_step_in_the_middle_of_all_that(breakable: Breakable) -> None:
    bodies = [*UNREADABLE.values(), *(body for body, _, _ in READABLE.values())]
    with living(breakable, 4, stories=(led_by_pagerduty,)) as lives:
        for number, body in enumerate(bodies):
            send(breakable, body, **({"bad_signature": "1"} if number % 3 == 0 else {}))
    assert_everything_agrees(breakable, lives.lives)


def test_a_note_with_characters_no_database_holds_arrives_without_them(breakable: Breakable) -> None:
    with living(breakable, 1, stories=(led_by_pagerduty,)) as lives:
        pass
    [life] = lives.lives
    life.notes.append("nul [\ufffd], half [\ufffd], \U0001f525 and <b>")
    text = life.notes[-1].replace("nul [\ufffd]", "nul [\0]").replace("half [\ufffd]", "half [\ud83d]")
    event = a_note_webhook(text, "PNUL001", life.incident_id, event_id=f"01{uuid.uuid4().hex}")
    sent = send(breakable, json.dumps(event).encode())
    assert handled(breakable, sent)["reason"] == "applied"
    assert life.notes[-1] in life.comments_shown()


# ------------------------------------------------------------ parts


def send(breakable: Breakable, body: bytes, **options: str) -> str:
    """Have the simulator sign and deliver these bytes; the webhook's id."""
    [sent] = breakable.simulator("POST", "/_sim/deliver", params=options, data=body)["webhooks"]
    return str(sent["webhook_id"])


def status_of(breakable: Breakable, webhook_id: str) -> int:
    """The service's answer to a webhook."""
    [attempt] = until(lambda: breakable.attempts(webhook_id=webhook_id), "the webhook was sent")
    return int(attempt["status"])


def handled(breakable: Breakable, webhook_id: str) -> Json:
    """Its row, once a worker has done with it."""
    query = "SELECT * FROM inbox WHERE webhook_id = %s AND state IN ('done', 'quarantined')"
    [row] = until(lambda: breakable.rows(query, webhook_id), "the webhook was handled")
    return row


def told(breakable: Breakable, row: Json) -> list[Json]:
    """What the delivery log says about it."""
    return breakable.rows("SELECT * FROM notification_deliveries WHERE cause = %s", f"inbox:{row['id']}")


def rejected(breakable: Breakable) -> int:
    return len(breakable.rows("SELECT FROM notification_deliveries WHERE reason = 'rejected_signature'"))


def webhooks_url(breakable: Breakable, name: str | None = None) -> str:
    """Where PagerDuty was told to send its webhooks, or the same for another integration."""
    [row] = breakable.rows("SELECT id::text AS id FROM integrations")
    return f"{breakable.installation.web_url}/webhooks/pagerduty/{name or row['id']}"


def post(breakable: Breakable, body: bytes, headers: dict[str, Any], name: str | None = None) -> requests.Response:
    return requests.post(webhooks_url(breakable, name), data=body, headers=headers, timeout=SOON_SECONDS)


def first_line_of_answer(breakable: Breakable, header: str) -> bytes:
    """Announce a body in this way and send more than we take of it, but never its end."""
    url = urlsplit(webhooks_url(breakable))
    with socket.create_connection((url.hostname, url.port), timeout=SOON_SECONDS) as connection:
        connection.sendall(f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n{header}\r\n\r\n".encode())
        if "chunked" in header:
            connection.sendall(f"{2 * LIMIT:x}\r\n".encode() + b"x" * 2 * LIMIT)
        return connection.recv(65_536).partition(b"\r\n")[0]
