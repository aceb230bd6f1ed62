"""The webhook subscriptions we hold at PagerDuty, with the secrets that sign their deliveries.

Refuses to know what a signature is; it only says which secrets are alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pagerduty_sync.errors import NotFoundError, SecretError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.secrets import SecretBox


@dataclass(frozen=True, slots=True)
class Signers:
    """Who may sign webhooks of one integration: its live secrets by subscription, and those we hold but cannot read."""

    status: str
    is_two_way: bool
    # True while a subscription may already exist at PagerDuty that is not stored here yet.
    is_adding: bool
    secrets: Mapping[str, str] = field(repr=False)
    unreadable: frozenset[str]


@dataclass(frozen=True, slots=True)
class Held:
    """A subscription whose secret we keep, since when, and when a test event last came through it."""

    id: str
    created_at: datetime
    heard_at: datetime | None
    is_retiring: bool = False


class Subscriptions:
    """The webhook_subscriptions table."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def secrets(self, integration_id: str) -> dict[str, str]:
        """The live secrets of one integration by subscription id; raises SecretError when one cannot be read."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT id, secret_encrypted FROM webhook_subscriptions
                WHERE integration_id = %(integration_id)s
                ORDER BY created_at DESC, id
                """,
                {"integration_id": integration_id},
            ).fetchall()
        return {row["id"]: self._box.decrypt(row["secret_encrypted"]) for row in rows}

    def signers(self) -> dict[str, Signers]:
        """For every integration by id, who may sign its webhooks, newest subscription first."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT i.id::text AS integration_id, i.status, i.is_two_way,
                       i.status = 'connecting' OR i.status_reason = 'rotating' AS is_adding,
                       s.id AS subscription_id, s.secret_encrypted
                FROM integrations i LEFT JOIN webhook_subscriptions s ON s.integration_id = i.id
                ORDER BY s.created_at DESC, s.id
                """
            ).fetchall()
        found: dict[str, Signers] = {}
        for integration_id in {row["integration_id"] for row in rows}:
            own = [row for row in rows if row["integration_id"] == integration_id]
            secrets, unreadable = self._opened(
                {row["subscription_id"]: row["secret_encrypted"] for row in own if row["subscription_id"]}
            )
            found[integration_id] = Signers(
                own[0]["status"], own[0]["is_two_way"], own[0]["is_adding"], secrets, frozenset(unreadable)
            )
        return found

    def integration_state(self, integration_id: str) -> dict[str, object] | None:
        """`status` and `is_two_way` of one integration, None when there is none of that id."""
        with self._database.transaction() as conn:
            return conn.execute(
                "SELECT status, is_two_way FROM integrations WHERE id::text = %(id)s", {"id": integration_id}
            ).fetchone()

    def held(self, integration_id: str) -> list[Held]:
        """Every subscription of one integration, newest first."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT id, created_at, pinged_at FROM webhook_subscriptions
                WHERE integration_id::text = %(id)s ORDER BY created_at DESC, id
                """,
                {"id": integration_id},
            ).fetchall()
        return [Held(row["id"], row["created_at"], row["pinged_at"]) for row in rows]

    def retiring(self, integration_id: str, overlap_seconds: float) -> set[str]:
        """Those that a younger one has replaced but that must stay: just now, or with webhooks nobody has read yet."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT old.id FROM webhook_subscriptions old
                JOIN LATERAL (
                    SELECT id, created_at FROM webhook_subscriptions
                    WHERE integration_id = old.integration_id ORDER BY created_at DESC, id LIMIT 1
                ) newest ON newest.id <> old.id
                WHERE old.integration_id::text = %(id)s
                  AND (newest.created_at > now() - make_interval(secs => %(overlap)s)
                       OR EXISTS (SELECT FROM inbox WHERE state = 'received' AND subscription_id = old.id))
                """,
                {"id": integration_id, "overlap": overlap_seconds},
            ).fetchall()
        return {row["id"] for row in rows}

    def add(self, integration_id: str, subscription_id: str, secret: str, connection: Connection | None = None) -> None:
        """Store the secret of a subscription, which PagerDuty tells only once; a repeat replaces it."""
        with self._database.joined(connection) as conn:
            conn.execute(
                """
                INSERT INTO webhook_subscriptions (id, integration_id, secret_encrypted)
                VALUES (%(id)s, %(integration_id)s, %(secret)s)
                ON CONFLICT (id) DO UPDATE
                SET integration_id = excluded.integration_id, secret_encrypted = excluded.secret_encrypted
                """,
                {"id": subscription_id, "integration_id": integration_id, "secret": self._box.encrypt(secret)},
            )

    def remove(self, subscription_id: str, connection: Connection | None = None) -> None:
        """Forget a subscription: what it signs is refused from now on. Forgetting it twice is no error."""
        with self._database.joined(connection) as conn:
            conn.execute("DELETE FROM webhook_subscriptions WHERE id = %(id)s", {"id": subscription_id})

    def pinged(self, subscription_id: str, connection: Connection | None = None) -> None:
        """A webhook of this subscription has come through; raises NotFoundError when it is not ours."""
        with self._database.joined(connection) as conn:
            found = conn.execute(
                "UPDATE webhook_subscriptions SET pinged_at = now() WHERE id = %(id)s", {"id": subscription_id}
            ).rowcount
        if not found:
            raise NotFoundError(f"There is no webhook subscription {subscription_id}.")

    def _opened(self, tokens: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        secrets: dict[str, str] = {}
        unreadable = []
        for subscription_id, token in tokens.items():
            try:
                secrets[subscription_id] = self._box.decrypt(token)
            except SecretError:
                unreadable.append(subscription_id)
        return secrets, unreadable
