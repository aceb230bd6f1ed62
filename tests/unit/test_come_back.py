"""Coming back by countdown: short, one message for a crowd, and never a thing that matters only there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
import redis

from pagerduty_sync.handlers.upkeep import ToRead
from tasks import nudging, outbound, scheduled
from tasks.app import app


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The countdown of every message sent."""
    monkeypatch.setenv("PAGERDUTY_SYNC_REDIS_URL", "redis://127.0.0.1:1/0")
    countdowns: list[float] = []
    monkeypatch.setattr(nudging, "nudge", lambda task, key, *, countdown: countdowns.append(countdown))
    return countdowns


def an_application(monkeypatch: pytest.MonkeyPatch, wait_seconds: float | None, client: Any) -> None:
    parts = SimpleNamespace(sync=SimpleNamespace(call=lambda integration_id: wait_seconds), redis=client)
    monkeypatch.setattr(outbound, "application", lambda: parts)
    monkeypatch.setattr(nudging, "application", lambda: parts)


def test_a_storm_of_calls_without_budget_leaves_one_message(monkeypatch: pytest.MonkeyPatch, sent: list[float]) -> None:
    an_application(monkeypatch, 5.0, fakeredis.FakeRedis())
    for _ in range(2_000):
        outbound.call_pagerduty.run("an integration")
    assert len(sent) == 1
    outbound.call_pagerduty.run("another integration")
    assert len(sent) == 2


@pytest.mark.parametrize("wait_seconds", [0.0, 1.0, 59.0, 3_600.0, 172_800.0])
def test_a_countdown_is_far_below_the_visibility_time_out(
    monkeypatch: pytest.MonkeyPatch, sent: list[float], wait_seconds: float
) -> None:
    an_application(monkeypatch, wait_seconds, fakeredis.FakeRedis())
    outbound.call_pagerduty.run("an integration")
    assert 0 < sent[0] <= nudging.LONGEST_COUNTDOWN_SECONDS
    visibility = app.conf.broker_transport_options["visibility_timeout"]
    assert visibility >= 3 * nudging.LONGEST_COUNTDOWN_SECONDS


def test_with_nothing_left_nothing_comes_back(monkeypatch: pytest.MonkeyPatch, sent: list[float]) -> None:
    an_application(monkeypatch, None, fakeredis.FakeRedis())
    outbound.call_pagerduty.run("an integration")
    assert sent == []


def test_without_redis_the_sweep_is_relied_on(monkeypatch: pytest.MonkeyPatch, sent: list[float]) -> None:
    class Away:
        def set(self, *_: Any, **__: Any) -> None:
            raise redis.ConnectionError("away")

    an_application(monkeypatch, 5.0, Away())
    outbound.call_pagerduty.run("an integration")
    assert sent == []


def test_reading_that_had_no_budget_goes_on_by_countdown(monkeypatch: pytest.MonkeyPatch, sent: list[float]) -> None:
    reads = iter([ToRead(["an integration"], 4.0), ToRead([], None)])
    called: list[Any] = []
    upkeep = SimpleNamespace(reconcile=lambda: next(reads))
    parts = SimpleNamespace(upkeep=upkeep, redis=fakeredis.FakeRedis())
    monkeypatch.setattr(scheduled, "application", lambda: parts)
    monkeypatch.setattr(nudging, "application", lambda: parts)
    monkeypatch.setattr(scheduled, "nudge", lambda task, key: called.append((task.name, key)))
    scheduled.read_on.run("reconcile")
    assert called == [("pagerduty_sync.call_pagerduty", "an integration")], "what was found is read at once"
    assert [4.0 < countdown < 5.0 for countdown in sent] == [True]
    scheduled.read_on.run("reconcile")
    assert len(sent) == 1
