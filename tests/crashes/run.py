"""One run: Cases live, faults strike, and in the end everything has to agree."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.crashes.report import Result, story_of
from tests.crashes.strikes import Striker, schedule
from tests.e2e.agreement import DisagreementError, assert_everything_agrees
from tests.e2e.breakable import AWAY, Breakable
from tests.e2e.lives import BrokenLifeError, Lives, Pace, living
from tests.e2e.playground import a_second_clock

Say = Callable[[str], None]


def run(breakable: Breakable, directory: Path, cases: int, faults: int, seed: int, pace: Pace, say: Say) -> Result:
    """Let so many Cases live through so many faults, and two beats all the time; the directory is the second one's."""
    began = time.monotonic()
    chance = random.Random(seed)
    striker = Striker(breakable, chance)
    result = Result(seed, cases, striker.counts)
    last_call = breakable.calls()[-1]["seq"]
    try:
        with a_second_clock(breakable, directory) as clock:
            with living(breakable, cases, seed, pace=pace) as lives:
                result.lives = lives.lives
                last_fault = _hurt(lives, striker, faults, pace, say)
            last_word = time.monotonic()
            say("all lives are over; waiting until everything agrees")
            assert_everything_agrees(breakable, lives.lives, pace.patience_seconds)
            agreed = time.monotonic()
            assert clock.poll() is None, "the second beat did not outlive it all"
        result.seconds_to_agree_after_last_fault = agreed - last_fault
        result.seconds_to_agree_after_last_word = agreed - last_word
    except AssertionError as exc:
        _explain(breakable, result, exc)
    calls = breakable.calls(last_call)
    result.writes = sum(call["method"] != "GET" and call["status"] < 300 for call in calls)
    result.wall_seconds = time.monotonic() - began
    return result


def _hurt(lives: Lives, striker: Striker, count: int, pace: Pace, say: Say) -> float:
    """Strike all through the lives; returns when the last fault was over."""
    strikes = schedule(count, striker.chance)
    last_fault = time.monotonic()
    for number, strike in enumerate(strikes):
        say(f"{lives.count_over()} of {len(lives.lives)} lives over, {number} of {count} faults; next: {strike.kind}")
        lives.wait_for_share((number + striker.chance.random()) / count, pace.patience_seconds)
        if lives.are_over():
            break
        striker.strike(strike)
        last_fault = time.monotonic()
    return last_fault


def _explain(breakable: Breakable, result: Result, exc: AssertionError) -> None:
    """Keep what went wrong, and the whole story of the first Case it went wrong with."""
    result.failure = str(exc)
    life = None
    if isinstance(exc, BrokenLifeError):
        life = exc.life
        result.broken_lives = 1
    elif isinstance(exc, DisagreementError):
        result.found = exc.found
        life = next((one.life for one in exc.found if one.life), None)
    if life is not None:
        try:
            result.story = story_of(breakable, life)
        except AWAY as trouble:
            result.story = f"The story of {life.name} cannot be read: {trouble}"
