"""The PagerDuty account we are connected to. Its API key is stored encrypted and leaves only through `api_key`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.domain.incidents import Priority
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.secrets import SecretBox

ROTATING = "rotating"
"""The status reason while a subscription may exist at PagerDuty whose secret is not stored yet."""


@dataclass(frozen=True, slots=True)
class Account:
    """What an operator told us of the account, once it was checked. `key_kind` is `account` or `user`."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    key_kind: str
    user_email: str
    user_id: str
    priorities: Sequence[Priority] = ()


class Integrations:
    """The integrations table; there is at most one row. An id of another form is one nobody has."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def only(self) -> Integration | None:
        """The integration, None before the first connect."""
        with self._database.transaction() as conn:
            row = conn.execute("SELECT * FROM integrations").fetchone()
        return integration_of(row) if row else None

    def by_id(self, integration_id: str, connection: Connection | None = None) -> Integration | None:
        with self._database.joined(connection) as conn:
            row = conn.execute("SELECT * FROM integrations WHERE id::text = %(id)s", {"id": integration_id}).fetchone()
        return integration_of(row) if row else None

    def api_key(self, integration_id: str) -> str:
        """The key in clear; raises NotFoundError, SecretError."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT api_key_encrypted FROM integrations WHERE id::text = %(id)s", {"id": integration_id}
            ).fetchone()
        if row is None:
            raise no_such_integration(integration_id)
        return self._box.decrypt(row["api_key_encrypted"])

    def status_at(self, integration_id: str) -> datetime | None:
        """Since when the status is what it is, in the database's clock."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT status_at FROM integrations WHERE id::text = %(id)s", {"id": integration_id}
            ).fetchone()
        return row["status_at"] if row else None

    def connecting_seconds(self, integration_id: str) -> float:
        """How long the status has been `connecting`; 0 when it is not."""
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                SELECT extract(epoch FROM clock_timestamp() - status_at)::float8 AS seconds FROM integrations
                WHERE id::text = %(id)s AND status = 'connecting'
                """,
                {"id": integration_id},
            ).fetchone()
        return max(row["seconds"], 0.0) if row else 0.0

    def heard_from(self, integration_id: str) -> dict[str, datetime | None]:
        """When the last test event came through, by subscription."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                "SELECT id, pinged_at FROM webhook_subscriptions WHERE integration_id::text = %(id)s",
                {"id": integration_id},
            ).fetchall()
        return {row["id"]: row["pinged_at"] for row in rows}

    def create(self, account: Account, *, is_two_way: bool, connection: Connection | None = None) -> Integration:
        """The one integration, in status `connecting`; raises InvalidRequestError when there is one already."""
        with self._database.joined(connection) as conn:
            row = conn.execute(
                """
                INSERT INTO integrations (name, base_url, api_key_encrypted, api_key_last4, key_kind, user_email,
                                          user_id, is_two_way, consented_at, status, priorities)
                VALUES (%(name)s, %(base_url)s, %(api_key)s, %(last4)s, %(key_kind)s, %(user_email)s, %(user_id)s,
                        %(is_two_way)s, now(), 'connecting', %(priorities)s)
                ON CONFLICT (is_only) DO NOTHING
                RETURNING *
                """,
                {**self._columns(account), "is_two_way": is_two_way},
            ).fetchone()
        if row is None:
            raise InvalidRequestError("There is a PagerDuty integration already, and there can be only one.", "name")
        return integration_of(row)

    def update(
        self, integration_id: str, account: Account, *, is_two_way: bool, connection: Connection | None = None
    ) -> Integration:
        """The same integration with another account's or key's particulars, `connecting` anew; raises NotFoundError."""
        with self._database.joined(connection) as conn:
            row = conn.execute(
                """
                UPDATE integrations
                SET name = %(name)s, base_url = %(base_url)s,
                    api_key_encrypted = %(api_key)s, api_key_last4 = %(last4)s,
                    key_kind = %(key_kind)s, user_email = %(user_email)s, user_id = %(user_id)s,
                    priorities = %(priorities)s, is_two_way = %(is_two_way)s, consented_at = now(),
                    status = 'connecting', status_reason = '', status_at = now()
                WHERE id::text = %(id)s
                RETURNING *
                """,
                {**self._columns(account), "is_two_way": is_two_way, "id": integration_id},
            ).fetchone()
        if row is None:
            raise no_such_integration(integration_id)
        return integration_of(row)

    def set_status(
        self,
        integration_id: str,
        status: IntegrationStatus,
        reason: str = "",
        *,
        only_from: IntegrationStatus | None = None,
        connection: Connection | None = None,
    ) -> bool:
        """Write status and reason; False, and no write, when they are so already or the status is not `only_from`."""
        with self._database.joined(connection) as conn:
            changed = conn.execute(
                """
                UPDATE integrations SET status = %(status)s, status_reason = %(reason)s, status_at = now()
                WHERE id::text = %(id)s AND (status, status_reason) <> (%(status)s, %(reason)s)
                  AND (%(only_from)s::text IS NULL OR status = %(only_from)s)
                """,
                {"id": integration_id, "status": status, "reason": reason, "only_from": only_from},
            ).rowcount
        return changed > 0

    def set_status_reason(self, integration_id: str, reason: str, connection: Connection | None = None) -> bool:
        """Another reason for the same status; False, and no write, when it is so already."""
        with self._database.joined(connection) as conn:
            changed = conn.execute(
                """
                UPDATE integrations SET status_reason = %(reason)s
                WHERE id::text = %(id)s AND status_reason <> %(reason)s
                """,
                {"id": integration_id, "reason": reason},
            ).rowcount
        return changed > 0

    def set_two_way(self, integration_id: str, is_two_way: bool, connection: Connection | None = None) -> bool:
        """Switch inbound delivery; False when it is so already."""
        with self._database.joined(connection) as conn:
            changed = conn.execute(
                """
                UPDATE integrations SET is_two_way = %(is_two_way)s
                WHERE id::text = %(id)s AND is_two_way <> %(is_two_way)s
                """,
                {"id": integration_id, "is_two_way": is_two_way},
            ).rowcount
        return changed > 0

    def set_priorities(
        self, integration_id: str, priorities: Sequence[Priority], connection: Connection | None = None
    ) -> None:
        """The account's priorities as just listed, most severe first."""
        with self._database.joined(connection) as conn:
            conn.execute(
                """
                UPDATE integrations SET priorities = %(priorities)s
                WHERE id::text = %(id)s AND priorities <> %(priorities)s
                """,
                {"id": integration_id, "priorities": _priorities_json(priorities)},
            )

    def delete(self, integration_id: str, connection: Connection | None = None) -> None:
        """Forget the integration and its subscriptions. Raises ConstraintError while connectors or links use it."""
        with self._database.joined(connection) as conn:
            conn.execute("DELETE FROM integrations WHERE id::text = %(id)s", {"id": integration_id})

    def _columns(self, account: Account) -> dict[str, object]:
        key = account.api_key.strip()
        return {
            "name": account.name,
            "base_url": account.base_url,
            "api_key": self._box.encrypt(key),
            # Of a key too short to be one, four characters would tell too much.
            "last4": key[-4:] if len(key) >= 16 else "",
            "key_kind": account.key_kind,
            "user_email": account.user_email,
            "user_id": account.user_id,
            "priorities": _priorities_json(account.priorities),
        }


def no_such_integration(integration_id: str) -> NotFoundError:
    return NotFoundError(f"There is no integration {ascii(integration_id[:64])[1:-1]}.")


def integration_of(row: DictRow) -> Integration:
    return Integration(
        id=str(row["id"]),
        name=row["name"],
        base_url=row["base_url"],
        key_kind=row["key_kind"],
        user_email=row["user_email"],
        user_id=row["user_id"],
        is_two_way=row["is_two_way"],
        status=IntegrationStatus(row["status"]),
        status_reason=row["status_reason"],
        api_key_last4=row["api_key_last4"],
        priorities=tuple(Priority(item["id"], item["name"]) for item in row["priorities"]),
    )


def _priorities_json(priorities: Sequence[Priority]) -> Jsonb:
    return Jsonb([{"id": priority.id, "name": priority.name} for priority in priorities])
