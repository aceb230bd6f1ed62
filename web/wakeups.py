"""Tells workers that there is something to do now. What there is to do stands in PostgreSQL already, so a message that
is lost costs a sweep and no more: no request waits for the broker and none fails because of it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog

log = structlog.get_logger(__name__)

MAX_WAITING = 1_000
MAX_BATCH = 250

_waiting: queue.Queue[Callable[[], Any]] = queue.Queue(MAX_WAITING)
_starting = threading.Lock()
_threads: list[threading.Thread] = []


def links_changed(link_ids: Sequence[str]) -> None:
    """Have these links looked at soon; returns at once. Call it after the commit."""
    for start in range(0, len(link_ids), MAX_BATCH):
        _put(lambda batch=list(link_ids[start : start + MAX_BATCH]): _sync_links(batch))  # type: ignore[misc]


def account_is_back(integration_id: str) -> None:
    """Have what waited compared with PagerDuty and sent; returns at once."""
    _put(lambda: _catch_up_and_call(integration_id))


def calls_are_due(integration_id: str) -> None:
    """Have the calls made that are due; returns at once."""
    _put(lambda: _call(integration_id))


def _put(publish: Callable[[], Any]) -> None:
    try:
        _waiting.put_nowait(publish)
    except queue.Full:
        log.warning("wake_up_not_kept", waiting=MAX_WAITING)
    # Started by the first request, and so after any fork.
    with _starting:
        if not _threads:
            _threads.append(threading.Thread(target=_keep_publishing, name="wake-ups", daemon=True))
            _threads[0].start()


def _keep_publishing() -> None:
    while True:
        publish = _waiting.get()
        try:
            publish()
        except Exception as exc:  # No error: the rows are on disk and the sweep looks for them.
            log.warning("wake_up_not_sent", error=str(exc), kind=type(exc).__name__)


def _sync_links(link_ids: list[str]) -> None:
    from tasks.sync import sync_links

    sync_links.delay(link_ids)


def _catch_up_and_call(integration_id: str) -> None:
    from tasks.outbound import call_pagerduty
    from tasks.scheduled import catch_up

    catch_up.delay()
    call_pagerduty.delay(integration_id)


def _call(integration_id: str) -> None:
    from tasks.outbound import call_pagerduty

    call_pagerduty.delay(integration_id)
