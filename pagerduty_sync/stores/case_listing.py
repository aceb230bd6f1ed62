"""Pages of Cases, filtered and in order. A page token says where the last page ended, so pages neither repeat nor skip
a Case when others are added meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from pagerduty_sync.domain.cases import Case, CaseCategory, CasePriority, CaseStatus
from pagerduty_sync.domain.texts import storable
from pagerduty_sync.stores.case_rows import case_of
from pagerduty_sync.stores.database import Connection
from pagerduty_sync.stores.page_tokens import read_token, write_token


class CaseOrder(StrEnum):
    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    PRIORITY = "PRIORITY"
    STATUS = "STATUS"
    CATEGORY = "CATEGORY"
    DURATION = "DURATION"


@dataclass(frozen=True, slots=True)
class CaseFilters:
    """Within one field any value will do, across fields all must hold; an empty field asks for nothing.

    `labels` and `groupings` are pairs of a key and the values it may have, and every pair must hold; of `flat_labels`,
    pairs of a key and one value, any one will do. None among the assignees stands for nobody.
    """

    statuses: Sequence[CaseStatus] = ()
    priorities: Sequence[CasePriority] = ()
    categories: Sequence[CaseCategory] = ()
    assignees: Sequence[str | None] = ()
    labels: Sequence[tuple[str, Sequence[str]]] = ()
    groupings: Sequence[tuple[str, Sequence[str]]] = ()
    flat_labels: Sequence[tuple[str, str]] = ()
    title_contains: str = ""
    since: datetime | None = None
    until: datetime | None = None
    by_creation: bool = False


# Each order as one integer, so that one comparison serves them all. Descending puts the most severe priority first.
_RANKS: dict[CaseOrder, LiteralString] = {
    CaseOrder.CREATED_AT: "(extract(epoch FROM created_at) * 1000000)::bigint",
    CaseOrder.UPDATED_AT: "(extract(epoch FROM updated_at) * 1000000)::bigint",
    CaseOrder.PRIORITY: "-right(coalesce(override_priority, system_priority), 1)::bigint",
    CaseOrder.STATUS: """
        array_position(ARRAY['PENDING_ACTIVATION', 'ACTIVE', 'ACKNOWLEDGED', 'RESOLVED', 'CLOSED'], status)::bigint
    """,
    CaseOrder.CATEGORY: "array_position(ARRAY['AVAILABILITY', 'SECURITY'], category)::bigint",
    CaseOrder.DURATION: """
        (extract(epoch FROM coalesce(resolved_at, %(as_of)s::timestamptz) - created_at) * 1000000)::bigint
    """,
}

_PAGE = """
    SELECT ranked.* FROM (
        SELECT cases.*, {rank} AS rank FROM cases
        WHERE (%(statuses)s::text[] = '{{}}' OR status = ANY(%(statuses)s))
          AND (%(priorities)s::text[] = '{{}}' OR coalesce(override_priority, system_priority) = ANY(%(priorities)s))
          AND (%(categories)s::text[] = '{{}}' OR category = ANY(%(categories)s))
          AND (%(assignees)s::text[] = '{{}}' OR coalesce(assignee_user_id, '') = ANY(%(assignees)s))
          AND (%(title_contains)s = '' OR strpos(lower(title), lower(%(title_contains)s)) > 0)
          AND (%(since)s::timestamptz IS NULL
               OR CASE WHEN %(by_creation)s THEN created_at ELSE coalesce(resolved_at, 'infinity') END >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR created_at <= %(until)s)
          AND NOT EXISTS (
              SELECT FROM jsonb_to_recordset(%(labels)s) AS wanted (key text, "values" text[])
              WHERE NOT coalesce(labels -> wanted.key ?| wanted."values", false))
          AND NOT EXISTS (
              SELECT FROM jsonb_to_recordset(%(groupings)s) AS wanted (key text, "values" text[])
              WHERE NOT coalesce(groupings -> wanted.key ?| wanted."values", false))
          AND (%(flat_labels)s::jsonb = '[]' OR EXISTS (
              SELECT FROM jsonb_to_recordset(%(flat_labels)s) AS wanted (key text, value text)
              WHERE labels -> wanted.key ? wanted.value))
    ) AS ranked
    WHERE %(after_rank)s::bigint IS NULL OR (rank, id) {beyond} (%(after_rank)s, %(after_id)s::uuid)
    ORDER BY rank {direction}, id {direction}
    OFFSET %(skip)s LIMIT %(limit)s
"""


def list_cases(
    connection: Connection,
    filters: CaseFilters,
    order: CaseOrder,
    *,
    descending: bool,
    page_size: int,
    page_token: str | None,
    skip: int,
) -> tuple[list[Case], str | None]:
    """One page and the token of the next, None after the last; raises InvalidRequestError for a foreign token."""
    question = {"order": order, "descending": descending, "filters": _readable(filters)}
    as_of, after_rank, after_id = None, None, None
    if page_token is not None:
        as_of, after_rank, after_id = read_token(page_token, question, datetime, int, str)
    as_of = as_of or _now(connection)
    query = sql.SQL(_PAGE).format(
        rank=sql.SQL(_RANKS[order]),
        beyond=sql.SQL("<" if descending else ">"),
        direction=sql.SQL("DESC" if descending else "ASC"),
    )
    position = {"as_of": as_of, "after_rank": after_rank, "after_id": after_id}
    window = {"skip": 0 if page_token else skip, "limit": page_size + 1}
    rows = connection.execute(query, {**_parameters(filters), **position, **window}).fetchall()
    page = rows[:page_size]
    more = write_token(question, as_of, page[-1]["rank"], str(page[-1]["id"])) if len(rows) > page_size else None
    return [case_of(row) for row in page], more


def _now(connection: Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    now: datetime = row["now"]
    return now


def _parameters(filters: CaseFilters) -> dict[str, Any]:
    return {
        "statuses": list(filters.statuses),
        "priorities": list(filters.priorities),
        "categories": list(filters.categories),
        "assignees": [assignee or "" for assignee in filters.assignees],
        "title_contains": storable(filters.title_contains, "textSearch"),
        "since": filters.since,
        "until": filters.until,
        "by_creation": filters.by_creation,
        "labels": Jsonb([{"key": key, "values": list(values)} for key, values in filters.labels]),
        "groupings": Jsonb([{"key": key, "values": list(values)} for key, values in filters.groupings]),
        "flat_labels": Jsonb([{"key": key, "value": value} for key, value in filters.flat_labels]),
    }


def _readable(filters: CaseFilters) -> dict[str, Any]:
    return asdict(filters)
