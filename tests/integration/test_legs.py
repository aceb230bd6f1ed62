"""Each leg of the sync as the clock finds it: broken for real, looked at, and told to whoever asks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from pagerduty_sync.cli import main
from pagerduty_sync.commands.shell import Shell
from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.legs import HEALED_AN_HOUR, Leg, LegState
from pagerduty_sync.handlers.legs import LegNow
from pagerduty_sync.simulator import seeds
from tests.api_stand import Stand, an_api_stand
from tests.harness import JANE, Harness, a_harness


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    """Connected, and nothing happens that the test does not do."""
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


@pytest.fixture
def stand(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stand]:
    """Connected through the API, at an address where PagerDuty's webhooks arrive."""
    with an_api_stand(database_url, redis_url, tmp_path) as made:
        made.connect()
        made.rule(made.connector())
        yield made


def look(harness: Harness, leg: Leg) -> LegNow:
    """What the clock finds now."""
    harness.application.leg_watch.look()
    return next(one for one in harness.application.leg_watch.legs() if one.leg is leg)


def states(harness: Harness) -> dict[str, str]:
    harness.application.leg_watch.look()
    return {one.leg.value: one.state.value for one in harness.application.leg_watch.legs()}


def change(harness: Harness, statement: str) -> None:
    """Something that only time would bring about."""
    with harness.application.database.transaction() as conn:
        assert conn.execute(statement.encode()).rowcount


def watch_until_heard(harness: Harness) -> None:
    """The watchdog's looks until PagerDuty's test event has come through."""
    harness.application.upkeep.watch()
    harness.run()
    harness.application.upkeep.watch()


ALL_WELL = {"inbound": "working", "outbound": "working", "case_system": "working"}


# ------------------------------------------------------------------ the account


def test_a_connected_account_with_nothing_to_do_works_on_every_leg(stand: Stand) -> None:
    stand.open_case()
    assert states(stand.harness) == ALL_WELL


def test_a_revoked_key_is_told_and_its_end_as_well(stand: Stand) -> None:
    harness, upkeep = stand.harness, stand.harness.application.upkeep
    since = look(harness, Leg.OUTBOUND).since
    stand.simulator.faults.change({"revoked_keys": [seeds.FULL_KEY]})
    upkeep.check_keys()
    with capture_logs() as logs:
        assert states(harness) == ALL_WELL | {"inbound": "degraded", "outbound": "stopped"}
    told = [
        (line["leg"], line["was"], line["state"], line["log_level"]) for line in logs if line["event"] == "leg_changed"
    ]
    assert sorted(told) == [
        ("inbound", "working", "degraded", "warning"),
        ("outbound", "working", "stopped", "warning"),
    ]
    outbound = look(harness, Leg.OUTBOUND)
    assert "no longer accepts the API key; reconnect" in outbound.why
    assert outbound.since and since and outbound.since > since
    assert look(harness, Leg.OUTBOUND).since == outbound.since, "as long as the state is the same, so is its beginning"
    stand.simulator.faults.change({"revoked_keys": []})
    upkeep.check_keys()
    with capture_logs() as logs:
        assert states(harness) == ALL_WELL
    assert {line["log_level"] for line in logs if line["event"] == "leg_changed"} == {"info"}
    with capture_logs() as logs:
        states(harness)
    assert not logs, "a state that stays is not told again"


def test_a_vanished_user_stops_what_goes_out_and_nothing_that_comes_in(stand: Stand) -> None:
    stand.simulator.faults.change({"deactivated_users": [seeds.BOT_EMAIL]})
    stand.harness.application.upkeep.check_keys()
    assert states(stand.harness) == ALL_WELL | {"outbound": "stopped"}
    assert seeds.BOT_EMAIL in look(stand.harness, Leg.OUTBOUND).why


def test_a_subscription_that_was_lost_counts_as_degraded_until_its_successor_is_heard(stand: Stand) -> None:
    harness = stand.harness
    (one,) = stand.simulator.subscriptions.all()
    stand.simulator.faults.change({"webhook_drop": {"probability": 1.0}})
    stand.simulator.subscriptions.delete(one)
    assert states(harness) == ALL_WELL, "nobody has looked at PagerDuty yet"
    assert harness.application.upkeep.watch()
    inbound = look(harness, Leg.INBOUND)
    assert (inbound.state, "just mended" in inbound.why) == (LegState.DEGRADED, True)
    assert not harness.application.upkeep.watch()
    inbound = look(harness, Leg.INBOUND)
    assert (inbound.state, "do not reach us" in inbound.why) == (LegState.STOPPED, True)
    stand.simulator.faults.change({"webhook_drop": {"probability": 0.0}})
    watch_until_heard(harness)
    assert states(harness) == ALL_WELL


