"""A visit: one worker's time with one claimed link, and the single transaction in which its result is recorded.

Holds everything the planner reads and collects everything that has to be written; decides nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pagerduty_sync.domain.cases import Case, CaseEvent, CaseSystem
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason, outcome_of
from pagerduty_sync.domain.links import LOOP, Ledger, LedgerEntry, Link, LinkState, after_writes
from pagerduty_sync.stores.case_events import CaseEvents
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.inbox import Inbox
from pagerduty_sync.stores.leases import Claim, Leases
from pagerduty_sync.stores.ledger import LedgerStore


@dataclass(slots=True)
class Visit:
    """What is known of one link now, and what is still to be recorded.

    `changes` are the Case's that nobody has handled yet; `is_fresh` says that the incident was read during this visit;
    the lease counts from `held_since`; `asked_class` is how urgent the reads are that were asked for, while nobody has
    changed anything since.
    """

    claim: Claim
    link: Link
    ledger: Ledger
    policy: Policy
    case: Case
    changes: Sequence[CaseEvent] = ()
    is_fresh: bool = False
    deliveries: list[Delivery] = field(default_factory=list)
    events_done: list[tuple[int, Reason]] = field(default_factory=list)
    changes_done: list[int] = field(default_factory=list)
    recorded: Ledger = field(default_factory=Ledger)
    held_since: datetime = field(default=datetime.min.replace(tzinfo=UTC))
    asked_class: int | None = None
    writes: int = 0

    def put(self, entry: LedgerEntry) -> None:
        """Add a ledger entry, or write it anew."""
        self.ledger = self.ledger.put(entry)

    def log(
        self,
        direction: Direction,
        operation: str,
        reason: Reason,
        *,
        outcome: Outcome | None = None,
        detail: str = "",
        event_id: str = "",
        cause: str = "",
        actor: str = "",
    ) -> Delivery:
        """Note one attempt for the delivery log; returned so that a call's measurements can be added."""
        delivery = Delivery(
            direction,
            operation,
            outcome or outcome_of(reason),
            reason,
            detail,
            case_id=self.link.case_id,
            case_name=self.link.case_name,
            incident_id=self.link.incident_id or "",
            link_id=self.link.id,
            connector_id=self.link.connector_id,
            integration_id=self.link.integration_id,
            attempt=self.link.attempts + 1,
            event_id=event_id,
            cause=cause,
            actor=actor,
        )
        self.deliveries.append(delivery)
        return delivery

    def end(self, reason: Reason) -> None:
        """The link is over; what it never could write is dropped with the same reason, and a row that says so."""
        self.link = replace(self.link, state=LinkState.ENDED, ended_reason=reason.value, merged_into=None)
        for entry in self.ledger.waiting("outbound"):
            self.put(replace(entry, state="dropped", reason=reason))
            cause = self.link.causes.get(entry.source_id, "")
            detail = "not written: the link is over"
            self.log(Direction.OUTBOUND, "post_note", reason, detail=detail, cause=cause, actor=entry.author.label)

    def changed_entries(self) -> list[LedgerEntry]:
        before = {entry.id: entry for entry in self.recorded.entries}
        return [entry for entry in self.ledger.entries if before.get(entry.id) != entry]


class Visits:
    """Opens and records visits."""

    def __init__(
        self,
        *,
        database: Database,
        leases: Leases,
        ledger: LedgerStore,
        inbox: Inbox,
        case_events: CaseEvents,
        deliveries: Deliveries,
        connectors: Connectors,
        cases: CaseSystem,
        unacknowledges_cases: bool,
        posts_resolution_notes: bool,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._database = database
        self._leases = leases
        self._ledger = ledger
        self._inbox = inbox
        self._case_events = case_events
        self._deliveries = deliveries
        self._connectors = connectors
        self._cases = cases
        self._unacknowledges_cases = unacknowledges_cases
        self._posts_resolution_notes = posts_resolution_notes
        self.now = now
        self.new_id = new_id

    def new_ids(self) -> Iterator[str]:
        """Ids for ledger entries, as many as are wanted."""
        while True:
            yield self.new_id()

    def open(self, claim: Claim) -> Visit:
        """Read both sides of a claimed link. Raises NotFoundError when its Case is gone."""
        link = claim.link
        ledger = self._ledger.of_link(link.id)
        # In this order: a change made after the Case is read must not count as handled.
        changes = self._case_events.waiting(link.case_id)
        case = self._cases.get_case(link.case_id)
        link = replace(link, case_name=case.name)
        return Visit(
            claim,
            link,
            ledger,
            self._policy(link),
            case,
            changes,
            recorded=ledger,
            held_since=claim.at,
            asked_class=claim.due_class,
        )

    def record(self, visit: Visit) -> None:
        """Write everything this visit learned and did in one transaction, and prolong its lease.

        Raises LeaseLostError when another worker holds the link by now: then nothing is written.
        """
        self._count_writes(visit)
        held_since = self.now()
        with self._database.transaction() as conn:
            self._leases.record(conn, visit.claim.token, visit.link)
            self._ledger.record(conn, visit.link.id, visit.changed_entries())
            for inbox_id, reason in visit.events_done:
                self._inbox.mark_done(conn, inbox_id, reason.value)
            if visit.changes_done:
                self._case_events.mark_handled(conn, visit.changes_done)
            if visit.deliveries:
                self._deliveries.add(conn, visit.deliveries)
        visit.recorded, visit.held_since = visit.ledger, held_since
        visit.deliveries, visit.events_done, visit.changes_done = [], [], []

    def is_lease_old(self, visit: Visit) -> bool:
        """Whether so much of the lease is over that a call might end after it: then it is prolonged first."""
        return (self.now() - visit.held_since).total_seconds() > self._leases.lease_seconds / 2

    def log_defect(self, claim: Claim, error: Exception) -> None:
        """Say in the delivery log that the sync itself failed on this link."""
        link = claim.link
        delivery = Delivery(
            Direction.OUTBOUND,
            "sync_link",
            outcome_of(Reason.DEFECT),
            Reason.DEFECT,
            type(error).__name__,
            case_id=link.case_id,
            case_name=link.case_name,
            incident_id=link.incident_id or "",
            link_id=link.id,
            connector_id=link.connector_id,
            integration_id=link.integration_id,
            attempt=link.attempts + 1,
        )
        self._deliveries.add(None, [delivery])

    def _count_writes(self, visit: Visit) -> None:
        """A link that writes to itself in circles is stopped, and says so; no other link is."""
        if not visit.writes:
            return
        was_parked = LOOP in visit.link.parked
        visit.link = after_writes(visit.link, visit.writes, self.now())
        visit.writes = 0
        if LOOP in visit.link.parked and not was_parked:
            detail = visit.link.parked[LOOP].detail
            visit.log(Direction.OUTBOUND, "stop_link", Reason.LOOP_SUSPECTED, detail=detail)

    def _policy(self, link: Link) -> Policy:
        connector, integration = self._connectors.with_integration(link.connector_id)
        return Policy(
            directions={Field(name): direction for name, direction in connector.directions.items()},
            priority_map=connector.priority_map,
            is_two_way=integration.is_two_way,
            unacknowledges_cases=self._unacknowledges_cases,
            posts_resolution_notes=self._posts_resolution_notes,
        )
