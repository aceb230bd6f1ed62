"""Keeping links in step: claim, take in what is new, plan, act, record, and give back.

`look` never calls PagerDuty; `call` does, for whatever is due, as far as the budget allows. Both go through the same
steps, so that whichever worker comes next finds the link as the one before left it, also when that one died.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from pagerduty_sync.domain.connectors import IntegrationStatus
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.links import LinkState
from pagerduty_sync.domain.plans import OpenIncident, Plan
from pagerduty_sync.errors import NotFoundError, SyncError
from pagerduty_sync.handlers.bulk import Bulk
from pagerduty_sync.handlers.caller import Caller
from pagerduty_sync.handlers.calls import Calls
from pagerduty_sync.handlers.case_side import Settled
from pagerduty_sync.handlers.incident_side import urgency_of
from pagerduty_sync.handlers.intake import Intake
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.pagerduty.incidents import MAX_BULK
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.leases import Claim, Due, LeaseLostError, Leases
from pagerduty_sync.stores.links import Links

log = structlog.get_logger(__name__)

LINKS_PER_CALL = 50
ACTIONS_PER_VISIT = 40
BULK_FROM = 4
"""So many links due at once are worth doing together."""
OWN_FAILURE_SECONDS = 5.0
DEFECT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Looked:
    """After a look: which integration has a call due now, and whether something new came in meanwhile."""

    integration_id: str | None = None
    is_dirty: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A call the budget did not allow: when it may be made, and whether it was an opening."""

    due: Due
    is_opening: bool


