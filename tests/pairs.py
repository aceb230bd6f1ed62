"""Many pairs in step, as the sync itself leaves them, in seconds: one is opened by it, the others are copies."""

from __future__ import annotations

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

import requests

from pagerduty_sync.domain.reading import NEWEST, LogPlace
from pagerduty_sync.pagerduty.resources import LogEntry
from pagerduty_sync.simulator import seeds
from tests.harness import Harness

ROWS_OF_A_CASE = {
    "cases": "SELECT to_jsonb(t)::text AS row FROM cases t WHERE id = %(case_id)s",
    "case_timeline": "SELECT to_jsonb(t)::text AS row FROM case_timeline t WHERE case_id = %(case_id)s",
    "links": "SELECT to_jsonb(t)::text AS row FROM links t WHERE case_id = %(case_id)s",
    "comment_ledger": """
        SELECT to_jsonb(t)::text AS row FROM comment_ledger t JOIN links ON links.id = t.link_id
        WHERE case_id = %(case_id)s
        """,
}
ID_OF = {"cases": "id", "case_timeline": "event_id", "links": "id", "comment_ledger": "id"}
FIRST_NAME = "CASE-1"
ROWS_AT_ONCE = 1_000
UNLIMITED = 1_000_000


class Pair(NamedTuple):
    """A Case and its incident."""

    case_id: str
    incident_id: str


def open_pairs(harness: Harness, count: int) -> list[Pair]:
    """So many linked Cases and incidents; then an hour goes by in PagerDuty, and its log is read to the end.

    Each incident is made over REST by our own user, under its Case's key. No webhook leaves PagerDuty from here on.
    """
    case = harness.open_case()
    harness.run()
    harness.faults(
        webhook_drop={"probability": 1.0}, rest_limit_per_minute=UNLIMITED, create_limit_per_minute=UNLIMITED
    )
    link = harness.link(case.id)
    assert link.incident_id is not None
    first = Pair(case.id, link.incident_id)
    case_ids = [str(uuid.uuid4()) for _ in range(count - 1)]
    with ThreadPoolExecutor(2) as callers:
        incidents = list(callers.map(lambda case_id: _open_incident(harness, case_id), case_ids))
    pairs = [Pair(case_id, incident["id"]) for case_id, incident in zip(case_ids, incidents, strict=True)]
    _copy(harness, first, pairs, [incident["incident_number"] for incident in incidents])
    pass_time(harness, 3_600)
    # The newest line says how far the log has been read.
    harness.responder("POST", "/incidents", _wanted("Another's", uuid.uuid4().hex, seeds.PAYMENTS_SERVICE_ID))
    harness.application.upkeep.poll()
    harness.application.redis.flushall()
    return [first, *pairs]


def pass_time(harness: Harness, seconds: float) -> None:
    """Let PagerDuty's clock go on, and our budget rest as long as that."""
    harness.sim("POST", "/_sim/clock/advance", json={"seconds": seconds})
    harness.application.redis.flushall()


def lines_since(harness: Harness, since: datetime) -> list[LogEntry]:
    """The account's log since then, newest first, to its end."""
    client = harness.application.client(harness.integration_id)
    lines: dict[str, LogEntry] = {}
    place: LogPlace | None = NEWEST
    while place is not None:
        page = client.get_log_page(since, place)
        lines.update({line.id: line for line in page.lines})
        place = page.next
    return list(lines.values())


def calls_so_far(harness: Harness) -> int:
    """How many API calls PagerDuty has got."""
    newest = harness.sim("GET", "/_sim/requests", params={"limit": "1"})["requests"]
    return int(newest[0]["seq"]) if newest else 0


def _open_incident(harness: Harness, case_id: str) -> Any:
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}", "From": seeds.BOT_EMAIL}
    body = _wanted("Checkout is slow", f"case-{case_id}", seeds.CHECKOUT_SERVICE_ID)
    body["incident"]["priority"] = {"id": seeds.PRIORITY_IDS["P3"], "type": "priority_reference"}
    reply = requests.post(f"{harness.simulator_url}/incidents", json=body, headers=headers, timeout=30)
    assert reply.status_code == 201, reply.text
    return reply.json()["incident"]


def _wanted(title: str, key: str, service_id: str) -> dict[str, Any]:
    service = {"id": service_id, "type": "service_reference"}
    return {"incident": {"type": "incident", "title": title, "service": service, "incident_key": key}}


def _copy(harness: Harness, first: Pair, pairs: list[Pair], numbers: list[int]) -> None:
    """Every row of the first pair for each of the others, with ids of its own."""
    with harness.application.database.transaction() as conn:
        rows = {
            table: [row["row"] for row in conn.execute(statement.encode(), {"case_id": first.case_id}).fetchall()]
            for table, statement in ROWS_OF_A_CASE.items()
        }
        own_ids = [json.loads(row)[ID_OF[table]] for table, texts in rows.items() for row in texts]
        old = re.compile("|".join([*own_ids, first.incident_id, FIRST_NAME]))
        for start in range(0, len(pairs), ROWS_AT_ONCE):
            some = list(zip(pairs[start:], numbers[start:], strict=True))[:ROWS_AT_ONCE]
            names = [_names(first, own_ids, pair, number) for pair, number in some]
            for table, texts in rows.items():
                copies = [old.sub(lambda found, new=new: new[found[0]], text) for new in names for text in texts]  # type: ignore[misc]
                conn.execute(
                    f"INSERT INTO {table} OVERRIDING USER VALUE "
                    f"SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)".encode(),
                    (f"[{','.join(copies)}]",),
                )
        conn.execute(
            """
            UPDATE links SET incident_number = numbers.number
            FROM unnest(%s::uuid[], %s::bigint[]) AS numbers (case_id, number) WHERE links.case_id = numbers.case_id
            """,
            ([pair.case_id for pair in pairs], numbers),
        )
        conn.execute("SELECT setval('case_numbers', %s)", (max([1, *numbers]),))


def _names(first: Pair, own_ids: list[str], pair: Pair, number: int) -> dict[str, str]:
    """What each name of the first pair becomes in another."""
    names = {old: str(uuid.uuid5(uuid.UUID(pair.case_id), old)) for old in own_ids}
    return {**names, first.case_id: pair.case_id, first.incident_id: pair.incident_id, FIRST_NAME: f"CASE-{number}"}
