"""What every HTTP status leads to, and how long the waits are."""

import http

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagerduty_sync.domain.retries import CAP_SECONDS, SHORTEST_SECONDS, Disconnect, GiveUp, Retry, decide
from pagerduty_sync.errors import (
    DuplicateIncidentError,
    PagerDutyError,
    RateLimitError,
    RefusedError,
    RetryableError,
    ServerError,
    TransportError,
)
from pagerduty_sync.pagerduty.replies import Reply, error_of

HOUR = 3600.0


def reply_error(status, headers=None, body=b'{"error":{"message":"their own words","code":9}}'):
    reply = Reply(status=status, duration_ms=1, request_id="req", ratelimit=None, method="PUT", path="/incidents/P1")
    return error_of(reply, headers or {}, body)


def outcome_of(status):
    if status == 401:
        return Disconnect
    return Retry if status in (408, 429) or status >= 500 else GiveUp


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(status.value, outcome_of(status.value), id=f"{status.value} {status.phrase}")
        for status in http.HTTPStatus
        if status >= 300
    ]
    + [pytest.param(499, GiveUp, id="499"), pytest.param(599, Retry, id="599"), pytest.param(418, GiveUp, id="418")],
)
def test_every_status_has_its_decision(status, expected):
    decision = decide(reply_error(status), 1, 0.0, jitter=0.5)
    assert type(decision) is expected
    if status >= 400 and not isinstance(decision, Retry):
        assert "their own words" in decision.reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(TransportError("no answer"), Retry(1.0), id="no answer is tried again"),
        pytest.param(ServerError("x", status=503), Retry(1.0), id="503 is tried again"),
        pytest.param(RateLimitError("x"), Retry(1.0), id="429 without headers waits like a failure"),
        pytest.param(
            RateLimitError("x", retry_after_seconds=37.0), Retry(37.5), id="429 waits as told and a little longer"
        ),
        pytest.param(RateLimitError("x", retry_after_seconds=0.0), Retry(0.5), id="429 may be told not to wait"),
        pytest.param(RefusedError("x", status=400, code=1005), Retry(1.0), id="code 1005 asks for a fresh look"),
        pytest.param(RefusedError("x", status=400, code=1008), Retry(1.0), id="an unknown requester can be exchanged"),
        pytest.param(RefusedError("x", status=400, code=2001), GiveUp("x"), id="invalid input is final"),
        pytest.param(DuplicateIncidentError("x", status=400, code=2002), GiveUp("x"), id="a key in use is final"),
        pytest.param(PagerDutyError("x"), GiveUp("x"), id="what nobody classified is final"),
        pytest.param(RetryableError("x"), Retry(1.0), id="any retryable error is tried again"),
    ],
)
def test_what_a_failure_leads_to(error, expected):
    assert decide(error, 1, 0.0, jitter=0.5) == expected


@pytest.mark.parametrize(
    ("attempt", "longest"),
    [(1, 2), (2, 4), (3, 8), (8, 256), (9, 512), (10, 600), (11, 600), (10_000_000, 600), (0, 2)],
)
def test_the_wait_doubles_up_to_ten_minutes(attempt, longest):
    assert decide(TransportError("x"), attempt, 0.0, jitter=1.0) == Retry(longest)


@given(st.integers(1, 1000), st.floats(0, 1))
def test_the_wait_stays_in_its_bounds(attempt, jitter):
    decision = decide(TransportError("x"), attempt, 0.0, jitter=jitter)
    assert isinstance(decision, Retry)
    assert SHORTEST_SECONDS <= decision.after_seconds <= CAP_SECONDS


@pytest.mark.parametrize(
    "error", [TransportError("gone"), RateLimitError("slow", retry_after_seconds=1.0)], ids=["failure", "rate limit"]
)
def test_after_two_days_it_gives_up_and_says_why(error):
    assert isinstance(decide(error, 400, 48 * HOUR - 1, jitter=0.5), Retry)
    decision = decide(error, 400, 48 * HOUR, jitter=0.5)
    assert isinstance(decision, GiveUp)
    assert "48 hours" in decision.reason
    assert "400 tries" in decision.reason
    assert str(error) in decision.reason


def test_the_patience_is_a_setting():
    assert isinstance(decide(TransportError("x"), 2, 61.0, jitter=0.5, give_up_after_seconds=60), GiveUp)


def test_a_lost_key_disconnects_whatever_its_age():
    assert isinstance(decide(reply_error(401), 9, 99 * HOUR, jitter=0.5), Disconnect)
