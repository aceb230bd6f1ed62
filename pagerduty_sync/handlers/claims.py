"""Links held by an operator for a moment, under the same lease as workers hold them: never two at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pagerduty_sync.domain.links import Link
from pagerduty_sync.errors import ConflictError
from pagerduty_sync.stores.leases import Claim, Leases

CLAIM_TRIES, CLAIM_PAUSE_SECONDS, GIVE_BACK_SECONDS = 20, 0.1, 5.0


class Claims:
    """Links taken by an operator, as a worker takes them: nobody else works on them meanwhile."""

    def __init__(
        self,
        leases: Leases,
        mark_dirty: Callable[[Sequence[str]], object],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._leases = leases
        self._mark_dirty = mark_dirty
        self._sleep = sleep

    @contextmanager
    def holding(self, link: Link) -> Iterator[Claim]:
        """Hold a link and have it looked at afterwards; raises ConflictError while a worker keeps it.

        What can be refused is best refused before: after an exception nobody touches the link for some seconds.
        """
        claim = self._claimed(link)
        try:
            yield claim
        except BaseException:
            self._leases.give_back(claim, GIVE_BACK_SECONDS)
            raise
        # The look that follows finds out what is due now.
        self._mark_dirty([link.id])
        self._leases.release(claim, None)

    def _claimed(self, link: Link) -> Claim:
        for _ in range(CLAIM_TRIES):
            claim = self._leases.claim(link.id)
            if claim is not None:
                return claim
            self._sleep(CLAIM_PAUSE_SECONDS)
        raise ConflictError(f"The link of {link.case_name} is being worked on; try again in a moment.")
