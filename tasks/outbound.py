"""Third stage: calls to PagerDuty that are due, as far as the budget allows; the rest comes back by countdown."""

from __future__ import annotations

from tasks.app import app
from tasks.nudging import come_back
from tasks.process import application


@app.task(name="pagerduty_sync.call_pagerduty")
def call_pagerduty(integration_id: str) -> None:
    """Make the due calls of one integration."""
    wait_seconds = application().sync.call(integration_id)
    if wait_seconds is not None:
        come_back(call_pagerduty, integration_id, wait_seconds)
