"""From a Case to its link: which rules match, and through which connector and preset its one incident is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pagerduty_sync.domain.cases import Case, CaseEvent, CaseStatus, CaseSystem
from pagerduty_sync.domain.connectors import Connector, ConnectorPath, Destination, RoutingRule
from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason, outcome_of
from pagerduty_sync.errors import NotFoundError, TemplateError
from pagerduty_sync.handlers.templates import case_context, evaluate
from pagerduty_sync.stores.case_events import CaseEvents
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.links import Links
from pagerduty_sync.stores.routing import Routing


@dataclass(frozen=True, slots=True)
class Match:
    """What the rules say of one Case: who matched, where its incident goes, and which rules could not be read.

    `one_way` are the destinations by service key, which are told of the Case beside any incident of its own.
    """

    rules: Sequence[RoutingRule]
    destination: Destination | None
    connector: Connector | None
    problems: Sequence[str] = ()
    passed_over: Sequence[str] = ()
    one_way: Sequence[tuple[Destination, Connector]] = ()


class Router:
    def __init__(
        self,
        *,
        database: Database,
        cases: CaseSystem,
        case_events: CaseEvents,
        links: Links,
        routing: Routing,
        connectors: Connectors,
        deliveries: Deliveries,
        case_url: str,
        goes_one_way: Callable[[str], bool] = lambda case_id: False,
    ) -> None:
        self._database = database
        self._cases = cases
        self._case_events = case_events
        self._links = links
        self._routing = routing
        self._connectors = connectors
        self._deliveries = deliveries
        self._case_url = case_url
        self._goes_one_way = goes_one_way

    def route(self, case_id: str) -> str | None:
        """The link of a Case that has changed, its own or a new one; None, its reason logged, when it goes nowhere."""
        link = self._links.of_case(case_id)
        if link is not None:
            return link.id
        changes = self._case_events.waiting(case_id)
        if not changes:
            return None
        try:
            case = self._cases.get_case(case_id)
        except NotFoundError:
            self._case_events.mark_handled(None, [change.id for change in changes])
            return None
        if case.status is CaseStatus.PENDING_ACTIVATION:
            return self._pass(case, changes, Reason.WAITS_FOR_ACTIVATION)
        match = self.match(case)
        if match.connector is None and (match.one_way or self._goes_one_way(case.id)):
            # The one-way path looks at the same changes for itself and writes its own rows.
            self._case_events.mark_handled(None, [change.id for change in changes])
            return None
        if not case.status.is_open:
            return self._pass(case, changes, Reason.NOT_OPEN)
        if match.connector is None or match.destination is None:
            return self._pass(case, changes, Reason.NO_ROUTE, "; ".join(match.problems))
        assert match.connector.integration_id is not None and match.connector.service_id is not None
        link, _ = self._links.create(
            case_id=case.id,
            case_name=case.name,
            connector_id=match.connector.id,
            integration_id=match.connector.integration_id,
            preset_id=match.destination.preset_id,
            service_id=match.connector.service_id,
            # Made of the Case alone, so that opening twice finds the first incident.
            incident_key=f"case-{case.id}",
        )
        return link.id

    def match(self, case: Case) -> Match:
        """All rules that are true of this Case; the first bi-directional destination opens its one incident."""
        context = case_context(case, self._case_url.format(name=case.name))
        rules, problems = matching(self._routing.rules("cases"), context)
        chosen: tuple[Destination, Connector] | None = None
        passed_over = []
        one_way: dict[str, tuple[Destination, Connector]] = {}
        for rule in rules:
            for destination in rule.destinations:
                connector = self._connectors.by_id(destination.connector_id)
                if connector is None:
                    continue
                if connector.path is not ConnectorPath.BIDIRECTIONAL:
                    one_way.setdefault(connector.id, (destination, connector))
                elif chosen is None:
                    chosen = (destination, connector)
                elif connector.id != chosen[1].id:
                    passed_over.append(f"{rule.name} → {connector.name}")
        if chosen is None:
            return Match(rules, None, None, problems, one_way=tuple(one_way.values()))
        return Match(rules, *chosen, problems, passed_over, tuple(one_way.values()))

    def _pass(self, case: Case, changes: Sequence[CaseEvent], reason: Reason, detail: str = "") -> str | None:
        """The Case goes nowhere; each of its changes says why. Always None: there is no link."""
        rows = [
            Delivery(
                Direction.OUTBOUND,
                change.kind,
                outcome_of(reason),
                reason,
                detail,
                case_id=case.id,
                case_name=case.name,
                cause=f"case_event:{change.id}",
            )
            for change in changes
        ]
        with self._database.transaction() as conn:
            self._case_events.mark_handled(conn, [change.id for change in changes])
            self._deliveries.add(conn, rows)
        return None


def matching(rules: Sequence[RoutingRule], context: Mapping[str, Any]) -> tuple[list[RoutingRule], list[str]]:
    """The rules that are true of what the context tells, else the fallbacks that are; and those that cannot be read."""
    true: list[RoutingRule] = []
    fallbacks: list[RoutingRule] = []
    problems: list[str] = []
    for rule in rules:
        if not rule.is_enabled:
            continue
        try:
            if not evaluate(rule.condition, context):
                continue
        except TemplateError as exc:
            problems.append(f"rule {rule.name}: {exc}")
            continue
        (fallbacks if rule.is_fallback else true).append(rule)
    return true or fallbacks, problems
