"""The watchdog's promise: whatever happens to our subscription, key or user is seen, and mended where that is possible,
and what was missed is made up for, within a minute and without anybody.

Beat's own schedule is played by hand, at its real periods and from the worst moment: everything has just run when
something breaks. Before a job's turn the runs that PostgreSQL remembers are moved back by the time that passed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pagerduty_sync.domain.cases import CaseStatus
from pagerduty_sync.domain.connectors import IntegrationStatus
from pagerduty_sync.domain.legs import Leg, LegState
from pagerduty_sync.pagerduty.schemas import SUBSCRIBED_EVENT_TYPES
from pagerduty_sync.pagerduty.subscriptions import SubscriptionFilter
from pagerduty_sync.simulator import seeds
from tasks import inbound, notifications, outbound, process, pushes, scheduled, sync
from tasks.app import configuration
from tests.api_stand import Stand, an_api_stand

PROMISED_SECONDS = 60.0
LOST_LOOKS = 1
"""So many looks may fail in between."""


@pytest.fixture
def stand(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Connected, with the tasks of a worker; what one of them nudges is done at once."""
    with an_api_stand(database_url, redis_url, tmp_path) as made:
        made.connect()
        made.rule(made.connector())
        monkeypatch.setenv("PAGERDUTY_SYNC_REDIS_URL", redis_url)
        monkeypatch.setattr(process, "_application", made.harness.application)
        monkeypatch.setattr(process, "_built_in", os.getpid())
        for module in (scheduled, inbound, sync, notifications, pushes):
            monkeypatch.setattr(module, "nudge", lambda task, *args: task.run(*args))
        # Whoever would come back by countdown is found by the sweep.
        monkeypatch.setattr(outbound, "come_back", lambda *_: None)
        yield made


class Beat:
    """The clock of one installation, from the moment at which every job has just run."""

    def __init__(self, stand: Stand) -> None:
        self._database = stand.harness.application.database
        schedule = configuration(stand.harness.application.settings)["beat_schedule"]
        self._periods = {entry["task"].partition(".")[2]: entry["schedule"] for entry in schedule.values()}
        self._next = dict(self._periods)
        self.now = 0.0
        for job in self._periods:
            self._run(job)

    def play(self, is_done: Callable[[], bool]) -> float:
        """Let time pass until that is so; how many seconds, those of the work included. Fails when it never is."""
        worked = 0.0
        while not is_done():
            job = min(self._next, key=lambda each: self._next[each])
            self._pass(self._next[job] - self.now)
            self._next[job] += self._periods[job]
            began = time.monotonic()
            self._run(job)
            worked += time.monotonic() - began
            assert self.now <= 2 * PROMISED_SECONDS, "not within two minutes"
        return self.now + worked

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        with self._database.transaction() as conn:
            conn.execute("UPDATE job_runs SET started_at = started_at - make_interval(secs => %s)", (seconds,))

    def _run(self, job: str) -> None:
        if job != "ship_deliveries":
            getattr(scheduled, job).run()


def disabled(stand: Stand, _: str) -> None:
    stand.simulator.subscriptions.disable(stand.simulator.subscriptions.all()[0])


def switched_off(stand: Stand, id_: str) -> None:
    client_of(stand).update_webhook_subscription(id_, is_active=False)


def deleted(stand: Stand, id_: str) -> None:
    client_of(stand).delete_webhook_subscription(id_)


def mis_filtered(stand: Stand, id_: str) -> None:
    elsewhere = next(each for each in stand.simulator.account.services if each != seeds.CHECKOUT_SERVICE_ID)
    client_of(stand).update_webhook_subscription(id_, filter=SubscriptionFilter.service(elsewhere))


def incomplete(stand: Stand, id_: str) -> None:
    client_of(stand).update_webhook_subscription(id_, events=["incident.triggered"])


def client_of(stand: Stand) -> Any:
    return stand.harness.application.client(stand.harness.integration_id)


def is_mended(stand: Stand) -> bool:
    (one,) = stand.simulator.subscriptions.all()
    is_on = one.active and not stand.simulator.subscriptions.is_disabled(one)
    return is_on and one.filter_type == "account" and set(one.events) == set(SUBSCRIBED_EVENT_TYPES)


def status(stand: Stand) -> IntegrationStatus:
    integration = stand.harness.application.integrations.only()
    assert integration is not None
    return integration.status


def leg(stand: Stand, which: Leg) -> LegState:
    return next(one.state for one in stand.harness.application.leg_watch.legs() if one.leg is which)


