"""What a service-key connector sends with: its routing key, the template that yields one per event, and where to."""

from __future__ import annotations

from dataclasses import dataclass

from pagerduty_sync.domain.connectors import Connector
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.stores.connectors import connector_of
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.secrets import SecretBox


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """All but the key itself, which leaves its store only through `ServiceKeys.routing_key`."""

    connector: Connector
    events_url: str
    key_template: str | None
    key_last4: str
    has_key: bool


class ServiceKeys:
    """The service-key columns of the table connectors."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def create(
        self,
        name: str,
        routing_key: str | None,
        key_template: str | None,
        events_url: str,
        connection: Connection | None = None,
    ) -> Connector:
        """A one-way connector with a key, a template for one, or both; raises InvalidRequestError for a name in use."""
        with self._database.joined(connection) as conn:
            row = conn.execute(
                """
                INSERT INTO connectors (name, path, routing_key_encrypted, routing_key_last4, routing_key_template,
                                        events_url)
                VALUES (%(name)s, 'service_key', %(key)s, %(last4)s, %(template)s, %(events_url)s)
                ON CONFLICT (name) DO NOTHING
                RETURNING *
                """,
                {
                    "name": name,
                    "key": self._box.encrypt(routing_key) if routing_key else None,
                    "last4": routing_key[-4:] if routing_key else None,
                    "template": key_template,
                    "events_url": events_url,
                },
            ).fetchone()
        if row is None:
            raise InvalidRequestError(f"There is a connector named {name} already.", "name")
        return connector_of(row)

    def of(self, connector_id: str) -> ServiceKey:
        """How this connector sends; raises NotFoundError for one that does not go by service key, or is gone."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT * FROM connectors WHERE id::text = %(id)s AND path = 'service_key'", {"id": connector_id}
            ).fetchone()
        if row is None:
            raise NotFoundError("The service-key connector is gone.")
        return ServiceKey(
            connector=connector_of(row),
            events_url=row["events_url"],
            key_template=row["routing_key_template"],
            key_last4=row["routing_key_last4"] or "",
            has_key=row["routing_key_encrypted"] is not None,
        )

    def routing_key(self, connector_id: str) -> str:
        """The connector's own key in clear; raises NotFoundError for a connector without one, SecretError."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT routing_key_encrypted AS token FROM connectors WHERE id::text = %(id)s", {"id": connector_id}
            ).fetchone()
        if row is None or row["token"] is None:
            raise NotFoundError("The connector has no routing key of its own.")
        return self._box.decrypt(row["token"])
