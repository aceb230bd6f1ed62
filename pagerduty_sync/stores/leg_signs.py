"""What the verdicts on the legs are made of, in few statements that stay cheap however much there is.

Each reads only rows that are not done, by the index made for them, and none counts further than `MOST`: how many more
than that wait makes no difference to anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from pagerduty_sync.domain.deliveries import Direction, Reason
from pagerduty_sync.stores.database import Database

MOST = 10_000
FINAL = (Reason.REFUSED, Reason.GAVE_UP, Reason.LOOP_SUSPECTED, Reason.DEFECT)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is not done, and since when; `now` is the database's clock."""

    now: datetime
    oldest_webhook: datetime | None
    calls: int
    oldest_call: datetime | None
    failing: int
    failing_since: datetime | None
    # Links and events that want a call, the failing ones among them.
    wanting: int
    changes: int
    oldest_change: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is set up, and when it was last seen in order: since it became what it is, at the earliest."""

    has_service_keys: bool
    has_subscription: bool
    right_at: datetime | None
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class Healed:
    """How many changes were learned by reading the incident and not by a webhook."""

    last_hour: int
    last_day: int


class LegSigns:
    """Reads across tables, and takes down when PagerDuty was last seen in order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self) -> Waiting:
        with self._database.transaction() as conn, conn.cursor(row_factory=class_row(Waiting)) as cursor:
            found = cursor.execute(
                """
                WITH webhooks AS (
                    (SELECT received_at FROM inbox WHERE state = 'received' ORDER BY id LIMIT 1)
                    UNION ALL
                    (SELECT received_at FROM inbox WHERE state = 'waiting' LIMIT %(most)s)
                ), calls AS (
                    -- Without the reads that the clock asked for: they may take their time.
                    (SELECT due_at FROM links
                     WHERE due_at <= now() AND due_class < 3 AND (lease_until IS NULL OR lease_until < now())
                     LIMIT %(most)s)
                    UNION ALL
                    (SELECT due_at FROM notifications
                     WHERE state = 'waiting' AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
                     LIMIT %(most)s)
                ), failing AS (
                    (SELECT failing_since FROM links
                     WHERE failing_since IS NOT NULL AND due_at IS NOT NULL
                     ORDER BY failing_since LIMIT %(most)s)
                    UNION ALL
                    (SELECT failing_since FROM (
                         SELECT failing_since FROM notifications WHERE state = 'waiting' LIMIT %(most)s) first_ones
                     WHERE failing_since IS NOT NULL)
                ), wanting AS (
                    (SELECT FROM links WHERE due_at IS NOT NULL LIMIT %(most)s)
                    UNION ALL
                    (SELECT FROM notifications WHERE state = 'waiting' LIMIT %(most)s)
                ), changes AS (
                    SELECT occurred_at FROM case_events WHERE handled_at IS NULL LIMIT %(most)s
                )
                SELECT
                    clock_timestamp() AS now,
                    (SELECT min(received_at) FROM webhooks) AS oldest_webhook,
                    (SELECT count(*) FROM calls) AS calls,
                    (SELECT min(due_at) FROM calls) AS oldest_call,
                    (SELECT count(*) FROM failing) AS failing,
                    (SELECT min(failing_since) FROM failing) AS failing_since,
                    (SELECT count(*) FROM wanting) AS wanting,
                    (SELECT count(*) FROM changes) AS changes,
                    (SELECT min(occurred_at) FROM changes) AS oldest_change
                """,
                {"most": MOST},
            ).fetchone()
        assert found is not None
        return found

    def standing(self) -> Standing:
        with self._database.transaction() as conn, conn.cursor(row_factory=class_row(Standing)) as cursor:
            found = cursor.execute(
                """
                SELECT
                    EXISTS (SELECT FROM connectors WHERE path = 'service_key') AS has_service_keys,
                    EXISTS (SELECT FROM webhook_subscriptions) AS has_subscription,
                    -- After a reconnect the count begins anew.
                    (SELECT greatest(subscription_right_at, status_at) FROM integrations) AS right_at,
                    (SELECT greatest(log_read_at, status_at) FROM integrations) AS read_at
                """
            ).fetchone()
        assert found is not None
        return found

    def given_up(self) -> dict[Direction, int]:
        """Writes that were given up for good in the last hour, by where they went."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT direction, count(*) AS times FROM (
                    SELECT direction FROM notification_deliveries
                    WHERE reason = ANY(%(final)s) AND at > now() - interval '1 hour' AND outcome = 'failed'
                    LIMIT %(most)s) found
                GROUP BY direction
                """,
                {"final": list(FINAL), "most": MOST},
            ).fetchall()
        return {Direction(row["direction"]): row["times"] for row in rows}

    def healed(self) -> Healed:
        with self._database.transaction() as conn, conn.cursor(row_factory=class_row(Healed)) as cursor:
            found = cursor.execute(
                """
                SELECT count(*) FILTER (WHERE at > now() - interval '1 hour') AS last_hour, count(*) AS last_day
                FROM (
                    SELECT at FROM notification_deliveries
                    WHERE reason = 'healed' AND at > now() - interval '1 day'
                    ORDER BY at DESC LIMIT %(most)s) found
                """,
                {"most": MOST},
            ).fetchone()
        assert found is not None
        return found

    def subscription_is_right(self, integration_id: str) -> None:
        """PagerDuty has just shown the subscription as it should be."""
        with self._database.transaction() as conn:
            conn.execute(
                "UPDATE integrations SET subscription_right_at = now() WHERE id::text = %(id)s", {"id": integration_id}
            )

    def log_is_read(self, integration_id: str) -> None:
        """PagerDuty's log has just been read to its end."""
        with self._database.transaction() as conn:
            conn.execute("UPDATE integrations SET log_read_at = now() WHERE id::text = %(id)s", {"id": integration_id})
