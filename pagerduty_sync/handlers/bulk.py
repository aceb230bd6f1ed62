"""Many links in few calls: statuses confirmed by pages of incidents, changes written up to 250 incidents at a time.

A storm is when this matters: to acknowledge a thousand Cases takes a thousand reads and a thousand writes singly, and
ten reads and four writes this way. What does not fit (an opening, a note) is left to be done singly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Direction, Reason
from pagerduty_sync.domain.incidents import Incident, IncidentStatus
from pagerduty_sync.domain.observing import look_at_incident
from pagerduty_sync.domain.plans import ChangeIncident, ReadIncident
from pagerduty_sync.errors import PagerDutyError, PermanentError, RateLimitError, UnauthorizedError
from pagerduty_sync.handlers.caller import Caller, actor_of, cause_of
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.case_side import Settled
from pagerduty_sync.handlers.incident_side import operation_of, take_in_change
from pagerduty_sync.handlers.intake import Intake
from pagerduty_sync.handlers.visits import Visit
from pagerduty_sync.pagerduty.budget import CallClass, Operation
from pagerduty_sync.pagerduty.incidents import MAX_BULK, UNSET, IncidentChanges, IncidentFilter
from pagerduty_sync.stores.leases import Due, LeaseLostError

PAGE = 100
OPEN_STATUSES = (IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED)

Visited = tuple[Visit, Settled]


class Bulk:
    def __init__(self, intake: Intake, caller: Caller) -> None:
        self._intake = intake
        self._caller = caller

    def serve(self, visited: Sequence[Visited], calls: Calls, open_links: int) -> dict[str, Due]:
        """Do for all visits what can be done together. Returns, by link id, what has to wait and for how long.

        `open_links` is how many pairs are open in all: it tells how many pages a look at everything takes.
        """
        waiting: dict[str, Due] = {}
        visited = self._confirm(visited, calls, open_links)
        ready = [(visit, changes) for visit, settled in visited if (changes := _changes_of(settled))]
        for start in range(0, len(ready), MAX_BULK):
            self._write(ready[start : start + MAX_BULK], calls, waiting)
        return waiting

    # ------------------------------------------------------------ reading

    def _confirm(self, visited: Sequence[Visited], calls: Calls, open_links: int) -> list[Visited]:
        """Read by pages what many links want to read, when pages are fewer than links."""
        asking = [visit for visit, settled in visited if ReadIncident() in settled.plan.incident_actions]
        pages = open_links // PAGE + 1
        if len(asking) <= pages:
            return list(visited)
        found = self._read_pages(asking, calls, pages + 1)
        confirmed = []
        for visit, settled in visited:
            incident = found.get(visit.link.incident_id or "")
            if incident is not None and visit in asking:
                # The reply's own time is not needed: what is listed is no older than what is known.
                visit.link, _ = look_at_incident(visit.link, incident)
                visit.is_fresh = True
                visit.log(Direction.OUTBOUND, "read_incidents", Reason.CHECKED, detail=f"by a page of {PAGE}")
                settled = self._intake.settle(visit)
            confirmed.append((visit, settled))
        return confirmed

    def _read_pages(self, asking: Sequence[Visit], calls: Calls, most: int) -> dict[str, Incident]:
        services = sorted({visit.link.service_id for visit in asking})
        which = IncidentFilter(OPEN_STATUSES, services, None, None, True)
        found: dict[str, Incident] = {}
        offset: int | None = 0
        for _ in range(most):
            if offset is None or calls.budget.take(CallClass.URGENT) > 0:
                break
            try:
                page = calls.client.get_incident_page(which, offset)
            except PagerDutyError:
                # Each of these links is read singly then, and a failure there has its own rules.
                break
            found.update({incident.id: incident for incident in page.incidents})
            offset = page.next_offset
        return found

    # ------------------------------------------------------------ writing

    def _write(
        self, ready: Sequence[tuple[Visit, list[ChangeIncident]]], calls: Calls, waiting: dict[str, Due]
    ) -> None:
        """One PUT for all; a refusal is split until only the bad item is left, and that one alone bears it."""
        if not ready:
            return
        wait = calls.budget.take_bulk()
        if wait > 0:
            waiting.update({visit.link.id: Due(wait, CallClass.URGENT.value) for visit, _ in ready})
            return
        ready = [(visit, changes) for visit, changes in ready if self._is_held(visit)]
        if not ready:
            return
        calls.begin()
        try:
            shown = calls.client.update_incidents([(_id_of(visit), _merged(changes)) for visit, changes in ready])
        except PagerDutyError as exc:
            self._refused(ready, calls, waiting, exc)
            return
        by_id = {incident.id: incident for incident in shown}
        for visit, changes in ready:
            visit.writes += 1
            for change in changes:
                cause = cause_of(visit, change)
                detail = f"in one call with {len(ready) - 1} others" if len(ready) > 1 else ""
                logged = visit.log(
                    Direction.OUTBOUND,
                    operation_of(change),
                    Reason.APPLIED,
                    detail=detail,
                    cause=cause,
                    actor=actor_of(visit, change),
                )
                visit.deliveries[-1] = calls.measured(logged)
                take_in_change(visit, change, by_id.get(_id_of(visit)))
            visit.link = replace(visit.link, attempts=0, failing_since=None)
            self._intake.settle(visit)

    def _is_held(self, visit: Visit) -> bool:
        try:
            self._caller.hold(visit)
        except LeaseLostError:
            return False
        return True

    def _refused(
        self,
        ready: Sequence[tuple[Visit, list[ChangeIncident]]],
        calls: Calls,
        waiting: dict[str, Due],
        error: PagerDutyError,
    ) -> None:
        is_about_an_item = isinstance(error, PermanentError) and not isinstance(error, UnauthorizedError)
        if is_about_an_item and len(ready) > 1:
            half = len(ready) // 2
            self._write(ready[:half], calls, waiting)
            self._write(ready[half:], calls, waiting)
            return
        if is_about_an_item:
            # Asked for singly, PagerDuty says what is wrong with it.
            return
        if isinstance(error, RateLimitError):
            calls.budget.throttled(Operation.BULK, error.retry_after_seconds)
        for visit, changes in ready:
            due = self._caller.failed(visit, changes[0], error, calls)
            if due is not None:
                waiting[visit.link.id] = due


def _changes_of(settled: Settled) -> list[ChangeIncident]:
    """The changes at the head of a plan: what is not preceded by anything else may go in a bulk."""
    changes: list[ChangeIncident] = []
    for action in settled.plan.incident_actions:
        if not isinstance(action, ChangeIncident):
            break
        changes.append(action)
    return changes


def _merged(changes: Sequence[ChangeIncident]) -> IncidentChanges:
    """Status and priority of one incident in one item."""
    status = next((change for change in changes if change.field is Field.STATUS), None)
    priority = next((change for change in changes if change.field is Field.PRIORITY), None)
    return IncidentChanges(
        status=status.status if status else None,
        resolution=status.resolution if status else None,
        priority_id=priority.priority_id if priority else UNSET,
    )


def _id_of(visit: Visit) -> str:
    assert visit.link.incident_id is not None
    return visit.link.incident_id
