"""Stories: what people do, what time does and which faults strike, as plain steps made from a seed.

A step that does not apply when its turn comes (a resolve of what is resolved) does nothing, so that any part of a story
is a story again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.histories.faults import HOUR, HTTP_FAULTS, Rates

CASE_ACTIONS = {
    "case acknowledge": 6,
    "case unacknowledge": 3,
    "case resolve": 4,
    "case resolve with reason": 3,
    "case reason": 3,
    "case close": 2,
    "case priority": 5,
    "case priority cleared": 2,
    "case comment": 6,
}
INCIDENT_ACTIONS = {
    "incident acknowledge": 6,
    "incident urgency raised": 3,
    "incident resolve": 5,
    "incident resolve with note": 2,
    "incident note with resolve": 2,
    "incident re-open": 3,
    "incident re-open acknowledged": 1,
    "incident snooze": 1,
    "incident priority": 5,
    "incident priority cleared": 2,
    "incident note": 6,
    "incident resolution note": 2,
    "incident long note": 1,
    "incident merged into own": 2,
    "incident merged into other": 2,
    "other resolve": 1,
    "other acknowledge": 1,
}
FAULTS = {
    "http": 8,
    "crash": 6,
    "meanwhile": 6,
    "redis emptied": 2,
    "subscription disabled": 1,
    "watchdog": 1,
    "reconcile": 2,
}
PAUSES = (0.05, 0.4, 1.0, 3.0, 8.0, 30.0, 90.0, 700.0, 2_000.0, 4 * HOUR + 60, 13 * HOUR)
POINTS = 40


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. `case` counts the Cases of the story from 0; `meanwhile` holds what happens inside."""

    what: str
    case: int = 0
    value: str = ""
    number: float = 0.0
    inner: Step | None = None

    def __str__(self) -> str:
        if self.what == "wait":
            return f"{self.number:g} s pass"
        if self.what == "http":
            return f"the next call but {self.number:g} meets: {self.value}"
        if self.what == "crash":
            return f"the next worker dies at its point {self.number:g}"
        if self.what == "meanwhile":
            return f"while the next worker is at its point {self.number:g}: {self.inner}"
        if self.what in ("redis emptied", "subscription disabled", "watchdog", "reconcile"):
            return self.what
        return f"[{self.case}] {self.what}{f' {self.value}' if self.value else ''}"


@dataclass(frozen=True, slots=True)
class Story:
    """A history before it is played."""

    seed: int
    rates: Rates
    service: str
    steps: Sequence[Step]
    ends_with_late_webhooks: bool
    spared: frozenset[str] = field(default_factory=frozenset)

    def without(self, indexes: set[int]) -> Story:
        """The same story with some of its steps taken out."""
        return replace(self, steps=[step for at, step in enumerate(self.steps) if at not in indexes])


def story_of(seed: int) -> Story:
    """The story this seed stands for."""
    dice = random.Random(f"story:{seed}")
    cases = dice.choices((1, 2, 3), (5, 4, 1))[0]
    roughness = dice.choice((0.0, 0.1, 0.2, 0.35))
    rates = Rates(
        webhook_lost=dice.choice((0.0, 0.0, 0.1, 0.3)),
        webhook_twice=dice.choice((0.0, 0.2, 0.5)),
        webhook_late=dice.choice((0.0, 0.0, 0.15, 0.4)),
        latest_seconds=dice.choice((5.0, 60.0, HOUR, 48 * HOUR)),
        nudge_lost=dice.choice((0.0, 0.0, 0.2)),
        nudge_twice=dice.choice((0.0, 0.1)),
    )
    steps: list[Step] = [Step("case open", 0, dice.choice(("P1", "P3", "P5")))]
    opened = 1
    for _ in range(dice.randint(4, 22)):
        if opened < cases and dice.random() < 0.3:
            steps.append(Step("case open", opened, dice.choice(("P1", "P3", "P5"))))
            opened += 1
        elif dice.random() < roughness:
            steps.append(_fault(dice, opened))
        elif dice.random() < 0.3:
            steps.append(_pause(dice))
        else:
            steps.append(_action(dice, opened))
    if dice.random() < 0.5:
        steps.insert(1, Step("wait", number=10.0))
    return Story(
        seed,
        rates,
        # One service un-acknowledges after 30 minutes and resolves after four hours, the other never does.
        dice.choice(("checkout", "checkout", "payments")),
        steps,
        dice.random() < 0.5,
    )


def _pause(dice: random.Random) -> Step:
    return Step("wait", number=dice.choices(PAUSES, (4, 5, 5, 5, 5, 4, 3, 2, 2, 1, 1))[0])


def _action(dice: random.Random, cases: int) -> Step:
    table = CASE_ACTIONS if dice.random() < 0.5 else INCIDENT_ACTIONS
    what = dice.choices(list(table), list(table.values()))[0]
    value = dice.choice(("P1", "P2", "P4", "P5")) if what.endswith(" priority") else ""
    return Step(what, dice.randrange(cases), value)


def _fault(dice: random.Random, cases: int) -> Step:
    what = dice.choices(list(FAULTS), list(FAULTS.values()))[0]
    point = float(dice.randint(1, POINTS))
    if what == "http":
        return Step(what, value=dice.choice(HTTP_FAULTS), number=float(dice.randint(0, 3)))
    if what == "crash":
        return Step(what, number=point)
    if what == "meanwhile":
        inner = dice.choice(("action", "action", "webhooks", "worker", "stall"))
        step = _action(dice, cases) if inner == "action" else Step(f"the {inner}")
        return Step(what, number=point, inner=step)
    return Step(what)