def test_a_subscription_that_is_heard_again_only_later_may_have_missed_something(stand: Stand) -> None:
    harness = stand.harness
    stand.simulator.faults.change({"webhook_drop": {"probability": 1.0}})
    stand.simulator.subscriptions.disable(stand.simulator.subscriptions.all()[0])
    assert harness.application.upkeep.watch()
    stand.simulator.faults.change({"webhook_drop": {"probability": 0.0}})
    harness.application.upkeep.watch()
    harness.run()
    assert harness.application.upkeep.watch(), "until a moment ago nothing arrived"
    assert not harness.application.upkeep.watch()


def test_an_account_that_does_not_answer_the_watchdog_is_told(stand: Stand) -> None:
    harness = stand.harness
    assert not harness.application.upkeep.watch()
    long_ago = "UPDATE integrations SET subscription_right_at = now() - interval '2 minutes', status_at = '2020-01-01'"
    change(harness, long_ago)
    stand.simulator.faults.change({"fail_before": {"probability": 1.0, "status": 503}})
    harness.application.upkeep.watch()
    inbound = look(harness, Leg.INBOUND)
    assert (inbound.state, "For 2 minutes PagerDuty has not said" in inbound.why) == (LegState.DEGRADED, True)
    stand.simulator.faults.change({"fail_before": {"probability": 0.0}})
    harness.application.upkeep.watch()
    assert states(harness) == ALL_WELL


def test_one_way_is_off_on_purpose_and_the_clock_deletes_a_subscription_left_behind(stand: Stand) -> None:
    harness = stand.harness
    stand.simulator.faults.change({"fail_before": {"probability": 1.0, "status": 500}})
    stand.call("PATCH", stand.integration, {"is_two_way": False})
    stand.simulator.faults.change({"fail_before": {"probability": 0.0}})
    assert states(harness) == ALL_WELL | {"inbound": "off"}
    assert len(stand.simulator.subscriptions.all()) == 1
    assert not harness.application.upkeep.watch(), "one way, there is nothing to be missed"
    assert stand.simulator.subscriptions.all() == []


