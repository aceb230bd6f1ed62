"""What the last real events of a connector would have led to under other settings. Reads, plans, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pagerduty_sync.domain.cases import Case, CasePriority, CaseSystem
from pagerduty_sync.domain.connectors import Connector, ConnectorPath, Field, FieldDirection, Policy
from pagerduty_sync.domain.deliveries import Direction
from pagerduty_sync.domain.linting import lint
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, PayloadError
from pagerduty_sync.handlers import what_if
from pagerduty_sync.handlers.what_if import Outcome
from pagerduty_sync.pagerduty.schemas import parse_event
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.recent_events import RecentEvents


@dataclass(frozen=True, slots=True)
class Previewed:
    """One past event, and what it leads to now and would lead to then."""

    at: datetime
    direction: Direction
    event: str
    case: str
    incident_id: str
    now: Outcome
    then: Outcome

    @property
    def is_different(self) -> bool:
        return self.now != self.then


class MappingPreview:
    def __init__(
        self,
        *,
        recent: RecentEvents,
        cases: CaseSystem,
        integrations: Integrations,
        unacknowledges_cases: bool,
        posts_resolution_notes: bool,
    ) -> None:
        self._recent = recent
        self._cases = cases
        self._integrations = integrations
        self._unacknowledges_cases = unacknowledges_cases
        self._posts_resolution_notes = posts_resolution_notes

    def of(
        self,
        connector: Connector,
        *,
        directions: Mapping[Field, FieldDirection],
        priority_map: Mapping[CasePriority, str] | None,
        last: int,
    ) -> Mapping[str, object]:
        """The last events under these settings, newest first, with remarks on the settings. Directions left out stay.

        Raises InvalidRequestError for a connector that has no settings of this kind.
        """
        if connector.path is not ConnectorPath.BIDIRECTIONAL:
            raise InvalidRequestError(f"A connector with the path {connector.path} maps nothing.", "id")
        integration = self._integrations.only()
        now = Policy(
            connector.directions,
            connector.priority_map,
            is_two_way=integration.is_two_way if integration else False,
            unacknowledges_cases=self._unacknowledges_cases,
            posts_resolution_notes=self._posts_resolution_notes,
        )
        table = connector.priority_map if priority_map is None else priority_map
        then = replace(now, directions={**connector.directions, **directions}, priority_map=table)
        events = self._events(connector.id, now, then, last)
        return {
            "findings": lint(table, then.directions, integration.priorities if integration else ()),
            "premise": what_if.PREMISE,
            "different": sum(one.is_different for one in events),
            "events": events,
        }

    def _events(self, connector_id: str, now: Policy, then: Policy, last: int) -> list[Previewed]:
        cases = _Known(self._cases)
        found = [
            *self._webhooks(connector_id, cases, now, then, last),
            *self._changes(connector_id, cases, now, then, last),
        ]
        return sorted(found, key=lambda one: one.at, reverse=True)[:last]

    def _webhooks(self, connector_id: str, cases: _Known, now: Policy, then: Policy, last: int) -> list[Previewed]:
        found = []
        for row in self._recent.webhooks(connector_id, last):
            case = cases.get(row.case_id)
            try:
                event = parse_event(row.body)
            except PayloadError:
                continue
            if case is None or event.incident_id is None:
                continue
            outcomes = what_if.of_webhook(event, case, now), what_if.of_webhook(event, case, then)
            found.append(
                Previewed(
                    event.occurred_at, Direction.INBOUND, event.event_type, case.name, event.incident_id, *outcomes
                )
            )
        return found

    def _changes(self, connector_id: str, cases: _Known, now: Policy, then: Policy, last: int) -> list[Previewed]:
        found = []
        for row in self._recent.changes(connector_id, last):
            case = cases.get(row.case_id)
            if case is None:
                continue
            outcomes = what_if.of_change(row, case, now, now), what_if.of_change(row, case, then, now)
            found.append(Previewed(row.occurred_at, Direction.OUTBOUND, row.kind, case.name, "", *outcomes))
        return found


class _Known:
    """Cases, each read once; None for one that is gone."""

    def __init__(self, cases: CaseSystem) -> None:
        self._cases = cases
        self._known: dict[str, Case | None] = {}

    def get(self, case_id: str) -> Case | None:
        if case_id not in self._known:
            try:
                self._known[case_id] = self._cases.get_case(case_id)
            except NotFoundError:
                self._known[case_id] = None
        return self._known[case_id]
