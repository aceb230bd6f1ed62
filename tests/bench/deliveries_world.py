"""What the bench of the log asks about: the log itself, and Cases, links, webhooks and comments around it.

One Case lives a short life with a simulated PagerDuty, and is copied as often as wanted; so every row is as the sync
writes it. The first of the copies has a story as long as `explain` tells any.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pagerduty_sync.simulator import seeds
from pagerduty_sync.stores.database import Database
from tests.harness import JANE, Harness, a_harness

PER_CASE = 12
LONGEST_STORY = 500
LINK_ID = "('01900000-0000-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid"
"""Of a Case's number, in order of time like the ids links get."""
FIRST_ID, LONGEST_FIRST_ID = 1_000_000_000, 2_000_000_000
"""Webhooks and changes of Cases have the number of their attempt, counted from here."""

FILL = """
    INSERT INTO {month} (
        id, at, direction, operation, outcome, reason, case_id, case_name, incident_id, link_id, connector_id, attempt,
        http_status, duration_ms, request_id, event_id, cause)
    OVERRIDING SYSTEM VALUE
    SELECT n + 1, %(start)s::timestamptz + (n - %(first)s) * %(step)s::interval,
        CASE WHEN n %% 2 = 0 THEN 'inbound' ELSE 'outbound' END,
        (ARRAY['incident.acknowledged', 'status', 'incident.annotated', 'comment'])[1 + n %% 4],
        CASE WHEN n %% 1000 = 7 THEN 'failed' WHEN n %% 100 = 3 THEN 'deferred' WHEN n %% 5 = 0 THEN 'ignored'
             WHEN n %% 10000 = 9 THEN 'rejected' ELSE 'delivered' END,
        CASE WHEN n %% 1000 = 7 THEN 'refused' WHEN n %% 100 = 3 THEN 'rate_limited' WHEN n %% 5 = 0 THEN 'echo'
             WHEN n %% 10000 = 9 THEN 'rejected_signature' ELSE 'applied' END,
        md5('case' || n / %(per_case)s)::uuid, 'CASE-' || n / %(per_case)s, 'Q' || upper(to_hex(n / %(per_case)s)),
        {link_id}, connectors.id, 1, CASE WHEN n %% 2 = 1 THEN 200 END, (n %% 400)::integer, md5(n::text), 'E' || n,
        CASE WHEN n %% 2 = 0 THEN 'inbox:' ELSE 'case_event:' END || (%(first_id)s + n)
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n, connectors
"""

# Each copy takes the place of one Case of the log: the same id, name and incident.
COPIES = f"""
    CREATE TEMPORARY TABLE copies AS
    SELECT m.id AS model_id, l.id AS model_link_id, m.number, md5('case' || m.number)::uuid AS case_id,
           {LINK_ID.format(number="m.number")} AS link_id,
           CASE WHEN m.number = 0 THEN %(longest)s ELSE %(per_case)s END AS attempts,
           CASE WHEN m.number = 0 THEN %(longest_first_id)s ELSE %(first_id)s + m.number * %(per_case)s END AS first_id
    FROM (SELECT cases.id, generate_series(0, %(cases)s::bigint - 1) * %(stride)s::bigint AS number FROM cases) m
    JOIN links l ON l.case_id = m.id
"""
COPIED = (
    """
    INSERT INTO cases SELECT r.* FROM copies, cases model, jsonb_populate_record(model, jsonb_build_object(
        'id', copies.case_id, 'readable_id', 'CASE-' || copies.number)) r
    WHERE model.id = copies.model_id
    """,
    """
    INSERT INTO links SELECT r.* FROM copies, links model, jsonb_populate_record(model, jsonb_build_object(
        'id', copies.link_id, 'case_id', copies.case_id, 'case_name', 'CASE-' || copies.number,
        'incident_key', 'bench-' || copies.number, 'incident_id', 'Q' || upper(to_hex(copies.number)))) r
    WHERE model.id = copies.model_link_id
    """,
    """
    INSERT INTO comment_ledger (link_id, direction, kind, source_id, author, text, state, remote_id, placed_at)
    SELECT copies.link_id, direction, kind, source_id, author, text, state, remote_id, placed_at
    FROM copies JOIN comment_ledger model ON model.link_id = copies.model_link_id
    """,
    """
    INSERT INTO case_timeline (event_id, case_id, kind, actor, content, created_at)
    SELECT md5(copies.number || ' ' || model.event_id)::uuid, copies.case_id, kind, actor, content, created_at
    FROM copies JOIN case_timeline model ON model.case_id = copies.model_id
    """,
    """
    INSERT INTO case_events (id, case_id, kind, actor, timeline_event_id, occurred_at, handled_at, notified_at)
    OVERRIDING SYSTEM VALUE
    SELECT copies.first_id + 2 * place.number + 1, copies.case_id, kind, actor,
           md5(copies.number || ' ' || timeline_event_id)::uuid, occurred_at, handled_at, now()
    FROM copies, generate_series(0, attempts / 2 - 1) AS place (number)
    JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS those FROM case_events) model
        ON model.place = place.number %% those
    """,
    """
    INSERT INTO inbox (id, integration_id, webhook_id, event_id, subscription_id, signature, body, received_at, state,
                       link_id, reason, handled_at)
    OVERRIDING SYSTEM VALUE
    SELECT copies.first_id + 2 * place.number, integration_id, copies.number || '-' || place.number,
           'E' || copies.number || '-' || place.number, subscription_id, signature, body, received_at, 'done',
           copies.link_id, reason, handled_at
    FROM copies, generate_series(0, attempts / 2 - 1) AS place (number)
    JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS those
          FROM inbox WHERE link_id IS NOT NULL) model
        ON model.place = place.number %% those
    """,
    # The first copy's attempts, as many as make the longest story.
    """
    INSERT INTO notification_deliveries (
        direction, operation, outcome, reason, case_id, case_name, incident_id, link_id, connector_id, cause)
    SELECT d.direction, d.operation, d.outcome, d.reason, d.case_id, d.case_name, d.incident_id, copies.link_id,
           d.connector_id, CASE WHEN n %% 2 = 0 THEN 'inbox:' ELSE 'case_event:' END || (%(longest_first_id)s + n)
    FROM copies, generate_series(0, %(longest)s - 1) AS n,
         (SELECT * FROM notification_deliveries WHERE case_id = md5('case0')::uuid LIMIT 1) d
    WHERE copies.number = 0
    """,
)


