"""Wake-ups: sent in batches, and of no consequence when the broker is away or too much waits."""

from __future__ import annotations

import queue
import threading

import pytest

from web import wakeups


def test_links_are_sent_in_batches_and_a_broker_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []
    is_done = threading.Event()

    def publish(link_ids: list[str]) -> None:
        sent.append(link_ids)
        if len(sent) == 1:
            raise ConnectionError("no broker")
        is_done.set()

    monkeypatch.setattr(wakeups, "_sync_links", publish)
    monkeypatch.setattr(wakeups, "MAX_BATCH", 2)
    wakeups.links_changed(["a", "b", "c"])
    assert is_done.wait(5)
    assert sent == [["a", "b"], ["c"]]
    wakeups.links_changed([])


def test_what_waits_has_a_limit_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: queue.Queue[object] = queue.Queue(1)
    monkeypatch.setattr(wakeups, "_waiting", waiting)
    monkeypatch.setattr(wakeups, "_threads", [threading.current_thread()])
    wakeups.account_is_back("one")
    wakeups.calls_are_due("two")
    assert waiting.qsize() == 1
