"""Sending a nudge: a task name and a few row ids. One that is lost costs seconds and no event: the sweep finds it."""

from __future__ import annotations

import random
from typing import Any

import structlog
from celery import Task
from kombu.exceptions import OperationalError

from tasks.process import application

log = structlog.get_logger(__name__)

LONGEST_COUNTDOWN_SECONDS = 30.0
"""Far below the broker's visibility time-out; whatever is due later waits in PostgreSQL."""


def nudge(task: Task[..., None], *args: Any, countdown: float | None = None) -> None:
    """Publish; a broker that is away is logged and left to the sweep."""
    try:
        task.apply_async(args, countdown=countdown or 0.0)
    except (OperationalError, OSError) as exc:
        log.warning("nudge_not_sent", task=task.name, error=type(exc).__name__)


def come_back(task: Task[..., None], key: str, wait_seconds: float) -> None:
    """Publish one nudge by countdown; of many that are asked for under one key, one is enough."""
    wait = min(wait_seconds + random.uniform(0.05, 0.3), LONGEST_COUNTDOWN_SECONDS)  # noqa: S311 - spreads, hides nothing
    try:
        is_first = application().redis.set(f"pagerduty_sync:come_back:{key}", "1", nx=True, px=max(50, int(wait * 900)))
    except Exception as exc:  # whatever Redis does, the sweep honours the due time
        log.warning("come_back_not_kept", task=task.name, error=type(exc).__name__)
        return
    if is_first:
        nudge(task, key, countdown=wait)
