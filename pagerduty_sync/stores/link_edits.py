"""Links as an operator makes, lists and asks for them; how workers share them is in `leases`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from pagerduty_sync.domain.links import Link, LinkState
from pagerduty_sync.errors import ConflictError, InvalidRequestError, LinkConflictError
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.link_rows import link_of, pictures_to_json
from pagerduty_sync.stores.page_tokens import read_token, write_token

LARGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class LinkFilters:
    """Everything that is not empty must hold. `case` is an id or a readable id."""

    case: str = ""
    incident_id: str = ""
    connector_id: str = ""
    state: str = ""
    is_parked: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """When a link was made and last changed, and when its next call to PagerDuty is due."""

    created_at: datetime
    updated_at: datetime
    due_at: datetime | None


class LinkEdits:
    """The table `links`, beside the work on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, filters: LinkFilters, *, limit: int = 100, page_token: str | None = None
    ) -> tuple[list[tuple[Link, Pace]], str | None]:
        """One page, the latest made first, and the token of the next, None after the last."""
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidRequestError(f"limit must be from 1 to {LARGEST_PAGE}.", "limit")
        question = ["links", *(getattr(filters, name) for name in LinkFilters.__slots__)]
        after_at, after_id = read_token(page_token, question, datetime, str) if page_token else (None, None)
        conditions = [condition for name, condition in _CONDITIONS.items() if getattr(filters, name)]
        if page_token:
            conditions.append(sql.SQL("(created_at, id) < (%(after_at)s, %(after_id)s::uuid)"))
        query = sql.SQL("SELECT * FROM links WHERE {} ORDER BY created_at DESC, id DESC LIMIT %(limit)s").format(
            sql.SQL(" AND ").join([sql.SQL("true"), *conditions])
        )
        values = {name: getattr(filters, name) for name in LinkFilters.__slots__}
        with self._database.transaction() as conn:
            rows = conn.execute(
                query, {**values, "after_at": after_at, "after_id": after_id, "limit": limit + 1}
            ).fetchall()
        page = rows[:limit]
        more = write_token(question, page[-1]["created_at"], str(page[-1]["id"])) if len(rows) > limit else None
        return [(link_of(row), _pace(row)) for row in page], more

    def by_id(self, link_id: str) -> tuple[Link, Pace] | None:
        with self._database.transaction() as conn:
            row = conn.execute("SELECT * FROM links WHERE id::text = %(id)s", {"id": link_id}).fetchone()
        return (link_of(row), _pace(row)) if row else None

    def adopt(self, conn: Connection, link: Link) -> Link:
        """Make this pair, or let the Case's ended link become it; it is marked for a look.

        Raises LinkConflictError when either has a living link already, ConflictError when a worker holds the ended one.
        """
        taken = conn.execute(
            """
            SELECT case_name FROM links
            WHERE integration_id = %(integration_id)s AND incident_id = %(incident_id)s AND state <> 'ended'
              AND case_id <> %(case_id)s
            """,
            {"integration_id": link.integration_id, "incident_id": link.incident_id, "case_id": link.case_id},
        ).fetchone()
        if taken is not None:
            raise LinkConflictError(f"Incident {link.incident_id} belongs to {taken['case_name']} already.")
        columns = {
            "case_id": link.case_id,
            "case_name": link.case_name,
            "connector_id": link.connector_id,
            "integration_id": link.integration_id,
            "service_id": link.service_id,
            "incident_key": link.incident_key,
            "incident_id": link.incident_id,
            "incident_number": link.incident_number,
            "incident_url": link.incident_url,
            "state": link.state.value,
            "pictures": Jsonb(pictures_to_json(link)),
        }
        made = conn.execute(
            """
            INSERT INTO links AS known (case_id, case_name, connector_id, integration_id, service_id, incident_key,
                                        incident_id, incident_number, incident_url, state, pictures)
            VALUES (%(case_id)s, %(case_name)s, %(connector_id)s, %(integration_id)s, %(service_id)s, %(incident_key)s,
                    %(incident_id)s, %(incident_number)s, %(incident_url)s, %(state)s, %(pictures)s)
            ON CONFLICT (case_id) DO UPDATE
            SET case_name = excluded.case_name, connector_id = excluded.connector_id,
                integration_id = excluded.integration_id, service_id = excluded.service_id,
                incident_key = excluded.incident_key, incident_id = excluded.incident_id,
                incident_number = excluded.incident_number, incident_url = excluded.incident_url,
                state = excluded.state, pictures = excluded.pictures, ended_reason = '', parked = '{}', attempts = 0,
                failing_since = NULL, updated_at = now(), dirty_at = now(), due_at = NULL, due_class = NULL,
                lease_token = NULL, lease_until = NULL
            WHERE known.state = 'ended' AND (known.lease_until IS NULL OR known.lease_until < now())
            RETURNING *
            """,
            columns,
        ).fetchone()
        if made is not None:
            return link_of(made)
        known = conn.execute("SELECT state, incident_id FROM links WHERE case_id = %(case_id)s", columns).fetchone()
        assert known is not None
        if known["state"] == LinkState.ENDED.value:
            raise ConflictError(f"The former link of {link.case_name} is being worked on; try again in a moment.")
        with_what = f"incident {known['incident_id']}" if known["incident_id"] else "an incident about to be opened"
        raise LinkConflictError(f"{link.case_name} is linked with {with_what} already.")


_CONDITIONS = {
    "case": sql.SQL("(case_id::text = lower(%(case)s) OR case_name = %(case)s)"),
    "incident_id": sql.SQL("incident_id = %(incident_id)s"),
    "connector_id": sql.SQL("connector_id = %(connector_id)s::uuid"),
    "state": sql.SQL("state = %(state)s"),
    "is_parked": sql.SQL("parked <> '{}'"),
}


def _pace(row: Any) -> Pace:
    return Pace(row["created_at"], row["updated_at"], row["due_at"])
