"""The queue of the one-way path: events are claimed one by one, sent, and ended with a reason or put off.

Rows with one connector and one dedup key go out in the order of their ids: the claim passes over a row while an earlier
one of its key waits. Every write names the claim's token, so a worker whose lease ran out changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from pagerduty_sync.domain.notifications import EventAction
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.secrets import SecretBox

PRUNE_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Notification:
    """A claimed event. `follows_refusal` says that PagerDuty refused the trigger it belongs to."""

    id: int
    token: str
    connector_id: str
    entity: str
    source_id: str
    source_name: str
    dedup_key: str
    action: EventAction
    content: Mapping[str, Any]
    problem: str
    cause: str
    attempts: int
    failing_since: datetime | None
    has_own_key: bool
    follows_refusal: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """An event by what became of it; `is_overtaken` says that a later one of its key was sent, or waits."""

    id: int
    connector_id: str
    entity: str
    source_id: str
    action: EventAction
    state: str
    has_own_key: bool
    is_overtaken: bool


class EventQueue:
    """Those of the table `notifications` that are still to be sent."""

    def __init__(self, database: Database, box: SecretBox, lease_seconds: float = 60) -> None:
        self._database = database
        self._box = box
        self._lease_seconds = lease_seconds

    def claim(self, notification_id: int) -> Notification | None:
        """Claim one for sending; None when it is not due, not its turn, ended, or another worker's."""
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                UPDATE notifications AS mine
                SET lease_token = gen_random_uuid(), lease_until = now() + %(lease)s * interval '1 second'
                WHERE id = %(id)s AND state = 'waiting' AND due_at <= now()
                  AND (lease_until IS NULL OR lease_until < now())
                  AND NOT EXISTS (
                      SELECT FROM notifications earlier
                      WHERE earlier.connector_id = mine.connector_id AND earlier.dedup_key = mine.dedup_key
                        AND earlier.state = 'waiting' AND earlier.id < mine.id)
                RETURNING *, (
                    SELECT earlier.state = 'dropped' OR earlier.reason = 'refused' FROM notifications earlier
                    WHERE earlier.connector_id = mine.connector_id AND earlier.dedup_key = mine.dedup_key
                      AND earlier.event_action = 'trigger' AND earlier.id < mine.id
                    ORDER BY earlier.id DESC LIMIT 1) AS follows_refusal
                """,
                {"id": notification_id, "lease": self._lease_seconds},
            ).fetchone()
        return _claimed(row) if row else None

    def own_key(self, notification_id: int) -> str:
        """The key a template gave this event; raises SecretError."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT routing_key_encrypted AS token FROM notifications WHERE id = %(id)s", {"id": notification_id}
            ).fetchone()
        assert row is not None
        return self._box.decrypt(row["token"])

    def end(self, conn: Connection, notification: Notification, state: str, reason: str) -> bool:
        """It is done, failed or dropped; False when another worker holds it by now."""
        return (
            conn.execute(
                """
                UPDATE notifications
                SET state = %(state)s, reason = %(reason)s, ended_at = now(), lease_token = NULL, lease_until = NULL
                WHERE id = %(id)s AND lease_token = %(token)s
                """,
                {"id": notification.id, "token": notification.token, "state": state, "reason": reason},
            ).rowcount
            == 1
        )

    def put_off(
        self, conn: Connection | None, notification: Notification, seconds: float, failing_since: datetime | None = None
    ) -> None:
        """Give it back until then; with `failing_since` as a failed attempt more."""
        with self._database.joined(conn) as joined:
            joined.execute(
                """
                UPDATE notifications
                SET due_at = now() + %(seconds)s * interval '1 second', lease_token = NULL, lease_until = NULL,
                    attempts = attempts + (%(since)s::timestamptz IS NOT NULL)::integer,
                    failing_since = coalesce(%(since)s, failing_since)
                WHERE id = %(id)s AND lease_token = %(token)s
                """,
                {"id": notification.id, "token": notification.token, "seconds": seconds, "since": failing_since},
            )

    def ended(self, connector_id: str, dedup_key: str, action: EventAction) -> Ended | None:
        """The latest event of this kind under a key, whatever became of it."""
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                SELECT *, EXISTS (
                    SELECT FROM notifications later
                    WHERE later.connector_id = this.connector_id AND later.dedup_key = this.dedup_key
                      AND later.id > this.id AND later.state IN ('waiting', 'done')) AS is_overtaken
                FROM notifications AS this
                WHERE connector_id = %(connector_id)s AND dedup_key = %(dedup_key)s AND event_action = %(action)s
                ORDER BY id DESC LIMIT 1
                """,
                {"connector_id": connector_id, "dedup_key": dedup_key, "action": action.value},
            ).fetchone()
        if row is None:
            return None
        return Ended(
            id=row["id"],
            connector_id=str(row["connector_id"]),
            entity=row["entity"],
            source_id=row["source_id"],
            action=EventAction(row["event_action"]),
            state=row["state"],
            has_own_key=row["routing_key_encrypted"] is not None,
            is_overtaken=row["is_overtaken"],
        )

    def send_again(self, conn: Connection, notification_id: int) -> None:
        """One that failed or was dropped waits anew, as if it had never been tried."""
        conn.execute(
            """
            UPDATE notifications
            SET state = 'waiting', reason = '', ended_at = NULL, due_at = now(), attempts = 0, failing_since = NULL
            WHERE id = %(id)s AND state IN ('failed', 'dropped')
            """,
            {"id": notification_id},
        )

    def next_after(self, notification: Notification) -> int | None:
        """Whose turn it is now under the same key."""
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                SELECT id FROM notifications
                WHERE connector_id = %(connector_id)s AND dedup_key = %(dedup_key)s AND state = 'waiting'
                ORDER BY id LIMIT 1
                """,
                {"connector_id": notification.connector_id, "dedup_key": notification.dedup_key},
            ).fetchone()
        return row["id"] if row else None

    def due(self, limit: int, older_than_seconds: float) -> list[int]:
        """What has been due for this long, whose turn it is, and that nobody holds."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT id FROM notifications AS mine
                WHERE state = 'waiting' AND due_at <= now() - make_interval(secs => %(seconds)s)
                  AND (lease_until IS NULL OR lease_until < now())
                  AND NOT EXISTS (
                      SELECT FROM notifications earlier
                      WHERE earlier.connector_id = mine.connector_id AND earlier.dedup_key = mine.dedup_key
                        AND earlier.state = 'waiting' AND earlier.id < mine.id)
                ORDER BY due_at
                LIMIT %(limit)s
                """,
                {"seconds": older_than_seconds, "limit": limit},
            ).fetchall()
        return [row["id"] for row in rows]

    def prune(self, older_than_days: int) -> int:
        """Delete the histories that ended with a resolve so long ago; how many rows went.

        A history without one stays: it says who is to be told when the Case or alert is over.
        """
        deleted = 0
        while True:
            with self._database.transaction() as conn:
                gone = conn.execute(
                    """
                    DELETE FROM notifications WHERE id IN (
                        SELECT old.id FROM (
                            SELECT last.* FROM notifications last
                            WHERE last.event_action = 'resolve' AND last.state <> 'waiting'
                              AND last.ended_at < now() - make_interval(days => %(days)s)
                              AND NOT EXISTS (
                                  SELECT FROM notifications later
                                  WHERE later.connector_id = last.connector_id AND later.dedup_key = last.dedup_key
                                    AND later.id > last.id)
                            LIMIT %(batch)s) last
                        JOIN notifications old USING (connector_id, dedup_key))
                    """,
                    {"days": older_than_days, "batch": PRUNE_BATCH},
                ).rowcount
            deleted += gone
            if gone == 0:
                return deleted


def _claimed(row: DictRow) -> Notification:
    return Notification(
        id=row["id"],
        token=str(row["lease_token"]),
        connector_id=str(row["connector_id"]),
        entity=row["entity"],
        source_id=row["source_id"],
        source_name=row["source_name"],
        dedup_key=row["dedup_key"],
        action=EventAction(row["event_action"]),
        content=row["payload"],
        problem=row["problem"],
        cause=row["cause"],
        attempts=row["attempts"],
        failing_since=row["failing_since"],
        has_own_key=row["routing_key_encrypted"] is not None,
        follows_refusal=bool(row["follows_refusal"]),
    )
