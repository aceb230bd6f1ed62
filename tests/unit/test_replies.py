"""Every shape PagerDuty's errors have been seen in becomes the right error with PagerDuty's words."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagerduty_sync.errors import (
    DuplicateIncidentError,
    ForbiddenError,
    IncidentNotFoundError,
    PagerDutyError,
    RateLimitError,
    RefusedError,
    ServerError,
    UnauthorizedError,
)
from pagerduty_sync.pagerduty.replies import (
    RateLimitHeaders,
    Reply,
    date_of,
    error_of,
    rate_limit_of,
    retry_after_of,
    vendor_words,
)

DUPLICATE = {
    "message": "Arguments Caused Error",
    "code": 2002,
    "errors": ["Open incident with matching dedup key already exists on this service"],
}


def a_reply(status, method="PUT", path="/incidents/P1"):
    return Reply(status=status, duration_ms=1, request_id="req-1", ratelimit=None, method=method, path=path)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        pytest.param({"error": {"message": "M", "code": 2001, "errors": ["A", "B"]}}, 2001, "M; A; B", id="usual"),
        pytest.param({"error": {"message": "M", "code": 2001, "errors": "A"}}, 2001, "M; A", id="errors a text"),
        pytest.param(
            {"error": {"message": "M", "errors": {"title": ["too long"]}}}, None, "M; title: too long", id="an object"
        ),
        pytest.param({"error": "plain words"}, None, "plain words", id="error a text"),
        pytest.param({"error": ["A", "B"]}, None, "A; B", id="error a list"),
        pytest.param({"error": {"message": "Rate Limit Exceeded"}}, None, "Rate Limit Exceeded", id="no code"),
        pytest.param({"error": {"message": "M", "code": "2001"}}, 2001, "M", id="the code a text"),
        pytest.param({"error": {"message": "M", "code": True}}, None, "M", id="the code of another type"),
        pytest.param({"error": {"message": "M", "code": 10**12}}, None, "M", id="the code beyond reason"),
        pytest.param({"message": "M", "errors": ["A"]}, None, "M; A", id="no error member"),
        pytest.param({"error": None}, None, "", id="a null error"),
        pytest.param([], None, "", id="a list"),
        pytest.param(7, None, "", id="a number"),
    ],
)
def test_words_and_code_are_found_in(content, code, words):
    assert vendor_words(json.dumps(content).encode()) == (code, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b"<html>\n  <h1>Bad   Gateway</h1></html>", "<html> <h1>Bad Gateway</h1></html>"),
        (b"\xff\x00", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 500),
    ],
    ids=["empty", "HTML", "no text", "nested too deeply"],
)
def test_a_body_that_is_no_json_is_quoted(body, words):
    assert vendor_words(body) == (None, words)


def test_words_are_cut_by_bytes():
    _, words = vendor_words(json.dumps({"error": "ü" * 1000}).encode())
    assert words == "ü" * 250


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (301, {}, RefusedError),
        (400, {"message": "Invalid Input Provided", "code": 2001}, RefusedError),
        (401, {"code": 2006}, UnauthorizedError),
        (402, {"code": 2014}, ForbiddenError),
        (403, {"code": 2010}, ForbiddenError),
        (404, {"code": 2100}, IncidentNotFoundError),
        (404, {"code": 5001}, IncidentNotFoundError),
        (408, {}, ServerError),
        (409, {}, RefusedError),
        (413, {}, RefusedError),
        (422, {}, RefusedError),
        (429, {"code": 2020}, RateLimitError),
        (500, {"code": 2000}, ServerError),
        (502, {}, ServerError),
        (503, {}, ServerError),
        (504, {}, ServerError),
    ],
)
def test_the_status_decides_and_everything_is_carried(status, error, expected):
    caught = error_of(a_reply(status), {}, json.dumps({"error": error}).encode())
    assert type(caught) is expected
    assert (caught.status, caught.request_id) == (status, "req-1")
    assert caught.code == error.get("code")
    assert error.get("message", "") in str(caught)


def test_a_create_with_a_key_in_use_is_a_duplicate():
    body = json.dumps({"error": DUPLICATE}).encode()
    assert isinstance(error_of(a_reply(400, "POST", "/incidents"), {}, body), DuplicateIncidentError)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (a_reply(400, "POST", "/incidents"), DUPLICATE | {"errors": ["Service is disabled"]}),
        (a_reply(400, "POST", "/incidents"), DUPLICATE | {"code": 2001}),
        (a_reply(400, "PUT", "/incidents"), DUPLICATE),
        (a_reply(400, "POST", "/incidents/P1/notes"), DUPLICATE),
    ],
    ids=["other words", "another code", "an update", "a note"],
)
def test_anything_else_is_no_duplicate(reply, error):
    assert type(error_of(reply, {}, json.dumps({"error": error}).encode())) is RefusedError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"ratelimit-reset": "37"}, 37.0),
        ({"Retry-After": "12"}, 12.0),
        ({"ratelimit-reset": "5", "Retry-After": "12"}, 5.0),
        ({"Retry-After": "Wed, 01 Apr 2026 02:15:30 GMT", "Date": "Wed, 01 Apr 2026 02:15:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 01 Apr 2026 02:15:00 GMT", "Date": "Wed, 01 Apr 2026 02:15:30 GMT"}, 0.0),
        ({"ratelimit-reset": "-1"}, None),
        ({"ratelimit-reset": "soon"}, None),
        ({"ratelimit-reset": "nan"}, None),
        ({"ratelimit-reset": "1e300"}, None),
        ({"ratelimit-reset": "86400"}, 3600.0),
        ({"Retry-After": "later"}, None),
    ],
)
def test_a_rate_limit_says_how_long(headers, seconds):
    assert retry_after_of(headers) == seconds
    assert error_of(a_reply(429), headers, b"").retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ratelimit-limit": "960", "ratelimit-remaining": "12", "ratelimit-reset": "30"}, (960, 12, 30.0)),
        ({"ratelimit-limit": "960", "ratelimit-remaining": "12"}, None),
        ({"ratelimit-limit": "960", "ratelimit-remaining": "-3", "ratelimit-reset": "30"}, None),
        ({}, None),
    ],
)
def test_the_rate_limit_headers_are_read_whole_or_not_at_all(headers, expected):
    assert rate_limit_of(headers) == (RateLimitHeaders(*expected) if expected else None)


@pytest.mark.parametrize(
    ("header", "date"),
    [
        ("Wed, 01 Apr 2026 02:15:30 GMT", datetime(2026, 4, 1, 2, 15, 30, tzinfo=UTC)),
        ("Wed, 01 Apr 99999999999999999999 02:15:30 GMT", None),
        ("Wed, 01 Apr 2026 02:15:30 +99999999999999999999", None),
        ("now", None),
        ("", None),
    ],
)
def test_an_odd_date_is_no_date(header, date):
    assert date_of({"Date": header}) == date


@given(
    st.integers(300, 599), st.binary(), st.dictionaries(st.sampled_from(["ratelimit-reset", "Retry-After"]), st.text())
)
def test_any_reply_is_an_error_of_the_tree(status, body, headers):
    error = error_of(a_reply(status), headers, body)
    assert isinstance(error, PagerDutyError)
    assert "\x00" not in str(error)
