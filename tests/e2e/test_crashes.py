"""Many Cases live their lives while parts of the installation are killed, frozen, emptied, restarted, or lie.

Each test ends with the same question: do both sides agree, with nothing lost and nothing doubled? The last one asks it
again for all of them together.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery

from pagerduty_sync.settings import Settings
from tasks.app import configuration
from tests.e2e.agreement import assert_everything_agrees, disagreements
from tests.e2e.breakable import RECONCILE_SECONDS, WORKERS, Breakable, until
from tests.e2e.lives import Life, Lives, living

pytestmark = [pytest.mark.e2e, pytest.mark.crash]

ROOT = Path(__file__).parents[2]
PAGERDUTY_HANGS_UP_AFTER_MS = 5_000

_lived: list[Life] = []


@contextmanager
def many_lives(breakable: Breakable, count: int, seed: int) -> Iterator[Lives]:
    """Lives that are lived during the block; after it, everything has to agree."""
    with living(breakable, count, seed) as lives:
        yield lives
    assert_everything_agrees(breakable, lives.lives)
    _lived.extend(lives.lives)


def test_killed_workers_lose_nothing_and_double_nothing(breakable: Breakable) -> None:
    chance = random.Random(1)
    with many_lives(breakable, 24, seed=1) as lives:
        for share in (0.15, 0.35, 0.55, 0.75):
            lives.wait_for_share(share)
            breakable.kill_and_wait(*chance.choice([WORKERS, WORKERS[:1], WORKERS[1:]]))


def test_a_killed_clock_and_a_killed_web_lose_nothing_and_double_nothing(breakable: Breakable) -> None:
    with many_lives(breakable, 12, seed=2) as lives:
        lives.wait_for_share(0.2)
        breakable.kill_and_wait("web")
        lives.wait_for_share(0.5)
        breakable.kill_and_wait("beat", "web")


def test_an_emptied_valkey_loses_nothing_and_doubles_nothing(breakable: Breakable) -> None:
    with many_lives(breakable, 12, seed=3) as lives:
        for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            lives.wait_for_share(share)
            breakable.flush_valkey()


def test_a_restarted_and_a_killed_valkey_lose_nothing_and_double_nothing(breakable: Breakable) -> None:
    workers = {program: breakable.pid(program) for program in WORKERS}
    with many_lives(breakable, 12, seed=4) as lives:
        lives.wait_for_share(0.2)
        breakable.stop("valkey")
        breakable.start("valkey")
        lives.wait_for_share(0.5)
        breakable.kill_and_wait("valkey")
        lives.wait_for_share(0.8)
        breakable.kill_and_wait("valkey")
    assert {program: breakable.pid(program) for program in WORKERS} == workers, "a worker did not outlive its broker"


def test_while_valkey_is_frozen_every_webhook_is_accepted_in_time(breakable: Breakable) -> None:
    with many_lives(breakable, 12, seed=5) as lives:
        lives.wait_for_share(0.4)
        before = len(breakable.attempts())
        with breakable.frozen("valkey"):
            # Without workers nothing moves by itself, so somebody has to.
            opened = [life for life in lives.lives if life.incident_id]
            for number in range(20):
                opened[number % len(opened)].note(f"from the cold, {number}")
            until(lambda: len(breakable.attempts()) >= before + 20 and not breakable.webhooks_pending(), "all are sent")
            during = breakable.attempts()[before:]
    refused = [attempt for attempt in during if attempt["status"] != 202]
    slow = [attempt for attempt in during if attempt["duration_ms"] >= PAGERDUTY_HANGS_UP_AFTER_MS]
    assert (refused, slow) == ([], [])


def test_a_restarted_and_a_killed_database_lose_nothing_and_double_nothing(breakable: Breakable) -> None:
    with many_lives(breakable, 12, seed=6) as lives:
        lives.wait_for_share(0.25)
        breakable.stop("postgres")
        breakable.start("postgres")
        lives.wait_for_share(0.5)
        breakable.kill_and_wait("postgres")
        lives.wait_for_share(0.75)
        breakable.stop("postgres")
        breakable.start("postgres")


def test_a_pagerduty_that_loses_replies_fails_and_throttles_gets_everything_once(breakable: Breakable) -> None:
    faults = breakable.faulty(
        seed=7,
        lose_reply={"probability": 0.2, "next": 2, "match": {"method": "POST"}},
        fail_before={"probability": 0.05, "next": 5, "skip": 20},
        # The first call of all opens an incident: only openings have to slow down.
        rate_limit={"next": 1, "headers": False, "match": {"method": "POST", "path": "/incidents"}},
    )
    with faults, many_lives(breakable, 12, seed=7) as lives:
        lives.wait_for_share(0.3)
        breakable.faults(lose_reply={"probability": 0.2, "how": "error"})
        lives.wait_for_share(0.6)
        breakable.faults(fail_before={"probability": 0.1, "status": 500, "how": "html"})
    reasons = {row["reason"] for row in breakable.rows("SELECT DISTINCT reason FROM notification_deliveries")}
    assert {"rate_limited", "no_reply", "unavailable", "adopted"} <= reasons


def test_a_note_whose_reply_and_webhook_are_lost_is_looked_for_before_it_is_sent_again(breakable: Breakable) -> None:
    faults = breakable.faulty(
        seed=8,
        lose_reply={"probability": 0.5, "match": {"method": "POST", "path": "/notes"}},
        webhook_drop={"probability": 1.0, "match": {"event_type": "incident.annotated"}},
    )
    with faults, living(breakable, 6, stories=(talk,)) as lives:
        pass
    assert_everything_agrees(breakable, lives.lives)
    for life in lives.lives:
        life.click("resolve")


def test_dropped_repeated_and_reordered_webhooks_change_nothing_in_the_end(breakable: Breakable) -> None:
    faults = breakable.faulty(
        seed=9,
        webhook_drop={"probability": 0.2},
        webhook_duplicate={"probability": 0.2},
        webhook_reorder={"probability": 0.2, "seconds": 1.0},
        webhook_delay={"probability": 0.1, "seconds": 0.5},
    )
    with faults, many_lives(breakable, 12, seed=9):
        pass


def test_everything_at_once(breakable: Breakable) -> None:
    faults = breakable.faulty(
        seed=10,
        lose_reply={"probability": 0.1, "match": {"method": "POST"}},
        fail_before={"probability": 0.05},
        webhook_duplicate={"probability": 0.2},
        webhook_reorder={"probability": 0.2, "seconds": 1.0},
    )
    with faults, many_lives(breakable, 8, seed=10) as lives:
        lives.wait_for_share(0.2)
        breakable.kill("worker-inbound")
        breakable.flush_valkey()
        lives.wait_for_share(0.6)
        breakable.kill_and_wait("web", "beat", "postgres", "valkey", *WORKERS)


# ------------------------------------------------------------ in good order


def test_workers_that_are_told_to_stop_finish_or_hand_back_what_they_hold(breakable: Breakable) -> None:
    """PagerDuty is slow, so that every stop comes in the middle of calls. A lease left behind would hold a link up."""
    with breakable.faulty(slow_reply={"probability": 1.0, "seconds": 0.7}), many_lives(breakable, 6, seed=11) as lives:
        for share in (0.2, 0.5):
            lives.wait_for_share(share)
            until(lambda: _leased(breakable), "a worker is at work")
            breakable.stop_workers()
            assert _leased(breakable) == []
            breakable.start_workers()


def test_two_clocks_do_no_harm(breakable: Breakable, tmp_path: Path) -> None:
    with a_second_clock(breakable, tmp_path) as clock, many_lives(breakable, 8, seed=12) as lives:
        first = breakable.pid("beat")
        lives.wait_for_share(1.0)
    assert clock.returncode == 0, (tmp_path / "beat.log").read_text()
    assert breakable.pid("beat") == first


def test_a_job_that_is_asked_for_many_times_at_once_runs_once(breakable: Breakable) -> None:
    with living(breakable, 1, stories=(open_only,)) as lives:
        pass
    client = Celery("client")
    client.conf.update(configuration(Settings(redis_url=breakable.redis_url)))
    last, began = max(call["seq"] for call in breakable.calls()), time.monotonic()
    for _ in range(20):
        client.send_task("pagerduty_sync.reconcile", queue="scheduled")
    client.close()
    until(lambda: _pages_read(breakable, last), "a reconcile has run")
    until(lambda: _messages_waiting(breakable) == 0, "all twenty were taken")
    # Each run keeps others away for half its interval.
    assert _pages_read(breakable, last) <= 1 + (time.monotonic() - began) / (RECONCILE_SECONDS / 2)
    assert_everything_agrees(breakable, [])
    lives.lives[0].click("resolve")


# ------------------------------------------------------------ and the question itself


def test_what_is_lost_or_doubled_would_be_found(breakable: Breakable) -> None:
    with living(breakable, 1) as lives:
        pass
    assert_everything_agrees(breakable, lives.lives)
    [life] = lives.lives
    doubled, lost = life.notes[0], life.text("never written")
    life.click("notes", content=doubled)
    life.comments.append(lost)
    until(lambda: sum(doubled in text for text in life.comments_shown()) == 2, "the second note has arrived")
    found = list(disagreements(breakable, lives.lives))
    for place in ("the Case", "the incident"):
        assert any(f"2 times on {place}: " in what and doubled in what for what in found)
        assert any(f"0 times on {place}: {lost}" in what for what in found)


# ------------------------------------------------------------ and much later


def test_in_the_end_all_those_lives_still_agree(breakable: Breakable) -> None:
    """What a broker held back comes again after its visibility time-out: whatever came late has doubled nothing."""
    assert_everything_agrees(breakable, _lived)


# ------------------------------------------------------------ parts


def open_only(life: Life) -> None:
    life.create()
    life.wait_for_incident()


def talk(life: Life) -> None:
    open_only(life)
    for number in range(4):
        life.comment(f"comment {number}")


@contextmanager
def a_second_clock(breakable: Breakable, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A beat that somebody has started by mistake, on the same broker; ends in order after the block."""
    environ = os.environ | {
        "PAGERDUTY_SYNC_REDIS_URL": breakable.redis_url,
        "PAGERDUTY_SYNC_DATABASE_URL": breakable.database_url,
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS_FILE": str(breakable.installation.directory / "encryption-key"),
        "PAGERDUTY_SYNC_SWEEP_SECONDS": "1",
        "PAGERDUTY_SYNC_RECONCILE_SECONDS": str(RECONCILE_SECONDS),
    }
    command = [sys.executable, "-m", "celery", "-A", "tasks.app", "beat", "--pidfile="]
    command += ["--schedule", str(directory / "schedule")]
    log = directory / "beat.log"
    with log.open("wb") as output:
        clock = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)
    try:
        strikes = "Sending due task"
        until(lambda: clock.poll() is not None or strikes in log.read_text(), "the second clock strikes")
        assert clock.poll() is None, log.read_text()
        yield clock
        clock.send_signal(signal.SIGTERM)
        clock.wait(30)
    finally:
        clock.kill()
        clock.wait()


def _leased(breakable: Breakable) -> list[str]:
    return [row["case_name"] for row in breakable.rows("SELECT case_name FROM links WHERE lease_token IS NOT NULL")]


def _pages_read(breakable: Breakable, after: int) -> int:
    """How many pages of open incidents were read since: one a reconcile."""
    calls = breakable.calls(after, method="GET", path="/incidents")
    return sum("statuses" in call["query"] for call in calls)


def _messages_waiting(breakable: Breakable) -> int:
    with redis.Redis.from_url(breakable.redis_url, socket_timeout=5) as client:
        return int(client.llen("pagerduty_sync:scheduled"))
