"""What any server of ours is: a command, an address, and a way to ask the one that answers there whether it is ours."""

import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pagerduty_sync.embedded.account import Account
from pagerduty_sync.errors import SyncError


class StartError(SyncError):
    """Something did not start; the message says what, and what it said last."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready to be started in the foreground, by a supervisor or by a test."""

    name: str
    # Where its binaries come from.
    origin: str
    command: tuple[str, ...]
    url: str
    directory: Path
    account: Account
    stop_signal: signal.Signals
    # The process id of the server that answers at the address, when it is this one; None while nothing of ours does.
    # Another server on the same port answers a ping just as happily.
    answering: Callable[[], int | None]

    def wait_until_ready(self, pid: Callable[[], int | None], timeout_seconds: float = 60) -> None:
        """Wait until the process that was started answers; `pid` gives None once it has died.

        Raises StartError when it dies or takes too long.
        """
        deadline = time.monotonic() + timeout_seconds
        for pause in _pauses():
            started = pid()
            if started is None:
                raise StartError(f"{self.name} ended while it was starting.")
            if self.answering() == started:
                return
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} gave no answer within {timeout_seconds:.0f} seconds.")
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    pause = 0.02
    while True:
        yield pause
        pause = min(pause * 1.3, 0.5)


def choose_port(record: Path | None = None) -> int:
    """The port used last time if it is still free, else any free one, found by binding; recorded for the next start."""
    last = int(record.read_text()) if record and record.exists() else 0
    port = last if last and why_not_free(last) is None else _bind(0)
    if record and port != last:
        record.write_text(f"{port}\n")
    return port


def why_not_free(port: int, host: str = "127.0.0.1") -> str | None:
    """What keeps a server from listening there now, None when nothing does."""
    try:
        _bind(port, host)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return "is taken by another program"
        return f"on {host} cannot be opened ({exc.strerror})"
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 nothing listens here
    try:
        socket.create_connection((near, port), timeout=1).close()
    except OSError:
        return None
    # Some systems let two servers bind a port when one of them listens on every address.
    return "is taken by another program"


def end_leftover(record: Path, answering: Callable[[int], int | None], stop_signal: signal.Signals) -> None:
    """Stop our own server if a launcher that was killed has left it running, and wait until it is gone."""
    pid = answering(int(record.read_text())) if record.exists() else None
    if pid is None:
        return
    os.kill(pid, stop_signal)
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            time.sleep(0.05)


def _bind(port: int, host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections of the last run that still linger are not mistaken for a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody uses now, found by binding them all at once."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
