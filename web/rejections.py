"""Counts refused webhooks and writes a sample of them down, so that a flood of forgeries cannot fill the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from pagerduty_sync.domain.deliveries import Delivery
from pagerduty_sync.errors import StorageError

log = structlog.get_logger(__name__)

EVERY_SECONDS = 10.0


class Rejections:
    """At most one delivery row an integration and `EVERY_SECONDS`, which counts those left out since the last."""

    def __init__(self, write: Callable[[Delivery], object], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._written_at: dict[str, float] = {}
        self._unwritten: dict[str, int] = {}

    def record(self, integration_id: str, rejected: Delivery) -> None:
        """Write the delivery down, or count it for the next one; never raises for a database that is away."""
        with self._lock:
            now = self._clock()
            if now - self._written_at.get(integration_id, float("-inf")) < EVERY_SECONDS:
                self._unwritten[integration_id] = self._unwritten.get(integration_id, 0) + 1
                return
            self._written_at[integration_id] = now
            others = self._unwritten.pop(integration_id, 0)
        if others:
            rejected = replace(rejected, detail=f"{rejected.detail}; {others} more since the last of these rows")
        log.warning("webhook_rejected", integration=integration_id, others=others)
        try:
            self._write(rejected)
        except StorageError as exc:
            log.warning("rejection_not_written", integration=integration_id, error=str(exc))
