"""What the one-way path has to tell, one row an event, written together with the mark that its change was looked at.

How the rows are sent is the matter of `event_queue`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from pagerduty_sync.domain.notifications import EventAction, History
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.secrets import SecretBox


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a Case that the one-way path has not looked at; `kind` as in CaseEvent."""

    id: int
    kind: str


@dataclass(frozen=True, slots=True)
class NewNotification:
    """An event to be sent. `routing_key` is what a template gave; None stands for the connector's own."""

    connector_id: str
    entity: str
    source_id: str
    source_name: str
    dedup_key: str
    change_id: str
    action: EventAction
    content: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    routing_key: str | None = field(default=None, repr=False)
    occurred_at: datetime | None = None
    cause: str = ""


class Notifications:
    """The table `notifications`, and the mark that the one-way path leaves on case_events."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    # ------------------------------------------------------------ what was told

    def add(self, conn: Connection, new: Sequence[NewNotification]) -> list[int]:
        """Add those whose change was not told yet, in this order; the ids of what was added."""
        ids = []
        for one in new:
            row = conn.execute(
                """
                INSERT INTO notifications (connector_id, entity, source_id, source_name, dedup_key, change_id,
                    event_action, payload, problem, routing_key_encrypted, occurred_at, cause)
                VALUES (%(connector_id)s, %(entity)s, %(source_id)s, %(source_name)s, %(dedup_key)s, %(change_id)s,
                    %(action)s, %(content)s, %(problem)s,
                    -- What follows a trigger goes to the key the trigger went to, whatever its template says by now.
                    CASE WHEN %(action)s::text = 'trigger' THEN %(key)s::text ELSE (
                        SELECT earlier.routing_key_encrypted FROM notifications earlier
                        WHERE earlier.connector_id = %(connector_id)s::uuid AND earlier.dedup_key = %(dedup_key)s
                          AND earlier.event_action = 'trigger'
                        ORDER BY earlier.id DESC LIMIT 1) END,
                    %(occurred_at)s, %(cause)s)
                ON CONFLICT (connector_id, dedup_key, change_id) DO NOTHING
                RETURNING id
                """,
                {
                    "connector_id": one.connector_id,
                    "entity": one.entity,
                    "source_id": one.source_id,
                    "source_name": one.source_name,
                    "dedup_key": one.dedup_key,
                    "change_id": one.change_id,
                    "action": one.action.value,
                    "content": Jsonb(dict(one.content)),
                    "problem": one.problem,
                    "key": None if one.routing_key is None else self._box.encrypt(one.routing_key),
                    "occurred_at": one.occurred_at,
                    "cause": one.cause,
                },
            ).fetchone()
            if row is not None:
                ids.append(row["id"])
        return ids

    def told(self, entity: str, source_id: str, conn: Connection | None = None) -> dict[str, History]:
        """What each connector was told of this Case or alert so far, by the connector's id."""
        with self._database.joined(conn) as joined:
            rows = joined.execute(
                """
                SELECT connector_id, event_action, max(id) AS id, max(occurred_at) AS occurred_at
                FROM notifications
                WHERE entity = %(entity)s AND source_id = %(source_id)s
                GROUP BY connector_id, event_action
                """,
                {"entity": entity, "source_id": source_id},
            ).fetchall()
        found: dict[str, History] = {}
        for row in rows:
            connector_id = str(row["connector_id"])
            known = found.get(connector_id, History())
            times = [at for at in (known.last_occurred_at, row["occurred_at"]) if at is not None]
            found[connector_id] = History(
                {**known.latest, EventAction(row["event_action"]): row["id"]}, max(times, default=None)
            )
        return found

    def has_told(self, case_id: str) -> bool:
        """Whether any connector was told of this Case."""
        return bool(self.told("cases", case_id))

    # ------------------------------------------------------------ changes of Cases

    def unseen_changes(self, case_id: str) -> list[Change]:
        """The Case's changes that this path has not looked at, in order."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                "SELECT id, kind FROM case_events WHERE case_id = %(case_id)s AND notified_at IS NULL ORDER BY id",
                {"case_id": case_id},
            )
            return [Change(row["id"], row["kind"]) for row in rows]

    def cases_unseen(self, limit: int, older_than_seconds: float) -> list[str]:
        """Cases with a change that has waited this long for a look by this path."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT case_id FROM case_events
                WHERE notified_at IS NULL
                GROUP BY case_id
                HAVING min(occurred_at) <= clock_timestamp() - make_interval(secs => %(seconds)s)
                ORDER BY min(id)
                LIMIT %(limit)s
                """,
                {"seconds": older_than_seconds, "limit": limit},
            ).fetchall()
        return [str(row["case_id"]) for row in rows]

    def mark_seen(self, conn: Connection, event_ids: Sequence[int]) -> bool:
        """Mark these changes as looked at; False when somebody else has marked one of them meanwhile."""
        marked = conn.execute(
            """
            UPDATE case_events SET notified_at = clock_timestamp()
            WHERE id = ANY(%(ids)s::bigint[]) AND notified_at IS NULL
            """,
            {"ids": list(event_ids)},
        ).rowcount
        return marked == len(event_ids)

    def mark_all_seen(self, case_ids: Sequence[str]) -> bool:
        """While no connector goes by service key there is nothing to look at; False when there is one."""
        with self._database.transaction() as conn:
            if conn.execute("SELECT FROM connectors WHERE path = 'service_key' LIMIT 1").fetchone() is not None:
                return False
            conn.execute(
                """
                UPDATE case_events SET notified_at = clock_timestamp()
                WHERE case_id = ANY(%(ids)s::uuid[]) AND notified_at IS NULL
                """,
                {"ids": list(case_ids)},
            )
        return True
