"""How fast we may call PagerDuty with one key: one allowance in Redis that every process draws from.

Urgent calls pass lesser ones, because a share of the burst is kept for them. Without Redis each process falls back to a
small allowance of its own. Knows no API key, only a hash of it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import redis

from pagerduty_sync.pagerduty import budget_scripts
from pagerduty_sync.pagerduty.local_limiter import Freeze, LocalLimiter

log = logging.getLogger(__name__)

PUBLISHED_PER_MINUTE = 960
"""Requests a minute and key (REST API Rate Limits). Ours plus its burst must stay at or below it."""

MAX_FREEZE_SECONDS = 3600.0
REDIS_PAUSE_SECONDS = 1.0
"""After Redis has failed, how long we do without before asking again: each failure may cost a connect time-out."""

LOW_REMAINING = 5
LOW_REMAINING_SHARE = 0.05
"""Fewer calls left than this in PagerDuty's own count, and somebody else is using the key too."""

_ALL, _LESSER = "all", "lesser"


class CallClass(IntEnum):
    """What a call is for, the most urgent first."""

    URGENT = 0
    PRIORITY = 1
    NOTES = 2
    RECONCILE = 3


RESERVED_SHARE: Mapping[CallClass, float] = {
    CallClass.URGENT: 0.0,
    CallClass.PRIORITY: 0.10,
    CallClass.NOTES: 0.25,
    CallClass.RECONCILE: 0.50,
}
"""The share of the burst that must be left untouched for the classes above."""

READING_SHARE = 0.10
"""The share of the rate that reading by the clock gets also while calls for people take all there is."""


class Operation(StrEnum):
    """Operations with a limit of their own besides the key's."""

    CREATE = "create"
    BULK = "bulk"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Pace:
    """An operation's rate a minute: it starts at the most, halves when PagerDuty refuses, and recovers in time."""

    most: float
    least: float
    recovery_seconds: float = 600.0


DEFAULT_PACES: Mapping[Operation, Pace] = {
    # The number is not published, only that the limit is low and meant for human speed (Create an Incident).
    Operation.CREATE: Pace(most=180, least=2),
    # 500 a minute (API changelog, 2022-05-10).
    Operation.BULK: Pace(most=400, least=20),
}


def key_id_of(api_key: str) -> str:
    """A name for a key that tells nothing of it."""
    return hashlib.sha256(b"pagerduty_sync:budget:" + api_key.strip().encode()).hexdigest()[:24]


