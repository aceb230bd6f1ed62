"""The simulator's time: the machine's clock plus an offset, and PagerDuty's two spellings of an instant."""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Real time plus an offset. Moving it is how a test sees 48 hours pass."""

    def __init__(self, offset: float = 0.0, real: Callable[[], float] = time.time) -> None:
        self.offset = offset
        self._real = real

    def now(self) -> float:
        return self._real() + self.offset

    def advance(self, seconds: float) -> None:
        self.offset += seconds


def rest_time(epoch: float) -> str:
    """REST timestamps have whole seconds ("Types" API page): `2026-04-01T02:07:30Z`."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def webhook_time(epoch: float) -> str:
    """`occurred_at` of a webhook has milliseconds ("Webhooks Overview" page): `2026-04-01T02:15:36.315Z`."""
    instant = datetime.fromtimestamp(epoch, UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"


def parse_time(text: str) -> float:
    """Read an ISO 8601 date or time; without a zone it is UTC. Raises ValueError."""
    instant = datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return instant.timestamp()
