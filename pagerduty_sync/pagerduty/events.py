"""The Events API v2: one-way, by routing key. An event is cut until PagerDuty takes it, sent once, and its reply read.

Knows neither Cases nor alerts, and lets a routing key into no error, log line or repr.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import backoff
import requests
import urllib3
from requests.adapters import HTTPAdapter

from pagerduty_sync.domain.mapping import TITLE_CHARACTERS, cut_bytes, cut_characters
from pagerduty_sync.domain.notifications import LONGEST_DEDUP_KEY, EventAction
from pagerduty_sync.errors import InvalidRequestError, RateLimitError, TransportError
from pagerduty_sync.pagerduty.credentials import checked_url
from pagerduty_sync.pagerduty.replies import Reply, date_of, error_of, rate_limit_of
from pagerduty_sync.pagerduty.transport import _milliseconds_since, _read, _was_never_sent
from pagerduty_sync.pagerduty.wire import clean

EVENTS_URLS = {"us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"}
"""As with the REST API, an account lives in one region (Service Regions)."""
PATH = "/v2/enqueue"

EVENTS_PER_MINUTE = 100
EVENTS_BURST = 20
"""Together what PagerDuty takes in a minute for one key: about 120 (Events API v2 Overview: Rate limits)."""
THROTTLED_SECONDS = 30.0
"""What the same page says to wait after a 429 that names no time."""

MAX_EVENT_BYTES = 512 * 1024
# Nobody publishes a limit for the other texts; with this one they can never fill an event.
LONGEST_TEXT = 1024
LONGEST_URL = 2048
MOST_LINKS = 20
MAX_TRIES = 3

_TEXTS = ("source", "severity", "timestamp", "component", "group", "class")
_DETAILS = "custom_details"


class _NeverSentError(Exception):
    """The connection was never made, so a second try does nothing twice."""

    def __init__(self, error: TransportError) -> None:
        super().__init__(str(error))
        self.error = error


class EventsClient:
    """Sends events to one region. Safe for threads: each has its own pooled session unless one is given."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout: tuple[float, float] = (3.05, 10.0),
        deadline_seconds: float = 20.0,
        session: requests.Session | None = None,
        backoff_seconds: float = 0.3,
    ) -> None:
        self.base_url = checked_url(base_url)
        self._timeout = timeout
        self._deadline_seconds = deadline_seconds
        self._given_session = session
        self._backoff_seconds = backoff_seconds
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    def close(self) -> None:
        """Close this thread's connections."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            del self._local.session

    def send(
        self,
        routing_key: str,
        action: EventAction,
        dedup_key: str,
        content: Mapping[str, Any] | None = None,
        *,
        heard: Callable[[Reply], object] = lambda reply: None,
    ) -> Reply:
        """Send one event; 202 means that PagerDuty took it, not that an incident exists.

        `content` is what a trigger needs: `payload`, and `client`, `client_url`, `links`. `heard` is told of every
        attempt, also of one without an answer (status 0). Raises any PagerDutyError, InvalidRequestError for a key
        that is none.
        """
        key = checked_routing_key(routing_key)
        body = event_bytes(key, action, dedup_key, content or {})
        deadline = time.monotonic() + self._deadline_seconds

        @backoff.on_exception(
            backoff.expo,
            _NeverSentError,
            max_tries=MAX_TRIES,
            jitter=backoff.full_jitter,
            logger=None,
            factor=self._backoff_seconds,
        )
        def attempt() -> Reply:
            return self._attempt(key, body, deadline, heard)

        try:
            return attempt()
        except _NeverSentError as exc:
            raise exc.error from exc.error.__cause__

    def _attempt(self, key: str, body: bytes, deadline: float, heard: Callable[[Reply], object]) -> Reply:
        started = time.monotonic()
        left = max(deadline - started, 0.001)
        try:
            response = self._session().post(
                self.base_url + PATH,
                data=body,
                headers={"Content-Type": "application/json", "User-Agent": "pagerduty-sync"},
                # The key is in the body: nothing may add another from ~/.netrc, or carry this one elsewhere.
                auth=_no_auth,
                timeout=(min(self._timeout[0], left), min(self._timeout[1], left)),
                allow_redirects=False,
                stream=True,
            )
            text = _read(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            heard(Reply(0, _milliseconds_since(started), None, None, "POST", PATH))
            self._fail(exc)
        reply = Reply(
            status=response.status_code,
            duration_ms=_milliseconds_since(started),
            request_id=clean(response.headers.get("x-request-id", ""))[:255] or None,
            ratelimit=rate_limit_of(response.headers),
            method="POST",
            path=PATH,
            date=date_of(response.headers),
        )
        heard(reply)
        if reply.status >= 300:
            # PagerDuty's words, or a proxy's page, may quote the event.
            error = error_of(reply, response.headers, text.replace(key.encode(), b"***"))
            if isinstance(error, RateLimitError) and error.retry_after_seconds is None:
                error.retry_after_seconds = THROTTLED_SECONDS
            raise error
        return reply

    def _fail(self, exc: Exception) -> NoReturn:
        if isinstance(exc, requests.RequestException):
            # The prepared request carries the key in its body, and error trackers print what hangs on an exception.
            exc.request = None
        if _was_never_sent(exc):
            error = TransportError(f"could not connect to {urlsplit(self.base_url).hostname} ({type(exc).__name__})")
            error.__cause__ = exc
            raise _NeverSentError(error)
        raise TransportError(f"PagerDuty did not answer POST {PATH} ({type(exc).__name__})") from exc

    def _session(self) -> requests.Session:
        if self._given_session is not None:
            return self._given_session
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.mount("https://", HTTPAdapter(max_retries=0))
            session.mount("http://", HTTPAdapter(max_retries=0))
        return session


def checked_routing_key(key: str) -> str:
    """The key without white space around it; raises InvalidRequestError, which does not quote it."""
    key = key.strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", key):
        raise InvalidRequestError("the routing key is empty or holds characters no key has", field="routing_key")
    return key


def event_bytes(routing_key: str, action: EventAction, dedup_key: str, content: Mapping[str, Any]) -> bytes:
    """The event as it is sent, every part cut to what PagerDuty takes and marked where it was."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": EventAction(action).value,
        "dedup_key": dedup_key[:LONGEST_DEDUP_KEY],
    }
    if action is not EventAction.TRIGGER:
        return _encoded(event)
    payload = content.get("payload", {})
    event["payload"] = {
        "summary": cut_characters(clean(str(payload.get("summary", ""))), TITLE_CHARACTERS),
        **{name: cut_characters(clean(str(payload[name])), LONGEST_TEXT) for name in _TEXTS if payload.get(name)},
    }
    if content.get("client"):
        event["client"] = cut_characters(clean(str(content["client"])), LONGEST_TEXT)
    # An address that was cut leads nowhere.
    if 0 < len(content.get("client_url", "")) <= LONGEST_URL:
        event["client_url"] = content["client_url"]
    links = [link for link in content.get("links", ()) if len(link["href"]) <= LONGEST_URL][:MOST_LINKS]
    if links:
        event["links"] = [
            {"href": link["href"], "text": cut_characters(link.get("text", ""), LONGEST_TEXT)} for link in links
        ]
    details = payload.get(_DETAILS)
    if details:
        _put_details(event, details)
    return _encoded(event)


def _put_details(event: dict[str, Any], details: Any) -> None:
    """Details go in whole if there is room, else as the beginning of their own text."""
    room = MAX_EVENT_BYTES - len(_encoded(event)) - len(_encoded({_DETAILS: {"text": ""}}))
    if len(_encoded(details)) <= room:
        event["payload"][_DETAILS] = details
        return
    text = _encoded(details).decode()
    longest = room
    # Written as a text, quotes and backslashes take twice their room; so what fits is approached from above.
    while (size := len(_encoded(cut_bytes(text, longest)))) > room:
        longest = longest * room // size - 16
    event["payload"][_DETAILS] = {"text": cut_bytes(text, longest)}


def _encoded(value: Any) -> bytes:
    return clean(json.dumps(value, ensure_ascii=False, separators=(",", ":"))).encode()


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
