"""Reading what no event has told: open incidents by pages, and the account's log since the last time.

Costs one call per hundred incidents, one per hundred lines of log, and one per difference found. Where the budget ends
it stops, and the next run goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from pagerduty_sync.domain.connectors import Integration
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.domain.reading import IDLE_LINES, NEWEST, NOTE_LINE, LogPlace, differs, is_ours, is_told
from pagerduty_sync.errors import InvalidRequestError, PagerDutyError, UnauthorizedError
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.intake import RECONCILE
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.pagerduty.incidents import IncidentFilter
from pagerduty_sync.pagerduty.resources import LogEntry
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.readings import Comparison, LogReading, Readings

log = structlog.get_logger(__name__)

OPEN_STATUSES = (IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED)
OVERLAP = timedelta(minutes=2)
"""The log is read again from a little before: clocks differ, and a line may be written a moment late."""
FIRST_LOOK = timedelta(hours=48)
OLDEST_COMPARISON_SECONDS = 600.0
"""A comparison that could not go on for so long begins anew."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many pairs were found on a list, which links are to be read, which have notes to be read, and when to go on.

    `again_in` is in seconds; None when everything has been read.
    """

    compared: int = 0
    doubted: frozenset[str] = frozenset()
    noted: frozenset[str] = frozenset()
    again_in: float | None = None


class Reconcile:
    """`log_asker` is who is named for what the log alone tells: POLL where it is a way in, else it heals."""

    def __init__(
        self,
        links: Links,
        integrations: Integrations,
        readings: Readings,
        log_asker: str = RECONCILE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._links = links
        self._integrations = integrations
        self._readings = readings
        self._log_asker = log_asker
        self._now = now

    def poll(self, integration: Integration, calls: Calls) -> Reconciled:
        """Read only the account's log: what anybody else did there is read anew. Raises PagerDutyError.

        One call when nothing happened, however many links there are, and one for each incident somebody touched.
        """
        return self._read_log(integration, calls)

    def run(self, integration: Integration, calls: Calls) -> Reconciled:
        """Compare, and ask for a read of what differs. Raises PagerDutyError."""
        services = self._readings.services(integration.id)
        if not services:
            return Reconciled()
        read = Reconciled()
        under_way = self._readings.comparison(integration.id, OLDEST_COMPARISON_SECONDS)
        if under_way is None:
            read = self._read_log_if_it_can_be(integration, calls)
            if read.again_in is not None:
                return read
            under_way = self._readings.new_comparison()
        compared = self._compare(integration.id, services, under_way, calls)
        return replace(compared, doubted=compared.doubted | read.doubted, noted=read.noted)

    # ------------------------------------------------------------ the lists

    def _compare(self, integration_id: str, services: Sequence[str], under_way: Comparison, calls: Calls) -> Reconciled:
        which = IncidentFilter(OPEN_STATUSES, services, None, None, True)
        compared, doubted = 0, set[str]()
        offset: int | None = under_way.offset
        while offset is not None:
            wait = calls.budget.take_reading()
            if wait > 0:
                self._readings.set_comparison(integration_id, Comparison(under_way.began_at, offset))
                return Reconciled(compared, frozenset(doubted), again_in=wait)
            try:
                page = calls.client.get_incident_page(which, offset)
            except InvalidRequestError as exc:
                log.warning("too_many_open_incidents", error=str(exc))
                self._readings.set_comparison(integration_id, None)
                return Reconciled(compared, frozenset(doubted))
            listed = {incident.id: incident for incident in page.incidents}
            links = self._links.of_incidents(integration_id, list(listed))
            different = [link.id for link in links if differs(link, listed[link.incident_id or ""])]
            doubted |= self._doubt(different, RECONCILE)
            self._readings.set_listed(integration_id, list(listed), under_way.began_at)
            compared += len(links)
            offset = page.next_offset
        # An open incident missing from the lists has been resolved, moved or deleted: a read will tell.
        doubted |= self._doubt(self._readings.unlisted(integration_id, under_way.began_at), RECONCILE)
        self._readings.set_comparison(integration_id, None)
        return Reconciled(compared, frozenset(doubted))

    def _doubt(self, link_ids: Sequence[str], asker: str) -> set[str]:
        return set(self._links.doubt(link_ids, CallClass.RECONCILE.value, asker)) if link_ids else set()

    # ------------------------------------------------------------ the log

    def _read_log_if_it_can_be(self, integration: Integration, calls: Calls) -> Reconciled:
        """A log that is not to be had keeps nobody from comparing."""
        try:
            return self._read_log(integration, calls)
        except UnauthorizedError:
            raise
        except PagerDutyError as exc:
            log.warning("log_not_read", error=str(exc))
            return Reconciled()

    def _read_log(self, integration: Integration, calls: Calls) -> Reconciled:
        """Since the last time: what somebody else touched is read, and so are the notes somebody else wrote."""
        reading = self._readings.log(integration.id)
        since = (reading.until or self._now() - FIRST_LOOK) - (OVERLAP if reading.until else timedelta())
        doubted, noted = set[str](), set[str]()
        place: LogPlace | None = reading.place or NEWEST
        while place is not None:
            wait = calls.budget.take_reading()
            if wait > 0:
                self._readings.set_log(integration.id, replace(reading, place=place))
                return Reconciled(0, frozenset(doubted), frozenset(noted), again_in=wait)
            page = calls.client.get_log_page(since, place)
            fresh = [line for line in page.lines if line.id not in reading.known]
            touched, annotated = self._heard(integration, fresh)
            doubted |= self._doubt(touched, self._log_asker)
            if annotated:
                noted |= set(self._links.want_notes(annotated, CallClass.RECONCILE.value, self._log_asker))
            reading = _with_lines(reading, page.lines)
            # The newest lines come first: behind a page of nothing but known ones there is nothing new.
            place = page.next if fresh else None
        until = reading.newest or reading.until
        lines = reading.lines if reading.newest else reading.known
        self._readings.set_log(integration.id, LogReading(until, lines))
        return Reconciled(0, frozenset(doubted), frozenset(noted))

    def _heard(self, integration: Integration, lines: Sequence[LogEntry]) -> tuple[list[str], list[str]]:
        """The links whose incidents somebody else changed unbeknown to us, and those with somebody else's note."""
        others = [
            line
            for line in lines
            if line.incident_id
            and line.type not in IDLE_LINES
            and not is_ours(integration.user_id, line.by.id if line.by else None, line.type, line.channel, line.text)
        ]
        known = self._links.of_incidents(integration.id, sorted({line.incident_id or "" for line in others}))
        links = {link.incident_id: link for link in known} if others else {}
        touched, annotated = set[str](), set[str]()
        for line in others:
            link = links.get(line.incident_id)
            if link is None:
                continue
            if line.type == NOTE_LINE:
                annotated.add(link.id)
            elif not is_told(link, line.type, line.created_at):
                touched.add(link.id)
        return sorted(touched), sorted(annotated)


def _with_lines(reading: LogReading, lines: Sequence[LogEntry]) -> LogReading:
    """The reading after one more page: how far the log goes, and which lines stand at its end."""
    if not lines:
        return reading
    newest = max([line.created_at for line in lines] + ([reading.newest] if reading.newest else []))
    last = {line.id for line in lines if line.created_at >= newest - OVERLAP}
    return replace(reading, newest=newest, lines=reading.lines | last)
