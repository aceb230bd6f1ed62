"""What can go wrong: the rates of one history, the dice that decide each webhook's fate, and the death of a worker.

Every decision has a name of its own and its own dice, so that taking one step out of a story leaves the fate of the
others as it was. That is what makes a failing story short.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

HOUR = 3600.0


class WorkerDied(BaseException):
    """The process is gone: nothing after this point happens, least of all any tidying up."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How bad the network is in one history; shares from 0 to 1."""

    webhook_lost: float = 0.0
    webhook_twice: float = 0.0
    webhook_late: float = 0.0
    latest_seconds: float = 60.0
    nudge_lost: float = 0.0
    nudge_twice: float = 0.0


@dataclass(slots=True)
class Fates:
    """The dice of one history. `spared` names fates that are not to strike; `struck` collects those that did."""

    seed: int
    rates: Rates
    spared: frozenset[str] = frozenset()
    struck: list[str] = field(default_factory=list)
    is_over: bool = False

    def strikes(self, rate: float, name: str) -> bool:
        """Whether this fate strikes now. Nothing does once the faults are over."""
        if self.is_over or rate <= 0 or name in self.spared or self.dice(name).random() >= rate:
            return False
        self.struck.append(name)
        return True

    def dice(self, name: str) -> random.Random:
        """Dice for one decision, the same in every run of this seed."""
        return random.Random(f"{self.seed}:{name}")


HTTP_FAULTS = ("lost_reply", "timeout", "refused_connection", "503", "502", "500", "429", "429_bare")
"""What may happen to a call: done but not heard of, not done in time, never sent, or answered with an error."""
