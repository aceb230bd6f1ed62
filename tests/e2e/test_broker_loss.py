"""A broker that is killed and comes back, under a real worker: with the guard nothing ends, without it the worker does.

The second test fails on the day Celery needs no guard any more; then `tasks/broker_guard.py` and both tests can go.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from celery import Celery

from pagerduty_sync.embedded.throwaway import RunningServer, Throwaway, start_throwaway
from pagerduty_sync.settings import Settings
from tasks.app import PREFIX, configuration

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


@dataclass
class Scene:
    """A broker, a worker, a client, and what the worker's tasks have written down."""

    broker: RunningServer
    worker: "subprocess.Popen[bytes]"
    client: Celery
    record: Path
    log: Path

    def send(self, name: str, seconds: float = 0.0, countdown: float | None = None) -> None:
        self.client.send_task("broker_loss.record", args=[name, seconds], countdown=countdown)

    def lines(self) -> "Counter[str]":
        return Counter(self.record.read_text().splitlines() if self.record.exists() else [])

    def held(self) -> int:
        """How many messages the worker has taken and not acknowledged."""
        with redis.Redis.from_url(self.broker.url) as connection:
            return connection.hlen(f"{PREFIX}:unacked")

    def lose_the_broker_at_work(self) -> None:
        """Kill it while one task runs and countdown messages wait in the worker, and bring it back."""
        self.send("slow", seconds=3)
        for number in range(5):
            self.send(f"later {number}", countdown=4)
        until(lambda: self.lines()["started slow"] == 1 and self.held() == 5, self)
        self.broker.kill()
        time.sleep(1)
        self.broker.start()


@pytest.fixture(scope="module")
def servers() -> Iterator[Throwaway]:
    with start_throwaway(durable=True) as pair:
        yield pair


@contextmanager
def a_scene(broker: RunningServer, directory: Path, guard: str) -> Iterator[Scene]:
    with redis.Redis.from_url(broker.url) as connection:
        connection.flushall()
    record, log = directory / "record", directory / "worker.log"
    environ = os.environ | {"PAGERDUTY_SYNC_REDIS_URL": broker.url, "RECORD": str(record), "GUARD": guard}
    command = [sys.executable, "-m", "celery", "-A", "tests.e2e.broker_loss_app", "worker", "-P", "threads"]
    command += ["-c", "4", "-Q", "scheduled", "--loglevel", "info", "--without-mingle", "--without-gossip"]
    client = Celery("client")
    client.conf.update(configuration(Settings(redis_url=broker.url)))
    with log.open("wb") as output:
        worker = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)
    scene = Scene(broker, worker, client, record, log)
    try:
        scene.send("first")
        until(lambda: scene.lines()["done first"] == 1, scene)
        yield scene
    finally:
        worker.kill()
        worker.wait()
        client.close()


def test_with_the_guard_the_worker_outlives_the_broker_and_everything_is_executed(
    servers: Throwaway, tmp_path: Path
) -> None:
    with a_scene(servers.valkey, tmp_path, guard="on") as scene:
        scene.lose_the_broker_at_work()
        for number in range(5):
            scene.send(f"after {number}")
        expected = {"done slow", *(f"done later {n}" for n in range(5)), *(f"done after {n}" for n in range(5))}
        until(lambda: expected <= set(scene.lines()), scene)
        assert scene.worker.poll() is None, scene.log.read_text()
        assert scene.lines()["done slow"] == 1
        # An emptied broker forgets which exchange leads to which queue; our messages need no exchange.
        with redis.Redis.from_url(scene.broker.url) as connection:
            connection.flushall()
        scene.send("after the flush")
        until(lambda: scene.lines()["done after the flush"] == 1, scene)
        scene.worker.terminate()
        assert scene.worker.wait(15) == 0


def test_without_the_guard_the_worker_ends(servers: Throwaway, tmp_path: Path) -> None:
    with a_scene(servers.valkey, tmp_path, guard="off") as scene:
        scene.lose_the_broker_at_work()
        assert scene.worker.wait(20) == 1
        assert "Unrecoverable error" in scene.log.read_text()
        assert scene.lines()["done slow"] == 1
        assert not any(line.startswith("done later") for line in scene.lines())


def until(condition: Callable[[], bool], scene: Scene, seconds: float = 25.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come to that in time; done: {scene.lines()}\n{scene.log.read_text()[-4000:]}")
        time.sleep(0.1)
