"""One key, two users: what remains ours when somebody else spends half of PagerDuty's limit, minute after minute."""

import itertools
from types import SimpleNamespace

import fakeredis
import pytest
from fakeredis.commands_mixins import server_mixin

from pagerduty_sync.pagerduty.budget import PUBLISHED_PER_MINUTE, Budget, CallClass
from pagerduty_sync.simulator.clock import Clock
from pagerduty_sync.simulator.limits import Limits

MINUTES = 2
TICK_SECONDS = 0.2
RIVAL_PER_MINUTE = PUBLISHED_PER_MINUTE / 2


class Outcome:
    def __init__(self):
        self.granted = dict.fromkeys(CallClass, 0)
        self.refused = 0
        self.rival_refused = 0


@pytest.fixture
def play(monkeypatch):
    """Two minutes of both calling the simulator's limit as often as they like; `demand` says what we want to call."""

    def run(demand, *, with_rival):
        time = SimpleNamespace(now=1_800_000_000.0)
        monkeypatch.setattr(server_mixin, "time", SimpleNamespace(time=lambda: time.now))
        budget = Budget(fakeredis.FakeRedis(server=fakeredis.FakeServer()), "key", clock=lambda: time.now)
        limits = Limits(Clock(0.0, lambda: time.now))
        outcome, rival, classes = Outcome(), 0.0, itertools.cycle(demand)
        while time.now < 1_800_000_000.0 + MINUTES * 60:
            time.now += TICK_SECONDS
            rival += RIVAL_PER_MINUTE / 60 * TICK_SECONDS * with_rival
            while rival >= 1:
                rival -= 1
                outcome.rival_refused += not limits.take({"key": PUBLISHED_PER_MINUTE}).allowed
            waiting = 0
            while waiting < len(demand):
                call_class = next(classes)
                if budget.take(call_class) > 0:
                    waiting += 1
                    continue
                waiting = 0
                reply = limits.take({"key": PUBLISHED_PER_MINUTE})
                if reply.allowed:
                    outcome.granted[call_class] += 1
                    budget.observe(reply.limit, reply.remaining, reply.reset)
                else:
                    outcome.refused += 1
                    budget.freeze(reply.reset)
        return outcome

    return run


def test_alone_we_meet_no_refusal_and_use_nearly_all(play):
    outcome = play([CallClass.URGENT], with_rival=False)
    assert outcome.refused == 0
    assert outcome.granted[CallClass.URGENT] >= 0.97 * 900 * MINUTES


def test_beside_a_rival_the_limit_is_found_by_its_headers_and_not_by_refusals(play):
    """We take what the other leaves: both together come to the limit, and next to nothing of ours is refused."""
    outcome = play([CallClass.URGENT], with_rival=True)
    total = outcome.granted[CallClass.URGENT] + RIVAL_PER_MINUTE * MINUTES - outcome.rival_refused
    assert total >= 0.97 * PUBLISHED_PER_MINUTE * MINUTES
    assert outcome.granted[CallClass.URGENT] >= 0.97 * (PUBLISHED_PER_MINUTE - RIVAL_PER_MINUTE) * MINUTES
    assert outcome.refused <= 2 * MINUTES


def test_beside_a_rival_what_is_urgent_comes_first(play):
    outcome = play([CallClass.URGENT, CallClass.NOTES, CallClass.RECONCILE], with_rival=True)
    assert outcome.granted[CallClass.URGENT] > outcome.granted[CallClass.NOTES] > outcome.granted[CallClass.RECONCILE]
