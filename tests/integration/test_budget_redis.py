"""The budget's scripts on a real Redis: several processes' worth of callers never get more than one budget."""

import threading
import time

import pytest
import redis

from pagerduty_sync.pagerduty.budget import Budget, CallClass, Operation, key_id_of

PER_MINUTE, BURST = 6000, 10


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, socket_timeout=2) as client:
        yield client


def test_callers_at_once_share_one_budget(client):
    budgets = [Budget(client, "shared", PER_MINUTE, BURST) for _ in range(4)]
    granted = []
    start = time.monotonic()
    end = start + 0.2

    def call(budget):
        while time.monotonic() < end:
            if budget.take(CallClass.URGENT) == 0:
                granted.append(budget)

    threads = [threading.Thread(target=call, args=(budget,)) for budget in budgets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - start
    assert BURST < len(granted) <= PER_MINUTE / 60 * elapsed + BURST


def test_the_scripts_run_and_survive_a_restart(client):
    budget = Budget(client, key_id_of("secret"), PER_MINUTE, BURST)
    assert budget.take_create() == budget.take_bulk(CallClass.NOTES) == 0
    client.script_flush()
    assert budget.take(CallClass.RECONCILE) == 0
    budget.observe(960, 10, 30)
    budget.throttled(Operation.CREATE, 7)
    other = Budget(client, key_id_of("secret"), PER_MINUTE, BURST)
    assert other.take(CallClass.URGENT) == 0
    assert other.take_create() == pytest.approx(7, abs=0.5)
    assert other.take(CallClass.NOTES) == pytest.approx(30, abs=0.5)
    budget.freeze(20)
    assert other.take(CallClass.URGENT) == pytest.approx(20, abs=0.5)
    assert all(client.pttl(name) > 0 for name in client.keys("pagerduty_sync:budget:*"))


def test_values_that_are_not_ours_do_not_stop_us(client):
    budget = Budget(client, "odd", PER_MINUTE, BURST)
    client.hset("pagerduty_sync:budget:{odd}:arrival", "of", "another type")
    assert budget.take(CallClass.URGENT) == 0
