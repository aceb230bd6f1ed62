"""One HTTP call to PagerDuty's REST API: headers, deadline, quick retries of a dropped connection, errors translated.

Knows no resource; longer waits belong to the queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import backoff
import requests
import urllib3
from requests.adapters import HTTPAdapter

from pagerduty_sync.errors import InvalidRequestError, PagerDutyError, PayloadError, ServerError, TransportError
from pagerduty_sync.pagerduty.answers import Answer
from pagerduty_sync.pagerduty.credentials import TokenAuth, checked_email, checked_key, checked_url
from pagerduty_sync.pagerduty.replies import Reply, date_of, error_of, rate_limit_of
from pagerduty_sync.pagerduty.wire import clean, load_json

log = logging.getLogger(__name__)

ACCEPT = "application/vnd.pagerduty+json;version=2"
MAX_TRIES = 3
RETRY_WINDOW_SECONDS = 3.0
PAGE_SIZE = 100
MAX_OFFSET = 10_000
"""`offset + limit` may not pass it (REST API: Pagination)."""
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_ERROR_BODY_BYTES = 16 * 1024

Params = Sequence[tuple[str, str]]


class _AgainError(Exception):
    """A failure that a quick second try may cure without doing anything twice."""

    def __init__(self, error: PagerDutyError) -> None:
        super().__init__(str(error))
        self.error = error


class Transport:
    """Calls with one key. Safe for threads: each has its own pooled session unless one is given."""

    def __init__(
        self,
        api_key: str,
        from_email: str | None,
        base_url: str,
        *,
        timeout: tuple[float, float] = (3.05, 10.0),
        deadline_seconds: float = 20.0,
        session: requests.Session | None = None,
        on_response: Callable[[Reply], None] | None = None,
        backoff_seconds: float = 0.3,
        pool_size: int = 10,
    ) -> None:
        self._key = checked_key(api_key)
        self._auth = TokenAuth(self._key)
        self._from = checked_email(from_email)
        self.base_url = checked_url(base_url)
        self._timeout = timeout
        self._deadline_seconds = deadline_seconds
        self._given_session = session
        self._on_response = on_response
        self._backoff_seconds = backoff_seconds
        self._pool_size = pool_size
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r}, from_email={self._from!r}, api_key=***)"

    def close(self) -> None:
        """Close this thread's connections."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            del self._local.session

    def get(self, path: str, params: Params = ()) -> Answer:
        """Read. A dropped connection, 502, 503 and 504 get two quick tries more."""
        return self._call("GET", path, params, None, acts_as_user=False)

    def write(self, method: str, path: str, body: object = None, *, acts_as_user: bool = False) -> Answer:
        """Change something. Tried again only while the connection was never made, so that nothing is done twice.

        That goes for PUT too: repeating "acknowledge" after a lost answer could re-open what a person resolved since.
        """
        return self._call(method, path, (), body, acts_as_user=acts_as_user)

    def page(self, path: str, params: Params, offset: int) -> tuple[Answer, int | None]:
        """One page of 100 and the next page's offset, None at the end (REST API: Pagination).

        Raises InvalidRequestError where PagerDuty lists no further.
        """
        if offset + PAGE_SIZE > MAX_OFFSET:
            raise InvalidRequestError(
                f"PagerDuty lists at most {MAX_OFFSET} entries of {path}; ask for a narrower range", field="offset"
            )
        answer = self.get(path, [*params, ("limit", str(PAGE_SIZE)), ("offset", str(offset))])
        content = answer.content if isinstance(answer.content, dict) else {}
        if content.get("more") is not True:
            return answer, None
        limit = content.get("limit")
        # A server may allow smaller pages than we asked for; stepping by our own size would skip entries.
        step = limit if type(limit) is int and 0 < limit < PAGE_SIZE else PAGE_SIZE
        return answer, offset + step

    def pages(self, path: str, params: Params = ()) -> Iterator[Answer]:
        """All pages, each fetched when it is asked for."""
        offset: int | None = 0
        while offset is not None:
            answer, offset = self.page(path, params, offset)
            yield answer

    def _call(self, method: str, path: str, params: Params, body: object, *, acts_as_user: bool) -> Answer:
        deadline = time.monotonic() + self._deadline_seconds

        @backoff.on_exception(
            backoff.expo,
            _AgainError,
            max_tries=MAX_TRIES,
            max_time=min(RETRY_WINDOW_SECONDS, self._deadline_seconds),
            jitter=backoff.full_jitter,
            logger=None,
            factor=self._backoff_seconds,
        )
        def attempt() -> Answer:
            return self._attempt(method, path, params, body, acts_as_user, deadline)

        try:
            return attempt()
        except _AgainError as again:
            raise again.error from again.error.__cause__

    def _attempt(
        self, method: str, path: str, params: Params, body: object, acts_as_user: bool, deadline: float
    ) -> Answer:
        started = time.monotonic()
        left = max(deadline - started, 0.001)
        headers: dict[str, str | bytes] = {
            "Accept": ACCEPT,
            "Content-Type": "application/json",
            "User-Agent": "pagerduty-sync",
        }
        if acts_as_user and self._from:
            headers["From"] = self._from.encode("utf-8")
        try:
            response = self._session().request(
                method,
                self.base_url + path,
                params=list(params),
                json=body,
                headers=headers,
                auth=self._auth,
                timeout=(min(self._timeout[0], left), min(self._timeout[1], left)),
                # A redirect could carry the key to another host.
                allow_redirects=False,
                stream=True,
            )
            text = _read(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            self._report(Reply(0, _milliseconds_since(started), None, None, method, path))
            raise self._transport_failure(exc, method, path) from exc
        reply = Reply(
            status=response.status_code,
            duration_ms=_milliseconds_since(started),
            request_id=clean(response.headers.get("x-request-id", ""))[:255] or None,
            ratelimit=rate_limit_of(response.headers),
            method=method,
            path=path,
            date=date_of(response.headers),
        )
        self._report(reply)
        if reply.status >= 300:
            raise self._refusal(reply, response.headers, text)
        return Answer(reply, _decoded(text))

    def _refusal(self, reply: Reply, headers: Mapping[str, str], text: bytes) -> Exception:
        # A proxy's error page may quote the request.
        error = error_of(reply, headers, text.replace(self._key.encode(), b"***"))
        is_repeatable = isinstance(error, ServerError) and reply.method == "GET" and reply.status in (502, 503, 504)
        return _AgainError(error) if is_repeatable else error

    def _transport_failure(self, exc: Exception, method: str, path: str) -> Exception:
        if isinstance(exc, requests.RequestException):
            # The prepared request carries the key in its headers, and error trackers print what hangs on an exception.
            exc.request = None
        was_never_sent = _was_never_sent(exc)
        if was_never_sent:
            what = f"could not connect to {urlsplit(self.base_url).hostname}"
        elif isinstance(exc, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
            what = "PagerDuty did not answer in time"
        elif isinstance(exc, requests.exceptions.SSLError):
            what = "the TLS connection failed"
        else:
            what = "the connection broke before the answer was complete"
        error = TransportError(f"{what} ({method} {path}, {type(exc).__name__})")
        error.__cause__ = exc
        return _AgainError(error) if was_never_sent or method == "GET" else error

    def _report(self, reply: Reply) -> None:
        if self._on_response is None:
            return
        try:
            self._on_response(reply)
        except Exception:
            # The write stands whatever the listener thinks of it: to raise here would make the caller do it again.
            log.exception("the listener to PagerDuty's replies failed")

    def _session(self) -> requests.Session:
        if self._given_session is not None:
            return self._given_session
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            # Retrying is decided above; an adapter's own retries would sleep and repeat behind our back.
            adapter = HTTPAdapter(max_retries=0, pool_connections=self._pool_size, pool_maxsize=self._pool_size)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            self._local.session = session
        return session


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, as far as it is wanted: a success whole, an error's beginning."""
    most = MAX_BODY_BYTES if response.status_code < 300 else MAX_ERROR_BODY_BYTES
    chunks, size = [], 0
    try:
        while chunk := response.raw.read1(64 * 1024, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if time.monotonic() > deadline:
                raise TimeoutError("the answer took too long")
            if size > most:
                response.close()
                if response.status_code < 300:
                    raise OSError("the answer is too large")
                break
    except BaseException:
        response.close()
        raise
    return b"".join(chunks)[:most]


def _decoded(text: bytes) -> Any:
    try:
        return load_json(text) if text else None
    except PayloadError:
        return None


def _was_never_sent(exc: Exception) -> bool:
    """Whether the connection was provably never made, so that PagerDuty cannot have done anything."""
    if isinstance(exc, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
