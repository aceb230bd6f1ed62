"""Connectors as administrators keep them: how each stands, and what may be changed of it after it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pagerduty_sync.domain import texts
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
from pagerduty_sync.errors import ConflictError, InvalidRequestError, NotFoundError, TemplateError
from pagerduty_sync.handlers import templates
from pagerduty_sync.handlers.accounts import banner_of, checked_name
from pagerduty_sync.handlers.configuration import facts_of
from pagerduty_sync.pagerduty.events import checked_routing_key
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connector_edits import ConnectorEdits, KeyEnd
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.routing import Routing

ONE_WAY = "one_way"
LONGEST_KEY_TEMPLATE = 20_000


@dataclass(frozen=True, slots=True)
class ConnectorStanding:
    """A connector, whether it works now (`state`) and in words why not (`banner`), and remarks on its settings."""

    connector: Connector
    key: KeyEnd
    state: str
    banner: str
    findings: Sequence[Finding]


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
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._connectors = connectors
        self._edits = edits
        self._routing = routing
        self._audit = audit

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

    def update(
        self,
        connector_id: str,
        *,
        who: str,
        name: str | None = None,
        directions: Mapping[Field, FieldDirection] | None = None,
        priority_map: Mapping[CasePriority, str] | None = None,
        routing_key: str | None = None,
        key_template: str | None = None,
    ) -> ConnectorStanding:
        """Change what is given; directions field by field, the priority map as a whole.

        Raises NotFoundError, and InvalidRequestError, naming the field, for what this path does not have.
        """
        before = self.required(connector_id)
        given = {
            "directions": directions,
            "priority_map": priority_map,
            "routing_key": routing_key,
            "key_template": key_template,
        }
        _require_fitting(before, given)
        for finding in self.findings(priority_map or {}, {}):
            if finding.level == "error":
                raise InvalidRequestError(finding.message, finding.field)
        key, template = _checked_key(routing_key), _checked_template(key_template)
        with self._database.transaction() as conn:
            if name is not None and checked_name(name) != before.name:
                if self._connectors.by_name(checked_name(name), conn):
                    raise InvalidRequestError(f"There is a connector named {checked_name(name)} already.", "name")
                self._edits.rename(connector_id, checked_name(name), conn)
            ends = self._edits.key_ends(conn).get(connector_id)
            if key or template:
                self._edits.update_service_key(connector_id, key, template, conn)
            merged = None if directions is None else {**before.directions, **directions}
            after = self._connectors.update(connector_id, directions=merged, priority_map=priority_map, connection=conn)
            facts = _facts(before, ends), _facts(after, self._edits.key_ends(conn).get(connector_id))
            if facts[0] != facts[1] or key:
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


OF_PATH = {
    "directions": ConnectorPath.BIDIRECTIONAL,
    "priority_map": ConnectorPath.BIDIRECTIONAL,
    "routing_key": ConnectorPath.SERVICE_KEY,
    "key_template": ConnectorPath.SERVICE_KEY,
}


def _require_fitting(connector: Connector, given: Mapping[str, object]) -> None:
    for field, value in given.items():
        if value is not None and OF_PATH[field] is not connector.path:
            raise InvalidRequestError(f"A connector with the path {connector.path} has no {field}.", field)


def _checked_key(routing_key: str | None) -> str | None:
    return None if routing_key is None else checked_routing_key(routing_key.strip())


def _checked_template(key_template: str | None) -> str | None:
    if key_template is None:
        return None
    try:
        templates.check_template(texts.clean(key_template, "key_template", LONGEST_KEY_TEMPLATE))
    except TemplateError as exc:
        raise InvalidRequestError(f"The routing key's template has an error: {exc}.", "key_template") from exc
    return key_template.strip()


def _facts(connector: Connector, key: KeyEnd | None) -> dict[str, object]:
    ends = {"routing_key": f"…{key.last4}" if key.is_set else None, "key_template": key.template} if key else {}
    return {"name": connector.name, **facts_of(connector), **ends}


def _standing(connector: Connector, keys: Mapping[str, KeyEnd], integration: Integration | None) -> ConnectorStanding:
    key = keys.get(connector.id, KeyEnd())
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
