"""The Events API client: what is sent, how it is cut, and what becomes of every kind of answer."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import requests
import responses

from pagerduty_sync.domain.notifications import EventAction
from pagerduty_sync.domain.retries import Decision, Disconnect, GiveUp, Retry, decide
from pagerduty_sync.errors import InvalidRequestError, PagerDutyError, RateLimitError, TransportError
from pagerduty_sync.pagerduty.events import (
    EVENTS_BURST,
    EVENTS_PER_MINUTE,
    MAX_EVENT_BYTES,
    THROTTLED_SECONDS,
    EventsClient,
    event_bytes,
)
from pagerduty_sync.pagerduty.replies import Reply

KEY = "R0" + "secretroutingkeyof32charact" + "ers"
BASE = "https://events.example"
URL = f"{BASE}/v2/enqueue"
ACCEPTED = {"status": "success", "message": "Event processed", "dedup_key": "case-1"}


def a_content(**payload: Any) -> dict[str, Any]:
    return {"payload": {"summary": "Checkout is slow", "source": "checkout", "severity": "error"} | payload}


def sent(action: EventAction = EventAction.TRIGGER, dedup_key: str = "case-1", **payload: Any) -> dict[str, Any]:
    raw = event_bytes(KEY, action, dedup_key, a_content(**payload))
    assert len(raw) <= MAX_EVENT_BYTES
    event: dict[str, Any] = json.loads(raw)
    return event


# ---------------------------------------------------------------- what is sent


def test_a_trigger_carries_its_payload_and_the_way_back() -> None:
    content = a_content(group="AVAILABILITY", custom_details={"case": "CASE-1"}, nonsense="ignored")
    content |= {"client": "us", "client_url": "https://us/1", "links": [{"href": "https://us/1", "text": "CASE-1"}]}
    assert json.loads(event_bytes(KEY, EventAction.TRIGGER, "case-1", content)) == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "case-1",
        "payload": {
            "summary": "Checkout is slow",
            "source": "checkout",
            "severity": "error",
            "group": "AVAILABILITY",
            "custom_details": {"case": "CASE-1"},
        },
        "client": "us",
        "client_url": "https://us/1",
        "links": [{"href": "https://us/1", "text": "CASE-1"}],
    }


@pytest.mark.parametrize("action", [EventAction.ACKNOWLEDGE, EventAction.RESOLVE])
def test_what_follows_a_trigger_names_its_key_and_nothing_more(action: EventAction) -> None:
    assert sent(action) == {"routing_key": KEY, "event_action": action.value, "dedup_key": "case-1"}


@pytest.mark.parametrize(
    ("field", "given", "length"),
    [("summary", "s" * 1025, 1024), ("summary", "ä" * 1024, 1024), ("source", "x" * 5000, 1024)],
)
def test_a_text_that_is_too_long_is_cut_and_marked(field: str, given: str, length: int) -> None:
    text = sent(**{field: given})["payload"][field]
    assert len(text) == length
    assert text.endswith("[cut]") == (len(given) > length)


@pytest.mark.parametrize(
    "details",
    [
        {"log": "x" * (MAX_EVENT_BYTES + 1)},
        {"log": '"\\\n' * MAX_EVENT_BYTES},
        {"log": "€" * MAX_EVENT_BYTES},
        {str(number): "line" for number in range(60_000)},
        {"a": "x" * 400_000, "b": '"' * 200_000},
    ],
    ids=["one long text", "escapes", "many bytes a character", "many fields", "uneven"],
)
def test_details_are_cut_until_the_event_fits(details: dict[str, str]) -> None:
    event = sent(custom_details=details, summary="s" * 2000)
    assert event["payload"]["custom_details"]["text"].endswith("[cut]")
    assert len(json.dumps(event, ensure_ascii=False).encode()) > MAX_EVENT_BYTES // 3


def test_details_that_just_fit_are_left_alone() -> None:
    details = {"log": "x" * (MAX_EVENT_BYTES - 1_000)}
    assert sent(custom_details=details)["payload"]["custom_details"] == details


def test_addresses_are_never_cut_and_odd_characters_never_refused() -> None:
    content = a_content(summary="a\0b\ud800c") | {
        "client_url": "https://us/" + "x" * 3000,
        "links": [{"href": "https://us/" + "x" * 3000, "text": "no"}, {"href": "https://us/1", "text": "t" * 2000}],
    }
    event = json.loads(event_bytes(KEY, EventAction.TRIGGER, "k" * 300, content))
    assert "client_url" not in event
    assert [link["href"] for link in event["links"]] == ["https://us/1"]
    assert event["payload"]["summary"] == "a\ufffdb\ufffdc"
    assert len(event["dedup_key"]) == 255


def test_a_key_that_is_none_is_refused_and_not_quoted() -> None:
    for key in ("", "short", f"{KEY}\n{KEY}", "ä" * 32):
        with pytest.raises(InvalidRequestError) as refused:
            EventsClient(BASE).send(key, EventAction.RESOLVE, "case-1")
        assert not key or key not in str(refused.value)


def test_the_pace_stays_below_what_pagerduty_takes() -> None:
    assert EVENTS_PER_MINUTE + EVENTS_BURST <= 120


# ---------------------------------------------------------------- what comes back


@responses.activate
def test_accepted_is_measured_and_nothing_but_the_body_names_the_key() -> None:
    responses.post(URL, json=ACCEPTED, status=202, headers={"x-request-id": "req-1"})
    heard: list[Reply] = []
    reply = EventsClient(BASE + "/").send(KEY, EventAction.TRIGGER, "case-1", a_content(), heard=heard.append)
    assert (reply.status, reply.request_id, heard) == (202, "req-1", [reply])
    request = responses.calls[0].request
    assert "Authorization" not in request.headers
    assert KEY not in str(request.headers) + str(request.url)


def an_answer(status: int, body: Any = None, headers: dict[str, str] | None = None) -> PagerDutyError:
    with responses.RequestsMock() as mock:
        mock.post(URL, status=status, json=body, headers=headers or {})
        with pytest.raises(PagerDutyError) as raised:
            EventsClient(BASE).send(KEY, EventAction.TRIGGER, "case-1", a_content())
    return raised.value


INVALID = {
    "status": "invalid event",
    "message": "Event object is invalid",
    "errors": [f"'routing_key' {KEY} is invalid"],
}


@pytest.mark.parametrize(
    ("status", "decision"),
    [
        *((status, GiveUp) for status in (301, 400, 403, 404, 413)),
        (401, Disconnect),
        *((status, Retry) for status in (408, 429, 500, 502, 503, 504)),
    ],
)
def test_which_answers_are_tried_again(status: int, decision: type[Decision]) -> None:
    error = an_answer(status, INVALID)
    assert isinstance(decide(error, 1, 0.0, jitter=0.5), decision)
    assert KEY not in str(error)


def test_a_refusal_carries_pagerdutys_words() -> None:
    assert "Event object is invalid" in str(an_answer(400, INVALID))


@pytest.mark.parametrize(
    ("headers", "seconds"), [({}, THROTTLED_SECONDS), ({"Retry-After": "7"}, 7.0), ({"ratelimit-reset": "3"}, 3.0)]
)
def test_a_rate_limit_waits_as_told_else_as_documented(headers: dict[str, str], seconds: float) -> None:
    error = an_answer(429, None, headers)
    assert isinstance(error, RateLimitError)
    assert error.retry_after_seconds == seconds


@responses.activate
def test_no_answer_is_one_try_and_may_be_repeated_later(caplog: pytest.LogCaptureFixture) -> None:
    responses.post(URL, body=requests.exceptions.ReadTimeout("poison " + KEY))
    heard: list[Reply] = []
    with caplog.at_level(logging.DEBUG), pytest.raises(TransportError) as raised:
        EventsClient(BASE).send(KEY, EventAction.TRIGGER, "case-1", a_content(), heard=heard.append)
    assert [reply.status for reply in heard] == [0]
    assert KEY not in str(raised.value) + repr(EventsClient(BASE)) + caplog.text
    assert isinstance(raised.value.__cause__, requests.RequestException)
    assert raised.value.__cause__.request is None


def test_a_connection_that_was_never_made_gets_two_quick_tries_more() -> None:
    heard: list[Reply] = []
    client = EventsClient("http://127.0.0.1:9", backoff_seconds=0.001)
    with pytest.raises(TransportError, match="could not connect to 127"):
        client.send(KEY, EventAction.TRIGGER, "case-1", a_content(), heard=heard.append)
    assert [reply.status for reply in heard] == [0, 0, 0]
