"""Bi-directional connectors: checked against the account, stored, and audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import (
    Connector,
    Field,
    FieldDirection,
    Integration,
)
from pagerduty_sync.domain.incidents import Service
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.handlers.account_choices import (
    chosen_service,
    default_priority_map,
    require_known,
    warnings_about,
)
from pagerduty_sync.pagerduty.client import PagerDutyClient
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.integrations import Integrations

LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class NewConnector:
    """A connector just made, with sentences about what it will not do as one might expect."""

    connector: Connector
    warnings: Sequence[str]


class Configuration:
    """The use cases of whoever sets the sync up. `who` goes to the audit; names are unique per kind."""

    def __init__(
        self,
        *,
        database: Database,
        integrations: Integrations,
        connectors: Connectors,
        audit: Audit,
        client: Callable[[str], PagerDutyClient],
    ) -> None:
        self._database = database
        self._integrations = integrations
        self._connectors = connectors
        self._audit = audit
        self._client = client

    # ------------------------------------------------------------ connectors

    def services(self, query: str | None = None) -> list[Service]:
        """The account's services, or those whose name contains `query`; InvalidRequestError without an account."""
        return self._client(self._integration().id).list_services(query)

    def create_connector(
        self,
        name: str,
        service: str,
        *,
        who: str,
        directions: Mapping[Field, FieldDirection] | None = None,
        priority_map: Mapping[CasePriority, str] | None = None,
    ) -> NewConnector:
        """A bi-directional connector to the service with this id or name.

        Without a map, priorities pair by name where the account uses ours, else by order of severity. Raises
        InvalidRequestError, naming the field, and any PagerDutyError.
        """
        name = texts.clean(name, "name", LONGEST_NAME)
        integration = self._integration()
        if self._connectors.by_name(name):
            raise InvalidRequestError(f"There is a connector named {name} already.", "name")
        found = chosen_service(self._client(integration.id).list_services(), service)
        table = dict(default_priority_map(integration.priorities) if priority_map is None else priority_map)
        require_known(table, integration.priorities)
        with self._database.transaction() as conn:
            made = self._connectors.create_bidirectional(
                name,
                integration.id,
                found.id,
                found.name,
                directions={each: (directions or {}).get(each, FieldDirection.BOTH) for each in Field},
                priority_map=table,
                connection=conn,
            )
            self._audit.add(conn, who, "create", f"connector {name}", None, facts_of(made))
        return NewConnector(made, warnings_about(made, found, integration.priorities))

    def update_connector(
        self,
        name: str,
        *,
        who: str,
        directions: Mapping[Field, FieldDirection] | None = None,
        priority_map: Mapping[CasePriority, str] | None = None,
    ) -> Connector:
        """Change directions, field by field, or replace the priority map; raises NotFoundError, InvalidRequestError."""
        if priority_map is not None:
            require_known(priority_map, self._integration().priorities)
        with self._database.transaction() as conn:
            before = self._connectors.by_name(name, conn)
            if before is None:
                raise NotFoundError(f"There is no connector named {name}.")
            merged = None if directions is None else {**before.directions, **directions}
            after = self._connectors.update(before.id, directions=merged, priority_map=priority_map, connection=conn)
            if after != before:
                self._audit.add(conn, who, "update", f"connector {name}", facts_of(before), facts_of(after))
        return after

    def _integration(self) -> Integration:
        integration = self._integrations.only()
        if integration is None:
            raise InvalidRequestError("No PagerDuty account is connected; run `pagerduty-sync connect` first.")
        return integration


def facts_of(connector: Connector) -> dict[str, object]:
    """What the audit keeps of a connector."""
    return {
        "path": connector.path.value,
        "service_id": connector.service_id,
        "service_name": connector.service_name,
        "directions": {name.value: direction.value for name, direction in connector.directions.items()},
        "priority_map": {name.value: id_ for name, id_ in connector.priority_map.items()},
    }
