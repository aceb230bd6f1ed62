"""The budget never grants more than its rate and burst, keeps a share for the urgent, and outlives Redis."""

import itertools
from types import SimpleNamespace

import fakeredis
import pytest
from fakeredis.commands_mixins import server_mixin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagerduty_sync.pagerduty.budget import (
    REDIS_PAUSE_SECONDS,
    RESERVED_SHARE,
    Budget,
    CallClass,
    Operation,
    Pace,
    key_id_of,
)
from pagerduty_sync.pagerduty.local_limiter import LocalLimiter

URGENT, PRIORITY, NOTES, RECONCILE = CallClass
PER_MINUTE, BURST = 600, 20
RATE = PER_MINUTE / 60


class Clock:
    """One time for Redis and for us, which moves only when told."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(server_mixin, "time", SimpleNamespace(time=clock))
    return clock


@pytest.fixture
def server():
    return fakeredis.FakeServer()


@pytest.fixture
def budget(clock, server):
    return a_budget(clock, server)


def a_budget(clock, server, **options):
    client = fakeredis.FakeRedis(server=server)
    return Budget(client, "key", **{"per_minute": PER_MINUTE, "burst": BURST, "clock": clock, **options})


def drain(budget, call_class=URGENT, **options):
    """How many calls are granted at once."""
    return sum(
        1 for _ in itertools.takewhile(lambda wait: wait == 0, (budget.take(call_class, **options) for _ in range(999)))
    )


def test_a_burst_is_granted_and_then_the_rate(budget, clock):
    assert drain(budget) == BURST
    assert budget.take(URGENT) == pytest.approx(1 / RATE, rel=0.01)
    clock.now += 1
    assert drain(budget) == RATE


def test_a_refusal_takes_nothing(budget, clock):
    drain(budget)
    for _ in range(50):
        assert budget.take(URGENT) > 0
    clock.now += 1
    assert drain(budget) == RATE


def test_all_processes_draw_from_one_budget(clock, server):
    first, second = a_budget(clock, server), a_budget(clock, server)
    assert drain(first) + drain(second) == BURST


def test_each_key_has_its_own(clock, server):
    client = fakeredis.FakeRedis(server=server)
    one, other = (Budget(client, name, PER_MINUTE, BURST, clock=clock) for name in ("one", "other"))
    assert drain(one) == drain(other) == BURST


@pytest.mark.parametrize(("call_class", "granted"), [(URGENT, 20), (PRIORITY, 18), (NOTES, 15), (RECONCILE, 10)])
def test_a_share_of_the_burst_is_kept_for_more_urgent_calls(budget, call_class, granted):
    assert drain(budget, call_class) == granted
    assert drain(budget, URGENT) == BURST - granted


def test_the_wait_of_a_lesser_call_ends_with_a_grant(budget, clock):
    drain(budget)
    clock.now += budget.take(RECONCILE)
    assert budget.take(RECONCILE) == 0


def test_a_call_may_cost_more_than_one(budget, clock):
    assert budget.take(URGENT, cost=15) == 0
    assert budget.take(URGENT, cost=6) > 0
    assert budget.take(URGENT, cost=5) == 0
    clock.now += 60
    assert budget.take(RECONCILE, cost=BURST) == 0, "more than its share, so it waits for a full bucket"


def test_a_freeze_stops_everything_everywhere(budget, clock, server):
    budget.freeze(30)
    budget.freeze(10)
    for one in (budget, a_budget(clock, server)):
        assert one.take(URGENT) == pytest.approx(30)
    clock.now += 30.001
    assert budget.take(URGENT) == 0


@pytest.mark.parametrize("seconds", [0, -5, float("nan")])
def test_a_freeze_of_no_time_is_none(budget, seconds):
    budget.freeze(seconds)
    assert budget.take(URGENT) == 0


def test_a_freeze_has_an_end(budget):
    budget.freeze(float("inf"))
    assert budget.take(URGENT) == pytest.approx(3600)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "urgent", "lesser"),
    [
        pytest.param(960, 500, 30, 0, 0, id="plenty left"),
        pytest.param(960, 49, 30, 0, 0, id="just enough left"),
        pytest.param(960, 48, 30, 0, 30, id="a twentieth left: lesser calls wait"),
        pytest.param(60, 5, 30, 0, 30, id="five left: lesser calls wait"),
        pytest.param(960, 0, 30, 30, 30, id="none left: all wait"),
        pytest.param(960, 0, 0, 0, 0, id="none left, but it is reset by now"),
    ],
)
def test_pagerdutys_own_count_is_believed(budget, clock, server, limit, remaining, reset, urgent, lesser):
    budget.observe(limit, remaining, reset)
    for one in (budget, a_budget(clock, server)):
        assert one.take(URGENT) == pytest.approx(urgent)
        for call_class in (PRIORITY, NOTES, RECONCILE):
            assert one.take(call_class) == pytest.approx(lesser)


def test_an_operations_own_limit_stops_only_the_operation(budget, clock, server):
    budget.observe(60, 3, 30, Operation.CREATE)
    assert budget.take_create() == 0
    budget.observe(60, 0, 30, Operation.CREATE)
    for one in (budget, a_budget(clock, server)):
        assert one.take_create() == pytest.approx(30)
        assert one.take(RECONCILE) == one.take_bulk() == 0
    budget.observe(960, 0, 30, Operation.CREATE)
    assert budget.take(URGENT) == pytest.approx(30), "the key's limit is everybody's"


# ---- operations that adapt ------------------------------------------------------------------------------------------

PACES = {Operation.CREATE: Pace(most=60, least=6, recovery_seconds=600), Operation.BULK: Pace(most=60, least=6)}


@pytest.fixture
def paced(clock, server):
    return a_budget(clock, server, per_minute=6000, burst=1000, paces=PACES)


def granted_in(budget, clock, seconds, take):
    granted, end = 0, clock.now + seconds
    while clock.now <= end:
        wait = take()
        granted += wait == 0
        clock.now += max(wait, 0.001)
    return granted


def test_creates_have_their_own_pace(paced, clock):
    assert drain(paced, operation=Operation.CREATE) == 10
    assert granted_in(paced, clock, 60, paced.take_create) == pytest.approx(60, abs=2)
    assert paced.take_bulk() == paced.take(RECONCILE) == 0


def test_a_429_stops_the_operation_and_halves_its_pace(paced, clock):
    drain(paced, operation=Operation.CREATE)
    paced.throttled(Operation.CREATE, 20)
    assert paced.take_create() == pytest.approx(20)
    clock.now += 20
    assert granted_in(paced, clock, 60, paced.take_create) == pytest.approx(33, abs=3)


def test_many_429s_at_once_halve_it_once(paced, clock):
    for _ in range(10):
        paced.throttled(Operation.CREATE, 1)
    clock.now += 1.001
    assert granted_in(paced, clock, 60, paced.take_create) == pytest.approx(33, abs=3)


def test_a_pace_has_a_floor_and_recovers(paced, clock):
    for _ in range(20):
        paced.throttled(Operation.CREATE, 1)
        clock.now += 1.001
    slow = granted_in(paced, clock, 60, paced.take_create)
    assert 6 <= slow <= 12
    clock.now += 600
    drain(paced, operation=Operation.CREATE)
    assert granted_in(paced, clock, 60, paced.take_create) == pytest.approx(60, abs=2)


def test_a_429_without_a_time_still_makes_a_pause(paced):
    paced.throttled(Operation.CREATE)
    assert paced.take_create() > 0


def test_a_create_takes_from_both_or_from_neither(clock, server):
    budget = a_budget(clock, server, burst=2, paces=PACES)
    assert drain(budget) == 2
    for _ in range(20):
        assert budget.take_create() > 0
    clock.now += 60
    assert drain(budget, operation=Operation.CREATE) == 2
    other = a_budget(clock, server, per_minute=6000, burst=1000, paces=PACES)
    assert drain(other, operation=Operation.CREATE) == 8, "the refused ones cost the operation nothing"


# ---- properties -----------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 7, 40, 100, 333, 2500, 61_000]), st.sampled_from(CallClass), st.integers(1, 4)),
    max_size=60,
)


def assert_within(grants, rate, burst):
    """No window of time, whichever, holds more than its length earns and one burst."""
    for first in range(len(grants)):
        total = 0
        for at, cost in grants[first:]:
            total += cost
            assert total <= rate * (at - grants[first][0]) + burst + 0.001


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_redis_never_grants_more_than_rate_and_burst(monkeypatch, steps):
    clock = Clock()
    monkeypatch.setattr(server_mixin, "time", SimpleNamespace(time=clock))
    budget = a_budget(clock, fakeredis.FakeServer())
    grants = []
    for milliseconds, call_class, cost in steps:
        clock.now += milliseconds / 1000
        if budget.take(call_class, cost) == 0:
            grants.append((clock.now, cost))
    assert_within(grants, RATE, BURST)


@given(STEPS)
def test_a_process_without_redis_never_grants_more_than_its_share(steps):
    limiter, now, grants = LocalLimiter(RATE / 4, BURST / 4), 0.0, []
    for milliseconds, call_class, cost in steps:
        now += milliseconds / 1000
        if limiter.take(now, cost, RESERVED_SHARE[call_class]) == 0:
            grants.append((now, cost))
    assert_within(grants, RATE / 4, BURST / 4)


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_redis_and_python_decide_alike(monkeypatch, steps):
    clock = Clock()
    clock.now = 1_000.0
    monkeypatch.setattr(server_mixin, "time", SimpleNamespace(time=clock))
    budget, limiter = a_budget(clock, fakeredis.FakeServer()), LocalLimiter(RATE, BURST)
    for milliseconds, call_class, cost in steps:
        clock.now += milliseconds / 1000
        expected = limiter.take(clock.now, cost, RESERVED_SHARE[call_class])
        assert budget.take(call_class, cost) == pytest.approx(expected, abs=0.0001)


# ---- without Redis --------------------------------------------------------------------------------------------------


def test_without_redis_a_small_allowance_remains(budget, clock, server, caplog):
    server.connected = False
    with caplog.at_level("WARNING", logger="pagerduty_sync.pagerduty.budget"):
        assert drain(budget) == BURST / 4
        assert 0 < granted_in(budget, clock, 10, lambda: budget.take(URGENT)) <= RATE / 4 * 10 + 1
    assert "without Redis" in caplog.text


def test_without_redis_nothing_raises_and_freezes_hold(budget, clock, server):
    server.connected = False
    budget.freeze(30)
    assert budget.take(URGENT) == pytest.approx(30)
    clock.now += 31
    budget.observe(960, 10, 30)
    assert budget.take(URGENT) == 0
    assert budget.take(NOTES) == pytest.approx(30)
    budget.throttled(Operation.CREATE, 5)
    assert budget.take_create() == pytest.approx(5)
    clock.now += 31
    assert budget.take_create() == budget.take_bulk() == 0
    assert budget.take_create() > 0


def test_after_a_failure_redis_is_left_alone_for_a_moment(budget, clock, server):
    server.connected = False
    drain(budget)
    server.connected = True
    assert budget.take(URGENT) > 0
    clock.now += REDIS_PAUSE_SECONDS
    assert drain(budget) == BURST


def test_an_emptied_redis_costs_one_burst(budget, server):
    drain(budget)
    fakeredis.FakeRedis(server=server).flushall()
    assert drain(budget) == BURST


def test_the_keys_share_a_slot_expire_and_tell_no_secret(clock, server):
    client = fakeredis.FakeRedis(server=server)
    secret = "y_NbAkKc66ryYTWUXYEu"
    budget = Budget(client, key_id_of(secret), clock=clock)
    budget.take_create()
    budget.take_bulk(NOTES)
    budget.observe(960, 10, 30)
    budget.throttled(Operation.BULK, 3)
    names = client.keys()
    assert len(names) == 4
    assert len({name.partition(b"}")[0] for name in names}) == 1
    assert all(name.startswith(b"pagerduty_sync:budget:{") and secret.encode() not in name for name in names)
    assert all(0 < client.pttl(name) <= 3_700_000 for name in names)
    assert key_id_of(secret) == key_id_of(f" {secret}\n") != key_id_of("another")
