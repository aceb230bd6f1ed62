"""One whole installation to hurt: everything happens soon in it, and both ways of the network can be broken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pagerduty_sync.embedded.installation import an_installation
from pagerduty_sync.embedded.server import free_ports
from tests.e2e.breakable import Breakable, until
from tests.e2e.wires import Wire

ROOT = Path(__file__).parents[2]
SWEEP_SECONDS = 2
RECONCILE_SECONDS = 5
SETTINGS = {
    # Everything that happens by the clock happens soon, so that nobody has to wait for it.
    "SWEEP_SECONDS": str(SWEEP_SECONDS),
    "LEASE_SECONDS": "8",
    "RECONCILE_SECONDS": str(RECONCILE_SECONDS),
    # The people here are many, and quick.
    "REQUESTS_PER_MINUTE": "60000",
}
LIMITS = {"rest_limit_per_minute": 100_000, "create_limit_per_minute": 100_000, "bulk_limit_per_minute": 100_000}
# A receiver that was away for seconds is tried again within seconds.
RETRIES = {"retry_schedule": [0.5, 0.5, 1, 1, 2]}


@contextmanager
def a_playground(say: Callable[[str], None], settings: Mapping[str, str] | None = None) -> Iterator[Breakable]:
    """Everything `make run` starts, on free ports, in a directory that is thrown away."""
    web, simulator = free_ports(2)
    calls, webhooks = Wire(simulator), Wire(web)
    own = {"WEB_PORT": str(web), "SIMULATOR_PORT": str(simulator), "PUBLIC_URL": webhooks.url}
    try:
        with an_installation(say, SETTINGS | own | dict(settings or {})) as running:
            breakable = Breakable(running, calls, webhooks)
            breakable.execute("UPDATE integrations SET base_url = %s", calls.url)
            breakable.faults(**LIMITS, **RETRIES)
            yield breakable
    finally:
        calls.close()
        webhooks.close()


@contextmanager
def a_second_clock(breakable: Breakable, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A beat that somebody has started by mistake, on the same broker; ends in order after the block."""
    environ = os.environ | {
        "PAGERDUTY_SYNC_REDIS_URL": breakable.redis_url,
        "PAGERDUTY_SYNC_DATABASE_URL": breakable.database_url,
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS_FILE": str(breakable.installation.directory / "encryption-key"),
        "PAGERDUTY_SYNC_SWEEP_SECONDS": str(SWEEP_SECONDS),
        "PAGERDUTY_SYNC_RECONCILE_SECONDS": str(RECONCILE_SECONDS),
    }
    command = [sys.executable, "-m", "celery", "-A", "tasks.app", "beat", "--pidfile="]
    command += ["--schedule", str(directory / "schedule")]
    log = directory / "beat.log"
    with log.open("wb") as output:
        clock = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)
    try:
        strikes = "Sending due task"
        until(lambda: clock.poll() is not None or strikes in log.read_text(), "the second clock strikes")
        assert clock.poll() is None, log.read_text()
        yield clock
        clock.send_signal(signal.SIGTERM)
        clock.wait(30)
    finally:
        clock.kill()
        clock.wait()
