"""What an operator may ask of links that exist: look now, show the plan, try a refusal again, or let it be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pagerduty_sync.domain.cases import Case, CaseSystem
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason
from pagerduty_sync.domain.links import Link, LinkState
from pagerduty_sync.domain.observing import look_at_comments
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.errors import ConflictError, InvalidRequestError, NotFoundError
from pagerduty_sync.handlers.claims import Claims
from pagerduty_sync.handlers.intake import RECONCILE
from pagerduty_sync.handlers.plan_words import in_words
from pagerduty_sync.handlers.routing import Router
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.pagerduty.budget import CallClass
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.leases import unheld
from pagerduty_sync.stores.ledger import LedgerStore
from pagerduty_sync.stores.link_edits import LinkEdits, Pace
from pagerduty_sync.stores.links import Links

LINKS_AT_ONCE = 500
MOST_PLANNED = 2_000
MOST_SHOWN = 200
OPEN, NOTE = "open", "note"


@dataclass(frozen=True, slots=True)
class LinkReport:
    """A link with the count of its texts by direction and state."""

    link: Link
    pace: Pace
    texts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Synced:
    """Which links are looked at now, in how many of them the incident is read, and the plans that are not empty."""

    link_ids: Sequence[str] = ()
    integration_id: str | None = None
    reads: int = 0
    looked_at: int = 0
    plans: Sequence[Mapping[str, Any]] = field(default_factory=list)
    is_cut_short: bool = False


class LinkCare:
    def __init__(
        self,
        *,
        cases: CaseSystem,
        links: Links,
        edits: LinkEdits,
        ledger: LedgerStore,
        claims: Claims,
        visits: Visits,
        router: Router,
        integrations: Integrations,
        audit: Audit,
    ) -> None:
        self._cases = cases
        self._links = links
        self._edits = edits
        self._ledger = ledger
        self._claims = claims
        self._visits = visits
        self._router = router
        self._integrations = integrations
        self._audit = audit

    def get(self, link_id: str) -> LinkReport:
        """Raises NotFoundError."""
        found = self._edits.by_id(link_id)
        if found is None:
            raise NotFoundError(f"There is no link {link_id}.")
        texts: dict[str, dict[str, int]] = {"inbound": {}, "outbound": {}}
        for entry in self._ledger.of_link(link_id).entries:
            counts = texts[entry.direction]
            counts[entry.state] = counts.get(entry.state, 0) + 1
        return LinkReport(*found, texts)

    # ------------------------------------------------------------ now

    def plan_case(self, case_id: str) -> Synced:
        """What would be done for one Case, by what is known now; nothing is read from PagerDuty or written."""
        case = self._cases.get_case(case_id)
        link = self._links.of_case(case.id)
        if link is None:
            return Synced(looked_at=1, plans=[self._plan_without_link(case)])
        return Synced(looked_at=1, plans=[self._planned(link)])

    def plan_all(self) -> Synced:
        """The same for all living links; those with nothing to do are only counted."""
        plans: list[Mapping[str, Any]] = []
        looked_at = 0
        for link in self._living():
            if looked_at == MOST_PLANNED or len(plans) == MOST_SHOWN:
                return Synced(looked_at=looked_at, plans=plans, is_cut_short=True)
            looked_at += 1
            try:
                planned = self._planned(link)
            except NotFoundError:
                continue  # The Case went while we were looking.
            if not planned["is_empty"]:
                plans.append(planned)
        return Synced(looked_at=looked_at, plans=plans)

    def sync_case(self, case_id: str) -> Synced:
        """Have one Case's link looked at and its incident read; a Case that no link has yet is only told its plan."""
        case = self._cases.get_case(case_id)
        link = self._links.of_case(case.id)
        if link is None:
            return Synced(looked_at=1, plans=[self._plan_without_link(case)])
        reads = len(self._links.doubt([link.id], CallClass.URGENT.value, RECONCILE))
        self._links.mark_dirty([link.id])
        return Synced([link.id], link.integration_id, reads, 1, [self._planned(link)])

    def sync_all(self) -> Synced:
        """Have every living link looked at; the incidents are compared by pages, as the clock does."""
        link_ids = [link.id for link in self._living()]
        for start in range(0, len(link_ids), LINKS_AT_ONCE):
            self._links.mark_dirty(link_ids[start : start + LINKS_AT_ONCE])
        integration = self._integrations.only()
        return Synced(link_ids, integration.id if integration else None, 0, len(link_ids))

    def _living(self) -> Iterator[Link]:
        integration = self._integrations.only()
        after: str | None = None
        while integration is not None:
            page = self._links.open_links(integration.id, after, LINKS_AT_ONCE)
            yield from page
            if len(page) < LINKS_AT_ONCE:
                return
            after = page[-1].id

    def _planned(self, link: Link) -> Mapping[str, Any]:
        # Without a claim: nothing of this visit is ever recorded.
        visit = self._visits.open(unheld(link))
        comments = self._cases.list_comments(visit.case.id)
        ledger = look_at_comments(visit.link, visit.ledger, comments, visit.policy, self._visits.new_ids())
        return in_words(plan(visit.link, ledger, visit.case, visit.policy, is_fresh=True), visit.link)

    def _plan_without_link(self, case: Case) -> Mapping[str, Any]:
        match = self._router.match(case)
        opens = match.connector if case.status.is_open else None
        on_incident = []
        if opens is not None:
            words = f"through {opens.name} on {opens.service_name}, when the Case changes next"
            on_incident = [{"operation": "open_incident", "detail": words}]
        reason = Reason.NO_LINK if opens else Reason.NO_ROUTE if case.status.is_open else Reason.NOT_OPEN
        return {
            "link_id": None,
            "case": case.name,
            "incident_id": None,
            "state": "none",
            "on_case": [],
            "on_incident": on_incident,
            "settled": {},
            "reasons": {Field.STATUS.value: reason.value},
            "follows": None,
            "ends": None,
            "is_empty": not on_incident,
        }

    # ------------------------------------------------------------ what was refused

    def retry(self, link_id: str, key: str | None, *, who: str) -> Sequence[str]:
        """Try again what was refused, one thing or all; returns what. Raises NotFoundError, ConflictError."""
        link = self._living_link(link_id)
        _chosen(link, key)
        with self._claims.holding(link) as claim:
            visit = self._visits.open(claim)
            keys = _chosen(visit.link, key)
            for each in keys:
                _back(visit, each)
            visit.link = replace(visit.link, attempts=0, failing_since=None)
            visit.log(Direction.OUTBOUND, "retry_parked", Reason.REPLAYED, detail=f"{', '.join(keys)} by {who}")
            self._visits.record(visit)
            self._audit.add(None, who, "retry", f"Case {link.case_name}", {"parked": keys}, None)
        return keys

    def drop(self, link_id: str, key: str, *, who: str) -> None:
        """Let a refusal be: it is no longer shown, and the sides stay as they are. Raises NotFoundError, ConflictError.

        An incident that could not be opened ends the link.
        """
        link = self._living_link(link_id)
        _chosen(link, key)
        with self._claims.holding(link) as claim:
            visit = self._visits.open(claim)
            (key,) = _chosen(visit.link, key)
            words = visit.link.parked[key].detail
            visit.link = replace(visit.link, parked=_without(visit.link, key))
            if key == OPEN:
                visit.end(Reason.REFUSED)
            visit.log(Direction.OUTBOUND, "drop_parked", Reason.REFUSED, outcome=Outcome.IGNORED, detail=words)
            self._visits.record(visit)
            self._audit.add(None, who, "drop", f"Case {link.case_name}", {"parked": [key], "said": words}, None)

    def _living_link(self, link_id: str) -> Link:
        link = self.get(link_id).link
        if link.state is LinkState.ENDED:
            raise ConflictError(f"The link of {link.case_name} has ended ({link.ended_reason}).")
        return link


def _chosen(link: Link, key: str | None) -> list[str]:
    if key is not None and key not in link.parked:
        raise InvalidRequestError(f"{link.case_name} has nothing parked under {ascii(key[:80])[1:-1]}.", "key")
    if not link.parked:
        raise ConflictError(f"Nothing of {link.case_name} is parked.")
    return [key] if key is not None else sorted(link.parked)


def _without(link: Link, key: str) -> dict[str, Any]:
    return {name: parked for name, parked in link.parked.items() if name != key}


def _back(visit: Visit, key: str) -> None:
    """Put one refused thing where it was before it was tried."""
    parked = visit.link.parked[key]
    kind, _, what = key.partition(":")
    if kind == NOTE:
        entry = visit.ledger.by_source("outbound", what)
        if entry is not None and entry.state == "dropped":
            # A note given up on after a lost reply may stand there: its marker is looked for before it is sent.
            visit.put(replace(entry, state="sending", reason=None))
    elif parked.previous is not None:
        visit.link = visit.link.agree(Field(what), parked.previous.case, parked.previous.incident)
    visit.link = replace(visit.link, parked=_without(visit.link, key))
