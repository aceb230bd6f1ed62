"""The installation in good order: workers told to stop hand back what they hold, and two clocks are one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from celery import Celery

from pagerduty_sync.settings import Settings
from tasks.app import configuration
from tests.e2e.agreement import assert_everything_agrees
from tests.e2e.breakable import Breakable, Json, until
from tests.e2e.lives import living, open_only
from tests.e2e.playground import RECONCILE_SECONDS, SWEEP_SECONDS, a_second_clock

pytestmark = [pytest.mark.e2e, pytest.mark.crash]

STOP_SECONDS = 15.0


def test_workers_that_are_told_to_stop_finish_their_calls_and_hand_the_rest_back(breakable: Breakable) -> None:
    """PagerDuty is slow and much is due, so that the stop comes in the middle of calls and long before the end."""
    with living(breakable, 20, stories=(open_only,)) as lives:
        pass
    breakable.stop_workers()
    for life in lives.lives:
        life.kind = "spoken_and_acknowledged"
        for number in range(3):
            life.comment(f"comment {number}")
        life.acknowledge()
    first = _last_call(breakable)
    with breakable.faulty(slow_reply={"probability": 1.0, "seconds": 2.0}):
        for _ in range(2):
            start_workers_and_stop_them_at_work(breakable)
            # Nothing the next workers would have to wait for, nothing begun and not ended, and no call unheard.
            assert breakable.rows("SELECT * FROM links WHERE lease_token IS NOT NULL OR lease_until > now()") == []
            assert breakable.rows("SELECT * FROM comment_ledger WHERE state = 'sending'") == []
            assert _writes_without_a_word(breakable, first) == []
            assert breakable.rows("SELECT * FROM links WHERE due_at IS NOT NULL"), "nothing was left to hand back"
    breakable.start_workers()
    assert_everything_agrees(breakable, lives.lives)
    for life in lives.lives:
        life.click("resolve")


def test_two_clocks_do_no_harm(breakable: Breakable, tmp_path: Path) -> None:
    first, begun = breakable.pid("beat"), breakable.log_sizes("beat")
    with (
        claims_recorded(breakable),
        a_second_clock(breakable, tmp_path) as clock,
        living(breakable, 8, seed=12) as lives,
    ):
        lives.wait_for_share(1.0)
        until(lambda: _strikes(breakable.logged_since(begun)) >= 3, "the first clock has struck often")
        until(lambda: _strikes((tmp_path / "beat.log").read_text()) >= 3, "the second clock has struck often")
        claims = breakable.rows("SELECT job, at FROM claims_recorded ORDER BY at")
    assert_everything_agrees(breakable, lives.lives)
    assert clock.returncode == 0, (tmp_path / "beat.log").read_text()
    assert breakable.pid("beat") == first
    asked = configuration(
        Settings(redis_url=breakable.redis_url, sweep_seconds=SWEEP_SECONDS, reconcile_seconds=RECONCILE_SECONDS)
    )
    runs = {job: [claim["at"] for claim in claims if claim["job"] == job] for job in asked["beat_schedule"]}
    assert min(len(runs["sweep"]), len(runs["reconcile"])) >= 3
    for job, times in runs.items():
        # A run keeps others away for half its period, whoever asks: two clocks are one.
        shortest = timedelta(seconds=asked["beat_schedule"][job]["schedule"] / 2)
        assert all(later - earlier >= shortest for earlier, later in pairwise(times)), f"{job} ran at {times}"


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


# ------------------------------------------------------------ parts


def start_workers_and_stop_them_at_work(breakable: Breakable) -> None:
    last = _last_call(breakable)
    breakable.start_workers()
    until(lambda: _writes(breakable, last), "the workers go on")
    began = time.monotonic()
    breakable.stop_workers()
    assert time.monotonic() - began <= STOP_SECONDS


@contextmanager
def claims_recorded(breakable: Breakable) -> Iterator[None]:
    """Each claim of a job's run goes into a table of this name during the block; `job_runs` keeps but the last."""
    breakable.execute(
        """
        CREATE TABLE claims_recorded (job text, at timestamptz);
        CREATE FUNCTION record_claim() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO claims_recorded VALUES (new.job, new.started_at); RETURN NULL; END $$;
        CREATE TRIGGER record_claim AFTER INSERT OR UPDATE OF started_at ON job_runs
        FOR EACH ROW EXECUTE FUNCTION record_claim()
        """
    )
    try:
        yield
    finally:
        breakable.execute("DROP FUNCTION record_claim CASCADE; DROP TABLE claims_recorded")


def _strikes(log: str) -> int:
    return log.count("Sending due task reconcile")


def _last_call(breakable: Breakable) -> int:
    return int(breakable.calls()[-1]["seq"])


def _writes(breakable: Breakable, after: int) -> list[Json]:
    """What PagerDuty was asked to change on incidents since."""
    return [c for c in breakable.calls(after) if c["method"] != "GET" and c["path"].startswith("/incidents")]


def _writes_without_a_word(breakable: Breakable, after: int) -> list[Json]:
    """What PagerDuty was asked and our deliveries know nothing of: calls whose end nobody lived to see."""
    known = {row["request_id"] for row in breakable.rows("SELECT request_id FROM notification_deliveries")}
    return [call for call in _writes(breakable, after) if call["request_id"] not in known]


def _pages_read(breakable: Breakable, after: int) -> int:
    """How many pages of open incidents were read since: one a reconcile."""
    calls = breakable.calls(after, method="GET", path="/incidents")
    return sum("statuses" in call["query"] for call in calls)


def _messages_waiting(breakable: Breakable) -> int:
    with redis.Redis.from_url(breakable.redis_url, socket_timeout=5) as client:
        return int(client.llen("pagerduty_sync:scheduled"))
