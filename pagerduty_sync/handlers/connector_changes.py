"""Connectors as administrators keep them: how each stands, and what may be changed of it after it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import (
    Connector,
    ConnectorPath,
    Field,
    FieldDirection,
    Integration,
    IntegrationStatus,
)
from pagerduty_sync.domain.linting import Finding, lint
from pagerduty_sync.errors import (
    ConflictError,
    IncidentNotFoundError,
    InvalidRequestError,
    NotFoundError,
    PagerDutyError,
)
from pagerduty_sync.handlers.accounts import banner_of, checked_name
from pagerduty_sync.handlers.configuration import facts_of
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connector_edits import ConnectorEdits, KeyEnd
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.routing import Routing

ONE_WAY = "one_way"


@dataclass(frozen=True, slots=True)
class ConnectorStanding:
    """A connector, whether it works now (`state`) and in words why not (`banner`), and remarks on its settings."""

    connector: Connector
    key: KeyEnd
    state: str
    banner: str
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class ConnectorTest:
    """Whether the path works as far as can be told without paging anybody, and what PagerDuty said."""

    is_working: bool
    said: str


class ConnectorChanges:
    def __init__(
        self,
        *,
        database: Database,
        integrations: Integrations,
        connectors: Connectors,
        edits: ConnectorEdits,
        routing: Routing,
        audit: Audit,
        client: Callable[[str], PagerDutyClient],
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._connectors = connectors
        self._edits = edits
        self._routing = routing
        self._audit = audit
        self._client = client

    # ------------------------------------------------------------ reading

    def all(self) -> list[ConnectorStanding]:
        """Every connector as it stands, by name."""
        integration, keys = self._integrations.only(), self._edits.key_ends()
        return [_standing(one, keys, integration) for one in self._connectors.list_all()]

    def get(self, connector_id: str) -> ConnectorStanding:
        """Raises NotFoundError."""
        return _standing(self.required(connector_id), self._edits.key_ends(), self._integrations.only())

    def required(self, connector_id: str) -> Connector:
        """Raises NotFoundError."""
        connector = self._connectors.by_id(connector_id)
        if connector is None:
            raise NotFoundError(f"There is no connector {connector_id}.")
        return connector

    def findings(
        self, table: Mapping[CasePriority, str], directions: Mapping[Field, FieldDirection]
    ) -> Sequence[Finding]:
        """What there is to say about settings that are not saved yet."""
        integration = self._integrations.only()
        return lint(table, directions, integration.priorities if integration else ())

    # ------------------------------------------------------------ changing

    def create_service_key(self, name: str, routing_key: str, *, who: str) -> Connector:
        """A one-way connector; raises InvalidRequestError for a name in use."""
        with self._database.transaction() as conn:
            made = self._connectors.create_service_key(checked_name(name), routing_key.strip(), connection=conn)
            self._audit.add(conn, who, "create", f"connector {made.name}", None, facts_of(made))
        return made

    def update(
        self,
        connector_id: str,
        *,
        who: str,
        name: str | None = None,
        directions: Mapping[Field, FieldDirection] | None = None,
        priority_map: Mapping[CasePriority, str] | None = None,
        routing_key: str | None = None,
    ) -> ConnectorStanding:
        """Change what is given; directions field by field, the priority map as a whole.

        Raises NotFoundError, and InvalidRequestError, naming the field, for what this path does not have.
        """
        before = self.required(connector_id)
        self._require_fitting(before, directions, priority_map, routing_key)
        with self._database.transaction() as conn:
            if name is not None and checked_name(name) != before.name:
                if self._connectors.by_name(checked_name(name), conn):
                    raise InvalidRequestError(f"There is a connector named {checked_name(name)} already.", "name")
                self._edits.rename(connector_id, checked_name(name), conn)
            if routing_key is not None:
                self._edits.replace_routing_key(connector_id, routing_key.strip(), conn)
            merged = None if directions is None else {**before.directions, **directions}
            after = self._connectors.update(connector_id, directions=merged, priority_map=priority_map, connection=conn)
            facts = {"name": before.name, **facts_of(before)}, {"name": after.name, **facts_of(after)}
            if routing_key is not None:
                facts[1]["routing_key"] = "replaced"
            if facts[0] != facts[1]:
                self._audit.add(conn, who, "update", f"connector {after.name}", *facts)
        return self.get(connector_id)

    def delete(self, connector_id: str, *, who: str) -> None:
        """Raises NotFoundError, and ConflictError while rules lead to it or Cases are linked through it."""
        connector = self.required(connector_id)
        names = self._routing.rule_names_using(connector_id)
        if names:
            raise ConflictError(f"The connector {connector.name} is used by the rules {', '.join(names)}.")
        links = self._edits.count_links(connector_id)
        if links:
            raise ConflictError(
                f"{links} Cases are, or were, linked through the connector {connector.name}, and what happened there "
                "stays on record. It takes part in nothing new as long as no rule leads to it."
            )
        with self._database.transaction() as conn:
            self._connectors.delete(connector_id, conn)
            self._audit.add(conn, who, "delete", f"connector {connector.name}", facts_of(connector), None)

    def test(self, connector_id: str) -> ConnectorTest:
        """Read the service behind a bi-directional connector, which pages nobody; raises NotFoundError."""
        connector = self.required(connector_id)
        if connector.integration_id is None or connector.service_id is None:
            raise InvalidRequestError(f"The connector {connector.name} has no service to read.", "id")
        try:
            service = self._client(connector.integration_id).get_service(connector.service_id)
        except IncidentNotFoundError:
            return ConnectorTest(False, f"PagerDuty has no service {connector.service_name} ({connector.service_id}).")
        except PagerDutyError as exc:
            return ConnectorTest(False, str(exc))
        if service.status == "disabled":
            return ConnectorTest(False, f"The service {service.name} is disabled, so it opens no incidents.")
        return ConnectorTest(True, f"PagerDuty answers: the service {service.name} is {service.status}.")

    def _require_fitting(
        self,
        connector: Connector,
        directions: Mapping[Field, FieldDirection] | None,
        priority_map: Mapping[CasePriority, str] | None,
        routing_key: str | None,
    ) -> None:
        is_two_way = connector.path is ConnectorPath.BIDIRECTIONAL
        odd = {
            "directions": directions is not None and not is_two_way,
            "priority_map": priority_map is not None and not is_two_way,
            "routing_key": routing_key is not None and is_two_way,
        }
        for field, is_odd in odd.items():
            if is_odd:
                raise InvalidRequestError(f"A connector with the path {connector.path} has no {field}.", field)
        for finding in self.findings(priority_map or {}, {}):
            if finding.level == "error":
                raise InvalidRequestError(finding.message, finding.field)


def _standing(connector: Connector, keys: Mapping[str, KeyEnd], integration: Integration | None) -> ConnectorStanding:
    key = keys.get(connector.id, KeyEnd(False, ""))
    if connector.path is ConnectorPath.SERVICE_KEY:
        return ConnectorStanding(connector, key, ONE_WAY, "", ())
    banner = banner_of(integration)
    if not banner and integration is not None and not integration.is_two_way:
        banner = "Two-way sync is switched off: Cases reach PagerDuty, and nothing comes back."
    state = integration.status.value if integration else IntegrationStatus.DISCONNECTED.value
    priorities = integration.priorities if integration else ()
    return ConnectorStanding(
        connector, key, state, banner, lint(connector.priority_map, connector.directions, priorities)
    )
