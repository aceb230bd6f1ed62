"""Accepted webhooks a second: the real endpoint against plain Flask + INSERT + `.delay()`, in turns, in one run.

Run it with `python tests/bench/ingress.py`. Both stacks run under gunicorn, 2 processes of 32 threads, over a real
PostgreSQL that flushes each commit to disk and a real Valkey; the client shares the machine with them, so the ratio
says more than the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
import requests

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pagerduty_sync.embedded.server import choose_port  # noqa: E402
from pagerduty_sync.embedded.throwaway import Throwaway, start_throwaway  # noqa: E402
from pagerduty_sync.stores.database import Database, migrate  # noqa: E402
from pagerduty_sync.stores.secrets import SecretBox, generate_key  # noqa: E402
from pagerduty_sync.stores.subscriptions import Subscriptions  # noqa: E402
from tests.builders import SUBSCRIPTION_ID, WEBHOOK_SECRET, a_webhook, as_bytes, signed  # noqa: E402

STACKS = ("plain", "ours")
_CONTENT_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Result:
    """What one run of one stack came to."""

    accepted: int
    refused: int
    seconds: float
    times: list[float]

    @property
    def rate(self) -> float:
        return self.accepted / self.seconds

    def quantile(self, share: float) -> float:
        return sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))] * 1000 if self.times else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one run")
    parser.add_argument("--connections", type=int, default=64, help="connections kept busy at a time")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each stack, in turns")
    options = parser.parse_args()
    results: dict[str, list[Result]] = {stack: [] for stack in STACKS}
    with start_throwaway(durable=True) as servers:
        key = generate_key()
        database, integration_id = prepare(servers, key)
        for round_ in range(options.rounds):
            for stack in STACKS:
                result = run(stack, servers, key, integration_id, round_, options)
                check(database, servers, result)
                results[stack].append(result)
                report(f"{stack} {round_ + 1}", [result])
        database.close()
    for stack in STACKS:
        report(stack, results[stack])
    ratio = statistics.median(r.rate for r in results["ours"]) / statistics.median(r.rate for r in results["plain"])
    print(f"\nours / plain: {ratio:.2f}")  # noqa: T201


def prepare(servers: Throwaway, key: str) -> tuple[Database, str]:
    """A migrated database with one connected integration and its subscription."""
    migrate(servers.database_url)
    database = Database(servers.database_url)
    with database.transaction() as conn:
        row = conn.execute(
            """
            INSERT INTO integrations (name, base_url, api_key_encrypted, api_key_last4, key_kind, user_email, user_id,
                                      is_two_way, consented_at, status)
            VALUES ('bench', 'https://api.pagerduty.com', 'x', 'wxyz', 'account', 'a@example.com', 'PUSER01', true,
                    now(), 'connected')
            RETURNING id::text
            """
        ).fetchone()
    assert row is not None
    Subscriptions(database, SecretBox([key])).add(row["id"], SUBSCRIPTION_ID, WEBHOOK_SECRET)
    return database, row["id"]


def run(
    stack: str, servers: Throwaway, key: str, integration_id: str, round_: int, options: argparse.Namespace
) -> Result:
    """Start the stack, keep it busy for a while, stop it."""
    with a_web_server(stack, servers, key) as port:
        path = f"/webhooks/pagerduty/{integration_id}"
        asyncio.run(load(port, path, f"{stack}-{round_}-warm", options.connections, 1.0))
        return asyncio.run(load(port, path, f"{stack}-{round_}", options.connections, options.seconds))


@contextmanager
def a_web_server(stack: str, servers: Throwaway, key: str) -> Iterator[int]:
    port = choose_port()
    environ = os.environ | {
        "PAGERDUTY_SYNC_DATABASE_URL": servers.database_url,
        "PAGERDUTY_SYNC_REDIS_URL": servers.redis_url,
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS": key,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "--threads", "32", "-k", "gthread", "--log-level", "error"]
    command += ["-b", f"127.0.0.1:{port}", "--keep-alive", "75", f"tests.bench.stacks:{stack}()"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ)
    try:
        for _ in range(200):
            if process.poll() is not None:
                raise SystemExit(f"{stack} did not start")
            try:
                requests.get(f"http://127.0.0.1:{port}/", timeout=30)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


class BusyConnection(asyncio.Protocol):
    """Sends one webhook after the other on one connection until the time is over; each is another one."""

    def __init__(self, head: str, body: bytes, deadline: float, result: Result) -> None:
        self._head, self._body, self._deadline, self._result = head, body, deadline, result
        self._count = 0
        self._answer = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self._result.times.append(time.perf_counter() - self._sent_at)
        if head.startswith(b"HTTP/1.1 202"):
            self._result.accepted += 1
        else:
            self._result.refused += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        if self._sent_at >= self._deadline:
            self._transport.close()
            return
        self._count, self._answer = self._count + 1, b""
        self._transport.write(f"{self._head}-{self._count}\r\n\r\n".encode() + self._body)


async def load(port: int, path: str, prefix: str, connections: int, seconds: float) -> Result:
    """Keep that many connections busy for that long."""
    body = as_bytes(a_webhook(description="x" * 600))
    fixed = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items() if name != "X-Webhook-Id")
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n{fixed}X-Webhook-Id: {prefix}-"
    result = Result(0, 0, seconds, [])
    started = time.perf_counter()
    made = [
        await asyncio.get_running_loop().create_connection(
            lambda number=number: BusyConnection(f"{head}{number}", body, started + seconds, result),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        for number in range(connections)
    ]
    await asyncio.gather(*(protocol.ended for _, protocol in made))
    result.seconds = time.perf_counter() - started
    return result


def check(database: Database, servers: Throwaway, result: Result) -> None:
    """Every accepted webhook must stand in the table; then both servers are emptied for the next run."""
    with database.transaction() as conn:
        row = conn.execute("SELECT count(*) AS stored FROM inbox WHERE webhook_id NOT LIKE '%%-warm-%%'").fetchone()
        assert row is not None
        if row["stored"] < result.accepted:
            raise SystemExit(f"{result.accepted} webhooks were accepted and only {row['stored']} are stored")
        conn.execute("TRUNCATE inbox")
    with redis.Redis.from_url(servers.redis_url) as connection:
        connection.flushall()


def report(name: str, results: list[Result]) -> None:
    middle = statistics.median(result.rate for result in results)
    p50 = statistics.median(result.quantile(0.50) for result in results)
    p99 = statistics.median(result.quantile(0.99) for result in results)
    refused = sum(result.refused for result in results)
    print(f"{name:8} {middle:7.0f}/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   refused {refused}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
