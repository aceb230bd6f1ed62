"""Inbound, first stage: stored webhooks become events that wait for their link."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.app import app
from tasks.nudging import nudge
from tasks.process import application
from tasks.sync import sync_links


@app.task(name="pagerduty_sync.verify_webhooks")
def verify_webhooks(inbox_ids: Sequence[int]) -> None:
    """Verify, read and match these inbox rows, then wake their links."""
    link_ids = application().inbound.verify(inbox_ids)
    if link_ids:
        nudge(sync_links, link_ids)
