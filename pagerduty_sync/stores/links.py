"""Links: finding one, marking it for a look, asking for a read. Who may work on one is in `leases`."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from pagerduty_sync.domain.links import NOTHING_SEEN, Link, LinkState
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.link_rows import link_of, pictures_to_json


class Links:
    """The table `links`."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        empty = Link("", "", "", "", "", "", "", LinkState.OPENING, NOTHING_SEEN)
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
        return link_of(row), made is not None

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
        return link_of(row) if row else None

    def mark_dirty(self, link_ids: Sequence[str], conn: Connection | None = None) -> None:
        """Something new is known about these links: they want a look. Comes before any attempt to claim them."""
        statement = "UPDATE links SET dirty_at = coalesce(dirty_at, now()) WHERE id = ANY(%s::uuid[])"
        if conn is not None:
            conn.execute(statement, (list(link_ids),))
            return
        with self._database.transaction() as own:
            own.execute(statement, (list(link_ids),))

    def count_open(self, integration_id: str) -> int:
        """How many pairs are linked now."""
        with self._database.transaction() as conn:
            row = conn.execute(
                "SELECT count(*) AS open FROM links WHERE integration_id = %s AND state = 'linked'", (integration_id,)
            ).fetchone()
        return int(row["open"]) if row else 0

    # ------------------------------------------------------------ what is to be read

    def doubt(self, link_ids: Sequence[str], call_class: int, asker: str) -> list[str]:
        """Ask for a read of these links' incidents, and say which are asked; the asker is the cause of what follows."""
        return self._ask(link_ids, "is_doubtful", call_class, asker)

    def want_notes(self, link_ids: Sequence[str], call_class: int, asker: str) -> list[str]:
        """Ask for the notes of these links' incidents."""
        return self._ask(link_ids, "wants_notes", call_class, asker)

    def _ask(self, link_ids: Sequence[str], flag: str, call_class: int, asker: str) -> list[str]:
        """The next claim takes it up. A link that somebody works on is marked dirty: its record must not undo this."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                UPDATE links
                SET asks = asks || jsonb_build_object(%(flag)s::text, true, 'asker', %(asker)s::text),
                    dirty_at = CASE WHEN lease_token IS NULL THEN dirty_at ELSE coalesce(dirty_at, now()) END,
                    due_at = coalesce(due_at, now()),
                    due_class = least(due_class, %(call_class)s::smallint)
                WHERE id = ANY(%(link_ids)s::uuid[]) AND state = 'linked'
                RETURNING id
                """,
                {"link_ids": list(link_ids), "flag": flag, "call_class": call_class, "asker": asker},
            ).fetchall()
        return [str(row["id"]) for row in rows]

    def of_incidents(self, integration_id: str, incident_ids: Sequence[str]) -> list[Link]:
        """The living links of these incidents."""
        with self._database.transaction() as conn:
            rows = conn.execute(
                """
                SELECT * FROM links
                WHERE integration_id = %s AND incident_id = ANY(%s) AND state = 'linked' ORDER BY id
                """,
                (integration_id, list(incident_ids)),
            ).fetchall()
        return [link_of(row) for row in rows]

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
        return [link_of(row) for row in rows]

    def _one(self, statement: str, value: str) -> Link | None:
        with self._database.transaction() as conn:
            row = conn.execute(statement.encode(), {"value": value}).fetchone()
        return link_of(row) if row else None
