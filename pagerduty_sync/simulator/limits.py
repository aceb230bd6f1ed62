"""Counts calls by the minute ("REST API Rate Limits" page): by key, and by account for some operations."""

import math
import threading
from dataclasses import dataclass

from .clock import Clock

WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Allowance:
    """What the `ratelimit-*` headers say: the limit that is closer to being reached."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.reset),
        }


class Limits:
    """Fixed windows of a minute, begun by the first call in them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, limits: dict[str, int]) -> Allowance:
        """Count one call against every limit, named by what it counts, unless one of them is used up."""
        now = self._clock.now()
        with self._lock:
            windows = {name: self._window(name, now) for name in limits}
            allowed = all(count < limits[name] for name, (_, count) in windows.items())
            for name, (start, count) in windows.items():
                self._windows[name] = (start, count + allowed)
        left = {name: max(0, limits[name] - count - allowed) for name, (_, count) in windows.items()}
        closest = min(left, key=lambda name: left[name])
        reset = math.ceil(windows[closest][0] + WINDOW_SECONDS - now)
        return Allowance(allowed, limits[closest], left[closest], max(1, reset))

    def _window(self, name: str, now: float) -> tuple[float, int]:
        start, count = self._windows.get(name, (now, 0))
        return (start, count) if start <= now < start + WINDOW_SECONDS else (now, 0)

    def clear(self) -> None:
        with self._lock:
            self._windows.clear()
