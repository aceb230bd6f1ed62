"""A whole installation whose parts can be killed, frozen, emptied and looked into.

Knows how to reach everything and how to hurt it; knows nothing of what should be true afterwards.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import redis
import requests
from psycopg.rows import dict_row

from pagerduty_sync.embedded.installation import Installation
from pagerduty_sync.simulator import seeds
from tests.e2e.wires import Wire

Json = dict[str, Any]
T = TypeVar("T")

GROUPS = {"worker-inbound": "workers", "worker-outbound": "workers"}
WORKERS = ("worker-inbound", "worker-outbound")
AWAY = (OSError, requests.RequestException, psycopg.Error, redis.RedisError)
"""What looking raises while the part looked at is down."""


class NotSoError(AssertionError):
    """What had to become true has not in time."""


@dataclass(frozen=True)
class Breakable:
    """The installation, and the two ways of the network: of our calls to PagerDuty, and of its webhooks to us."""

    installation: Installation
    calls_wire: Wire
    webhooks_wire: Wire

    # ------------------------------------------------------------ processes

    def pid(self, program: str) -> int:
        """The process id of a program, 0 while it has none."""
        return int(self.installation.control.processes().get(program, {}).get("pid", 0))

    def kill(self, program: str) -> int:
        """`kill -9`; the id of the process that is no more. Supervisord starts the next one by itself."""
        pid = self._living(program)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_and_wait(self, *programs: str) -> None:
        """`kill -9` all at once, and wait until new ones run."""
        killed = {program: self.kill(program) for program in programs}
        for program, pid in killed.items():
            self.wait_until_running(program, instead_of=pid)

    def wait_until_running(self, program: str, instead_of: int = 0) -> None:
        """Wait until supervisord calls it running and it is another process than the one before."""

        def is_running() -> bool:
            found = self.installation.control.processes().get(program, {})
            return found.get("statename") == "RUNNING" and found["pid"] != instead_of

        until(is_running, f"{program} runs again", 60)

    def stop(self, program: str) -> None:
        """Have supervisord stop it with its own signal, and wait."""
        self.installation.control.call("stopProcess", _name(program), True)

    def start(self, program: str) -> None:
        self.installation.control.call("startProcess", _name(program), True)

    def stop_workers(self) -> None:
        """SIGTERM to both at once; returns when they have ended."""
        self.installation.control.call("stopProcessGroup", "workers", True)

    def start_workers(self) -> None:
        self.installation.control.call("startProcessGroup", "workers", True)

    @contextmanager
    def frozen(self, program: str) -> Iterator[None]:
        """A program that is there and does not answer."""
        pid = self._living(program)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def wait_until_ready(self) -> None:
        """Wait until the service says that every part of it is ready."""
        url = f"{self.installation.web_url}/readyz"
        until(lambda: requests.get(url, timeout=10).ok, "every part is ready", 90)

    def mend(self) -> None:
        """Let go on what a test may have left stopped."""
        for name, process in self.installation.control.processes().items():
            if process["pid"]:
                os.kill(process["pid"], signal.SIGCONT)
            elif process["statename"] in ("STOPPED", "EXITED", "FATAL"):
                self.start(name)

    def _living(self, program: str) -> int:
        until(lambda: self.pid(program), f"{program} has a process", 60)
        return self.pid(program)

    # ------------------------------------------------------------ servers

    @property
    def database_url(self) -> str:
        return self._server_url("postgres", "postgresql://pagerduty_sync:{}@127.0.0.1:{}/pagerduty_sync")

    @property
    def redis_url(self) -> str:
        return self._server_url("valkey", "redis://:{}@127.0.0.1:{}/0")

    def rows(self, query: str, *values: object) -> list[Json]:
        """Read the database directly; raises psycopg.Error while it is away."""
        with psycopg.connect(self.database_url, row_factory=dict_row, autocommit=True, connect_timeout=3) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def execute(self, statement: str, *values: object) -> None:
        """Change the database directly; raises psycopg.Error."""
        with psycopg.connect(self.database_url, connect_timeout=3) as connection:
            connection.execute(statement.encode(), values or None)

    def end_sessions(self) -> int:
        """Have PostgreSQL hang up on everybody; how many sessions that were."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> %s"
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=3) as connection:
            return connection.execute(query, [connection.info.backend_pid]).rowcount

    def flush_valkey(self) -> None:
        """Empty it: queues, bindings, budget and all."""
        with redis.Redis.from_url(self.redis_url, socket_timeout=5) as client:
            client.flushall()

    def _server_url(self, name: str, form: str) -> str:
        directory = self.installation.directory
        password, port = ((directory / f"{name}-{part}").read_text().strip() for part in ("password", "port"))
        return form.format(password, port)

    # ------------------------------------------------------------ the service

    def api(self, method: str, path: str, body: object = None, **params: str) -> Json:
        """A call to the service as its administrator; raises requests.RequestException."""
        reply = requests.request(
            method,
            self.installation.web_url + path,
            json=body,
            params=params,
            headers={"Authorization": f"Bearer {self.installation.admin_token}"},
            timeout=15,
        )
        reply.raise_for_status()
        return dict(reply.json())

    def log_sizes(self, *programs: str) -> dict[str, int]:
        """How much each of these programs has written until now, to read only what follows."""
        return {program: len(self.installation.log(program)) for program in programs or (*WORKERS, "web")}

    def logged_since(self, sizes: dict[str, int]) -> str:
        return "".join(self.installation.log(program)[size:] for program, size in sizes.items())

    # ------------------------------------------------------------ the simulator

    def simulator(self, method: str, path: str, **options: Any) -> Json:
        """A call to PagerDuty's stand-in, with a key that may do everything; raises requests.RequestException."""
        headers = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.ADA_EMAIL}
        url = self.installation.simulator_url + path
        reply = requests.request(method, url, headers=headers, timeout=15, **options)
        reply.raise_for_status()
        return dict(reply.json())

    def faults(self, **knobs: object) -> None:
        """Set these knobs of the simulator; None gives a knob its default back."""
        self.simulator("PUT", "/_sim/faults", json=knobs)

    @contextmanager
    def faulty(self, **knobs: object) -> Iterator[None]:
        """These faults for the length of the block."""
        self.faults(**knobs)
        try:
            yield
        finally:
            self.faults(**dict.fromkeys(knobs))

    def attempts(self, **wanted: str) -> list[Json]:
        """Every attempt to deliver a webhook, oldest first."""
        return list(self.simulator("GET", "/_sim/deliveries", params={"limit": "100000", **wanted})["deliveries"])

    def calls(self, after: int = 0, **wanted: str) -> list[Json]:
        """Every call PagerDuty's API received since the one numbered `after`, oldest first."""
        params = {"limit": "100000", "after": str(after), **wanted}
        return list(self.simulator("GET", "/_sim/requests", params=params)["requests"])

    def webhooks_pending(self) -> int:
        return int(self.simulator("GET", "/_sim/deliveries", params={"limit": "1"})["pending"])


def until(is_so: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """Ask until the answer is true, and fail in words when it never is; what is down meanwhile says no."""
    deadline = time.monotonic() + seconds
    trouble: object = None
    while True:
        try:
            if answer := is_so():
                return answer
            trouble = None
        except AWAY as exc:
            trouble = exc
        if time.monotonic() > deadline:
            raise NotSoError(f"after {seconds:.0f} s not so: {what}" + (f" ({trouble})" if trouble else ""))
        time.sleep(0.1)


def _name(program: str) -> str:
    return f"{GROUPS.get(program, program)}:{program}"
