"""Connectors: the path a routed Case takes. A routing key is stored encrypted and leaves only through `routing_key`."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import Connector, ConnectorPath, Field, FieldDirection, Integration
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.integrations import integration_of
from pagerduty_sync.stores.secrets import SecretBox


class Connectors:
    """The connectors table. An id that is none of ours is found by nobody, never an error of the database."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def create_bidirectional(
        self,
        name: str,
        integration_id: str,
        service_id: str,
        service_name: str,
        *,
        directions: Mapping[Field, FieldDirection] | None = None,
        priority_map: Mapping[CasePriority, str] | None = None,
        connection: Connection | None = None,
    ) -> Connector:
        """A connector to one service of the integration; raises InvalidRequestError for a name in use."""
        return self._insert(
            {
                "name": name,
                "path": ConnectorPath.BIDIRECTIONAL,
                "integration_id": integration_id,
                "service_id": service_id,
                "service_name": service_name,
                "routing_key": None,
                "last4": None,
                "directions": Jsonb(dict(directions or {})),
                "priority_map": Jsonb(dict(priority_map or {})),
            },
            connection,
        )

    def create_service_key(self, name: str, routing_key: str, connection: Connection | None = None) -> Connector:
        """A one-way connector with an Events API routing key; raises InvalidRequestError for a name in use."""
        return self._insert(
            {
                "name": name,
                "path": ConnectorPath.SERVICE_KEY,
                "integration_id": None,
                "service_id": None,
                "service_name": "",
                "routing_key": self._box.encrypt(routing_key),
                "last4": routing_key[-4:] if len(routing_key) >= 16 else "",
                "directions": Jsonb({}),
                "priority_map": Jsonb({}),
            },
            connection,
        )

    def list_all(self) -> list[Connector]:
        """Every connector, by name."""
        with self._database.transaction() as conn:
            return [connector_of(row) for row in conn.execute("SELECT * FROM connectors ORDER BY name")]

    def by_id(self, connector_id: str, connection: Connection | None = None) -> Connector | None:
        with self._database.joined(connection) as conn:
            row = conn.execute("SELECT * FROM connectors WHERE id::text = %(id)s", {"id": connector_id}).fetchone()
        return connector_of(row) if row else None

    def by_name(self, name: str, connection: Connection | None = None) -> Connector | None:
        with self._database.joined(connection) as conn:
            row = conn.execute("SELECT * FROM connectors WHERE name = %(name)s", {"name": name}).fetchone()
        return connector_of(row) if row else None

    def names_using(self, integration_id: str, connection: Connection | None = None) -> list[str]:
        """The names of the connectors that go through this integration."""
        with self._database.joined(connection) as conn:
            rows = conn.execute(
                "SELECT name FROM connectors WHERE integration_id::text = %(id)s ORDER BY name", {"id": integration_id}
            ).fetchall()
        return [row["name"] for row in rows]

    def with_integration(self, connector_id: str) -> tuple[Connector, Integration]:
        """A bi-directional connector and the account behind it; raises NotFoundError when there is none such."""
        with self._database.transaction() as conn:
            connector = self.by_id(connector_id, conn)
            wanted = connector.integration_id if connector else None
            row = conn.execute("SELECT * FROM integrations WHERE id = %(id)s", {"id": wanted}).fetchone()
        if connector is None or row is None:
            raise NotFoundError(f"There is no bi-directional connector {ascii(connector_id[:64])[1:-1]}.")
        return connector, integration_of(row)

    def routing_key(self, connector_id: str) -> str:
        """The routing key in clear; raises NotFoundError for a connector without one, SecretError."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT routing_key_encrypted AS token FROM connectors WHERE id::text = %(id)s", {"id": connector_id}
            ).fetchone()
        if row is None or row["token"] is None:
            raise NotFoundError(f"There is no service-key connector {ascii(connector_id[:64])[1:-1]}.")
        return self._box.decrypt(row["token"])

    def update(
        self,
        connector_id: str,
        *,
        directions: Mapping[Field, FieldDirection] | None = None,
        priority_map: Mapping[CasePriority, str] | None = None,
        connection: Connection | None = None,
    ) -> Connector:
        """Replace what is given, leave the rest; the path and the service stay. Raises NotFoundError."""
        with self._database.joined(connection) as conn:
            row = conn.execute(
                """
                UPDATE connectors
                SET directions = coalesce(%(directions)s, directions),
                    priority_map = coalesce(%(priority_map)s, priority_map)
                WHERE id::text = %(id)s
                RETURNING *
                """,
                {
                    "id": connector_id,
                    "directions": None if directions is None else Jsonb(dict(directions)),
                    "priority_map": None if priority_map is None else Jsonb(dict(priority_map)),
                },
            ).fetchone()
        if row is None:
            raise NotFoundError(f"There is no connector {ascii(connector_id[:64])[1:-1]}.")
        return connector_of(row)

    def delete(self, connector_id: str, connection: Connection | None = None) -> None:
        """Forget a connector; raises ConstraintError while a rule or a link uses it."""
        with self._database.joined(connection) as conn:
            conn.execute("DELETE FROM connectors WHERE id::text = %(id)s", {"id": connector_id})

    def _insert(self, columns: Mapping[str, object], connection: Connection | None) -> Connector:
        with self._database.joined(connection) as conn:
            row = conn.execute(
                """
                INSERT INTO connectors (name, path, integration_id, service_id, service_name, routing_key_encrypted,
                                        routing_key_last4, directions, priority_map)
                VALUES (%(name)s, %(path)s, %(integration_id)s, %(service_id)s, %(service_name)s, %(routing_key)s,
                        %(last4)s, %(directions)s, %(priority_map)s)
                ON CONFLICT (name) DO NOTHING
                RETURNING *
                """,
                columns,
            ).fetchone()
        if row is None:
            raise InvalidRequestError(f"There is a connector named {columns['name']} already.", "name")
        return connector_of(row)


def connector_of(row: DictRow) -> Connector:
    return Connector(
        id=str(row["id"]),
        name=row["name"],
        path=ConnectorPath(row["path"]),
        integration_id=str(row["integration_id"]) if row["integration_id"] else None,
        service_id=row["service_id"],
        service_name=row["service_name"],
        directions={Field(name): FieldDirection(value) for name, value in row["directions"].items()},
        priority_map={CasePriority(name): value for name, value in row["priority_map"].items()},
    )
