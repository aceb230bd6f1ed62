"""What a worker process holds while it lives: the wired application, and a thread that says the worker is alive.

That thread also sees that the sweep is not left to the clock alone: should beat be gone, a worker asks for it.

The application is built on first use, hence after any fork, and closed when the worker stops.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import structlog
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down
from kombu.exceptions import OperationalError

from pagerduty_sync import bootstrap
from pagerduty_sync.errors import StorageError
from pagerduty_sync.settings import Settings

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 10
SWEEPS_MISSED = 3
# A worker answers for the parts whose queue it consumes.
PARTS = {"inbound": "worker-inbound", "outbound": "worker-outbound"}

_building = threading.Lock()
_application: bootstrap.Application | None = None
_built_in: int | None = None
_stopping = threading.Event()


def application() -> bootstrap.Application:
    """This process's application; raises SettingsError when the environment is wrong."""
    global _application, _built_in
    with _building:
        # A child of a fork must not share its parent's connections.
        if _application is None or _built_in != os.getpid():
            _application, _built_in = bootstrap.build(Settings.from_environment()), os.getpid()
        return _application


@worker_ready.connect
def _start_heartbeat(sender: Any, **_: Any) -> None:
    parts = parts_of(sender.app.amqp.queues.consume_from)
    if parts:
        _stopping.clear()
        threading.Thread(target=_keep_beating, args=(parts, sender.app), name="heartbeat", daemon=True).start()


@worker_shutting_down.connect
def _stop_beginning(**_: Any) -> None:
    """A worker told to stop finishes the call it is making and begins no other."""
    if _application is not None and _built_in == os.getpid():
        _application.sync.stop()


@worker_shutdown.connect
def _close(**_: Any) -> None:
    global _application
    _stopping.set()
    with _building:
        if _application is not None and _built_in == os.getpid():
            _application.close()
        _application = None


def parts_of(queues: Any) -> list[str]:
    """The parts a worker that consumes these queues answers for."""
    return [part for queue, part in PARTS.items() if queue in queues]


def _keep_beating(parts: list[str], app: Any) -> None:
    while True:
        try:
            this = application()
            this.heartbeats.beat(parts)
            if this.job_runs.seconds_since("sweep") > SWEEPS_MISSED * this.settings.sweep_seconds:
                app.send_task("pagerduty_sync.sweep", expires=HEARTBEAT_SECONDS)
        except (StorageError, OperationalError, OSError) as exc:
            log.warning("heartbeat_not_written", parts=parts, error=str(exc))
        if _stopping.wait(HEARTBEAT_SECONDS):
            return
