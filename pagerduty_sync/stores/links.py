"""Links: who may work on one (the lease), what it knows, and when it wants the next look or call.

A claim is one UPDATE … RETURNING with a token; every later write names the token, so a worker whose lease ran out
changes nothing. No transaction is open between a claim and its record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from pagerduty_sync.domain.links import SYNCED_FIELDS, Agreement, Link, LinkState, Picture
from pagerduty_sync.errors import LinkConflictError, StorageError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.pictures import parked_from_json, parked_to_json, pictures_to_json, with_pictures


class LeaseLostError(StorageError):
    """Another worker holds the link by now; nothing was written."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A link this worker may work on until its lease ends."""

    link: Link
    token: str


@dataclass(frozen=True, slots=True)
class Due:
    """When the next call to PagerDuty for a link is due: in so many seconds, and of which class (0 is most urgent)."""

    in_seconds: float
    call_class: int


@dataclass(frozen=True, slots=True)
class Asked:
    """How many living links there are among those meant, and how many of them nobody works on and so were asked."""

    living: int
    asked: int

    @property
    def is_complete(self) -> bool:
        return self.asked == self.living


_BY_INCIDENT = "integration_id = %(integration_id)s AND incident_id = ANY(%(keys)s)"


class Links:
    """The table `links`."""

    def __init__(self, database: Database, lease_seconds: float = 60) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    def create(
        self,
        *,
        case_id: str,
        case_name: str,
        connector_id: str,
        integration_id: str,
        preset_id: str | None,
        service_id: str,
        incident_key: str,
    ) -> tuple[Link, bool]:
        """The Case's link, made in the state `opening` unless it has one already; and whether it was made now."""
        empty = Link("", "", "", "", "", "", "", LinkState.OPENING, _NO_PICTURES)
        with self._database.transaction() as conn:
            made = conn.execute(
                """
                INSERT INTO links (case_id, case_name, connector_id, integration_id, preset_id, service_id,
                                   incident_key, state, pictures)
                VALUES (%(case_id)s, %(case_name)s, %(connector_id)s, %(integration_id)s, %(preset_id)s,
                        %(service_id)s, %(incident_key)s, 'opening', %(pictures)s)
                ON CONFLICT (case_id) DO NOTHING
                RETURNING *
                """,
                {
                    "case_id": case_id,
                    "case_name": case_name,
                    "connector_id": connector_id,
                    "integration_id": integration_id,
                    "preset_id": preset_id,
                    "service_id": service_id,
                    "incident_key": incident_key,
                    "pictures": Jsonb(pictures_to_json(empty)),
                },
            ).fetchone()
            row = made or conn.execute("SELECT * FROM links WHERE case_id = %s", (case_id,)).fetchone()
        assert row is not None
        return _link(row), made is not None

    def of_case(self, case_id: str) -> Link | None:
        """The link of a Case, ended ones included."""
        return self._one("SELECT * FROM links WHERE case_id = %(value)s", case_id)

    def by_id(self, link_id: str) -> Link | None:
        return self._one("SELECT * FROM links WHERE id = %(value)s", link_id)

    def of_incident(self, integration_id: str, incident_id: str, incident_key: str | None) -> Link | None:
        """The link of an incident; while its opening's reply is not stored yet, the one that opens under its key.

        An ended link answers only where no living one does.
        """
        with self._database.transaction() as conn:
            row = conn.execute(
                """
                SELECT * FROM links
                WHERE integration_id = %(integration_id)s
                  AND (incident_id = %(incident_id)s
                       OR (incident_id IS NULL AND state = 'opening' AND incident_key = %(incident_key)s))
                ORDER BY state = 'ended', created_at DESC
                LIMIT 1
                """,
                {"integration_id": integration_id, "incident_id": incident_id, "incident_key": incident_key},
            ).fetchone()
        return _link(row) if row else None

    # ------------------------------------------------------------ who works on it

    def mark_dirty(self, link_ids: Sequence[str], conn: Connection | None = None) -> None:
        """Something new is known about these links: they want a look. Comes before any attempt to claim them."""
        statement = "UPDATE links SET dirty_at = coalesce(dirty_at, now()) WHERE id = ANY(%s::uuid[])"
        if conn is not None:
            conn.execute(statement, (list(link_ids),))
            return
        with self._database.transaction() as own:
            own.execute(statement, (list(link_ids),))

    def claim(self, link_id: str) -> Claim | None:
        """Claim one link for a look. None when another worker holds it (its release will see the dirty mark), or when a
        failure put the next look off."""
        return self._claim(
            """
            UPDATE links
            SET lease_token = gen_random_uuid(), lease_until = now() + %(lease)s * interval '1 second', dirty_at = NULL
            WHERE id = %(link_id)s AND (lease_until IS NULL OR lease_until < now())
              AND (dirty_at IS NULL OR dirty_at <= now())
            RETURNING *
            """,
            {"link_id": link_id},
        )

    def claim_due(self, integration_id: str, highest_class: int) -> Claim | None:
        """Claim the link whose call is most urgent and longest due, up to this class; None when nothing is due."""
        return self._claim(
            """
            UPDATE links
            SET lease_token = gen_random_uuid(), lease_until = now() + %(lease)s * interval '1 second', dirty_at = NULL
            WHERE id = (
                SELECT id FROM links
                WHERE integration_id = %(integration_id)s AND due_at <= now() AND due_class <= %(highest_class)s
                  AND (lease_until IS NULL OR lease_until < now())
                ORDER BY due_class, due_at
                LIMIT 1
                FOR UPDATE SKIP LOCKED
            )
            RETURNING *
            """,
            {"integration_id": integration_id, "highest_class": highest_class},
        )

    def claim_many_due(self, integration_id: str, highest_class: int, limit: int) -> list[Claim]:
        """Claim so many links at once, the most urgent and longest due."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                UPDATE links
                SET lease_token = gen_random_uuid(), lease_until = now() + %(lease)s * interval '1 second',
                    dirty_at = NULL
                WHERE id IN (
                    SELECT id FROM links
                    WHERE integration_id = %(integration_id)s AND due_at <= now() AND due_class <= %(highest_class)s
                      AND (lease_until IS NULL OR lease_until < now())
                    ORDER BY due_class, due_at
                    LIMIT %(limit)s
                    FOR UPDATE SKIP LOCKED
                )
                RETURNING *
                """,
                {
                    "integration_id": integration_id,
                    "highest_class": highest_class,
                    "limit": limit,
                    "lease": self._lease_seconds,
                },
            ).fetchall()
        return [Claim(_link(row), str(row["lease_token"])) for row in rows]

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

    def count_open(self, integration_id: str) -> int:
        """How many pairs are linked now."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT count(*) AS open FROM links WHERE integration_id = %s AND state = 'linked'", (integration_id,)
            ).fetchone()
        return int(row["open"]) if row else 0

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
                incident_url = %(incident_url)s, state = %(state)s, ended_reason = %(ended_reason)s,
                pictures = %(pictures)s, parked = %(parked)s, attempts = %(attempts)s,
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
                "state": link.state.value,
                "ended_reason": link.ended_reason,
                "pictures": Jsonb(pictures_to_json(link)),
                "parked": Jsonb(parked_to_json(link.parked)),
                "attempts": link.attempts,
                "failing_since": link.failing_since,
                "lease": self._lease_seconds,
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

    def doubt(self, link_ids: Sequence[str], call_class: int) -> int:
        """Ask for a read of these links' incidents; those being worked on are left to the next time. How many."""
        return self._ask("id = ANY(%(keys)s::uuid[])", {"keys": list(link_ids)}, "is_doubtful", call_class).asked

    def doubt_incidents(self, integration_id: str, incident_ids: Sequence[str], call_class: int) -> Asked:
        """Ask for a read of these incidents, as far as they have a living link."""
        keys = {"integration_id": integration_id, "keys": list(incident_ids)}
        return self._ask(_BY_INCIDENT, keys, "is_doubtful", call_class)

    def want_notes(self, integration_id: str, incident_ids: Sequence[str], call_class: int) -> Asked:
        """Ask for the notes of these incidents, as far as they have a living link."""
        keys = {"integration_id": integration_id, "keys": list(incident_ids)}
        return self._ask(_BY_INCIDENT, keys, "wants_notes", call_class)

    def _ask(self, where: str, keys: Mapping[str, Any], flag: str, call_class: int) -> Asked:
        values = {**keys, "flag": flag, "call_class": call_class}
        with self._database.transaction() as conn:
            found = conn.execute(
                f"SELECT count(*) AS living FROM links WHERE {where} AND state = 'linked'".encode(),  # noqa: S608
                values,
            ).fetchone()
            asked = conn.execute(
                f"""
                UPDATE links
                SET pictures = pictures || jsonb_build_object(
                        %(flag)s::text, true,
                        'causes', (pictures -> 'causes') || '{{"read": "reconcile"}}'),
                    due_at = coalesce(due_at, now()),
                    due_class = least(due_class, %(call_class)s::smallint)
                WHERE {where} AND state = 'linked' AND lease_token IS NULL
                """.encode(),  # noqa: S608 both are constants of this module
                values,
            ).rowcount
        return Asked(int(found["living"]) if found else 0, asked)

    # ------------------------------------------------------------ what is to be done

    def wanting_a_look(self, limit: int, older_than_seconds: float) -> list[str]:
        """Links marked dirty whose nudge was lost, and links whose worker is gone."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT id FROM links
                WHERE dirty_at < now() - %(older)s * interval '1 second'
                  AND (lease_until IS NULL OR lease_until < now())
                UNION
                SELECT id FROM links WHERE lease_token IS NOT NULL AND lease_until < now()
                LIMIT %(limit)s
                """,
                {"older": older_than_seconds, "limit": limit},
            ).fetchall()
        return [str(row["id"]) for row in rows]

    def integrations_with_due_calls(self) -> list[str]:
        with self._database.transaction() as conn:
            rows = conn.execute("SELECT DISTINCT integration_id FROM links WHERE due_at <= now()").fetchall()
        return [str(row["integration_id"]) for row in rows]

    def open_links(self, integration_id: str, after_id: str | None, limit: int) -> list[Link]:
        """Pairs that may still move, in order of their ids: those not resolved, and for a week those that are."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT * FROM links
                WHERE integration_id = %(integration_id)s AND state = 'linked'
                  AND (pictures #>> '{fields,status,incident,value}' IS DISTINCT FROM 'resolved'
                       OR updated_at > now() - interval '7 days')
                  AND (%(after_id)s::uuid IS NULL OR id > %(after_id)s::uuid)
                ORDER BY id LIMIT %(limit)s
                """,
                {"integration_id": integration_id, "after_id": after_id, "limit": limit},
            ).fetchall()
        return [_link(row) for row in rows]

    def _claim(self, statement: str, values: Mapping[str, Any]) -> Claim | None:
        with self._database.transaction() as conn:
            row = conn.execute(statement.encode(), {**values, "lease": self._lease_seconds}).fetchone()
        return Claim(_link(row), str(row["lease_token"])) if row else None

    def _one(self, statement: str, value: str) -> Link | None:
        with self._database.transaction() as conn:
            row = conn.execute(statement.encode(), {"value": value}).fetchone()
        return _link(row) if row else None


_NO_PICTURES = {name: Picture(Agreement(None, None)) for name in SYNCED_FIELDS}


def _link(row: Mapping[str, Any]) -> Link:
    link = Link(
        id=str(row["id"]),
        case_id=str(row["case_id"]),
        case_name=row["case_name"],
        connector_id=str(row["connector_id"]),
        integration_id=str(row["integration_id"]),
        preset_id=str(row["preset_id"]) if row["preset_id"] else None,
        service_id=row["service_id"],
        incident_key=row["incident_key"],
        state=LinkState(row["state"]),
        pictures={},
        incident_id=row["incident_id"],
        incident_number=row["incident_number"],
        incident_url=row["incident_url"],
        ended_reason=row["ended_reason"],
        parked=parked_from_json(row["parked"]),
        attempts=row["attempts"],
        failing_since=row["failing_since"],
    )
    return with_pictures(link, row["pictures"])
