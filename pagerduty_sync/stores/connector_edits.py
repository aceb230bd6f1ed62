"""Changes of connectors after they were made, and what their lists show. The path and the service never change."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.secrets import SecretBox


@dataclass(frozen=True, slots=True)
class KeyEnd:
    """Whether a connector holds a routing key and how that ends, all that anybody is shown of it; a template that
    yields one per event, and where the events go."""

    is_set: bool = False
    last4: str = ""
    template: str | None = None
    events_url: str = ""


class ConnectorEdits:
    """The connectors table, as administrators change it."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def key_ends(self, connection: Connection | None = None) -> dict[str, KeyEnd]:
        """What may be shown of every service-key connector's key, by connector id."""
        with self._database.joined(connection) as conn:
            rows = conn.execute(
                """
                SELECT id, routing_key_encrypted IS NOT NULL AS is_set, coalesce(routing_key_last4, '') AS last4,
                       routing_key_template AS template, events_url
                FROM connectors WHERE path = 'service_key'
                """
            ).fetchall()
        return {str(row["id"]): KeyEnd(row["is_set"], row["last4"], row["template"], row["events_url"]) for row in rows}

    def rename(self, connector_id: str, name: str, connection: Connection) -> None:
        """Raises ConstraintError, at the end of the transaction, for a name in use."""
        connection.execute(
            "UPDATE connectors SET name = %(name)s WHERE id = %(id)s", {"id": UUID(connector_id), "name": name}
        )

    def update_service_key(
        self, connector_id: str, routing_key: str | None, key_template: str | None, connection: Connection
    ) -> None:
        """Another key or another template for the same connector; None leaves what is there."""
        connection.execute(
            """
            UPDATE connectors
            SET routing_key_encrypted = coalesce(%(token)s, routing_key_encrypted),
                routing_key_last4 = coalesce(%(last4)s, routing_key_last4),
                routing_key_template = coalesce(%(template)s, routing_key_template)
            WHERE id = %(id)s AND path = 'service_key'
            """,
            {
                "id": UUID(connector_id),
                "token": self._box.encrypt(routing_key) if routing_key else None,
                "last4": routing_key[-4:] if routing_key else None,
                "template": key_template,
            },
        )

    def count_links(self, connector_id: str, connection: Connection | None = None) -> int:
        """How many Cases are, or were, linked through a connector."""
        with self._database.joined(connection) as conn:
            row = conn.execute(
                "SELECT count(*) AS links FROM links WHERE connector_id = %(id)s", {"id": UUID(connector_id)}
            ).fetchone()
        assert row is not None
        return int(row["links"])
