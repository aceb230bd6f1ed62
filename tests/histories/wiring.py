"""The plumbing between the parts: one clock for all of them, a database that tells its time, and calls without sockets.

The sync, its stores and the simulator are the real ones. What is replaced is what stands between them: the pool of
connections, the sockets, and the threads that carry webhooks.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg
import redis
import requests
from psycopg.pq import ExecStatus
from psycopg.rows import DictRow, dict_row
from requests.structures import CaseInsensitiveDict

from pagerduty_sync.bootstrap import Application
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.pagerduty.budget import Budget
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.settings import Settings
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.clock import Clock
from pagerduty_sync.simulator.delivery import Dispatcher
from pagerduty_sync.simulator.model import Event, Subscription, Webhook
from pagerduty_sync.stores.database import Connection, Database, translated_errors

START = datetime(2026, 4, 1, 12, 0, 0, tzinfo=UTC).timestamp()
JOB_SECONDS = 0.002
CALL_SECONDS = 0.03

SYNC_URL = "http://sync.test"
PAGERDUTY_URL = "http://pagerduty.test"

# Unqualified names are looked for here first, so the schema's own `now()` becomes ours, in its defaults too.
OPTIONS = "-csearch_path=public,pg_catalog -chistories.now=2026-04-01T12:00:00Z"
CLOCK_SQL = """
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('histories.now')::timestamptz $$;
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('histories.now')::timestamptz $$;
CREATE SEQUENCE public.histories_ids;
CREATE FUNCTION public.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE
    AS $$ SELECT lpad(to_hex(nextval('public.histories_ids')), 32, '0')::uuid $$;
"""


def new_clock() -> Clock:
    """A clock that stands still unless it is moved."""
    return Clock(START, lambda: 0.0)


def instant(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


# Statements that are all there is to their transaction: they need no BEGIN and COMMIT around them.
_ALONE = (
    "UPDATE links SET dirty_at = coalesce",
    "SET lease_token = gen_random_uuid()",
    "SET lease_token = NULL, lease_until = NULL",
    "SET asks = asks ||",
)


class _Session:
    """A connection that begins a transaction with the first write: most transactions only read, and one trip is enough.

    Deaths come between transactions, so a read outside of one sees what it would have seen inside.
    """

    def __init__(self, connection: psycopg.Connection[DictRow]) -> None:
        self._connection = connection
        self._is_alone = False
        self.is_begun = False

    def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[DictRow]:
        if not self.is_begun:
            text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else "SELECT"
            assert not self._is_alone, f"this transaction was thought to be one statement: {text}"
            self._is_alone = any(mark in text for mark in _ALONE)
            if not self._is_alone and (not text.lstrip().startswith("SELECT") or "FOR UPDATE" in text):
                self._connection.pgconn.exec_(b"BEGIN")
                self.is_begun = True
        return self._connection.execute(query, params, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "transaction" and not self.is_begun:
            self._connection.pgconn.exec_(b"BEGIN")
            self.is_begun = True
        return getattr(self._connection, name)


class ClockedDatabase(Database):
    """One connection instead of a pool, at the simulated time. `point` is told of each transaction."""

    def __init__(self, url: str, **_: Any) -> None:
        self.clock = new_clock()
        self.point: Callable[[str], None] = lambda name: None
        self._connection: psycopg.Connection[DictRow] = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        self._connection.execute("SET timezone = 'UTC'")
        self._told = 0.0
        self._session: _Session | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        if self._session is not None:
            with translated_errors(), self._session.transaction():
                yield self._session  # type: ignore[misc]
            return
        self.point("before a transaction")
        run = self._connection.pgconn.exec_
        if self._told != self.clock.now():
            self._told = self.clock.now()
            run(f"SET histories.now = '{instant(self._told).isoformat(sep=' ')}'".encode())
        session = self._session = _Session(self._connection)
        try:
            with translated_errors():
                yield session  # type: ignore[misc]
        except BaseException:
            if session.is_begun:
                run(b"ROLLBACK")
            raise
        else:
            if session.is_begun:
                run(b"COMMIT")
        finally:
            self._session = None
        self.point("after a transaction")

    def run(self, script: bytes) -> None:
        """Plain statements, by nobody at no point."""
        result = self._connection.pgconn.exec_(script)
        assert result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK), result.error_message

    def close(self) -> None:
        self._connection.close()


class _NoRedis:
    """Redis is away in every history: the budget runs by its own, simulated clock then."""

    def register_script(self, script: str) -> Callable[..., float]:
        def answer(**_: Any) -> float:
            raise redis.ConnectionError("there is no Redis here")

        return answer


class ClockedApplication(Application):
    """The real application with its calls to PagerDuty led through `line`."""

    clock: Clock
    line: requests.Session

    def calls(self, integration_id: str) -> Calls:
        known = self._calls.get(integration_id)
        if known is None:
            budget = Budget(_NoRedis(), "key", 900, local_share=1.0, clock=self.clock.now)  # type: ignore[arg-type]

            def make(heard: Any) -> PagerDutyClient:
                return PagerDutyClient(
                    seeds.FULL_KEY,
                    seeds.BOT_EMAIL,
                    PAGERDUTY_URL,
                    session=self.line,
                    on_response=heard,
                    backoff_seconds=0,
                )

            known = ("", Calls(make, budget))
            self._calls[integration_id] = known
        return known[1]

    def restart(self) -> None:
        """A new process: what the old one remembered is gone."""
        self._calls.clear()

    @property
    def clocked(self) -> ClockedDatabase:
        assert isinstance(self.database, ClockedDatabase)
        return self.database


def settings_for(database_url: str, encryption_key: str) -> Settings:
    return Settings.from_environment(
        {
            "PAGERDUTY_SYNC_DATABASE_URL": database_url,
            "PAGERDUTY_SYNC_ENCRYPTION_KEYS": encryption_key,
            "PAGERDUTY_SYNC_PUBLIC_URL": SYNC_URL,
        }
    )


# ------------------------------------------------------------------ calls without sockets


class _Body(io.BytesIO):
    """The raw body of a reply, as urllib3 offers it."""

    def read1(self, size: int | None = -1, /, decode_content: bool = False) -> bytes:
        return super().read(size)


def serve(
    app: Any, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """One request to a WSGI app: status, headers and body of its answer."""
    parts = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": parts.path,
        "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": parts.netloc,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    answer: list[Any] = []

    def start_response(status: str, response_headers: list[tuple[str, str]], exc_info: object = None) -> None:
        answer[:] = [int(status[:3]), response_headers]

    chunks = app(environ, start_response)
    content = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return answer[0], answer[1], content


def response_of(status: int, headers: list[tuple[str, str]], content: bytes, now: float) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    # PagerDuty's own time of the answer, which a WSGI server would add.
    response.headers = CaseInsensitiveDict([*headers, ("Date", format_datetime(instant(now), usegmt=True))])
    response.raw = _Body(content)
    return response


class _Prepared:
    """What an `auth` of requests may change of a request."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


