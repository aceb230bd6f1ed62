"""The tasks of the one-way path: what they wake, and what they leave to the due times in PostgreSQL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pagerduty_sync.handlers.event_sending import Later
from pagerduty_sync.handlers.pushes import Taken
from tasks import notifications, pushes
from tasks.nudging import LONGEST_COUNTDOWN_SECONDS


@pytest.fixture
def nudges(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, float | None]]:
    """Every message sent: the task, its argument and its countdown."""
    # Celery reads its configuration before it lets a task be called; nothing connects anywhere.
    monkeypatch.setenv("PAGERDUTY_SYNC_REDIS_URL", "redis://127.0.0.1:1/0")
    sent: list[tuple[str, Any, float | None]] = []

    def nudge(task: Any, argument: Any, *, countdown: float | None = None) -> None:
        sent.append((task.name.removeprefix("pagerduty_sync."), argument, countdown))

    monkeypatch.setattr(notifications, "nudge", nudge)
    monkeypatch.setattr(pushes, "nudge", nudge)
    return sent


def an_application(monkeypatch: pytest.MonkeyPatch, module: Any, **parts: Any) -> None:
    monkeypatch.setattr(module, "application", lambda: SimpleNamespace(**parts))


def test_what_may_soon_be_sent_comes_back_by_countdown_and_the_rest_by_the_sweep(
    monkeypatch: pytest.MonkeyPatch, nudges: list[Any]
) -> None:
    later = [Later(1, 2.5), Later(2, LONGEST_COUNTDOWN_SECONDS + 1), Later(3, 30.0)]
    an_application(monkeypatch, notifications, event_sender=SimpleNamespace(send=lambda ids: later))
    notifications.send_event([1, 2, 3])
    assert nudges == [("send_event", [1], 2.5), ("send_event", [3], 30.0)]


def test_a_crowd_that_waits_does_not_come_back_one_by_one(monkeypatch: pytest.MonkeyPatch, nudges: list[Any]) -> None:
    later = [Later(number, 1.0) for number in range(500)]
    an_application(monkeypatch, notifications, event_sender=SimpleNamespace(send=lambda ids: later))
    notifications.send_event(list(range(500)))
    assert len(nudges) == notifications.MOST_COUNTDOWNS


@pytest.mark.parametrize(("made", "woken"), [([], []), ([4, 5], [("send_event", [4, 5], None)])])
def test_only_what_is_to_be_sent_wakes_a_sender(
    monkeypatch: pytest.MonkeyPatch, nudges: list[Any], made: list[int], woken: list[Any]
) -> None:
    an_application(monkeypatch, notifications, notifier=SimpleNamespace(look=lambda case_ids: made))
    notifications.notify_cases(["a case"])
    assert nudges == woken


def test_a_push_wakes_routing_for_its_case_and_sending_for_its_events(
    monkeypatch: pytest.MonkeyPatch, nudges: list[Any]
) -> None:
    an_application(monkeypatch, pushes, push_reader=SimpleNamespace(take=lambda ids: Taken(["case"], [7])))
    pushes.read_pushes([1])
    assert nudges == [("route_cases", ["case"], None), ("send_event", [7], None)]
