"""Second stage: links take in what is new and act on the Case."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.app import app
from tasks.notifications import tell
from tasks.nudging import nudge
from tasks.outbound import call_pagerduty
from tasks.process import application

LOOKS_AT_ONCE = 3


@app.task(name="pagerduty_sync.route_cases")
def route_cases(case_ids: Sequence[str]) -> None:
    """Find or make the links of Cases that have changed, look at them, then let the one-way path have its look."""
    router = application().router
    link_ids = [link_id for case_id in case_ids if (link_id := router.route(case_id)) is not None]
    if link_ids:
        look_at(link_ids)
    tell(case_ids)


@app.task(name="pagerduty_sync.sync_links")
def sync_links(link_ids: Sequence[str]) -> None:
    """Look at these links."""
    look_at(link_ids)


def look_at(link_ids: Sequence[str]) -> None:
    """Look at each link, again while something new came in meanwhile, and wake the callers of what became due."""
    sync = application().sync
    due: set[str] = set()
    for link_id in link_ids:
        for _ in range(LOOKS_AT_ONCE):
            looked = sync.look(link_id)
            if looked.integration_id is not None:
                due.add(looked.integration_id)
            if not looked.is_dirty:
                break
    for integration_id in due:
        nudge(call_pagerduty, integration_id)
