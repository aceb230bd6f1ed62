"""A paced allowance inside one process (GCRA, the generic cell rate algorithm), for the time Redis cannot be asked.

Knows no clock: every call says what time it is, in seconds.
"""

from __future__ import annotations

import threading


class LocalLimiter:
    """Grants at most `burst + rate_per_second * t` tokens in any t seconds. Safe for threads."""

    def __init__(self, rate_per_second: float, burst: float) -> None:
        self._interval = 1 / rate_per_second
        self._burst = max(burst, 1.0)
        # The time at which all that was granted so far would have been earned at the plain rate.
        self._arrival = float("-inf")
        self._lock = threading.Lock()

    def take(self, now: float, cost: int = 1, reserved_share: float = 0.0) -> float:
        """0.0 when granted, else the seconds to wait. The reserved share of the burst is left to others."""
        usable = max(self._burst * (1 - reserved_share), cost) * self._interval
        with self._lock:
            arrival = max(self._arrival, now) + cost * self._interval
            wait = arrival - now - usable
            # Sums of floats are off by a little; a microsecond is nothing to wait for.
            if wait > 1e-6:
                return wait
            self._arrival = arrival
            return 0.0


class Freeze:
    """Named moments before which nothing is granted. Safe for threads: each write is one assignment."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def extend(self, name: str, until: float) -> None:
        self._until[name] = max(self._until.get(name, until), until)

    def wait(self, now: float, *names: str) -> float:
        return max(0.0, *(self._until.get(name, now) - now for name in names))
