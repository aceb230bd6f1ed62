"""Playing a story to its end, and making a failing one shorter while it still fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.histories.actions import Story
from tests.histories.checks import Problem, is_in_step, problems_of
from tests.histories.faults import HOUR, Fates
from tests.histories.world import StuckError, World

RECONCILE_SECONDS = 300.0
LAST_WEBHOOK_SECONDS = 49 * HOUR
LOOKS_AT = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 240.0)
MOST_TRIES_TO_SHORTEN = 200


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one history."""

    seed: int
    problems: Sequence[Problem]
    seconds_to_agree: float | None
    writes: int
    faults: Counter[str]
    struck: Sequence[str]
    lines: Sequence[str]


def play(world: World, story: Story) -> Played:
    """Play one story and look at its end."""
    fates = Fates(story.seed, story.rates, story.spared)
    agreed: float | None = None
    with world.same_dice(story.seed):
        world.begin(fates, story.service)
        try:
            for step in story.steps:
                world.perform(step)
            agreed = finish(world, late_webhooks_come_last=story.ends_with_late_webhooks)
            problems = problems_of(world)
        except StuckError as exc:
            problems = [Problem("crash of the sync", str(exc))]
    journal = world.journal
    unique = list(dict.fromkeys(problems))
    return Played(story.seed, unique, agreed, len(journal.writes), journal.faults, fates.struck, journal.lines)


def finish(world: World, *, late_webhooks_come_last: bool) -> float | None:
    """The last fault is over: the subscription is looked after, and one reconcile runs, as the clock would have it.

    What is late arrives after it: by and by, or all at once. Returns the simulated seconds until both sides agreed and
    went on doing so, None when they do not.
    """
    world.fates.is_over = True
    world.disarm()
    ended = world.clock.now()
    world.tell("--- the last fault is over")
    late = world.take_webhooks() if late_webhooks_come_last else []
    looks: list[tuple[float, bool]] = []
    looked_at = -1

    def look() -> None:
        nonlocal looked_at
        # What nothing has happened to is as it was.
        agree = looks[-1][1] if looks and looked_at == world.happened else is_in_step(world)
        looked_at = world.happened
        looks.append((world.clock.now() - ended, agree))

    world.workers.watch()
    # The clock reconciles every five minutes; where in them the story ends is chance.
    reconciles_at = world.fates.dice("reconcile").uniform(0.0, RECONCILE_SECONDS)
    for seconds in (*LOOKS_AT, reconciles_at):
        if seconds <= reconciles_at:
            world.wait(max(0.0, ended + seconds - world.clock.now()))
            look()
    world.workers.reconcile()
    world.tell("--- reconciled")
    for seconds in LOOKS_AT:
        world.wait(max(0.0, ended + reconciles_at + seconds - world.clock.now()))
        look()
    for deliver in late:
        deliver()
    world.settle(LAST_WEBHOOK_SECONDS)
    look()
    apart = [seconds for seconds, agree in looks if not agree]
    if looks[-1][0] in apart:
        return None
    return min(seconds for seconds, agree in looks if not apart or seconds > max(apart))


def shorten(world: World, story: Story, kinds: frozenset[str]) -> Story:
    """The shortest story found that still breaks one of these promises."""

    def fails(other: Story) -> bool:
        return any(problem.kind in kinds for problem in play(world, other).problems)

    tries = [0]

    def is_worse(other: Story) -> bool:
        tries[0] += 1
        return tries[0] <= MOST_TRIES_TO_SHORTEN and fails(other)

    story = _without_steps(story, is_worse)
    story = _without_fates(world, story, is_worse)
    return _without_steps(story, is_worse)


def _without_steps(story: Story, is_worse: Callable[[Story], bool]) -> Story:
    size = max(1, len(story.steps) // 2)
    while True:
        at, removed = 0, False
        while at < len(story.steps):
            shorter = story.without(set(range(at, at + size)))
            if shorter.steps and is_worse(shorter):
                story, removed = shorter, True
            else:
                at += size
        if size == 1 and not removed:
            return story
        size = max(1, size // 2)


def _without_fates(world: World, story: Story, is_worse: Callable[[Story], bool]) -> Story:
    everything = frozenset(play(world, story).struck)
    spared_all = replace(story, spared=story.spared | everything)
    if is_worse(spared_all):
        return spared_all
    for name in sorted(everything):
        spared = replace(story, spared=story.spared | {name})
        if is_worse(spared):
            story = spared
    return story
