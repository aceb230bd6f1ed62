"""Many Cases live their lives while parts of the installation are killed, frozen, emptied, restarted, or lie.

Each test ends with the same question: do both sides agree, with nothing lost and nothing doubled? The last one asks it
again for all of them together. What strikes, and where:

    a worker killed in mid-task, many times      test_killed_workers_…
    web or beat killed                           test_a_killed_clock_and_a_killed_web_…
    the broker restarted or killed               test_a_restarted_and_a_killed_valkey_…
    … while it holds countdown messages          test_broker_loss.py, and what fails without the guard
    the broker frozen while web accepts          test_while_valkey_is_frozen_…
    the broker emptied                           test_an_emptied_valkey_…
    PostgreSQL restarted, killed, hanging up     test_a_restarted_and_a_killed_database_…
    PagerDuty: 429, 500, applied and no reply    test_a_pagerduty_that_loses_replies_…, test_a_note_whose_reply_…
    the network cut, dead, or mute, both ways    test_a_broken_network_…
    webhooks lost, twice, late, out of order     test_webhooks_that_are_…
    the two clocks step apart                    test_webhooks_that_are_…
    workers stopped in order (SIGTERM)           test_good_order.py
    two beats, two of any job                    test_good_order.py
    all of it                                    test_long_run.py, and for long: python -m tests.crashes
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.agreement import assert_everything_agrees, disagreements
from tests.e2e.breakable import WORKERS, Breakable, until
from tests.e2e.lives import Life, Lives, living, open_only
from tests.e2e.wires import How

pytestmark = [pytest.mark.e2e, pytest.mark.crash]

PAGERDUTY_HANGS_UP_AFTER_MS = 5_000
BREAKS: tuple[tuple[float, How, How], ...] = ((0.2, "cut", "cut"), (0.4, "mute", "dead"), (0.6, "dead", "mute"))
"""After which share of the lives, and how our calls and PagerDuty's webhooks are broken."""

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
        lives.wait_for_share(0.4)
        assert breakable.end_sessions() > 0
        lives.wait_for_share(0.6)
        breakable.kill_and_wait("postgres")
        lives.wait_for_share(0.8)
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


def test_a_broken_network_loses_nothing_and_doubles_nothing(breakable: Breakable) -> None:
    """While somebody speaks into each silence, so that a call and a webhook are sure to meet it."""
    with living(breakable, 1, stories=(open_only,)) as lone:
        pass
    [speaker] = lone.lives
    with many_lives(breakable, 8, seed=13) as lives:
        for share, calls, webhooks in BREAKS:
            lives.wait_for_share(share)
            speak_into(breakable, speaker, calls, webhooks)
    assert_everything_agrees(breakable, [speaker])
    speaker.click("resolve")


def test_webhooks_that_are_lost_repeated_and_out_of_order_on_another_clock_change_nothing_in_the_end(
    breakable: Breakable,
) -> None:
    faults = breakable.faulty(
        seed=9,
        webhook_drop={"probability": 0.2},
        webhook_duplicate={"probability": 0.2},
        webhook_reorder={"probability": 0.2, "seconds": 1.0},
        webhook_delay={"probability": 0.1, "seconds": 0.5},
    )
    with faults, many_lives(breakable, 12, seed=9) as lives:
        for share in (0.3, 0.6):
            lives.wait_for_share(share)
            breakable.simulator("POST", "/_sim/clock/advance", json={"seconds": 400})


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
    found = list(map(str, disagreements(breakable, lives.lives)))
    for place in ("the Case", "the incident"):
        assert any(f"2 times on {place}: " in what and doubled in what for what in found)
        assert any(f"0 times on {place}: {lost}" in what for what in found)


# ------------------------------------------------------------ and much later


def test_in_the_end_all_those_lives_still_agree(breakable: Breakable) -> None:
    """What a broker held back comes again after its visibility time-out: whatever came late has doubled nothing."""
    assert_everything_agrees(breakable, _lived)


# ------------------------------------------------------------ parts


def talk(life: Life) -> None:
    open_only(life)
    for number in range(4):
        life.comment(f"comment {number}")


def speak_into(breakable: Breakable, speaker: Life, calls: How, webhooks: How) -> None:
    """Break both ways of the network like that, until a call and a webhook have met it."""
    [newest] = breakable.rows("SELECT max(id) AS id FROM notification_deliveries")
    last_attempt = breakable.attempts()[-1]["seq"]
    with breakable.calls_wire.broken(calls), breakable.webhooks_wire.broken(webhooks):
        speaker.comment(f"said while calls are {calls}")
        speaker.note(f"written while webhooks are {webhooks}")
        until(lambda: _has_failed_call(breakable, newest["id"], calls), "a call has failed")
        until(lambda: _has_failed_webhook(breakable, last_attempt, webhooks), "a webhook has failed")


def _has_failed_call(breakable: Breakable, after: int, how: str) -> bool:
    detail = "could not connect%" if how == "cut" else "PagerDuty did not answer in time%"
    query = "SELECT id FROM notification_deliveries WHERE id > %s AND direction = 'outbound' AND detail LIKE %s"
    return bool(breakable.rows(query, after, detail))


def _has_failed_webhook(breakable: Breakable, after: int, how: str) -> bool:
    error = "ConnectionError" if how == "cut" else "ReadTimeout"
    return any(attempt["seq"] > after and attempt["error"] == error for attempt in breakable.attempts())
