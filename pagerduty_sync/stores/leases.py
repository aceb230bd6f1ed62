"""Who may work on a link: the lease, and what a worker writes while it holds one.

A claim is one UPDATE … RETURNING with a token; every later write names the token, so a worker whose lease ran out
changes nothing. No transaction is open between a claim and its record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from pagerduty_sync.domain.links import Link, LinkState
from pagerduty_sync.errors import LinkConflictError, StorageError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.link_rows import link_of, parked_to_json, pictures_to_json


class LeaseLostError(StorageError):
    """Another worker holds the link by now; nothing was written."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A link this worker may work on until its lease ends: since when, by our clock, and how urgent its call was."""

    link: Link
    token: str
    at: datetime
    due_class: int | None = None


def unheld(link: Link) -> Claim:
    """A claim that holds nothing: for looking at a link without working on it."""
    return Claim(link, "", datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Due:
    """When the next call to PagerDuty for a link is due: in so many seconds, and of which class (0 is most urgent)."""

    in_seconds: float
    call_class: int


class Leases:
    """The table `links`, as workers share it."""

    def __init__(
        self, database: Database, lease_seconds: float = 60, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self.lease_seconds = lease_seconds
        self.now = now

    # ------------------------------------------------------------ claiming

    def claim(self, link_id: str) -> Claim | None:
        """Claim one link for a look. None when another worker holds it (its release will see the dirty mark), or when a
        failure put the next look off."""
        claims = self._claim(
            """
            id = %(link_id)s AND (lease_until IS NULL OR lease_until < now())
            AND (dirty_at IS NULL OR dirty_at <= now())
            """,
            {"link_id": link_id},
        )
        return claims[0] if claims else None

    def claim_due(self, integration_id: str, highest_class: int) -> Claim | None:
        """Claim the link whose call is most urgent and longest due, up to this class; None when nothing is due."""
        claims = self.claim_many_due(integration_id, highest_class, 1)
        return claims[0] if claims else None

    def claim_many_due(self, integration_id: str, highest_class: int, limit: int) -> list[Claim]:
        """Claim so many links at once, the most urgent and longest due."""
        return self._claim(
            """
            id IN (
                SELECT id FROM links
                WHERE integration_id = %(integration_id)s AND due_at <= now() AND due_class <= %(highest_class)s
                  AND (lease_until IS NULL OR lease_until < now())
                ORDER BY due_class, due_at
                LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            )
            """,
            {"integration_id": integration_id, "highest_class": highest_class, "limit": limit},
        )

    def count_due(self, integration_id: str, highest_class: int, at_most: int) -> int:
        """How many links have a call due up to this class, not counting further than `at_most`."""
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                SELECT count(*) AS due FROM (
                    SELECT FROM links
                    WHERE integration_id = %(integration_id)s AND due_at <= now() AND due_class <= %(highest_class)s
                      AND (lease_until IS NULL OR lease_until < now())
                    LIMIT %(at_most)s) found
                """,
                {"integration_id": integration_id, "highest_class": highest_class, "at_most": at_most},
            ).fetchone()
        return int(row["due"]) if row else 0

    def _claim(self, where: str, values: Mapping[str, Any]) -> list[Claim]:
        """What was asked for meanwhile is taken up with the claim."""
        at = self.now()
        with self._database.transaction() as conn:
            rows = conn.execute(
                f"""
                UPDATE links
                SET lease_token = gen_random_uuid(), lease_until = now() + %(lease)s * interval '1 second',
                    dirty_at = NULL, asks = '{{}}',
                    pictures = CASE WHEN asks = '{{}}' THEN pictures ELSE
                        pictures || (asks - 'asker') || jsonb_build_object(
                            'causes', (pictures -> 'causes') || jsonb_build_object('read', asks -> 'asker')) END
                WHERE {where}
                RETURNING *
                """.encode(),  # noqa: S608 a constant of this module
                {**values, "lease": self.lease_seconds},
            ).fetchall()
        return [Claim(link_of(row), str(row["lease_token"]), at, row["due_class"]) for row in rows]

    # ------------------------------------------------------------ while held

    def record(self, conn: Connection, claim_token: str, link: Link) -> None:
        """Write what a link knows now and prolong the lease. Raises LeaseLostError, LinkConflictError."""
        taken = None
        if link.incident_id is not None and link.state is not LinkState.ENDED:
            taken = conn.execute(
                """
                SELECT case_name FROM links
                WHERE integration_id = %s AND incident_id = %s AND state <> 'ended' AND id <> %s
                """,
                (link.integration_id, link.incident_id, link.id),
            ).fetchone()
        if taken is not None:
            raise LinkConflictError(f"Incident {link.incident_id} belongs to {taken['case_name']} already.")
        done = conn.execute(
            """
            UPDATE links
            SET case_name = %(case_name)s, incident_id = %(incident_id)s, incident_number = %(incident_number)s,
                incident_url = %(incident_url)s, service_id = %(service_id)s, state = %(state)s,
                ended_reason = %(ended_reason)s, pictures = %(pictures)s, parked = %(parked)s, attempts = %(attempts)s,
                failing_since = %(failing_since)s, updated_at = now(),
                lease_until = now() + %(lease)s * interval '1 second'
            WHERE id = %(id)s AND lease_token = %(token)s
            """,
            {
                "id": link.id,
                "token": claim_token,
                "case_name": link.case_name,
                "incident_id": link.incident_id,
                "incident_number": link.incident_number,
                "incident_url": link.incident_url,
                "service_id": link.service_id,
                "state": link.state.value,
                "ended_reason": link.ended_reason,
                "pictures": Jsonb(pictures_to_json(link)),
                "parked": Jsonb(parked_to_json(link.parked)),
                "attempts": link.attempts,
                "failing_since": link.failing_since,
                "lease": self.lease_seconds,
            },
        )
        if done.rowcount == 0:
            raise LeaseLostError(f"The lease on the link of {link.case_name} ran out; another worker goes on.")

    def release(self, claim: Claim, due: Due | None, *, keeps_backoff: bool = False) -> bool:
        """Give a link back with its next due call, and say whether it was marked dirty meanwhile.

        With `keeps_backoff` a call that failed before waits as long as it was told to, unless a more urgent one is due.
        """
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                UPDATE links
                SET lease_token = NULL, lease_until = NULL, due_class = %(due_class)s::smallint,
                    due_at = CASE
                        WHEN %(keeps_backoff)s AND attempts > 0 AND due_class <= %(due_class)s::smallint
                        THEN greatest(due_at, now() + %(in_seconds)s * interval '1 second')
                        ELSE now() + %(in_seconds)s * interval '1 second' END
                WHERE id = %(id)s AND lease_token = %(token)s
                RETURNING dirty_at IS NOT NULL AS is_dirty
                """,
                {
                    "id": claim.link.id,
                    "token": claim.token,
                    "due_class": due.call_class if due else None,
                    "in_seconds": due.in_seconds if due else None,
                    "keeps_backoff": keeps_backoff,
                },
            ).fetchone()
        return bool(row and row["is_dirty"])

    def give_back(self, claim: Claim, in_seconds: float) -> None:
        """Give a link back after a failure of our own, to be looked at again in so many seconds."""
        with self._database.transaction() as conn:
            conn.execute(
                """
                UPDATE links
                SET lease_token = NULL, lease_until = NULL,
                    dirty_at = now() + %(in_seconds)s * interval '1 second',
                    due_at = CASE WHEN due_at IS NOT NULL
                        THEN greatest(due_at, now() + %(in_seconds)s * interval '1 second') END
                WHERE id = %(id)s AND lease_token = %(token)s
                """,
                {"id": claim.link.id, "token": claim.token, "in_seconds": in_seconds},
            )

    def end(self, claim: Claim, reason: str) -> None:
        """The link is over and wants nothing more."""
        with self._database.transaction() as conn:
            conn.execute(
                """
                UPDATE links
                SET state = 'ended', ended_reason = %(reason)s, lease_token = NULL, lease_until = NULL,
                    due_at = NULL, due_class = NULL, updated_at = now()
                WHERE id = %(id)s AND lease_token = %(token)s
                """,
                {"id": claim.link.id, "token": claim.token, "reason": reason},
            )