class Budget:
    """The allowance of one key. No method raises because of Redis, and none sleeps.

    `local_share` is the part of the rate that one process may use while Redis is away: at most one divided by the
    number of processes. Give the Redis client short time-outs.
    """

    def __init__(
        self,
        client: redis.Redis,
        key_id: str,
        per_minute: float = 900,
        burst: int = 50,
        prefix: str = "pagerduty_sync:",
        *,
        local_share: float = 0.25,
        paces: Mapping[Operation, Pace] = DEFAULT_PACES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # One hash tag keeps the keys in one slot of a cluster.
        self._key = f"{prefix}budget:{{{key_id}}}:"
        self._per_minute = per_minute
        self._burst = burst
        reading = per_minute * READING_SHARE
        self._paces = {**paces, Operation.READ: Pace(most=reading, least=reading)}
        self._clock = clock
        self._take = client.register_script(budget_scripts.TAKE)
        self._block = client.register_script(budget_scripts.BLOCK)
        self._slow_down = client.register_script(budget_scripts.SLOW_DOWN)
        self._redis_again_at = float("-inf")
        self._freeze = Freeze()
        self._local = LocalLimiter(per_minute / 60 * local_share, burst * local_share)
        self._local_operations = {
            operation: LocalLimiter(pace.most / 60 * local_share, 1) for operation, pace in self._paces.items()
        }

    def take(self, call_class: CallClass, cost: int = 1, operation: Operation | None = None) -> float:
        """0.0 when the call may go out now, else the seconds after which to ask again; nothing is taken then."""
        return self._take_leaving(RESERVED_SHARE[call_class], call_class, cost, operation)

    def take_reading(self) -> float:
        """Take for one call that reads by the clock: of what others leave, else of the share kept for reading.

        That share goes a tenth of the burst beyond it: whoever takes each call the moment it is earned leaves nothing
        else. The rate stays what it is, so people's calls wait the longer for it.
        """
        wait = self.take(CallClass.RECONCILE)
        return wait and min(wait, self._take_leaving(-READING_SHARE, CallClass.RECONCILE, 1, Operation.READ))

    def _take_leaving(self, share: float, call_class: CallClass, cost: int, operation: Operation | None) -> float:
        """Take, leaving this share of the burst untouched."""
        frozen = self._frozen_seconds(call_class, operation)
        if frozen > 0:
            return frozen
        keys = [self._key + "arrival", self._key + "blocked"]
        pace: tuple[float, ...] = ()
        if operation is not None:
            keys.append(self._key + operation)
            pace = self._pace_of(operation)
        is_lesser = int(call_class is not CallClass.URGENT)
        args = (60_000_000 / self._per_minute, self._burst, cost, self._burst * share, is_lesser, *pace)
        wait = self._ask(self._take, keys, args)
        return wait / 1_000_000 if wait is not None else self._take_locally(share, cost, operation)

    def take_create(self) -> float:
        """Take for one POST /incidents: from the key's allowance and from the operation's, or from neither."""
        return self.take(CallClass.URGENT, operation=Operation.CREATE)

    def take_bulk(self, call_class: CallClass = CallClass.URGENT) -> float:
        """Take for one PUT /incidents, in the same way."""
        return self.take(call_class, operation=Operation.BULK)

    def freeze(self, seconds: float) -> None:
        """Grant nothing for so long: what a 429 asks for."""
        self._stop(_ALL, seconds, self._key + "blocked", _ALL)

    def throttled(self, operation: Operation, retry_after_seconds: float | None = None) -> None:
        """A 429 to this operation: stop it for so long and halve its rate, once however many calls were refused."""
        seconds = _bounded(retry_after_seconds or 0.0) or 60 / self._paces[operation].most
        self._freeze.extend(operation, self._clock() + seconds)
        self._ask(self._slow_down, [self._key + operation], (*self._pace_of(operation), seconds * 1_000_000))

    def observe(self, limit: int, remaining: int, reset_seconds: float, operation: Operation | None = None) -> None:
        """Learn from the `ratelimit-*` headers of a reply.

        Few calls left means that somebody else is using the key: lesser classes wait for the reset, and all when
        none is left. On an operation with its own limit the headers describe whichever is closer, and a limit below
        the key's is the operation's: then only that operation stops, and only when none is left.
        """
        if operation is not None and limit < self._per_minute:
            if remaining <= 0:
                self._stop(operation, reset_seconds, self._key + operation, "blocked")
        elif remaining <= 0:
            self.freeze(reset_seconds)
        elif remaining <= max(LOW_REMAINING, limit * LOW_REMAINING_SHARE):
            self._stop(_LESSER, reset_seconds, self._key + "blocked", _LESSER)

    def _stop(self, name: str, seconds: float, key: str, field: str) -> None:
        seconds = _bounded(seconds)
        if seconds:
            # Here too, in case Redis does not hear of it.
            self._freeze.extend(name, self._clock() + seconds)
            self._ask(self._block, [key], (field, seconds * 1_000_000))

    def _frozen_seconds(self, call_class: CallClass, operation: Operation | None) -> float:
        names = [_ALL]
        if call_class is not CallClass.URGENT:
            names.append(_LESSER)
        if operation is not None:
            names.append(operation)
        return self._freeze.wait(self._clock(), *names)

    def _pace_of(self, operation: Operation) -> tuple[float, ...]:
        pace = self._paces[operation]
        return pace.most, pace.least, pace.recovery_seconds

    def _take_locally(self, share: float, cost: int, operation: Operation | None) -> float:
        now = self._clock()
        wait = self._local_operations[operation].take(now) if operation is not None else 0.0
        return wait or self._local.take(now, cost, share)

    def _ask(self, script: budget_scripts.Script, keys: list[str], args: tuple[object, ...]) -> float | None:
        """The script's answer, None when Redis gives none."""
        if self._clock() < self._redis_again_at:
            return None
        try:
            return float(script(keys=keys, args=[str(arg) for arg in args]))
        except (redis.RedisError, OSError) as exc:
            self._redis_again_at = self._clock() + REDIS_PAUSE_SECONDS
            log.warning("the budget does without Redis for now (%s)", type(exc).__name__)
            return None


def _bounded(seconds: float) -> float:
    return min(seconds, MAX_FREEZE_SECONDS) if seconds > 0 else 0.0
