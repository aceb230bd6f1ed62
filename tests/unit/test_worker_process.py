"""What a worker process holds: one application of its own, a sign of life while it runs, and nothing afterwards."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pagerduty_sync.errors import StorageError
from tasks import process


class Application:
    """Takes heartbeats down; the second one fails as if the database were away."""

    def __init__(self) -> None:
        self.heartbeats = self.job_runs = self
        self.settings = SimpleNamespace(sweep_seconds=5)
        self.beats: list[list[str]] = []
        self.enough = threading.Event()
        self.is_closed = False

    def beat(self, parts: list[str]) -> None:
        self.beats.append(parts)
        if len(self.beats) == 2:
            raise StorageError("no database")
        if len(self.beats) == 4:
            self.enough.set()

    def seconds_since(self, job: str) -> float:
        assert job == "sweep"
        return 4.0 if len(self.beats) < 3 else 60.0

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Application]]:
    built: list[Application] = []

    def build(_settings: object) -> Application:
        built.append(Application())
        return built[-1]

    monkeypatch.setattr(process.bootstrap, "build", build)
    monkeypatch.setattr(process, "HEARTBEAT_SECONDS", 0.001)
    process._close()
    yield built
    process._close()


def a_consumer(*queues: str, sent: list[str] | None = None) -> Any:
    amqp = SimpleNamespace(queues=SimpleNamespace(consume_from=queues))
    sent = [] if sent is None else sent
    return SimpleNamespace(app=SimpleNamespace(amqp=amqp, send_task=lambda name, **_: sent.append(name)))


def test_a_process_has_one_application_and_its_fork_another(
    built: list[Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert process.application() is process.application()
    assert len(built) == 1
    monkeypatch.setattr(process.os, "getpid", lambda: -1)
    assert process.application() is built[1]


def test_the_application_is_closed_with_the_worker_and_not_by_its_fork(
    built: list[Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    process.application()
    process._close()
    assert built[0].is_closed
    process.application()
    monkeypatch.setattr(process.os, "getpid", lambda: -1)
    process._close()
    assert not built[1].is_closed


def test_a_worker_says_that_it_is_alive_also_after_the_database_was_away(built: list[Application]) -> None:
    asked: list[str] = []
    process._start_heartbeat(sender=a_consumer("inbound", "sync", sent=asked))
    process.application()
    assert built[0].enough.wait(5)
    process._close()
    assert built[0].beats[:4] == [["worker-inbound"]] * 4
    assert set(asked) == {"pagerduty_sync.sweep"}, "no sweep for a minute, and nobody asked for one"
    thread = next((each for each in threading.enumerate() if each.name == "heartbeat"), None)
    if thread is not None:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("queues", "parts"),
    [
        (["inbound", "sync"], ["worker-inbound"]),
        (["outbound", "notifications", "deliveries", "scheduled"], ["worker-outbound"]),
        (["inbound", "outbound"], ["worker-inbound", "worker-outbound"]),
        (["scheduled"], []),
    ],
)
def test_a_worker_answers_for_the_parts_whose_queue_it_consumes(queues: list[str], parts: list[str]) -> None:
    assert process.parts_of(queues) == parts