@dataclass(frozen=True, slots=True)
class World:
    """`stride` is how many Cases of the log stand between two that have a link."""

    rows: int
    months: int
    cases: int

    @property
    def stride(self) -> int:
        return max(1, self.rows // PER_CASE // self.cases)


def months_before(now: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """The last months, the current one last; each with its end."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found: list[tuple[datetime, datetime]] = []
    end = (start + timedelta(days=32)).replace(day=1)
    for _ in range(count):
        found.insert(0, (start, end))
        start, end = (start - timedelta(days=1)).replace(day=1), start
    return found


def fill(database: Database, world: World, database_url: str, redis_url: str) -> dict[str, str]:
    """Everything; returns the settings of an application that can read it."""
    with tempfile.TemporaryDirectory() as directory, a_harness(database_url, redis_url, Path(directory)) as harness:
        live(harness)
        keys = harness.application.settings.encryption_keys
    with database.transaction() as connection:
        connection.execute("TRUNCATE notification_deliveries")
    _fill_log(database, world)
    _copy(database, world)
    with database._opened().connection() as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return {
        "PAGERDUTY_SYNC_DATABASE_URL": database_url,
        "PAGERDUTY_SYNC_REDIS_URL": redis_url,
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS": keys[0],
    }


def live(harness: Harness) -> None:
    """The short life of one Case and its incident."""
    case = harness.open_case()
    harness.application.cases.add_comment(case.id, JANE, "Seen on the dashboards")
    harness.run()
    harness.next_second()
    harness.set_incident(case.id, status="acknowledged")
    harness.add_note(case.id, "Looking into it")
    harness.set_incident(case.id, priority={"id": seeds.PRIORITY_IDS["P1"], "type": "priority_reference"})
    harness.run()


def _fill_log(database: Database, world: World) -> None:
    started, now = time.monotonic(), datetime.now(UTC)
    spans = months_before(now, world.months)
    begin = spans[0][0]
    step = (now - begin) / world.rows
    first = 0
    for start, end in spans:
        last = min(world.rows, int((min(end, now) - begin) / step)) - 1
        month = f"notification_deliveries_{start:%Y_%m}"
        span = {"start": max(start, begin + first * step), "step": step, "first": first, "last": last}
        like = "LIKE notification_deliveries INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
        attach = (
            f"ALTER TABLE notification_deliveries ATTACH PARTITION {month} "
            f"FOR VALUES FROM ('{start:%F} 00:00+00') TO ('{end:%F} 00:00+00')"
        )
        fill_month = FILL.format(month=month, link_id=LINK_ID.format(number=f"n / {PER_CASE}"))
        with database.transaction() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {month}".encode())
            connection.execute(f"CREATE TABLE {month} ({like})".encode())
            # Indexes are made faster than they grow; but this month's are written to, and should be as they grew.
            is_this_month = start <= now < end
            if is_this_month:
                connection.execute(attach.encode())
            connection.execute(fill_month.encode(), {**span, "per_case": PER_CASE, "first_id": FIRST_ID})
            if not is_this_month:
                connection.execute(attach.encode())
        say(f"  {start:%Y-%m}: {last - first + 1:,} rows after {time.monotonic() - started:.0f} s")
        first = last + 1
    with database.transaction() as connection:
        sequence = "pg_get_serial_sequence('notification_deliveries', 'id')"
        connection.execute(f"SELECT setval({sequence}, %s)".encode(), (world.rows + 1,))


def _copy(database: Database, world: World) -> None:
    started = time.monotonic()
    with database.transaction() as connection:
        numbers = {"first_id": FIRST_ID, "longest_first_id": LONGEST_FIRST_ID, "per_case": PER_CASE}
        numbers |= {"longest": LONGEST_STORY, "cases": world.cases, "stride": world.stride}
        connection.execute("UPDATE cases SET readable_id = 'MODEL-1'")
        connection.execute(COPIES, numbers)
        connection.execute("ANALYZE copies")
        for statement in COPIED:
            connection.execute(statement.encode(), numbers)
    say(f"  {world.cases:,} Cases with links around it after {time.monotonic() - started:.0f} s")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
