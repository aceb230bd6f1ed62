"""Reading what no event has told: open incidents by pages, and the account's log since the last time for notes.

Costs one call per hundred incidents, one per hundred lines of log, and one per difference found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pagerduty_sync.domain.connectors import Field, Integration
from pagerduty_sync.domain.incidents import Incident, IncidentStatus
from pagerduty_sync.domain.links import Link
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.pagerduty.incidents import IncidentFilter
from pagerduty_sync.pagerduty.resources import LogEntry
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.links import Links

LINKS_AT_ONCE = 1_000
LINES_PER_CALL = 100
OPEN_STATUSES = (IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED)
OVERLAP = timedelta(minutes=2)
"""The log is read again from a little before: clocks differ, and a line may be written a moment late."""
FIRST_LOOK = timedelta(hours=48)
NOTE_LINE = "annotate_log_entry"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many links were compared, how many of them differ, and how many have notes to read."""

    compared: int = 0
    doubted: int = 0
    noted: int = 0
    is_cut_short: bool = False


class _NoBudgetError(Exception):
    """The rest is read the next time; calls for people come first."""


class Reconcile:
    def __init__(
        self, links: Links, integrations: Integrations, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._links = links
        self._integrations = integrations
        self._now = now

    def poll(self, integration: Integration, calls: Calls) -> Reconciled:
        """Read only the account's log: what anybody else did there is read anew. Raises PagerDutyError.

        One call when nothing happened, however many links there are, and one for each incident somebody touched.
        """
        try:
            doubted, noted = self._read_log(integration, calls)
        except _NoBudgetError:
            return Reconciled(is_cut_short=True)
        return Reconciled(0, doubted, noted)

    def run(self, integration: Integration, calls: Calls) -> Reconciled:
        """Compare, and ask for a read of what differs. Raises PagerDutyError."""
        links = self._all_links(integration.id)
        if not links:
            return Reconciled()
        try:
            different = self._compare(links, calls)
            doubted, noted = self._read_log(integration, calls)
            return Reconciled(len(links), different + doubted, noted)
        except _NoBudgetError:
            return Reconciled(len(links), is_cut_short=True)

    def _compare(self, links: Sequence[Link], calls: Calls) -> int:
        services = sorted({link.service_id for link in links})
        which = IncidentFilter(OPEN_STATUSES, services, None, None, True)
        listed: dict[str, Incident] = {}
        offset: int | None = 0
        while offset is not None:
            _take(calls)
            page = calls.client.get_incident_page(which, offset)
            listed.update({incident.id: incident for incident in page.incidents})
            offset = page.next_offset
        different = [link.id for link in links if _differs(link, listed.get(link.incident_id or ""))]
        return self._links.doubt(different, CallClass.RECONCILE.value)

    def _read_log(self, integration: Integration, calls: Calls) -> tuple[int, int]:
        """Since the last time: how many incidents somebody else touched, and how many got somebody's note."""
        until, known = self._integrations.log_read(integration.id)
        since = until - OVERLAP if until else self._now() - FIRST_LOOK
        touched: set[str] = set()
        noted: set[str] = set()
        lines: list[LogEntry] = []
        _take(calls)
        for line in calls.client.list_log_entries(since):
            lines.append(line)
            if len(lines) % LINES_PER_CALL == 0:
                _take(calls)
            is_ours = line.by is not None and line.by.id == integration.user_id
            if line.incident_id and line.id not in known and not is_ours:
                (noted if line.type == NOTE_LINE else touched).add(line.incident_id)
        with_notes = self._links.want_notes(integration.id, sorted(noted), CallClass.RECONCILE.value)
        to_read = self._links.doubt_incidents(integration.id, sorted(touched), CallClass.RECONCILE.value)
        if lines:
            newest = max(line.created_at for line in lines)
            last = [line.id for line in lines if line.created_at >= newest - OVERLAP]
            self._integrations.set_log_read(integration.id, newest, last)
        return to_read, with_notes

    def _all_links(self, integration_id: str) -> list[Link]:
        found: list[Link] = []
        while page := self._links.open_links(integration_id, found[-1].id if found else None, LINKS_AT_ONCE):
            found += page
        return found


def _take(calls: Calls) -> None:
    if calls.budget.take(CallClass.RECONCILE) > 0:
        raise _NoBudgetError


def _is_open(link: Link) -> bool:
    seen = link.seen(Field.STATUS)
    return seen is None or seen.value != IncidentStatus.RESOLVED.value


def _differs(link: Link, incident: Incident | None) -> bool:
    """An open incident missing from the lists has been resolved, moved or deleted: a read will tell."""
    if incident is None:
        return _is_open(link)
    status, priority = link.seen(Field.STATUS), link.seen(Field.PRIORITY)
    return (
        status is None
        or status.value != incident.status.value
        or priority is None
        or priority.value != incident.priority_id
    )
