"""Servers for a test or a demonstration: real ones, gone with their directory afterwards, with handles to hurt them."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pagerduty_sync.embedded import postgres, valkey
from pagerduty_sync.embedded.home import Home, open_home
from pagerduty_sync.embedded.server import Server, StartError

# Ends the servers when the process that started them is gone in whatever way: its end of the pipe closes.
MOURNER = """
read -r _
[ -d "$1" ] || exit 0
kill -s INT "$(head -n 1 "$1/servers/postgres/postmaster.pid")"
kill -s TERM "$(cat "$1/servers/valkey/valkey.pid")"
sleep 1
rm -rf "$1"
"""


@dataclass
class RunningServer:
    """A server as a child of this process: stop it, kill it, freeze it, start it again at the same address."""

    server: Server
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where it answers, password included."""
        return self.server.url

    @property
    def pid(self) -> int:
        """The process id of the running server; raises StartError when it is not running."""
        if self.process is None or self.process.poll() is not None:
            raise StartError(f"{self.server.name} is not running.")
        return self.process.pid

    def start(self, timeout_seconds: float = 30) -> None:
        """Start it and wait until it answers; raises StartError with its last words."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.process = self._spawn()
            try:
                self.server.wait_until_ready(self._alive, timeout_seconds)
                return
            except StartError as exc:
                # After a kill, PostgreSQL's children need a moment to notice that they are orphans.
                if "pre-existing shared memory" not in self.last_words() or time.monotonic() > deadline:
                    self.kill()
                    raise StartError(f"{exc}\n{self.last_words()}") from exc
                time.sleep(0.1)

    def stop(self, timeout_seconds: float = 30) -> None:
        """Stop it the way its supervisor would; killed only if it does not go."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.server.stop_signal)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Take it away without a word, as `kill -9` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Stop and start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after a freeze."""
        os.kill(self.pid, signal.SIGCONT)

    def last_words(self) -> str:
        """The end of what it has said since its last start."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self.server.command,
                cwd=self.server.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.server.account.identity(),
            )

    def _alive(self) -> int | None:
        return self.process.pid if self.process and self.process.poll() is None else None


@dataclass(frozen=True)
class Throwaway:
    """The pair."""

    postgres: RunningServer
    valkey: RunningServer

    @property
    def database_url(self) -> str:
        """The address of an empty database."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """The address of database 0 of an empty Valkey."""
        return self.valkey.url


@contextmanager
def start_throwaway(*, durable: bool = False) -> Iterator[Throwaway]:
    """Start both servers in a temporary directory and take them away at the end.

    `durable` keeps what was acknowledged across a kill; without it they are faster and forget. Raises SettingsError
    when there is nothing to run and StartError when it does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="pagerduty-sync-"))
    mourner = subprocess.Popen(
        ["/bin/sh", "-c", MOURNER, "sh", directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    running: list[RunningServer] = []
    home: Home | None = None
    try:
        home = open_home(directory)
        for server in (postgres.prepare(home, forgetful=not durable), valkey.prepare(home, forgetful=not durable)):
            running.append(RunningServer(server, directory / f"{server.name}.log"))
            running[-1].start()
        yield Throwaway(*running)
    finally:
        for each in reversed(running):
            each.stop()
        for place in (home.servers, directory) if home else (directory,):
            shutil.rmtree(place, ignore_errors=True)
        mourner.communicate()
