"""Joining a Case with an incident by hand; both sides are told who did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import Actor, Case, CaseStatus, CaseSystem
from pagerduty_sync.domain.connectors import Connector, ConnectorPath, Field, Integration, IntegrationStatus
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.domain.incidents import Incident, IncidentStatus
from pagerduty_sync.domain.links import NOTHING_SEEN, LedgerEntry, Link, LinkState
from pagerduty_sync.domain.mapping import case_priority_value
from pagerduty_sync.domain.observing import look_at_comments, look_at_incident
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.errors import ConflictError, IncidentNotFoundError, InvalidRequestError
from pagerduty_sync.handlers.accounts import banner_of
from pagerduty_sync.handlers.plan_words import in_words
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.leases import unheld
from pagerduty_sync.stores.ledger import LedgerStore
from pagerduty_sync.stores.link_edits import LinkEdits

NO_ID = "00000000-0000-0000-0000-000000000000"
"""Of a link that is not made yet; nobody has it."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The pair, and what comes next of it; with a dry run nothing was written, and the link has no id."""

    link: Link
    plan: Mapping[str, Any]


class Linking:
    def __init__(
        self,
        *,
        database: Database,
        cases: CaseSystem,
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
        self._edits = edits
        self._ledger = ledger
        self._deliveries = deliveries
        self._audit = audit
        self._connectors = connectors
        self._integrations = integrations
        self._visits = visits
        self._client = client
        self._case_url = case_url

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
        visit = self._visits.open(unheld(link))
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
            which = "this connector does not lead there" if connector_id else "no connector leads there"
            raise InvalidRequestError(
                f"Incident {incident.id} is on the service {incident.service_id}, and {which}.", "connector_id"
            )
        return leading[0]


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
