"""The one-way path: changes of Cases become events, and events are sent to the service-key connectors."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.app import app
from tasks.nudging import LONGEST_COUNTDOWN_SECONDS, nudge
from tasks.process import application

MOST_COUNTDOWNS = 20
"""What else has to wait stands in PostgreSQL with its due time, and the sweep finds it there."""


@app.task(name="pagerduty_sync.notify_cases")
def notify_cases(case_ids: Sequence[str]) -> None:
    """Take in what is new on these Cases."""
    tell(case_ids)


@app.task(name="pagerduty_sync.send_event")
def send_event(notification_ids: Sequence[int]) -> None:
    """Send these events, as far as they are due, in turn and within their budgets."""
    later = application().event_sender.send(notification_ids)
    soon = [one for one in later if one.in_seconds <= LONGEST_COUNTDOWN_SECONDS]
    for one in soon[:MOST_COUNTDOWNS]:
        nudge(send_event, [one.notification_id], countdown=one.in_seconds)


def tell(case_ids: Sequence[str]) -> None:
    """Have the one-way path look at these Cases, and wake whoever sends what comes of it."""
    notification_ids = application().notifier.look(case_ids)
    if notification_ids:
        nudge(send_event, notification_ids)