def test_before_anything_is_connected_nothing_is_expected(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with an_api_stand(database_url, redis_url, tmp_path) as empty:
        assert states(empty.harness) == {"inbound": "off", "outbound": "off", "case_system": "working"}


# ------------------------------------------------------------------ what waits


@pytest.mark.parametrize(("state", "age", "found"), [
    ("received", "20 seconds", LegState.WORKING),
    ("received", "40 seconds", LegState.DEGRADED),
    ("waiting", "40 seconds", LegState.DEGRADED),
    ("waiting", "10 minutes", LegState.STOPPED),
])  # fmt: skip
def test_webhooks_that_nobody_handles(harness: Harness, state: str, age: str, found: LegState) -> None:
    case = harness.open_case()
    harness.set_incident(case.id, status="acknowledged")
    deadline = time.monotonic() + 10
    while not (ids := harness.application.inbox.found_late(10, 0)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if state == "waiting":
        harness.application.inbound.verify(ids)
    change(harness, f"UPDATE inbox SET received_at = now() - interval '{age}' WHERE state = '{state}'")
    assert look(harness, Leg.INBOUND).state is found
    harness.run()
    assert look(harness, Leg.INBOUND).state is LegState.WORKING


@pytest.mark.parametrize(("age", "found"), [("90 seconds", LegState.DEGRADED), ("11 minutes", LegState.STOPPED)])
def test_calls_that_nobody_makes(harness: Harness, age: str, found: LegState) -> None:
    case = harness.open_case()
    harness.application.cases.add_comment(case.id, JANE, "anybody there?")
    harness.application.sync.look(harness.link(case.id).id)
    change(harness, f"UPDATE links SET due_at = now() - interval '{age}' WHERE due_at IS NOT NULL")
    outbound = look(harness, Leg.OUTBOUND)
    assert (outbound.state, "1 call to PagerDuty waits" in outbound.why) == (found, True)
    harness.run()
    assert look(harness, Leg.OUTBOUND).state is LegState.WORKING


def test_reads_that_the_clock_asked_for_may_take_their_time(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.links.doubt([harness.link(case.id).id], 3, "reconcile")
    change(harness, "UPDATE links SET due_at = now() - interval '11 minutes' WHERE due_class = 3")
    assert look(harness, Leg.OUTBOUND).state is LegState.WORKING


def test_calls_that_fail_everywhere(harness: Harness) -> None:
    cases = [harness.open_case(f"number {number}") for number in range(3)]
    harness.faults(fail_before={"probability": 1.0, "status": 503, "match": {"method": "POST"}})
    for case in cases:
        harness.application.cases.add_comment(case.id, JANE, "anybody there?")
    harness.run()
    assert look(harness, Leg.OUTBOUND).state is LegState.WORKING, "a hiccup"
    change(harness, "UPDATE links SET failing_since = now() - interval '2 minutes' WHERE failing_since IS NOT NULL")
    assert look(harness, Leg.OUTBOUND).state is LegState.DEGRADED
    change(harness, "UPDATE links SET failing_since = now() - interval '6 minutes' WHERE failing_since IS NOT NULL")
    outbound = look(harness, Leg.OUTBOUND)
    assert (outbound.state, "about 3 incidents have failed for 6 minutes" in outbound.why) == (LegState.STOPPED, True)
    harness.faults(fail_before={"probability": 0.0})
    harness.hurry()
    harness.run()
    assert look(harness, Leg.OUTBOUND).state is LegState.WORKING


def test_what_pagerduty_finally_refused_is_told_for_an_hour(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(fail_before={"probability": 1.0, "status": 400, "match": {"method": "POST"}})
    harness.application.cases.add_comment(case.id, JANE, "too much")
    harness.run()
    outbound = look(harness, Leg.OUTBOUND)
    assert (outbound.state, "1 write to PagerDuty was given up" in outbound.why) == (LegState.DEGRADED, True)
    change(harness, "UPDATE notification_deliveries SET at = at - interval '1 hour' WHERE outcome = 'failed'")
    assert look(harness, Leg.OUTBOUND).state is LegState.WORKING


@pytest.mark.parametrize(("age", "found"), [("40 seconds", LegState.DEGRADED), ("6 minutes", LegState.STOPPED)])
def test_changes_of_cases_that_nobody_looks_at(harness: Harness, age: str, found: LegState) -> None:
    harness.application.cases.create_case("Checkout is slow", CasePriority.P3, actor=JANE)
    change(harness, f"UPDATE case_events SET occurred_at = now() - interval '{age}'")
    cases = look(harness, Leg.CASE_SYSTEM)
    assert (cases.state, "waits to be looked at" in cases.why) == (found, True)
    harness.run()
    assert look(harness, Leg.CASE_SYSTEM).state is LegState.WORKING


def test_a_case_system_that_does_not_answer_is_told_and_the_look_goes_on(harness: Harness) -> None:
    change_schema(harness, "ALTER TABLE cases RENAME TO cases_elsewhere")
    assert states(harness) == ALL_WELL | {"case_system": "stopped"}
    change_schema(harness, "ALTER TABLE cases_elsewhere RENAME TO cases")
    assert states(harness) == ALL_WELL


def change_schema(harness: Harness, statement: str) -> None:
    with harness.application.database.transaction() as conn:
        conn.execute(statement.encode())


# ------------------------------------------------------------------ what no webhook told


def test_more_healed_changes_than_a_read_explains_degrade_the_inbound_leg(harness: Harness) -> None:
    cases = [harness.open_case(f"number {number}") for number in range(HEALED_AN_HOUR + 1)]
    harness.faults(webhook_drop={"probability": 1.0})
    for number, case in enumerate(cases):
        harness.set_incident(case.id, status="acknowledged")
        harness.application.upkeep.reconcile()
        harness.run()
        inbound = look(harness, Leg.INBOUND)
        is_much = number >= HEALED_AN_HOUR
        assert inbound.state is (LegState.DEGRADED if is_much else LegState.WORKING)
    assert "6 changes were learned by reading and not by webhook" in inbound.why
    assert harness.application.leg_watch.condition().healed.last_hour == 6
    change(harness, "UPDATE notification_deliveries SET at = at - interval '1 hour' WHERE reason = 'healed'")
    assert look(harness, Leg.INBOUND).state is LegState.WORKING
    healed = harness.application.leg_watch.condition().healed
    assert (healed.last_hour, healed.last_day) == (0, 6)


def test_where_the_log_is_read_the_last_reading_counts_and_no_subscription(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with a_harness(database_url, redis_url, tmp_path, inbound="poll") as harness:
        long_ago = "UPDATE integrations SET log_read_at = now() - interval '{}', status_at = '2020-01-01'"
        case = harness.open_case()
        harness.faults(webhook_drop={"probability": 1.0})
        harness.set_incident(case.id, status="acknowledged")
        harness.application.upkeep.poll()
        harness.run()
        assert look(harness, Leg.INBOUND).state is LegState.WORKING
        change(harness, long_ago.format("2 minutes"))
        harness.faults(fail_before={"probability": 1.0, "status": 503})
        harness.application.upkeep.poll()
        assert look(harness, Leg.INBOUND).state is LegState.DEGRADED
        change(harness, long_ago.format("6 minutes"))
        inbound = look(harness, Leg.INBOUND)
        assert (inbound.state, "not been read for 6 minutes" in inbound.why) == (LegState.STOPPED, True)
        harness.faults(fail_before={"probability": 0.0})
        harness.application.upkeep.poll()
        assert look(harness, Leg.INBOUND).state is LegState.WORKING


# ------------------------------------------------------------------ told to whoever asks


@contextmanager
def no_look_for(harness: Harness, age: str) -> Iterator[None]:
    change(harness, f"UPDATE legs SET looked_at = looked_at - interval '{age}', since = since - interval '{age}'")
    yield
    harness.application.leg_watch.look()


def ask(stand: Stand, *words: str) -> Result:
    settings = stand.harness.application.settings
    env = {
        "PAGERDUTY_SYNC_DATABASE_URL": settings.database_url or "",
        "PAGERDUTY_SYNC_REDIS_URL": settings.redis_url or "",
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS": settings.encryption_keys[0],
        "PAGERDUTY_SYNC_PUBLIC_URL": settings.public_url,
    }
    return CliRunner().invoke(main, words, obj=Shell(env))


def test_everybody_is_told_the_same(stand: Stand) -> None:
    harness = stand.harness
    harness.application.heartbeats.beat(["worker-inbound", "worker-outbound", "beat"])
    stand.simulator.faults.change({"deactivated_users": [seeds.BOT_EMAIL]})
    harness.application.upkeep.check_keys()
    harness.application.leg_watch.look()
    told = stand.call("GET", "/health", expect=200)
    assert told["is_well"] is False
    assert told["healed"] == {"last_hour": 0, "last_day": 0}
    legs = {one["leg"]: one for one in told["legs"]}
    assert {name: one["state"] for name, one in legs.items()} == ALL_WELL | {"outbound": "stopped"}
    assert seeds.BOT_EMAIL in legs["outbound"]["why"]
    assert datetime.fromisoformat(legs["outbound"]["since"]) <= datetime.fromisoformat(legs["outbound"]["looked_at"])
    shown = ask(stand, "health", "--json")
    assert (shown.exit_code, json.loads(shown.stdout)) == (1, told)
    lines = ask(stand, "health")
    assert lines.exit_code == 1
    assert "outbound     stopped" in lines.stdout
    assert "Not as it should be: outbound." in lines.stderr
    examined = ask(stand, "doctor", "--no-ping").stdout
    assert "✗ outbound:       stopped: PagerDuty refuses what we write" in examined
    assert "✓ inbound:        working" in examined
    ready = requests.get(f"{harness.web_url}/readyz", timeout=5)
    assert ready.status_code == 200, "webhooks are taken in all the same"
    assert ready.json()["legs"]["outbound"] == {"state": "stopped", "since": legs["outbound"]["since"]}
    assert seeds.BOT_EMAIL not in ready.text, "nobody has to show a token here"


def test_well_is_exit_code_0(stand: Stand) -> None:
    stand.call("PATCH", stand.integration, {"is_two_way": False})
    stand.harness.application.leg_watch.look()
    shown = ask(stand, "health")
    assert shown.exit_code == 0, shown.output
    assert "Two-way is switched off" in shown.stdout
    assert stand.call("GET", "/health")["is_well"] is True


def test_when_nobody_looks_any_more_nobody_is_told_that_all_is_well(stand: Stand) -> None:
    harness = stand.harness
    never = stand.call("GET", "/health")
    assert {(one["state"], one["since"]) for one in never["legs"]} == {("unknown", None)}
    assert ask(stand, "health").exit_code == 1
    harness.application.leg_watch.look()
    with no_look_for(harness, "50 seconds"):
        assert stand.call("GET", "/health")["is_well"] is True
    with no_look_for(harness, "61 seconds"):
        stale = stand.call("GET", "/health")
        assert stale["is_well"] is False
        assert {one["state"] for one in stale["legs"]} == {"unknown"}
        assert "Nobody has looked for 6" in stale["legs"][0]["why"]
        assert "It was working then" in stale["legs"][0]["why"]
        assert ask(stand, "health").exit_code == 1
        ready = requests.get(f"{harness.web_url}/readyz", timeout=5).json()
        assert {one["state"] for one in ready["legs"].values()} == {"unknown"}
    assert stand.call("GET", "/health")["is_well"] is True


def test_the_sweep_s_line_counts_everything_it_found(harness: Harness) -> None:
    harness.application.cases.create_case("Checkout is slow", CasePriority.P3, actor=JANE)
    change(harness, "UPDATE case_events SET occurred_at = now() - interval '1 minute', handled_at = now()")
    with capture_logs() as logs:
        harness.application.sweep.find()
    (line,) = [line for line in logs if line["event"] == "swept"]
    assert (line["untold_case_ids"], line["case_ids"], line["notification_ids"], line["push_ids"]) == (1, 0, 0, 0)
