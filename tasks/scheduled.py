"""What the clock starts. Every job may run twice at once, or on two hosts: each claims its run in PostgreSQL."""

from __future__ import annotations

from celery import Task

from tasks.app import KEY_CHECK_SECONDS, LEGS_SECONDS, WATCHDOG_SECONDS, app
from tasks.inbound import verify_webhooks
from tasks.notifications import notify_cases, send_event
from tasks.nudging import come_back, nudge
from tasks.outbound import call_pagerduty
from tasks.process import application
from tasks.pushes import read_pushes
from tasks.sync import route_cases, sync_links

IDS_AT_ONCE = 200


@app.task(name="pagerduty_sync.sweep")
def sweep() -> None:
    """Find what lost its nudge, whose worker is gone, or what has come due, and wake it."""
    this = application()
    with this.job_runs.claim("sweep", this.settings.sweep_seconds / 2) as is_mine:
        if not is_mine:
            return
        found = this.sweep.find()
        _in_batches(verify_webhooks, found.inbox_ids)
        _in_batches(route_cases, found.case_ids)
        _in_batches(sync_links, found.link_ids)
        for integration_id in found.integration_ids:
            nudge(call_pagerduty, integration_id)
        _in_batches(notify_cases, found.untold_case_ids)
        _in_batches(read_pushes, found.push_ids)
        _in_batches(send_event, found.notification_ids)
        this.heartbeats.beat(["beat"])


@app.task(name="pagerduty_sync.reconcile")
def reconcile() -> None:
    """Compare open links with PagerDuty's lists; differences become due reads."""
    this = application()
    with this.job_runs.claim("reconcile", this.settings.reconcile_seconds / 2) as is_mine:
        if is_mine:
            _read("reconcile")


@app.task(name="pagerduty_sync.poll_log")
def poll_log() -> None:
    """Read what happened in PagerDuty from the account's log, where no webhook can tell."""
    this = application()
    with this.job_runs.claim("poll_log", this.settings.poll_seconds / 2) as is_mine:
        if is_mine:
            _read("poll")


@app.task(name="pagerduty_sync.read_on")
def read_on(what: str) -> None:
    """Go on reading where the budget ended: `reconcile` or `poll`."""
    _read(what)


@app.task(name="pagerduty_sync.catch_up")
def catch_up() -> None:
    """Read what was missed while the account was away."""
    _read_what_was_missed()


@app.task(name="pagerduty_sync.watchdog")
def watchdog() -> None:
    """See that PagerDuty still delivers to us; after a repair, read what was missed."""
    this = application()
    with this.job_runs.claim("watchdog", WATCHDOG_SECONDS / 2) as is_mine:
        if is_mine and this.upkeep.watch():
            _read_what_was_missed()


@app.task(name="pagerduty_sync.check_key")
def check_key() -> None:
    """See that the key and its user still stand; once they do again, what waited goes out."""
    this = application()
    with this.job_runs.claim("check_key", KEY_CHECK_SECONDS / 2) as is_mine:
        if is_mine:
            for integration_id in this.upkeep.check_keys():
                _read_what_was_missed()
                nudge(call_pagerduty, integration_id)


@app.task(name="pagerduty_sync.look_at_legs")
def look_at_legs() -> None:
    """Judge how inbound, outbound and the Case system are."""
    this = application()
    with this.job_runs.claim("look_at_legs", LEGS_SECONDS / 2) as is_mine:
        if is_mine:
            this.leg_watch.look()


@app.task(name="pagerduty_sync.ship_deliveries")
def ship_deliveries() -> None:
    """Make the partitions ahead and prune what is past its retention."""
    this = application()
    with this.job_runs.claim("ship_deliveries", 600) as is_mine:
        if is_mine:
            this.upkeep.prune()


def _read_what_was_missed() -> None:
    """At once, however short ago the clock compared: the log first, which tells of most in a call or two."""
    _read("poll")
    _read("reconcile")


def _read(what: str) -> None:
    upkeep = application().upkeep
    to_read = upkeep.poll() if what == "poll" else upkeep.reconcile()
    for integration_id in to_read.integration_ids:
        nudge(call_pagerduty, integration_id)
    if to_read.again_in is not None:
        come_back(read_on, what, to_read.again_in)


def _in_batches(task: Task[..., None], ids: list[int] | list[str]) -> None:
    for start in range(0, len(ids), IDS_AT_ONCE):
        nudge(task, ids[start : start + IDS_AT_ONCE])
