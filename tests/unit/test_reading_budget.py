"""Reading by the clock gets its share of the budget while calls for people take all there is, and no more than that."""

from __future__ import annotations

from types import SimpleNamespace

import fakeredis
import pytest
from fakeredis.commands_mixins import server_mixin

from pagerduty_sync.pagerduty.budget import READING_SHARE, REDIS_PAUSE_SECONDS, Budget, CallClass

PER_MINUTE, BURST = 300, 20
STEP = 0.1


class Clock:
    """One time for Redis and for us, which moves only when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(server_mixin, "time", SimpleNamespace(time=clock))
    return clock


@pytest.fixture(params=["with Redis", "without Redis"])
def budget(clock: Clock, request: pytest.FixtureRequest) -> Budget:
    server = fakeredis.FakeServer()
    server.connected = request.param == "with Redis"
    return Budget(fakeredis.FakeRedis(server=server), "key", PER_MINUTE, BURST, local_share=1.0, clock=clock)


def minutes_of_greed(budget: Budget, clock: Clock, minutes: float, *, reads: bool) -> tuple[int, int]:
    """Somebody takes every call for people there is, and then somebody else every read. What each of them got."""
    people = reading = 0
    for _ in range(round(minutes * 60 / STEP)):
        while budget.take(CallClass.URGENT) == 0:
            people += 1
        while reads and budget.take_reading() == 0:
            reading += 1
        clock.now += STEP
    return people, reading


def test_reading_gets_its_share_and_no_more_while_people_take_all(budget: Budget, clock: Clock) -> None:
    minutes_of_greed(budget, clock, 0.5, reads=True)
    people, reading = minutes_of_greed(budget, clock, 1, reads=True)
    assert reading == pytest.approx(PER_MINUTE * READING_SHARE, rel=0.1)
    assert people + reading == pytest.approx(PER_MINUTE, rel=0.02)


def test_the_share_goes_no_more_than_a_tenth_of_the_burst_beyond_the_rate(budget: Budget, clock: Clock) -> None:
    people, reading = minutes_of_greed(budget, clock, 1, reads=True)
    assert people + reading <= PER_MINUTE + BURST * (1 + READING_SHARE)


def test_without_reading_people_get_everything(budget: Budget, clock: Clock) -> None:
    people, _ = minutes_of_greed(budget, clock, 1, reads=False)
    assert people == pytest.approx(PER_MINUTE + BURST, abs=1)


def test_an_idle_budget_gives_reading_more_than_its_share(budget: Budget) -> None:
    granted = 0
    while budget.take_reading() == 0:
        granted += 1
    assert granted >= BURST / 2


def test_reading_stops_with_the_rest_when_pagerduty_says_so(budget: Budget, clock: Clock) -> None:
    budget.freeze(30)
    assert budget.take_reading() == pytest.approx(30)
    clock.now += 30 + REDIS_PAUSE_SECONDS
    budget.observe(960, 10, 20)
    assert budget.take_reading() == pytest.approx(20)
    assert budget.take(CallClass.URGENT) == 0
