"""The log of deliveries: one row for each attempt, in monthly partitions, asked newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import DictRow

from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.domain.texts import storable
from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.stores import delivery_partitions
from pagerduty_sync.stores.case_rows import UUID
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.page_tokens import read_token, write_token

LARGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class DeliveryFilters:
    """Everything that is not empty must hold. `case` is an id or a readable id, `without_case_id` leaves one out."""

    case: str = ""
    incident_id: str = ""
    link_id: str = ""
    direction: Direction | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    operation: str = ""
    since: datetime | None = None
    until: datetime | None = None
    without_case_id: str = ""


class Deliveries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection: Connection | None, deliveries: Sequence[Delivery]) -> list[int]:
        """Log attempts, in the caller's transaction if there is one; returns their ids in order."""
        if not deliveries:
            return []
        columns = [_columns_of(delivery) for delivery in deliveries]
        with self._database.joined(connection) as joined:
            rows = joined.execute(
                """
                INSERT INTO notification_deliveries (
                    direction, operation, outcome, reason, detail, case_id, case_name, incident_id, link_id,
                    connector_id, integration_id, attempt, http_status, duration_ms, request_id, event_id, cause,
                    actor, at)
                SELECT direction, operation, outcome, reason, detail, case_id, case_name, incident_id, link_id,
                       connector_id, integration_id, attempt, http_status, duration_ms, request_id, event_id, cause,
                       actor, coalesce(at, clock_timestamp())
                FROM unnest(
                    %(direction)s::text[], %(operation)s::text[], %(outcome)s::text[], %(reason)s::text[],
                    %(detail)s::text[], %(case_id)s::uuid[], %(case_name)s::text[], %(incident_id)s::text[],
                    %(link_id)s::uuid[], %(connector_id)s::uuid[], %(integration_id)s::uuid[], %(attempt)s::integer[],
                    %(http_status)s::integer[], %(duration_ms)s::integer[], %(request_id)s::text[],
                    %(event_id)s::text[], %(cause)s::text[], %(actor)s::text[], %(at)s::timestamptz[]
                ) WITH ORDINALITY AS given (
                    direction, operation, outcome, reason, detail, case_id, case_name, incident_id, link_id,
                    connector_id, integration_id, attempt, http_status, duration_ms, request_id, event_id, cause,
                    actor, at, position)
                ORDER BY position
                RETURNING id
                """,
                {name: [row[name] for row in columns] for name in columns[0]},
            )
            return [row["id"] for row in rows]

    def find(
        self, filters: DeliveryFilters | None = None, *, limit: int = 100, page_token: str | None = None
    ) -> tuple[list[Delivery], str | None]:
        """One page, newest first, and the token of the next, None after the last."""
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidRequestError(f"limit must be from 1 to {LARGEST_PAGE}.", "limit")
        filters = filters or DeliveryFilters()
        question = asdict(filters)
        after_at, after_id = read_token(page_token, question, datetime, int) if page_token else (None, None)
        position = {"after_at": after_at, "after_id": after_id, "limit": limit + 1}
        with self._database.transaction() as connection:
            conditions, parameters = _conditions(connection, filters)
            query = sql.SQL(
                "SELECT * FROM notification_deliveries WHERE {} AND {} ORDER BY at DESC, id DESC LIMIT %(limit)s"
            ).format(conditions, _AFTER if page_token else sql.SQL("true"))
            rows = connection.execute(query, {**parameters, **position}).fetchall()
        page = rows[:limit]
        more = write_token(question, page[-1]["at"], page[-1]["id"]) if len(rows) > limit else None
        return [_delivery_of(row) for row in page], more

    def count_by_reason(self, since: datetime | None = None, case: str | None = None) -> dict[str, int]:
        """How often each reason was given, the most frequent first."""
        with self._database.transaction() as connection:
            conditions, parameters = _conditions(connection, DeliveryFilters(case=case or "", since=since))
            query = sql.SQL(
                """
                SELECT reason, count(*) AS times FROM notification_deliveries
                WHERE {} GROUP BY reason ORDER BY times DESC, reason
                """
            ).format(conditions)
            return {row["reason"]: row["times"] for row in connection.execute(query, parameters)}

    def ensure_partitions(self, months_ahead: int = 2) -> list[str]:
        """Make what is missing of this month's partition and the next ones'; returns the names of the new."""
        return delivery_partitions.ensure(self._database, months_ahead)

    def prune(self, before: datetime) -> list[str]:
        """Drop the months that had ended by then; returns their partitions' names."""
        return delivery_partitions.prune(self._database, before)

    def prune_older_than(self, days: int) -> list[str]:
        """Like `prune`, counted back from now by the database's clock."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT now() - make_interval(days => %(days)s) AS at", {"days": days}).fetchone()
        assert row is not None
        return self.prune(row["at"])


_REASONS = {str(reason): reason for reason in Reason}
_AFTER = sql.SQL("(at, id) < (%(after_at)s, %(after_id)s)")

# Only what was asked for stands in the query, so that the planner can pick the index made for it.
_CONDITIONS: Mapping[str, sql.SQL] = {
    "case_link": sql.SQL("(link_id = %(case_link)s OR link_id IS NULL AND case_id = %(case_id)s)"),
    "case_id": sql.SQL("link_id IS NULL AND case_id = %(case_id)s"),
    "case_name": sql.SQL("case_name = %(case_name)s"),
    "incident_id": sql.SQL("incident_id = %(incident_id)s"),
    "link_id": sql.SQL("link_id = %(link_id)s::uuid"),
    "without_case_id": sql.SQL("case_id IS DISTINCT FROM %(without_case_id)s::uuid"),
    "direction": sql.SQL("direction = %(direction)s"),
    "outcome": sql.SQL("outcome = %(outcome)s"),
    "reason": sql.SQL("reason = %(reason)s"),
    "operation": sql.SQL("operation = %(operation)s"),
    "since": sql.SQL("at >= %(since)s"),
    "until": sql.SQL("at < %(until)s"),
}


def _conditions(connection: Connection, filters: DeliveryFilters) -> tuple[sql.Composed, dict[str, object]]:
    """What the rows must be, and the parameters of that; raises InvalidRequestError for what no row can be."""
    asked = {name: value for name, value in asdict(filters).items() if value}
    for name, value in asked.items():
        if isinstance(value, str):
            storable(value, name)
    if filters.link_id and not UUID.fullmatch(filters.link_id):
        raise InvalidRequestError("link_id must be a UUID.", "link_id")
    parameters, names = asked, list(asked)
    if filters.case:
        found = _case(connection, filters.case)
        condition = "case_name" if found is None else "case_link" if found["case_link"] else "case_id"
        parameters = {**asked, **(found or {"case_name": filters.case})}
        names[names.index("case")] = condition
    return sql.SQL(" AND ").join([sql.SQL("true"), *(_CONDITIONS[name] for name in names)]), parameters


def _case(connection: Connection, case: str) -> DictRow | None:
    """The id of a Case and of its link, if it has one: a Case never has another, and a link is never removed.

    None for a name nobody knows, so that only the name is left to look for.
    """
    is_id = UUID.fullmatch(case) is not None
    return connection.execute(
        """
        SELECT known.id AS case_id, links.id AS case_link
        FROM (
            SELECT %(id)s::uuid AS id WHERE %(id)s::uuid IS NOT NULL
            UNION ALL
            SELECT id FROM cases WHERE readable_id = %(name)s
            UNION ALL
            SELECT case_id FROM links WHERE case_name = %(name)s
            LIMIT 1) known
        LEFT JOIN links ON links.case_id = known.id
        """,
        {"id": case if is_id else None, "name": None if is_id else case},
    ).fetchone()


def _columns_of(delivery: Delivery) -> dict[str, object]:
    columns = asdict(delivery)
    del columns["id"]
    # The log tells what happened, also of a text no column can hold.
    return {name: _writable(value) if isinstance(value, str) else value for name, value in columns.items()}


def _writable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _delivery_of(row: DictRow) -> Delivery:
    ids = {
        name: str(row[name]) if row[name] else None for name in ("case_id", "link_id", "connector_id", "integration_id")
    }
    words = {
        "direction": Direction(row["direction"]),
        "outcome": Outcome(row["outcome"]),
        # While versions change, a newer one may have written a reason this one has no name for.
        "reason": _REASONS.get(row["reason"], row["reason"]),
    }
    return Delivery(**{**row, **ids, **words})
