"""Playing a story to its end, and making a failing one shorter while it still fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.histories.actions import Story
from tests.histories.checks import Problem, is_in_step, problems_of
from tests.histories.faults import HOUR, Fates
from tests.histories.world import StuckError, World

LAST_RETRY_SECONDS = 2 * HOUR
MOST_TRIES_TO_SHORTEN = 200


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one history."""

    seed: int
    problems: Sequence[Problem]
    seconds_to_agree: float | None
    writes: int
    deaths: int
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
            agreed = _finish(world, story)
            problems = problems_of(world)
        except StuckError as exc:
            problems = [Problem("crash of the sync", str(exc))]
    journal = world.journal
    unique = list(dict.fromkeys(problems))
    return Played(story.seed, unique, agreed, len(journal.writes), journal.deaths, fates.struck, journal.lines)


def _finish(world: World, story: Story) -> float | None:
    """The last fault is over: the subscription is looked after, what is under way arrives, and one reconcile runs.

    Returns the simulated seconds until both sides agreed.
    """
    world.fates.is_over = True
    world._armed.clear()
    world._http_faults.clear()
    ended = world.clock.now()
    world.tell(f"{ended:.3f}  --- the last fault is over")
    late = world.take_webhooks() if story.ends_with_late_webhooks else []
    world.workers.watch()
    world.wait(150.0)
    if not late:
        world.settle(49 * HOUR)
    agreed = _seconds_to_agree(world, ended)
    world.workers.reconcile()
    world.settle(LAST_RETRY_SECONDS)
    if agreed is None and is_in_step(world):
        agreed = world.clock.now() - ended
    world.tell("--- reconciled")
    for deliver in late:
        deliver()
    world.settle(LAST_RETRY_SECONDS)
    return agreed


def _seconds_to_agree(world: World, since: float) -> float | None:
    return world.clock.now() - since if is_in_step(world) else None


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
