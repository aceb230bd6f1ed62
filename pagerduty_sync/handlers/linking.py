"""Joining a Case with an incident by hand, and taking a pair apart: both sides are told who did it and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import Actor, Case, CaseStatus, CaseSystem
from pagerduty_sync.domain.connectors import Connector, ConnectorPath, Field, Integration, IntegrationStatus
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.domain.incidents import Incident, IncidentStatus
from pagerduty_sync.domain.links import LedgerEntry, Link, LinkState
from pagerduty_sync.domain.mapping import case_priority_value
from pagerduty_sync.domain.observing import look_at_comments, look_at_incident
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.errors import ConflictError, IncidentNotFoundError, InvalidRequestError, NotFoundError, PagerDutyError
from pagerduty_sync.handlers.accounts import banner_of
from pagerduty_sync.handlers.incident_side import text_of
from pagerduty_sync.handlers.plan_words import in_words
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.ledger import LedgerStore
from pagerduty_sync.stores.link_edits import NOTHING_SEEN, LinkEdits
from pagerduty_sync.stores.links import Claim, Links

LONGEST_REASON = 1_000
NO_ID = "00000000-0000-0000-0000-000000000000"
"""Of a link that is not made yet; nobody has it."""
UNLINKED = "unlinked:"

CLAIM_TRIES, CLAIM_PAUSE_SECONDS, GIVE_BACK_SECONDS = 20, 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Linked:
    """The pair, and what comes next of it; with a dry run nothing was written, and the link has no id."""

    link: Link
    plan: Mapping[str, Any]


class Claims:
    """Links taken by an operator, as a worker takes them: nobody else works on them meanwhile."""

    def __init__(self, links: Links, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._links = links
        self._sleep = sleep

    @contextmanager
    def holding(self, link: Link) -> Iterator[Claim]:
        """Hold a link and have it looked at afterwards; raises ConflictError while a worker keeps it."""
        claim = self._claimed(link)
        try:
            yield claim
        except BaseException:
            self._links.give_back(claim, GIVE_BACK_SECONDS)
            raise
        # The look that follows finds out what is due now.
        self._links.mark_dirty([link.id])
        self._links.release(claim, None)

    def _claimed(self, link: Link) -> Claim:
        for _ in range(CLAIM_TRIES):
            claim = self._links.claim(link.id)
            if claim is not None:
                return claim
            self._sleep(CLAIM_PAUSE_SECONDS)
        raise ConflictError(f"The link of {link.case_name} is being worked on; try again in a moment.")


class Linking:
    def __init__(
        self,
        *,
        database: Database,
        cases: CaseSystem,
        claims: Claims,
        edits: LinkEdits,
        ledger: LedgerStore,
        deliveries: Deliveries,
        audit: Audit,
        connectors: Connectors,
        integrations: Integrations,
        visits: Visits,
        client: Callable[[str], PagerDutyClient],
        case_url: Callable[[str], str],
    ) -> None:
        self._database = database
        self._cases = cases
        self._claims = claims
        self._edits = edits
        self._ledger = ledger
        self._deliveries = deliveries
        self._audit = audit
        self._connectors = connectors
        self._integrations = integrations
        self._visits = visits
        self._client = client
        self._case_url = case_url

    # ------------------------------------------------------------ together

    def link(
        self,
        case_id: str,
        incident_id: str,
        *,
        actor: Actor,
        who: str,
        connector_id: str | None = None,
        is_dry_run: bool = False,
    ) -> Linked:
        """Make a pair of a Case and an incident that is there already; whatever got further counts from then on.

        Without a connector, the one that leads to the incident's service. Raises NotFoundError for the Case,
        InvalidRequestError naming the field, ConflictError, LinkConflictError when one of them has a pair, and any
        PagerDutyError.
        """
        case = self._cases.get_case(case_id)
        if case.status is CaseStatus.CLOSED:
            raise ConflictError(f"{case.name} is CLOSED, so nothing can be kept in step with it.")
        integration = self._connected()
        incident = self._incident(integration, texts.clean(incident_id, "incident_id", 200))
        connector = self._connector(incident, connector_id)
        link = _new_link(case, incident, connector, integration)
        visit = self._visits.open(Claim(link, ""))
        agreed = visit.policy.priority_map.get(case.priority) if visit.policy.allows_out(Field.PRIORITY) else None
        # As with an incident found under our key: it began as triggered, and what it is by now moves on from there.
        link = link.agree(Field.STATUS, CaseStatus.ACTIVE.value, IncidentStatus.TRIGGERED.value)
        link = link.agree(Field.PRIORITY, case_priority_value(case), agreed)
        if not is_dry_run:
            link = self._adopt(link, visit, incident, actor, who)
        comments = self._cases.list_comments(case.id)
        ledger = look_at_comments(link, visit.ledger, comments, visit.policy, self._visits.new_ids())
        planned = plan(link, ledger, case, visit.policy, is_fresh=True)
        return Linked(link, in_words(planned, replace(link, id="") if is_dry_run else link))

    def _adopt(self, link: Link, visit: Visit, incident: Incident, actor: Actor, who: str) -> Link:
        key = f"linked:{incident.id}:{self._visits.new_id()}"
        told = f"Linked with PagerDuty incident #{incident.number}: {incident.html_url}"
        entries = [LedgerEntry(self._visits.new_id(), "inbound", "story", key, actor, told)]
        if visit.policy.allows_out(Field.COMMENTS):
            told = f"This incident is kept in step with {link.case_name} from now on: {self._case_url(link.case_name)}"
            entries.append(LedgerEntry(self._visits.new_id(), "outbound", "story", key, actor, told))
        with self._database.transaction() as conn:
            made = self._edits.adopt(conn, link)
            self._ledger.record(conn, made.id, entries)
            self._deliveries.add(conn, [_delivery(made, "link_incident", Reason.ADOPTED, f"by {who}")])
            facts = {"incident_id": incident.id, "number": incident.number}
            self._audit.add(conn, who, "link", f"Case {link.case_name}", None, facts)
        return made

    def _connected(self) -> Integration:
        integration = self._integrations.only()
        if integration is None or integration.status in (
            IntegrationStatus.DISCONNECTED,
            IntegrationStatus.CONNECTING,
        ):
            raise ConflictError(banner_of(integration))
        return integration

    def _incident(self, integration: Integration, incident_id: str) -> Incident:
        try:
            incident = self._client(integration.id).get_incident(incident_id)
        except IncidentNotFoundError:
            shown = ascii(incident_id[:80])[1:-1]
            raise InvalidRequestError(f"The account has no incident {shown}.", "incident_id") from None
        if incident.merged_into:
            raise InvalidRequestError(
                f"Incident {incident.id} was merged into {incident.merged_into}; link that one.", "incident_id"
            )
        return incident

    def _connector(self, incident: Incident, connector_id: str | None) -> Connector:
        leading = [
            one
            for one in self._connectors.list_all()
            if one.path is ConnectorPath.BIDIRECTIONAL and one.service_id == incident.service_id
        ]
        if connector_id is not None:
            leading = [one for one in leading if one.id == connector_id]
        if not leading:
            which = "this connector does not lead to" if connector_id else "no connector leads to"
            raise InvalidRequestError(
                f"Incident {incident.id} is on the service {incident.service_id}, which {which}.".replace(
                    "which this connector does not lead to", "to which this connector does not lead"
                ),
                "connector_id",
            )
        return leading[0]

    # ------------------------------------------------------------ apart

    def unlink(self, link_id: str, reason: str, *, actor: Actor, who: str) -> Sequence[str]:
        """End a pair and say so on both sides; returns warnings. The Case opens no second incident afterwards.

        Raises NotFoundError, ConflictError, InvalidRequestError. What PagerDuty does not take is a warning.
        """
        reason = texts.clean(reason, "reason", LONGEST_REASON)
        found = self._edits.by_id(link_id)
        if found is None:
            raise NotFoundError(f"There is no link {link_id}.")
        link, _ = found
        if link.state is LinkState.ENDED:
            raise ConflictError(f"The link of {link.case_name} has ended already ({link.ended_reason}).")
        with self._claims.holding(link) as claim:
            visit = self._visits.open(claim)
            if visit.link.state is LinkState.OPENING and visit.link.is_open_attempted:
                raise ConflictError(f"The incident of {link.case_name} is being opened; try again in a moment.")
            warnings = self._tell_both(visit, actor, reason)
            visit.end(Reason.UNLINKED)
            visit.log(Direction.OUTBOUND, "unlink_incident", Reason.UNLINKED, detail=f"by {who}: {reason}")
            self._visits.record(visit)
            facts = {"incident_id": link.incident_id}, {"reason": reason}
            self._audit.add(None, who, "unlink", f"Case {link.case_name}", *facts)
        return warnings

    def _tell_both(self, visit: Visit, actor: Actor, reason: str) -> list[str]:
        begun = [e for e in visit.ledger.entries if e.source_id.startswith(UNLINKED) and e.state == "sending"]
        new_id = self._visits.new_id()
        entry = begun[0] if begun else _farewell(new_id, actor, reason)
        visit.put(entry)
        # On record before anything is told, so that a second try finds the first one's words.
        self._visits.record(visit)
        number = f"#{visit.link.incident_number}" if visit.link.incident_number else "of this Case"
        text = f"Unlinked from PagerDuty incident {number}: {reason}"
        self._cases.place_comment(visit.case.id, actor, text, entry.source_id)
        if visit.link.incident_id is None:
            visit.put(replace(entry, state="dropped", reason=Reason.UNLINKED))
            return []
        try:
            note_id = self._post(visit, entry, visit.link.incident_id, is_second_try=bool(begun))
        except PagerDutyError as exc:
            visit.put(replace(entry, state="dropped", reason=Reason.UNAVAILABLE))
            visit.log(
                Direction.OUTBOUND, "post_note", Reason.UNAVAILABLE, outcome=Outcome.FAILED, detail=str(exc)
            )
            return [f"The incident was not told: {exc}."]
        visit.put(replace(entry, state="placed", remote_id=note_id))
        visit.log(Direction.OUTBOUND, "post_note", Reason.APPLIED)
        return []

    def _post(self, visit: Visit, entry: LedgerEntry, incident_id: str, *, is_second_try: bool) -> str:
        client = self._client(visit.link.integration_id)
        if is_second_try:
            standing = [note for note in client.list_notes(incident_id) if note.text.rstrip().endswith(entry.marker)]
            if standing:
                return standing[0].id
        return client.create_note(incident_id, text_of(entry, visit.link.case_name)).id


def _farewell(new_id: str, actor: Actor, reason: str) -> LedgerEntry:
    text = f"This incident is no longer kept in step with its Case: {reason}"
    return LedgerEntry(new_id, "outbound", "story", f"{UNLINKED}{new_id}", actor, text, "sending")


def _new_link(case: Case, incident: Incident, connector: Connector, integration: Integration) -> Link:
    link = Link(
        id=NO_ID,
        case_id=case.id,
        case_name=case.name,
        connector_id=connector.id,
        integration_id=integration.id,
        service_id=incident.service_id,
        incident_key=f"case-{case.id}",
        state=LinkState.LINKED,
        pictures=NOTHING_SEEN,
        incident_id=incident.id,
        # People may have written notes while nobody knew the incident as ours.
        wants_notes=True,
    )
    return look_at_incident(link, incident)[0]


def _delivery(link: Link, operation: str, reason: Reason, detail: str) -> Delivery:
    return Delivery(
        Direction.OUTBOUND,
        operation,
        Outcome.DELIVERED,
        reason,
        detail,
        case_id=link.case_id,
        case_name=link.case_name,
        incident_id=link.incident_id or "",
        link_id=link.id,
        connector_id=link.connector_id,
        integration_id=link.integration_id,
    )
