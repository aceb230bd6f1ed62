"""Supervisord as seen from the launcher: start it, ask it for its programs' states, and have it stop them in order."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from pagerduty_sync.embedded.server import Server, StartError

RUNNING, STARTING, BACKOFF, FATAL = "RUNNING", "STARTING", "BACKOFF", "FATAL"
# How often a program may fall over while it starts before we say so and give up.
PATIENCE = 2


class Control:
    """The control socket of a supervisord, which may or may not be there."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def call(self, method: str, *arguments: object) -> Any:
        """Call one of supervisord's methods; raises OSError or xmlrpc.client.Error."""
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def pid(self) -> int | None:
        """The process id of the supervisord that listens, None when nobody does."""
        try:
            return int(self.call("getPID"))
        except (OSError, xmlrpc.client.Error):
            return None

    def processes(self) -> dict[str, dict[str, Any]]:
        """What supervisord knows of each program, by name."""
        try:
            return {each["name"]: each for each in self.call("getAllProcessInfo")}
        except (OSError, xmlrpc.client.Error):
            return {}


@dataclass
class Supervisor:
    """A supervisord that is our child, in a session of its own so that Ctrl-C reaches only us."""

    configuration: Path
    env: Mapping[str, str]
    directory: Path
    control: Control
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started: list[str] = field(default_factory=list, init=False)

    def start(self, timeout_seconds: float = 30) -> None:
        """Start supervisord with all programs stopped; raises StartError with its own words."""
        words = self.log("supervisord.out")
        with words.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "--configuration", self.configuration],
                env=dict(self.env),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # What the programs write, the account that the servers run under need not read.
                umask=0o077,
            )
        deadline = time.monotonic() + timeout_seconds
        while self.control.pid() != self.process.pid:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"supervisord did not start:\n{tail(words)}")
            time.sleep(0.05)

    def start_server(self, name: str, server: Server) -> None:
        """Start one server and wait until it is the one that answers; raises StartError with its last words."""
        self._order(name)
        watch = Watch(self.control, name)
        try:
            server.wait_until_ready(watch.pid)
        except StartError as exc:
            raise StartError(f"{exc}\n{self.last_words(name)}") from exc

    def start_programs(self, names: Sequence[str], timeout_seconds: float = 60) -> None:
        """Start several programs at once and wait until all run; raises StartError with the words of one that fell."""
        for name in names:
            self._order(name)
        watches = {name: Watch(self.control, name) for name in names}
        deadline = time.monotonic() + timeout_seconds
        while watches:
            for name, watch in list(watches.items()):
                if watch.pid() is None or time.monotonic() > deadline:
                    raise StartError(f"{name} did not stay up.\n{self.last_words(name)}")
                if watch.state == RUNNING:
                    del watches[name]
            time.sleep(0.1)

    def is_alive(self) -> bool:
        """Whether supervisord itself still runs."""
        return self.process is not None and self.process.poll() is None

    def ended_in_order(self) -> bool:
        """Whether it has ended because somebody told it to, and hence after all its programs."""
        return self.process is not None and self.process.poll() == 0

    def pids(self) -> dict[str, int]:
        """The process id of each program that has one now."""
        return {name: each["pid"] for name, each in self.control.processes().items() if each["pid"]}

    def end_orphans(self, pids: Mapping[str, int]) -> None:
        """Ask programs to stop whose supervisord is gone; the servers wait for the others to let go of them."""
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def stop(self, say: Callable[[str], None]) -> None:
        """Have everything stopped, in order; returns when the last one is gone."""
        if self.process is None or not self.is_alive():
            return
        pids = self.pids()
        # Things stop the other way round; this is only so that two that stopped at once are told in that order.
        pids = {name: pids[name] for name in reversed(self.started) if name in pids}
        self.process.terminate()
        while self.process.poll() is None:
            pids = _still_there(pids, say)
            time.sleep(0.05)
        _still_there(pids, say)

    def log(self, name: str) -> Path:
        """Where something writes its log."""
        return self.directory / "log" / name

    def last_words(self, name: str) -> str:
        """The end of a program's log, under a heading that says where the rest is."""
        path = self.log(f"{name}.log")
        return f"--- the end of {path}\n{tail(path)}\n---"

    def _order(self, name: str) -> None:
        self.started.append(name)
        process = self.control.processes().get(name)
        if process is None:
            raise StartError(f"supervisord knows no program called {name}.\n{self.last_words('supervisord')}")
        try:
            self.control.call("startProcess", f"{process['group']}:{name}", False)
        except xmlrpc.client.Fault as exc:
            raise StartError(f"{name} cannot be started: {exc.faultString}.\n{self.last_words('supervisord')}") from exc


class Watch:
    """One program while it starts: alive, between two tries, or given up."""

    def __init__(self, control: Control, name: str) -> None:
        self._control, self._name = control, name
        self._lives: set[int] = set()
        self._falls: set[int] = set()
        self.state = STARTING

    def pid(self) -> int | None:
        """Its process id, 0 between two tries, None when there is no hope."""
        process = self._control.processes().get(self._name)
        if process is None:
            return None
        self.state = process["statename"]
        if self.state == BACKOFF:
            self._falls.add(process["stop"])
        elif self.state in {STARTING, RUNNING}:
            self._lives.add(process["pid"])
        if max(len(self._falls), len(self._lives) - 1) >= PATIENCE or self.state == FATAL:
            return None
        return int(process["pid"])


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, however it looks."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(nothing)"
    return "\n".join(text.splitlines()[-lines:]) or "(nothing)"


def _still_there(pids: dict[str, int], say: Callable[[str], None]) -> dict[str, int]:
    left = {}
    for name, pid in pids.items():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            say(f"stopped {name}")
        else:
            left[name] = pid
    return left