@pytest.mark.parametrize("breaks", [disabled, switched_off, deleted, mis_filtered, incomplete])
@pytest.mark.parametrize("lost_looks", [0, LOST_LOOKS])
def test_a_broken_subscription_is_mended_and_made_up_for_within_a_minute(
    stand: Stand, breaks: Callable[[Stand, str], None], lost_looks: int
) -> None:
    harness = stand.harness
    case = harness.case(stand.open_case())
    beat = Beat(stand)
    assert leg(stand, Leg.INBOUND) is LegState.WORKING
    breaks(stand, stand.simulator.subscriptions.all()[0].id)
    harness.set_incident(case.id, status="acknowledged")
    harness.add_note(case.id, "looking at it")
    harness.set_incident(case.id, priority={"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"})
    harness.run()
    assert harness.case(case.id).status is CaseStatus.ACTIVE, "no webhook told of it"
    if lost_looks:
        path = "/webhook_subscriptions"
        harness.faults(fail_before={"next": lost_looks, "status": 500, "match": {"method": "GET", "path": path}})

    def is_made_up_for() -> bool:
        now = harness.case(case.id)
        is_told = harness.comments(case.id).count("looking at it") == 1
        return now.status is CaseStatus.ACKNOWLEDGED and now.priority.value == "P1" and is_told

    took = beat.play(lambda: stand.simulator.subscriptions.all() != [] and is_mended(stand) and is_made_up_for())
    assert took < PROMISED_SECONDS
    assert "healed" in harness.reasons(case.id)
    beat.play(lambda: status(stand) is IntegrationStatus.CONNECTED)
    beat.play(lambda: leg(stand, Leg.INBOUND) is LegState.WORKING)


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        pytest.param({"revoked_keys": [seeds.FULL_KEY]}, IntegrationStatus.DISCONNECTED, id="revoked key"),
        pytest.param({"deactivated_users": [seeds.BOT_EMAIL]}, IntegrationStatus.DEGRADED, id="vanished user"),
    ],
)
def test_a_revoked_key_and_a_vanished_user_are_reported_within_a_minute_and_so_is_their_return(
    stand: Stand, fault: dict[str, Any], state: IntegrationStatus
) -> None:
    beat = Beat(stand)
    stand.simulator.faults.change(fault)
    took = beat.play(lambda: leg(stand, Leg.OUTBOUND) is LegState.STOPPED)
    assert took < PROMISED_SECONDS
    assert status(stand) is state
    stand.simulator.faults.change({name: [] for name in fault})
    took = beat.play(lambda: leg(stand, Leg.OUTBOUND) is LegState.WORKING) - took
    assert took < PROMISED_SECONDS


def test_after_a_reconnect_what_was_missed_is_read_at_once(stand: Stand) -> None:
    """However short ago the clock compared: what happened while the key was refused is not left to its next turn."""
    harness = stand.harness
    case = harness.case(stand.open_case())
    beat = Beat(stand)
    harness.faults(webhook_drop={"probability": 1.0})
    harness.set_incident(case.id, status="acknowledged")
    harness.run()
    stand.simulator.faults.change({"revoked_keys": [seeds.FULL_KEY]})
    beat.play(lambda: leg(stand, Leg.OUTBOUND) is LegState.STOPPED)
    stand.simulator.faults.change({"revoked_keys": []})
    began = beat.now
    beat.play(lambda: harness.case(case.id).status is CaseStatus.ACKNOWLEDGED)
    assert beat.now - began < PROMISED_SECONDS


def test_two_clocks_look_once(stand: Stand) -> None:
    Beat(stand)
    before = len(stand.harness.sim("GET", "/_sim/requests")["requests"])
    for job in (scheduled.watchdog, scheduled.check_key, scheduled.look_at_legs):
        job.run()
    assert len(stand.harness.sim("GET", "/_sim/requests")["requests"]) == before


def test_what_the_looks_cost(stand: Stand) -> None:
    schedule = configuration(stand.harness.application.settings)["beat_schedule"]
    beat = Beat(stand)
    before = len(stand.harness.sim("GET", "/_sim/requests")["requests"])
    beat.play(lambda: beat.now > PROMISED_SECONDS)
    calls = len(stand.harness.sim("GET", "/_sim/requests")["requests"]) - before
    assert calls == 60 / schedule["watchdog"]["schedule"] + 2 * 60 / schedule["check_key"]["schedule"] == 10
