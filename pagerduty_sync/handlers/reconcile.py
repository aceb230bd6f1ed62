"""Reading through all open links by pages of incidents: what an event should have told and did not, a read tells.

Costs one call per hundred incidents and one per difference found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.incidents import Incident, IncidentStatus
from pagerduty_sync.domain.links import Link
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.pagerduty.incidents import IncidentFilter
from pagerduty_sync.stores.links import Links

LINKS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many links were compared and how many of them differ; `is_cut_short` by the budget."""

    compared: int
    doubted: int
    pages: int
    is_cut_short: bool = False


class Reconcile:
    def __init__(self, links: Links) -> None:
        self._links = links

    def run(self, integration_id: str, calls: Calls) -> Reconciled:
        """Compare all links whose pair is still open with PagerDuty's lists. Raises PagerDutyError."""
        links = [link for link in self._all_links(integration_id) if _is_open(link)]
        if not links:
            return Reconciled(0, 0, 0)
        incidents: dict[str, Incident] = {}
        services = sorted({link.service_id for link in links})
        which = IncidentFilter((IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED), services, None, None, True)
        offset: int | None = 0
        pages = 0
        while offset is not None:
            if calls.budget.take(CallClass.RECONCILE) > 0:
                return Reconciled(0, 0, pages, is_cut_short=True)
            calls.begin()
            page = calls.client.get_incident_page(which, offset)
            incidents.update({incident.id: incident for incident in page.incidents})
            offset, pages = page.next_offset, pages + 1
        different = [link.id for link in links if _differs(link, incidents.get(link.incident_id or ""))]
        return Reconciled(len(links), self._links.doubt(different, CallClass.RECONCILE.value), pages)

    def _all_links(self, integration_id: str) -> Sequence[Link]:
        found: list[Link] = []
        while page := self._links.open_links(integration_id, found[-1].id if found else None, LINKS_AT_ONCE):
            found += page
        return found


def _is_open(link: Link) -> bool:
    seen = link.seen(Field.STATUS)
    return seen is None or seen.value != IncidentStatus.RESOLVED.value


def _differs(link: Link, incident: Incident | None) -> bool:
    """An incident missing from the lists of open ones has been resolved, moved or deleted: a read will tell."""
    if incident is None:
        return True
    status, priority = link.seen(Field.STATUS), link.seen(Field.PRIORITY)
    return (
        status is None
        or status.value != incident.status.value
        or priority is None
        or priority.value != incident.priority_id
    )
