"""What Coralogix pushed: alerts become events, and a Case that was named is routed again."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.app import app
from tasks.notifications import send_event
from tasks.nudging import nudge
from tasks.process import application
from tasks.sync import route_cases


@app.task(name="pagerduty_sync.read_pushes")
def read_pushes(push_ids: Sequence[int]) -> None:
    """Handle these pushes and wake what comes of them."""
    taken = application().push_reader.take(push_ids)
    if taken.case_ids:
        nudge(route_cases, taken.case_ids)
    if taken.notification_ids:
        nudge(send_event, taken.notification_ids)
