"""Changes of connectors after they were made, and what their lists show. The path and the service never change."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.secrets import SecretBox


@dataclass(frozen=True, slots=True)
class KeyEnd:
    """Whether a connector holds a routing key, and how that ends: all that anybody is shown of it."""

    is_set: bool
    last4: str


class ConnectorEdits:
    """The connectors table, as administrators change it."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def key_ends(self) -> dict[str, KeyEnd]:
        """What may be shown of every connector's routing key, by connector id."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                "SELECT id, routing_key_encrypted IS NOT NULL AS is_set, routing_key_last4 AS last4 FROM connectors"
            ).fetchall()
        return {str(row["id"]): KeyEnd(row["is_set"], row["last4"] or "") for row in rows}

    def rename(self, connector_id: str, name: str, connection: Connection) -> None:
        """Raises ConstraintError, at the end of the transaction, for a name in use."""
        connection.execute(
            "UPDATE connectors SET name = %(name)s WHERE id = %(id)s", {"id": UUID(connector_id), "name": name}
        )

    def replace_routing_key(self, connector_id: str, routing_key: str, connection: Connection) -> None:
        """Another key for the same connector; raises NotFoundError for one that has no key."""
        changed = connection.execute(
            """
            UPDATE connectors SET routing_key_encrypted = %(token)s, routing_key_last4 = %(last4)s
            WHERE id = %(id)s AND path = 'service_key'
            """,
            {
                "id": UUID(connector_id),
                "token": self._box.encrypt(routing_key),
                "last4": routing_key[-4:] if len(routing_key) >= 16 else "",
            },
        ).rowcount
        if not changed:
            raise NotFoundError("There is no service-key connector with this id.")

    def count_links(self, connector_id: str, connection: Connection | None = None) -> int:
        """How many Cases are, or were, linked through a connector."""
        with self._database.joined(connection) as conn:
            row = conn.execute(
                "SELECT count(*) AS links FROM links WHERE connector_id = %(id)s", {"id": UUID(connector_id)}
            ).fetchone()
        assert row is not None
        return int(row["links"])
