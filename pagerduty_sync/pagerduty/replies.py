"""What an HTTP reply of PagerDuty's means: its measurable facts, and for a refusal the error of our tree.

The HTTP status decides and PagerDuty's code refines, because its list of codes is declared incomplete
(REST API: Errors).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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
from pagerduty_sync.pagerduty.wire import clean

MAX_WORDS_BYTES = 500
MAX_WAIT_SECONDS = 3600.0
"""PagerDuty counts per minute (REST API Rate Limits); a longer wait than this is a broken header."""

INVALID_ARGUMENTS = 2002
"""Arguments Caused Error: what a create with a key in use is refused with, among others."""


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """The `ratelimit-*` headers. They describe whichever limit is closer, the key's or the operation's."""

    limit: int
    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One attempt at a call, as the delivery log and the budget see it. `status` 0 means that no answer came.

    `date` is PagerDuty's own clock when it answered, in whole seconds; None when it did not say.
    """

    status: int
    duration_ms: int
    request_id: str | None
    ratelimit: RateLimitHeaders | None
    method: str
    path: str
    date: datetime | None = None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The `Date` header as an aware datetime, None when it is missing or odd."""
    try:
        date = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else None


def rate_limit_of(headers: Mapping[str, str]) -> RateLimitHeaders | None:
    """The three headers, None when any is missing or odd: PagerDuty leaves them out of some replies."""
    limit, remaining, reset = (_number(headers.get(f"ratelimit-{name}")) for name in ("limit", "remaining", "reset"))
    if limit is None or remaining is None or reset is None:
        return None
    return RateLimitHeaders(int(limit), int(remaining), min(reset, MAX_WAIT_SECONDS))


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """How long to wait after a 429: `ratelimit-reset`, else Retry-After in either of its forms, else None."""
    for name in ("ratelimit-reset", "Retry-After"):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return min(seconds, MAX_WAIT_SECONDS)
    try:
        at = parsedate_to_datetime(headers.get("Retry-After", ""))
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return min(max((at - now).total_seconds(), 0.0), MAX_WAIT_SECONDS)
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None


def error_of(reply: Reply, headers: Mapping[str, str], body: bytes) -> PagerDutyError:
    """The error a status of 300 or more stands for, with PagerDuty's own words in the message."""
    code, words = vendor_words(body)
    said = f": {words}" if words else ""
    call, status = f"{reply.method} {reply.path}", reply.status
    number = f"{status}" if code is None else f"{status}, code {code}"
    request_id = reply.request_id
    if status == 429:
        wait = retry_after_of(headers)
        message = f"PagerDuty's rate limit is reached ({call})"
        return RateLimitError(message, retry_after_seconds=wait, code=code, request_id=request_id)
    if status == 401:
        message = f"PagerDuty does not accept the API key: it is wrong, disabled or of another region ({call}{said})"
        return UnauthorizedError(message, status=status, code=code, request_id=request_id)
    if status == 402:
        message = f"the PagerDuty plan lacks what {call} needs ({number}){said}"
        return ForbiddenError(message, status=status, code=code, request_id=request_id)
    if status == 403:
        message = f"the PagerDuty key or user may not do {call} ({number}){said}"
        return ForbiddenError(message, status=status, code=code, request_id=request_id)
    if status in (404, 410):
        message = f"PagerDuty has nothing at {reply.path} ({number}){said}"
        return IncidentNotFoundError(message, status=status, code=code, request_id=request_id)
    if status == 408 or status >= 500:
        message = f"PagerDuty could not do {call} just now ({number}){said}"
        return ServerError(message, status=status, code=code, request_id=request_id)
    if status < 400:
        message = f"the base URL answers {call} with a redirect ({status}), which is not followed; correct the base URL"
        return RefusedError(message, status=status, request_id=request_id)
    message = f"PagerDuty refused {call} ({number}){said}"
    if _is_duplicate(reply, code, words):
        return DuplicateIncidentError(message, status=status, code=code, request_id=request_id)
    return RefusedError(message, status=status, code=code, request_id=request_id)


def _is_duplicate(reply: Reply, code: int | None, words: str) -> bool:
    """Seen: "Open incident with matching dedup key already exists on this service". The code alone is too wide."""
    is_create = reply.method == "POST" and reply.path == "/incidents"
    text = words.lower()
    return (
        is_create
        and reply.status == 400
        and code in (INVALID_ARGUMENTS, None)
        and "already exists" in text
        and "key" in text
    )


def vendor_words(body: bytes) -> tuple[int | None, str]:
    """PagerDuty's code and words from an error body of any of the shapes it has been seen to use.

    `error` may be an object, a text or a list; `errors` a list, a text or an object; code and errors may be missing;
    and a proxy on the way may answer in HTML or not at all.
    """
    try:
        content = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None, _shorten(body[: 2 * MAX_WORDS_BYTES].decode("utf-8", "replace"))
    error = content.get("error", content) if isinstance(content, dict) else content
    if not isinstance(error, dict):
        return None, _shorten("; ".join(_texts(error)))
    words = [*_texts(error.get("message")), *_texts(error.get("errors"))]
    return _code(error.get("code")), _shorten("; ".join(words))


def _texts(value: object, depth: int = 4) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and depth:
        for name, inner in value.items():
            for text in _texts(inner, depth - 1):
                yield f"{name}: {text}"
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _texts(inner, depth - 1)


def _code(value: object) -> int | None:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _shorten(text: str) -> str:
    return clean(" ".join(text.split())).encode("utf-8", "replace")[:MAX_WORDS_BYTES].decode("utf-8", "ignore")
