"""The same world as in the histories, led by Hypothesis step by step: it looks after each, and shortens what fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pagerduty_sync.embedded.throwaway import Throwaway
from tests.histories.__main__ import a_world
from tests.histories.actions import CASE_ACTIONS, INCIDENT_ACTIONS, PAUSES, POINTS, Step
from tests.histories.checks import forbidden, problems_of
from tests.histories.faults import HTTP_FAULTS, Fates, Rates
from tests.histories.play import finish
from tests.histories.workers import SyncWorkers
from tests.histories.world import World

SEED = 7
PRIORITIES = ("P1", "P2", "P4", "P5")
CASES = st.integers(0, 1)

actions = st.builds(
    Step, st.sampled_from([*CASE_ACTIONS, *INCIDENT_ACTIONS]), CASES, st.sampled_from(PRIORITIES), st.just(0.0)
)
shares = st.sampled_from([0.0, 0.1, 0.3])


@pytest.fixture(scope="module")
def world(servers: Throwaway) -> Iterator[World]:
    with a_world(servers.database_url, "histories_stateful") as made:
        yield made


class BothSides(RuleBasedStateMachine):
    """People on both sides of two Cases, faults and time, in any order."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self._dice = ExitStack()
        self._late_webhooks_come_last = False

    @initialize(
        lost=shares, twice=shares, late=shares, latest=st.sampled_from([5.0, 3_600.0, 172_800.0]), last=st.booleans()
    )
    def two_cases(self, lost: float, twice: float, late: float, latest: float, last: bool) -> None:
        world = self.world
        self._dice.enter_context(world.same_dice(SEED))
        self._late_webhooks_come_last = last
        world.workers = SyncWorkers(world)
        rates = Rates(webhook_lost=lost, webhook_twice=twice, webhook_late=late, latest_seconds=latest)
        world.begin(Fates(SEED, rates), "checkout")
        for number, priority in enumerate(("P1", "P3")):
            world.perform(Step("case open", number, priority))

    @rule(action=actions)
    def somebody_acts(self, action: Step) -> None:
        self.world.perform(action)

    @rule(seconds=st.sampled_from(PAUSES))
    def time_passes(self, seconds: float) -> None:
        self.world.perform(Step("wait", number=seconds))

    @rule(what=st.sampled_from(HTTP_FAULTS), after=st.integers(0, 3))
    def a_call_fails(self, what: str, after: int) -> None:
        self.world.perform(Step("http", value=what, number=float(after)))

    @rule(point=st.integers(1, POINTS))
    def a_worker_dies(self, point: int) -> None:
        self.world.perform(Step("crash", number=float(point)))

    @rule(point=st.integers(1, POINTS), inner=actions | st.sampled_from([Step("the worker"), Step("the stall")]))
    def something_happens_meanwhile(self, point: int, inner: Step) -> None:
        self.world.perform(Step("meanwhile", number=float(point), inner=inner))

    @rule(what=st.sampled_from(["redis emptied", "subscription disabled", "watchdog", "reconcile"]))
    def the_ground_shakes(self, what: str) -> None:
        self.world.perform(Step(what))

    @invariant()
    def nothing_forbidden_was_done(self) -> None:
        assert forbidden(self.world) == []

    def teardown(self) -> None:
        try:
            finish(self.world, late_webhooks_come_last=self._late_webhooks_come_last)
            assert problems_of(self.world) == []
        finally:
            self._dice.close()


def test_both_sides_agree_whatever_the_order(world: World) -> None:
    BothSides.world = world
    run_state_machine_as_test(
        BothSides,
        settings=settings(
            max_examples=60,
            stateful_step_count=18,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
