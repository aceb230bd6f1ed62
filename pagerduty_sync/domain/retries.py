"""What to do about a call that PagerDuty did not carry out: a table, without clock or chance of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pagerduty_sync.errors import PagerDutyError, RateLimitError, RetryableError, UnauthorizedError

BASE_SECONDS = 2.0
CAP_SECONDS = 600.0
SHORTEST_SECONDS = 0.5
RATE_LIMIT_JITTER_SECONDS = 1.0
GIVE_UP_AFTER_SECONDS = 48 * 3600.0

PASSING_REFUSALS = frozenset({1005, 1008})
"""Refusals that pass: data updated since the last request, which a fresh look cures, and an unknown requester, which an
operator does, by connecting with another user (REST API: Errors)."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after so many seconds, with a fresh look at both sides."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Trying again will not help; the reason is what an operator reads."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Nothing may be sent with this key until an operator has connected again."""

    reason: str


Decision = Retry | GiveUp | Disconnect


def decide(
    error: PagerDutyError,
    attempt: int,
    first_attempt_age_seconds: float,
    *,
    jitter: float,
    give_up_after_seconds: float = GIVE_UP_AFTER_SECONDS,
) -> Decision:
    """What follows the `attempt`-th failure (from 1), the first try being so many seconds old.

    `jitter` is a random number of 0 to 1. A rate limit waits as long as PagerDuty said, and a little so that not all
    come back at once; other failures that may pass wait exponentially with full jitter.
    """
    if isinstance(error, UnauthorizedError):
        return Disconnect(str(error))
    if not isinstance(error, RetryableError) and error.code not in PASSING_REFUSALS:
        return GiveUp(str(error))
    if first_attempt_age_seconds >= give_up_after_seconds:
        return GiveUp(f"no success in {_duration(give_up_after_seconds)} and {attempt} tries; the last: {error}")
    if isinstance(error, RateLimitError) and error.retry_after_seconds is not None:
        return Retry(error.retry_after_seconds + jitter * RATE_LIMIT_JITTER_SECONDS)
    # 2 ** 9 is past the cap already, and a large power would not fit a float.
    longest = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(max(attempt, 1) - 1, 9))
    return Retry(max(SHORTEST_SECONDS, jitter * longest))


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:g} hours" if seconds >= 3600 else f"{seconds:g} seconds"