class Sync:
    def __init__(
        self,
        *,
        links: Links,
        leases: Leases,
        integrations: Integrations,
        visits: Visits,
        intake: Intake,
        caller: Caller,
        bulk: Bulk,
        calls_of: Callable[[str], Calls],
    ) -> None:
        self._links = links
        self._leases = leases
        self._integrations = integrations
        self._visits = visits
        self._intake = intake
        self._caller = caller
        self._bulk = bulk
        self._calls_of = calls_of
        self._is_stopping = threading.Event()

    def stop(self) -> None:
        """Begin nothing new: what is due stays due, for the worker after this one."""
        self._is_stopping.set()

    def look(self, link_id: str) -> Looked:
        """Take in what is new on one link and do everything that needs no call to PagerDuty."""
        # Marked before the claim: whoever holds the link now sees the mark when giving it back.
        self._links.mark_dirty([link_id])
        claim = self._leases.claim(link_id)
        if claim is None:
            return Looked()
        with self._giving_back_on_failure(claim):
            visit = self._open(claim)
            if visit is None:
                return Looked()
            due = _due(visit, self._intake.take_in(visit).plan)
            self._caller.record(visit)
            is_dirty = self._leases.release(claim, due, keeps_backoff=True)
            return Looked(claim.link.integration_id if due else None, is_dirty)
        return Looked()

    def call(self, integration_id: str) -> float | None:
        """Make the calls that are due. Returns the seconds until more may be made, None when nothing is left."""
        integration = self._integrations.by_id(integration_id)
        if integration is None or integration.status in (IntegrationStatus.DISCONNECTED, IntegrationStatus.CONNECTING):
            return None
        calls = self._calls_of(integration_id)
        many = self._leases.count_due(integration_id, CallClass.PRIORITY.value, BULK_FROM) >= BULK_FROM
        if many and not self._is_stopping.is_set():
            self._call_together(integration_id, calls)
        highest = CallClass.RECONCILE.value
        waits: list[float] = []
        for _ in range(LINKS_PER_CALL):
            claim = None if self._is_stopping.is_set() else self._leases.claim_due(integration_id, highest)
            if claim is None:
                return min(waits, default=None)
            refused = self._serve(claim, calls)
            if refused is None:
                continue
            waits.append(refused.due.in_seconds)
            if refused.is_opening:
                # Openings have a limit of their own; whatever else is due need not wait for it.
                continue
            if refused.due.call_class == CallClass.URGENT.value:
                break
            # No budget left for words; there may be some for a page.
            highest = refused.due.call_class - 1
        return min(waits, default=0.0)

    def _serve(self, claim: Claim, calls: Calls) -> Refused | None:
        """Bring one link in step. Returns what had to wait for the budget, None when nothing had to."""
        with self._giving_back_on_failure(claim):
            visit = self._open(claim)
            if visit is None:
                return None
            settled = self._intake.take_in(visit)
            for _ in range(ACTIONS_PER_VISIT):
                if not settled.plan.incident_actions or self._is_stopping.is_set():
                    break
                action = settled.plan.incident_actions[0]
                call_class = urgency_of(visit, action)
                wait = calls.wait_for(action, call_class)
                if wait > 0:
                    due = Due(wait, call_class.value)
                    self._give_back(visit, due)
                    return Refused(due, isinstance(action, OpenIncident))
                was_opening = visit.link.state is LinkState.OPENING
                failed = self._caller.make(visit, action, calls)
                if failed is not None:
                    self._give_back(visit, failed)
                    return None
                self._caller.record(visit)
                # What came in about an incident nobody knew as ours has waited for this moment.
                settled = self._intake.take_in(visit) if was_opening else self._intake.settle(visit)
                self._caller.record(visit)
            self._give_back(visit, _due(visit, settled.plan))
        return None

    def _call_together(self, integration_id: str, calls: Calls) -> None:
        """Claim many links and do in few calls what can be done so; the rest is due again at once."""
        claims = self._leases.claim_many_due(integration_id, CallClass.PRIORITY.value, MAX_BULK)
        visited: list[tuple[Visit, Settled]] = []
        for claim in claims:
            with self._giving_back_on_failure(claim):
                visit = self._open(claim)
                if visit is not None:
                    visited.append((visit, self._intake.take_in(visit)))
        try:
            waiting = self._bulk.serve(visited, calls, self._links.count_open(integration_id))
        except BaseException:
            for visit, _ in visited:
                self._leases.give_back(visit.claim, OWN_FAILURE_SECONDS)
            raise
        for visit, _ in visited:
            with self._giving_back_on_failure(visit.claim):
                due = waiting.get(visit.link.id) or _due(visit, self._intake.settle(visit).plan)
                self._give_back(visit, due)

    def _open(self, claim: Claim) -> Visit | None:
        """None when the Case is gone: then the link is over."""
        try:
            return self._visits.open(claim)
        except NotFoundError as exc:
            log.warning("case_is_gone", case=claim.link.case_name, error=str(exc))
            self._leases.end(claim, Reason.NOT_FOUND.value)
            return None

    def _give_back(self, visit: Visit, due: Due | None) -> None:
        self._caller.record(visit)
        self._leases.release(visit.claim, due)

    @contextmanager
    def _giving_back_on_failure(self, claim: Claim) -> Iterator[None]:
        """A failure of ours (a database away, a Case system away) gives the link back, to be looked at again soon.

        A defect is kept to the link it shows on, with a row that says so: it must not stop the links behind it.
        """
        try:
            yield
        except LeaseLostError:
            log.warning("lease_lost", link=claim.link.id, case=claim.link.case_name)
        except SyncError:
            self._try_to_give_back(claim, OWN_FAILURE_SECONDS)
            raise
        except Exception as exc:
            log.exception("defect", link=claim.link.id, case=claim.link.case_name)
            self._visits.log_defect(claim, exc)
            self._try_to_give_back(claim, DEFECT_SECONDS)
        except BaseException:
            self._try_to_give_back(claim, OWN_FAILURE_SECONDS)
            raise

    def _try_to_give_back(self, claim: Claim, in_seconds: float) -> None:
        try:
            self._leases.give_back(claim, in_seconds)
        except SyncError:
            log.warning("link_left_to_its_lease", link=claim.link.id)


def _due(visit: Visit, plan: Plan) -> Due | None:
    """The most urgent class of what is left to call, due now. With nothing left, nothing is failing any more."""
    if not plan.incident_actions:
        visit.link = replace(visit.link, attempts=0, failing_since=None)
        return None
    return Due(0.0, min(urgency_of(visit, action) for action in plan.incident_actions).value)