class Line(requests.Session):
    """Our client's way to PagerDuty: `carry` gets every request and may lose it, or its answer."""

    def __init__(self, carry: Callable[[str, str, Mapping[str, str], bytes], requests.Response]) -> None:
        super().__init__()
        self._carry = carry

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        text = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in (options.get("headers") or {}).items()
        }
        auth = options.get("auth")
        if auth is not None:
            auth(_Prepared(text))
        body = json.dumps(options["json"]).encode() if options.get("json") is not None else b""
        query = urlencode(options.get("params") or [])
        return self._carry(method, f"{url}?{query}" if query else url, text, body)


class Post(requests.Session):
    """PagerDuty's way to our web app."""

    def __init__(self, app: Any) -> None:
        super().__init__()
        self._app = app

    def post(self, url: Any, data: Any = None, json: Any = None, **options: Any) -> requests.Response:
        status, headers, content = serve(self._app, "POST", url, options["headers"], data)
        return response_of(status, headers, content, 0.0)


class Wire(Dispatcher):
    """PagerDuty's outgoing webhooks, handed to `send` one by one instead of to threads."""

    send: Callable[[Webhook], None]
    heard: Callable[[Event], None]

    def emit(self, event: Event) -> None:
        self.heard(event)
        super().emit(event)

    def put(self, webhook: Webhook) -> None:
        self.send(webhook)

    def deliver(self, session: requests.Session, webhook: Webhook) -> str:
        """One attempt by PagerDuty's rules: delivered, retry (at `not_before`), dropped, expired or discarded."""
        return self._attempt(session, webhook)

    def headers(self, subscription: Subscription, webhook: Webhook, body: bytes) -> dict[str, str]:
        return self._headers(subscription, webhook, body)


def seeded_uuid(dice: Any) -> Callable[[], uuid.UUID]:
    return lambda: uuid.UUID(int=dice.getrandbits(128), version=4)
