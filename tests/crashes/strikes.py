"""What strikes in a run, and in which order: sudden faults, and faults that last a while."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from tests.e2e.breakable import WORKERS, Breakable, until

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 6.0
# Longer than we wait for an answer of PagerDuty's, so that some calls are given up.
LONGEST_SILENCE_SECONDS = 14.0
LONGEST_STEP_SECONDS = 600.0
COMPANY = 0.5
"""How often a fault that lasts gets company by one of the kills."""

Sudden = Callable[[Breakable, random.Random], object]
Lasting = Callable[[Breakable], AbstractContextManager[object]]


def _killing(*programs: str) -> Sudden:
    def kill(breakable: Breakable, _: random.Random) -> None:
        for program in programs:
            breakable.kill(program)

    return kill


def _restarting(program: str) -> Sudden:
    def restart(breakable: Breakable, _: random.Random) -> None:
        # It may be on its way back from the last kill, and what does not run cannot be stopped.
        breakable.wait_until_running(program)
        breakable.stop(program)
        breakable.start(program)

    return restart


def _stopping_workers(breakable: Breakable, _: random.Random) -> None:
    breakable.stop_workers()
    breakable.start_workers()


def _stepping_clock(breakable: Breakable, chance: random.Random) -> None:
    """PagerDuty's: the two clocks disagree from then on."""
    breakable.simulator("POST", "/_sim/clock/advance", json={"seconds": chance.uniform(1, LONGEST_STEP_SECONDS)})


def _faulty(**knobs: object) -> Lasting:
    return lambda breakable: breakable.faulty(**knobs)


KILLS: dict[str, Sudden] = {
    "web killed": _killing("web"),
    "beat killed": _killing("beat"),
    "inbound worker killed": _killing("worker-inbound"),
    "outbound worker killed": _killing("worker-outbound"),
    "both workers killed": _killing(*WORKERS),
}
SUDDEN: dict[str, Sudden] = {
    **KILLS,
    "flower killed": _killing("flower"),
    "everything killed": _killing("web", "beat", *WORKERS, "valkey", "postgres"),
    "workers stopped in order": _stopping_workers,
    "Valkey emptied": lambda breakable, _: breakable.flush_valkey(),
    "Valkey restarted": _restarting("valkey"),
    "Valkey killed": _killing("valkey"),
    "PostgreSQL restarted": _restarting("postgres"),
    "PostgreSQL killed": _killing("postgres"),
    "PostgreSQL's sessions ended": lambda breakable, _: breakable.end_sessions(),
    "PagerDuty's clock stepped": _stepping_clock,
}
SILENCES: dict[str, Lasting] = {
    "calls: nothing passes": lambda breakable: breakable.calls_wire.broken("dead"),
    "calls: no answer comes back": lambda breakable: breakable.calls_wire.broken("mute"),
    "webhooks: nothing passes": lambda breakable: breakable.webhooks_wire.broken("dead"),
    "webhooks: no answer comes back": lambda breakable: breakable.webhooks_wire.broken("mute"),
}
LASTING: dict[str, Lasting] = {
    **SILENCES,
    "calls: refused": lambda breakable: breakable.calls_wire.broken("cut"),
    "webhooks: refused": lambda breakable: breakable.webhooks_wire.broken("cut"),
    "Valkey frozen": lambda breakable: breakable.frozen("valkey"),
    "inbound worker frozen": lambda breakable: breakable.frozen("worker-inbound"),
    "outbound worker frozen": lambda breakable: breakable.frozen("worker-outbound"),
    "PagerDuty loses replies": _faulty(lose_reply={"probability": 0.4}),
    "PagerDuty answers 500": _faulty(fail_before={"probability": 0.4, "status": 500}),
    "PagerDuty answers 429": _faulty(rate_limit={"next": 3, "match": {"method": "POST"}}),
    "webhooks lost": _faulty(webhook_drop={"probability": 0.4}),
    "webhooks twice, late and out of order": _faulty(
        webhook_duplicate={"probability": 0.4},
        webhook_reorder={"probability": 0.4, "seconds": 1.0},
        webhook_delay={"probability": 0.2, "seconds": 0.5},
    ),
}
KINDS = (*SUDDEN, *LASTING)


@dataclass(frozen=True)
class Strike:
    """One fault to come: how long it lasts if it does, and which kill joins it meanwhile."""

    kind: str
    seconds: float
    company: str | None


@dataclass
class Striker:
    """Strikes, and counts what it did."""

    breakable: Breakable
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)

    def strike(self, strike: Strike) -> None:
        """Returns when the fault is over; what it killed may still be on its way back."""
        if strike.kind in SUDDEN:
            self._act(strike.kind, lambda: SUDDEN[strike.kind](self.breakable, self.chance))
            return
        with ExitStack() as lasting:
            self._act(strike.kind, lambda: lasting.enter_context(LASTING[strike.kind](self.breakable)))
            if company := strike.company:
                self._act(company, lambda: KILLS[company](self.breakable, self.chance))
            time.sleep(strike.seconds)

    def _act(self, kind: str, act: Callable[[], object]) -> None:
        """Again while the victim is not back from the strike before."""

        def is_done() -> bool:
            act()
            return True

        until(is_done, f"there is a victim for: {kind}")
        self.counts[kind] += 1


def schedule(count: int, chance: random.Random) -> list[Strike]:
    """So many strikes in a random order, each kind at least once if there are enough."""
    kinds = [*KINDS]
    chance.shuffle(kinds)
    kinds += chance.choices(KINDS, k=max(0, count - len(kinds)))
    return [_a_strike(kind, chance) for kind in kinds[:count]]


def _a_strike(kind: str, chance: random.Random) -> Strike:
    longest = LONGEST_SILENCE_SECONDS if kind in SILENCES else LONGEST_SECONDS
    company = chance.choice([*KILLS]) if kind in LASTING and chance.random() < COMPANY else None
    return Strike(kind, chance.uniform(SHORTEST_SECONDS, longest), company)
