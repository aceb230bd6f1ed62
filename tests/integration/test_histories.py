"""A bounded part of `make histories`: random people, faults and crashes; the promises hold in each history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pagerduty_sync.embedded.throwaway import Throwaway
from tests.histories.__main__ import a_world, played, seed_of
from tests.histories.actions import Step, story_of
from tests.histories.faults import Rates
from tests.histories.play import play, shorten
from tests.histories.report import story_text
from tests.histories.workers import SyncWorkers
from tests.histories.world import World

SEED = 7
SPANS = [range(start, start + 10) for start in range(0, 60, 10)]


@pytest.fixture(scope="module")
def world(servers: Throwaway) -> Iterator[World]:
    with a_world(servers.database_url, "histories_test") as made:
        yield made


@pytest.mark.parametrize("span", SPANS, ids=lambda span: f"{span.start}-{span.stop - 1}")
def test_both_sides_agree_after_the_last_fault_and_one_reconcile(world: World, span: range) -> None:
    for number in span:
        result = played(world, seed_of(SEED, number), "sync")
        assert not result.problems, story_text(result, story_of(result.seed).steps)
        assert result.seconds_to_agree is not None


def test_the_same_seed_is_the_same_story(world: World) -> None:
    seed = seed_of(SEED, 3)
    first, second = played(world, seed, "sync"), played(world, seed, "sync")
    assert first.lines == second.lines
    assert first.seconds_to_agree == second.seconds_to_agree


def test_the_checks_see_what_a_plain_baseline_gets_wrong(world: World) -> None:
    kinds = {
        problem.kind for number in range(40) for problem in played(world, seed_of(SEED, number), "baseline").problems
    }
    assert {"divergent pair", "comment missing", "comment doubled"} <= kinds


def test_a_failing_story_is_told_as_short_as_it_can_be(world: World) -> None:
    """Without a reconcile or a webhook nothing can be known; the shortest story that shows it has two steps."""
    story = replace(
        story_of(seed_of(SEED, 0)),
        rates=Rates(webhook_lost=1.0),
        steps=[
            Step("case open", 0, "P3"),
            Step("wait", number=8.0),
            Step("case comment"),
            Step("incident priority", 0, "P1"),
            Step("wait", number=8.0),
            Step("incident resolve"),
            Step("wait", number=8.0),
        ],
    )
    world.workers = _Deaf(world)
    short = shorten(world, story, frozenset({"divergent pair"}))
    assert [step.what for step in short.steps] in (
        ["case open", "wait", "incident resolve"],
        ["case open", "wait", "incident priority"],
    )
    assert play(world, short).problems


class _Deaf(SyncWorkers):
    """The sync without its reconcile, to have something that fails."""

    def reconcile(self) -> None:
        """Nothing is read."""
