"""Nudges after a change of a Case: joined, and of no consequence when the broker is away."""

from __future__ import annotations

import threading

import pytest

from web import nudges


def test_those_that_wait_are_joined_and_a_broker_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[list[str]] = []
    first, is_back, second = threading.Event(), threading.Event(), threading.Event()

    def publish(case_ids: list[str]) -> None:
        published.append(case_ids)
        if len(published) == 1:
            first.set()
            is_back.wait(5)
            raise ConnectionError("no broker")
        second.set()

    monkeypatch.setattr(nudges, "publish", publish)
    nudges.case_changed(["a"])
    assert first.wait(5)
    for _ in range(3):
        nudges.case_changed(["b", "c"])
    is_back.set()
    assert second.wait(5)
    assert published == [["a"], ["b", "c"]]


def test_what_waits_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nudges, "MAX_WAITING", 2)
    monkeypatch.setattr(nudges, "_waiting", {})
    monkeypatch.setattr(nudges, "_threads", [threading.current_thread()])
    nudges.case_changed(["a", "b", "c"])
    assert list(nudges._waiting) == ["a", "b"]
