"""Who may sign webhooks, remembered for a moment, so that a storm of webhooks does not become a storm of queries.

One thread asks the database; the others meanwhile go on with what was true a moment ago. A stale answer is harmless:
whatever it lets in is verified once more by the task, and whatever it would turn away is asked again first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from pagerduty_sync.errors import StorageError
from pagerduty_sync.stores.subscriptions import Signers

KEEP_SECONDS = 2.0
# How soon something unknown may cause another query: it may have been stored since.
ASK_AGAIN_SECONDS = 0.2
# How long a request waits for another one's query; with the wait for the commit it must end before PagerDuty's 5 s do.
WAIT_SECONDS = 1.0


class RecentSigners:
    """A short-lived copy of `Subscriptions.signers()`, one for all threads of a process."""

    def __init__(
        self, load: Callable[[], Mapping[str, Signers]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._clock = clock
        self._loading = threading.Lock()
        self._known: Mapping[str, Signers] | None = None
        self._loaded_at = self._failed_at = float("-inf")

    def of(self, integration_id: str, subscription_id: str) -> Signers | None:
        """The integration's signers, None when there is no such integration; raises StorageError when nobody knows."""
        found = self._at_most(KEEP_SECONDS).get(integration_id)
        if found is None or subscription_id not in found.secrets:
            found = self._at_most(ASK_AGAIN_SECONDS).get(integration_id)
        return found

    def _at_most(self, age_seconds: float) -> Mapping[str, Signers]:
        known = self._known
        if known is not None and self._clock() - self._loaded_at <= age_seconds:
            return known
        # Who looks for something unknown must not be sent away on an old copy; it waits for the new one.
        is_patient = known is None or age_seconds < KEEP_SECONDS
        if not self._loading.acquire(timeout=WAIT_SECONDS if is_patient else 0):
            if known is None:
                raise StorageError("The database took too long to say who may sign webhooks.")
            return known
        try:
            return self._loaded(age_seconds)
        finally:
            self._loading.release()

    def _loaded(self, age_seconds: float) -> Mapping[str, Signers]:
        known, now = self._known, self._clock()
        if known is not None and now - self._loaded_at <= age_seconds:
            return known  # Another thread was faster.
        try:
            if now - self._failed_at <= ASK_AGAIN_SECONDS:
                raise StorageError("The database did not say who may sign webhooks.")
            known = self._known = self._load()
            self._loaded_at = now
        except StorageError:
            # What no longer answers cannot store either, so what is let in by the old copy ends as a 503.
            if now - self._failed_at > ASK_AGAIN_SECONDS:
                self._failed_at = self._clock()
            if known is None:
                raise
        return known
