"""A whole installation for a while: everything `make run` starts, on free ports, in a directory that is thrown away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pagerduty_sync.embedded.environment import ROOT, control_socket
from pagerduty_sync.embedded.server import StartError, free_ports
from pagerduty_sync.embedded.supervision import Control

READY_SECONDS = 120.0
STOP_SECONDS = 120.0
UP = "Ctrl-C stops everything."


@dataclass(frozen=True, slots=True)
class Installation:
    """Where its parts are reached, and a way to its supervisor."""

    web_url: str
    simulator_url: str
    directory: Path
    control: Control

    @property
    def admin_token(self) -> str:
        return (self.directory / "admin-token").read_text().strip()

    def log(self, program: str) -> str:
        """What a program has written so far."""
        return (self.directory / "log" / f"{program}.log").read_text(errors="replace")


@contextmanager
def an_installation(say: Callable[[str], None], settings: Mapping[str, str] | None = None) -> Iterator[Installation]:
    """Start it, and stop it in order at the end. Raises StartError with the last lines when it does not come up."""
    web, simulator, flower = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="pagerduty-sync-") as name:
        directory = Path(name)
        chosen = {
            "WEB_PORT": str(web),
            "SIMULATOR_PORT": str(simulator),
            "FLOWER_PORT": str(flower),
            "DATA_DIR": name,
            **(settings or {}),
        }
        # Nothing of a real installation: its database and its keys are not for playing.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PAGERDUTY_SYNC_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "pagerduty_sync.embedded", "run"],
            env=kept | {f"PAGERDUTY_SYNC_{key}": value for key, value in chosen.items()},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Its own group, so that a Ctrl-C for us reaches it only as our order to stop.
            start_new_session=True,
        )
        try:
            _wait_until_up(process, say)
            web_url, simulator_url = (f"http://127.0.0.1:{chosen[port]}" for port in ("WEB_PORT", "SIMULATOR_PORT"))
            yield Installation(web_url, simulator_url, directory, Control(control_socket(directory)))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_until_up(process: subprocess.Popen[str], say: Callable[[str], None]) -> None:
    """Pass on what the launcher says until everything is up, and keep reading it afterwards."""
    assert process.stdout is not None
    said: list[str] = []
    up = threading.Event()

    def listen(lines: Iterator[str]) -> None:
        for line in lines:
            said.append(line.rstrip())
            if UP in line:
                up.set()
            elif not up.is_set() and line.strip() and not line.startswith("  "):
                say(line.rstrip())
        up.set()

    threading.Thread(target=listen, args=(iter(process.stdout.readline, ""),), daemon=True).start()
    if not up.wait(READY_SECONDS) or not any(UP in line for line in said):
        raise StartError("The installation did not come up:\n" + "\n".join(said[-30:]))
