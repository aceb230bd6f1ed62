"""Beat and a worker as they are started: beat needs nothing but the broker, a worker says at once what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

CELERY = (sys.executable, "-m", "celery", "-A", "tasks.app")
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0


def environment(redis_url: str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAGERDUTY_SYNC_")}
    return {**kept, "PAGERDUTY_SYNC_REDIS_URL": redis_url, "PAGERDUTY_SYNC_SWEEP_SECONDS": "1", **more}


@contextmanager
def beat(redis_url: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    words = (*CELERY, "beat", "--pidfile=", f"--schedule={directory / 'schedule'}")
    running = subprocess.Popen(
        words, cwd=ROOT, env=environment(redis_url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(20)
        if running.stdout:
            running.stdout.close()


def test_beat_sends_with_neither_database_nor_encryption_key(redis_url: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as broker, beat(redis_url, tmp_path) as running:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (sent := broker.lrange("pagerduty_sync:scheduled", 0, -1)):
            assert running.poll() is None, running.stdout.read() if running.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert b"pagerduty_sync.sweep" in sent[-1]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "PAGERDUTY_SYNC_DATABASE_URL"),
        ({"PAGERDUTY_SYNC_DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "PAGERDUTY_SYNC_ENCRYPTION_KEYS"),
    ],
)
def test_a_worker_that_could_do_nothing_ends_and_takes_no_message(
    redis_url: str, given: dict[str, str], missing: str
) -> None:
    with redis.Redis.from_url(redis_url) as broker:
        broker.lpush("pagerduty_sync:scheduled", "a message")
        words = (*CELERY, "worker", "--pool", "threads", "--queues", "scheduled")
        ended = subprocess.run(
            words,
            cwd=ROOT,
            env=environment(redis_url, **given),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert ended.returncode != 0
        assert f"{missing} is not set" in ended.stdout + ended.stderr
        assert broker.llen("pagerduty_sync:scheduled") == 1
