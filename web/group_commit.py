"""Group commit: requests in flight at the same moment share one INSERT and one commit, and one Celery message.

A request waits until *its* row is on disk, and never longer than it may. The message goes out afterwards and on its
own thread: when the broker is down or frozen nobody waits for it, and the sweep finds the rows.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from flask import Flask

from pagerduty_sync.errors import StorageError
from pagerduty_sync.stores.inbox import Received
from tasks.app import app as celery_app

log = structlog.get_logger(__name__)

MAX_PENDING = 1_000
MAX_BATCH = 250
# What is beyond is left to the sweep.
MAX_UNPUBLISHED = 10_000
# Between two messages: a message costs more than a row, here and in the worker, so under load they shall carry many.
PAUSE_SECONDS = 0.02
VERIFY_TASK = "pagerduty_sync.verify_webhooks"

Insert = Callable[[Sequence[Received]], Sequence[int | None]]
Publish = Callable[[list[int]], object]


class CommitTimeoutError(StorageError):
    """The row could not be committed in time; it may still be committed later."""


class _Pending:
    """One request's row, and what became of it."""

    __slots__ = ("done", "error", "id", "row")

    def __init__(self, row: Received) -> None:
        self.row = row
        self.done = threading.Event()
        self.id: int | None = None
        self.error: StorageError | None = None


class GroupCommitter:
    """Two threads, started by the first request and so after any fork: one commits, one publishes."""

    def __init__(
        self,
        insert: Insert,
        publish: Publish,
        *,
        wait_seconds: float,
        max_pending: int = MAX_PENDING,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self._insert = insert
        self._publish = publish
        self._wait_seconds = wait_seconds
        self._max_pending = max_pending
        self._max_batch = max_batch
        self._pending: list[_Pending] = []
        self._unpublished: list[int] = []
        self._changed = threading.Condition()
        self._publishable = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_closing = False

    def commit(self, row: Received) -> int | None:
        """Return when the row is on disk: its id, None when it was there before.

        Raises CommitTimeoutError when that takes too long, StorageError when the database did not do it.
        """
        pending = _Pending(row)
        with self._changed:
            if self._is_closing:
                raise CommitTimeoutError("This process is stopping.")
            if len(self._pending) >= self._max_pending:
                raise CommitTimeoutError("Too many webhooks wait for the database.")
            self._ensure_running()
            self._pending.append(pending)
            self._changed.notify()
        if not pending.done.wait(self._wait_seconds):
            self._take_back(pending)
            raise CommitTimeoutError("The database took too long.")
        if pending.error is not None:
            raise pending.error
        return pending.id

    def close(self, wait_seconds: float = 10.0) -> None:
        """Commit and publish what is still there, then stop; may be called again."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        with self._publishable:
            self._publishable.notify_all()
        deadline = time.monotonic() + wait_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        atexit.unregister(self.close)

    def _ensure_running(self) -> None:
        if self._threads:
            return
        self._threads = [
            threading.Thread(target=self._keep_committing, name="committer", daemon=True),
            threading.Thread(target=self._keep_publishing, name="publisher", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)

    def _take_back(self, pending: _Pending) -> None:
        # Else a long outage would pile up the rows of requests that were answered long ago.
        with self._changed:
            if pending in self._pending:
                self._pending.remove(pending)

    def _keep_committing(self) -> None:
        while batch := self._next_batch():
            new_ids = self._commit(batch)
            for pending in batch:
                pending.done.set()
            self._hand_over(new_ids)

    def _next_batch(self) -> list[_Pending]:
        """What waits now, at least one; nothing only when closing."""
        with self._changed:
            while not self._pending and not self._is_closing:
                self._changed.wait()
            batch, self._pending = self._pending[: self._max_batch], self._pending[self._max_batch :]
        return batch

    def _commit(self, batch: list[_Pending]) -> list[int]:
        try:
            ids = self._insert([pending.row for pending in batch])
            for pending, id_ in zip(batch, ids, strict=True):
                pending.id = id_
        except Exception as exc:  # Whatever it is, it is the answer to these requests and not the end of this thread.
            log.error("webhooks_not_stored", rows=len(batch), error=str(exc), kind=type(exc).__name__)
            for pending in batch:
                pending.error = StorageError("The webhook could not be stored.")
                pending.error.__cause__ = exc
            return []
        return [id_ for id_ in ids if id_ is not None]

    def _hand_over(self, new_ids: list[int]) -> None:
        with self._publishable:
            self._unpublished += new_ids[: MAX_UNPUBLISHED - len(self._unpublished)]
            self._publishable.notify()

    def _keep_publishing(self) -> None:
        committer = self._threads[0]
        while True:
            with self._publishable:
                while not self._unpublished:
                    if self._is_closing and not committer.is_alive():
                        return
                    self._publishable.wait(0.1 if self._is_closing else None)
                ids, self._unpublished = self._unpublished[: self._max_batch], self._unpublished[self._max_batch :]
            try:
                self._publish(ids)
            except Exception as exc:  # No error: the rows are on disk and the sweep looks for them.
                log.warning("nudge_not_sent", rows=len(ids), error=str(exc), kind=type(exc).__name__)
            if not self._is_closing:
                time.sleep(PAUSE_SECONDS)


def init_app(app: Flask, application: Any) -> GroupCommitter:
    """Give the app its committer, as `app.extensions["group_committer"]`."""
    committer = GroupCommitter(
        application.inbox.insert, send_nudge, wait_seconds=application.settings.webhook_commit_seconds
    )
    app.extensions["group_committer"] = committer
    return committer


def send_nudge(ids: list[int]) -> None:
    """Ask a worker to verify these rows; raises what Celery and the broker raise."""
    celery_app.send_task(VERIFY_TASK, args=[ids])
