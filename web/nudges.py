"""Tells the sync that Cases changed. The change is on disk already, so a nudge that is lost costs a sweep and no more:
no request waits for the broker and none fails because of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import structlog

log = structlog.get_logger(__name__)

MAX_WAITING = 10_000
MAX_BATCH = 250

_changed = threading.Condition()
_waiting: dict[str, None] = {}
_threads: list[threading.Thread] = []


def case_changed(case_ids: Iterable[str]) -> None:
    """Have these Cases looked at soon; returns at once. Call it after the commit."""
    with _changed:
        for case_id in case_ids:
            if len(_waiting) < MAX_WAITING:
                _waiting[case_id] = None
        # Started by the first request, and so after any fork.
        if not _threads:
            _threads.append(threading.Thread(target=_keep_publishing, name="nudges", daemon=True))
            _threads[0].start()
        _changed.notify()


def _keep_publishing() -> None:
    while True:
        with _changed:
            while not _waiting:
                _changed.wait()
            case_ids = list(_waiting)[:MAX_BATCH]
            for case_id in case_ids:
                del _waiting[case_id]
        try:
            publish(case_ids)
        except Exception as exc:  # No error: the rows are on disk and the sweep looks for them.
            log.warning("nudge_not_sent", cases=len(case_ids), error=str(exc), kind=type(exc).__name__)


def publish(case_ids: list[str]) -> None:
    """Put one message into the queue; raises what Celery and the broker raise."""
    from tasks.sync import route_cases

    route_cases.delay(case_ids)
