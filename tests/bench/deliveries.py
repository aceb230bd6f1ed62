"""The log of deliveries at size: how long questions take, what a full log does to writing, and how a month is dropped.

Run it with `python tests/bench/deliveries.py`; `--rows 1000000` is quick. Rows are spread evenly over the months up to
now, a dozen to a Case. PostgreSQL flushes each commit to disk. The target of each figure stands beside it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason  # noqa: E402
from pagerduty_sync.embedded.throwaway import start_throwaway  # noqa: E402
from pagerduty_sync.stores.database import Database, migrate  # noqa: E402
from pagerduty_sync.stores.deliveries import Deliveries, DeliveryFilters  # noqa: E402
from pagerduty_sync.stores.queries import Queries  # noqa: E402

PER_CASE = 12
BATCH = 20
TARGET_MS = 100.0

FILL = """
    INSERT INTO notification_deliveries (
        at, direction, operation, outcome, reason, case_id, case_name, incident_id, connector_id, attempt, http_status,
        duration_ms, request_id, event_id, cause)
    SELECT %(start)s::timestamptz + (n - %(first)s) * %(step)s::interval,
        CASE WHEN n %% 2 = 0 THEN 'inbound' ELSE 'outbound' END,
        (ARRAY['incident.acknowledged', 'status', 'incident.annotated', 'comment'])[1 + n %% 4],
        CASE WHEN n %% 1000 = 7 THEN 'failed' WHEN n %% 100 = 3 THEN 'deferred' WHEN n %% 5 = 0 THEN 'ignored'
             WHEN n %% 10000 = 9 THEN 'rejected' ELSE 'delivered' END,
        CASE WHEN n %% 1000 = 7 THEN 'refused' WHEN n %% 100 = 3 THEN 'rate_limited' WHEN n %% 5 = 0 THEN 'echo'
             WHEN n %% 10000 = 9 THEN 'rejected_signature' ELSE 'applied' END,
        md5('case' || n / %(per_case)s)::uuid, 'CASE-' || n / %(per_case)s, 'Q' || upper(to_hex(n / %(per_case)s)),
        md5('connector' || n %% 20)::uuid, 1, CASE WHEN n %% 2 = 1 THEN 200 END, (n %% 400)::integer,
        md5(n::text), 'E' || n, 'case_event:' || n
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--months", type=int, default=6)
    parser.add_argument("--samples", type=int, default=200, help="times each question is asked")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of writing, in turns with an empty log")
    options = parser.parse_args()
    with start_throwaway(durable=True) as servers, databases(servers.postgres.url) as (empty, full):
        seconds = fill(full, options.rows, options.months)
        say(f"{options.rows:,} rows in {options.months} months, filled in {seconds:.0f} s")
        ask(full, options.rows, options.samples)
        write(empty, full, options.rounds)
        drop(full, options.months)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


@contextmanager
def databases(url: str) -> Iterator[tuple[Database, Database]]:
    """Two databases on one server, with the schema and nothing else."""
    made = []
    for name in ("bench_empty", "bench_full"):
        with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        address = urlsplit(url)._replace(path=f"/{name}").geturl()
        migrate(address)
        made.append(Database(address, statement_timeout_seconds=3600))
        Deliveries(made[-1]).ensure_partitions()
    try:
        yield made[0], made[1]
    finally:
        for database in made:
            database.close()


# ------------------------------------------------------------------ filling


def months_before(now: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """The last months, the current one last; each with its end."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found: list[tuple[datetime, datetime]] = []
    end = (start + timedelta(days=32)).replace(day=1)
    for _ in range(count):
        found.insert(0, (start, end))
        start, end = (start - timedelta(days=1)).replace(day=1), start
    return found


def fill(database: Database, rows: int, months: int) -> float:
    started, now = time.monotonic(), datetime.now(UTC)
    spans = months_before(now, months)
    begin = spans[0][0]
    step = (now - begin) / rows
    first = 0
    for start, end in spans:
        last = min(rows, int((min(end, now) - begin) / step)) - 1
        with database.transaction() as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS notification_deliveries_{start:%Y_%m} PARTITION OF "
                f"notification_deliveries FOR VALUES FROM ('{start:%F} 00:00+00') TO ('{end:%F} 00:00+00')".encode()
            )
            span = {"start": begin + first * step, "step": step, "first": first, "last": last, "per_case": PER_CASE}
            connection.execute(FILL, span)
        say(f"  {start:%Y-%m}: {last - first + 1:,} rows after {time.monotonic() - started:.0f} s")
        first = last + 1
    with database._opened().connection() as connection:
        connection.execute("VACUUM ANALYZE notification_deliveries")
        connection.execute("CHECKPOINT")
    return time.monotonic() - started


# ------------------------------------------------------------------ asking


def ask(database: Database, rows: int, samples: int) -> None:
    """Each question many times, about another Case each time."""
    deliveries, queries, chance = Deliveries(database), Queries(database, 60), random.Random(1)
    day, now = timedelta(days=1), datetime.now(UTC)

    def any_case() -> int:
        return chance.randrange(rows // PER_CASE)

    known = [any_case() for _ in range(samples)]
    cases = link(database, known)

    def find(**filters: object) -> Callable[[], object]:
        return lambda: deliveries.find(DeliveryFilters(**filters))  # type: ignore[arg-type]

    def dataprime(text: str, since: timedelta = day) -> Callable[[], object]:
        return lambda: queries.run(text, since=now - since)

    questions: dict[str, Callable[[], object]] = {
        "newest page": find(),
        "page by outcome (0.1 % of rows)": find(outcome=Outcome.FAILED),
        "page by outcome (most rows)": find(outcome=Outcome.DELIVERED),
        "page by reason": find(reason=Reason.RATE_LIMITED),
        "page by direction": find(direction=Direction.INBOUND),
        "one Case": lambda: deliveries.find(DeliveryFilters(case=chance.choice(cases))),
        "one Case by its name": lambda: deliveries.find(DeliveryFilters(case=f"CASE-{chance.choice(known)}")),
        "one Case by a name no link has": lambda: deliveries.find(DeliveryFilters(case=f"CASE-{any_case()}")),
        "one incident": lambda: deliveries.find(DeliveryFilters(incident_id=f"Q{any_case():X}")),
        "page by outcome and reason": find(outcome=Outcome.FAILED, reason=Reason.REFUSED),
        "page of an outcome nothing has": find(outcome=Outcome.SENDING),
        "reasons of the last day, counted": lambda: deliveries.count_by_reason(now - day),
        "reasons of one Case, counted": lambda: deliveries.count_by_reason(case=chance.choice(cases)),
        "DataPrime: one Case, whole log": lambda: queries.run(
            f"filter case_id == '{chance.choice(cases)}' | choose at, outcome, reason", since=now - 400 * day
        ),
        "DataPrime: one Case by name, last day": lambda: queries.run(f"filter case == 'CASE-{any_case()}'"),
        "DataPrime: not delivered, last day": dataprime(
            "source system/notification.deliveries | filter $d.source.entityType == 'cases' && "
            "$d.outcome.status != 'Success' | choose $m.timestamp, $d.destination.connectorInfo.name as connector, "
            "$d.outcome.status as status, $d.outcome.https.responseStatusCode as http, "
            "$d.outcome.statusReasons as why | orderby $m.timestamp desc | limit 100"
        ),
        "DataPrime: by connector and status, last day": dataprime(
            "source system/notification.deliveries | filter $d.source.entityType == 'cases' "
            "| groupby $d.destination.connectorInfo.name as connector, $d.outcome.status as status "
            "aggregate count() as n | orderby n desc"
        ),
        "DataPrime: failures, whole log": dataprime("filter $d.outcome.status == 'Rejected' | limit 100", 400 * day),
        "DataPrime: countby reason, 7 days": dataprime("countby reason", 7 * day),
    }
    say(f"\n{'question':<46}{'median':>10}{'p95':>10}   target p95 < {TARGET_MS:.0f} ms")
    for name, question in questions.items():
        question()
        times = sorted(timed(question) for _ in range(samples))
        p95 = times[int(0.95 * len(times))]
        verdict = "" if p95 < TARGET_MS else "   MISSED"
        say(f"{name:<46}{statistics.median(times):>7.1f} ms{p95:>7.1f} ms{verdict}")


def link(database: Database, numbers: list[int]) -> list[str]:
    """Give these Cases their links, by which a name is found; returns the Cases' ids."""
    with database.transaction() as connection:
        connection.execute(
            """
            INSERT INTO integrations (name, base_url, api_key_encrypted, api_key_last4, key_kind, user_email, user_id,
                                      consented_at, status)
            VALUES ('bench', 'https://x', 'x', 'last', 'user', 'a@example.com', 'P1', now(), 'connected')
            """
        )
        connection.execute(
            "INSERT INTO connectors (name, path, integration_id, service_id) "
            "SELECT 'bench', 'bidirectional', id, 'P1' FROM integrations"
        )
        rows = connection.execute(
            """
            INSERT INTO links (case_id, case_name, connector_id, integration_id, service_id, incident_key, state,
                               pictures)
            SELECT md5('case' || n)::uuid, 'CASE-' || n, connectors.id, integration_id, 'P1', n, 'opening', '{}'
            FROM connectors, (SELECT DISTINCT unnest(%s::bigint[]) AS n) AS numbers
            RETURNING case_id
            """,
            (numbers,),
        ).fetchall()
    return [str(row["case_id"]) for row in rows]


def timed(action: Callable[[], object]) -> float:
    """Milliseconds the action takes."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


# ------------------------------------------------------------------ writing


def some_deliveries() -> list[Delivery]:
    one = Delivery(Direction.OUTBOUND, "status", Outcome.DELIVERED, Reason.APPLIED, http_status=200, duration_ms=80)
    return [
        replace(one, case_id=str(uuid.uuid4()), case_name="CASE-1", incident_id=uuid.uuid4().hex[:14].upper())
        for _ in range(BATCH)
    ]


def write(empty: Database, full: Database, rounds: int, batches: int = 60) -> None:
    """Rows a second into an empty and a full log, in turns, so that both see the same machine."""
    rates: dict[str, list[float]] = {"empty": [], "full": []}
    for _ in range(rounds):
        with empty.transaction() as connection:
            connection.execute("TRUNCATE notification_deliveries")
        for name, database in (("empty", empty), ("full", full)):
            deliveries, batch = Deliveries(database), [some_deliveries() for _ in range(batches)]
            deliveries.add(None, batch[0])
            milliseconds = sum(timed(lambda rows=rows, log=deliveries: log.add(None, rows)) for rows in batch)  # type: ignore[misc]
            rates[name].append(batches * BATCH / milliseconds * 1000)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    slower = 1 - medians["full"] / medians["empty"]
    say(f"\nwriting, {BATCH} rows a commit: empty {medians['empty']:,.0f} rows/s, full {medians['full']:,.0f} rows/s")
    say(f"  the full log is {slower:+.1%} slower; target at most +10 %{'' if slower <= 0.1 else '   MISSED'}")


# ------------------------------------------------------------------ dropping


def drop(database: Database, months: int) -> None:
    """Drop the oldest month while others read and write; the longest of their waits is what blocking there was."""
    deliveries, stop = Deliveries(database), threading.Event()
    waits: dict[str, list[float]] = {"reading": [], "writing": []}

    def keep(name: str, action: Callable[[], object]) -> None:
        while not stop.is_set():
            waits[name].append(timed(action))

    threads = [
        threading.Thread(target=keep, args=("reading", lambda: deliveries.find(limit=50))),
        threading.Thread(target=keep, args=("writing", lambda: deliveries.add(None, some_deliveries()))),
    ]
    for thread in threads:
        thread.start()
    time.sleep(2)
    usual = {name: max(found) for name, found in waits.items()}
    for found in waits.values():
        found.clear()
    (_, end), *_ = months_before(datetime.now(UTC), months)
    dropped: list[str] = []
    milliseconds = timed(lambda: dropped.extend(deliveries.prune(end)))
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    missed = "" if milliseconds < 1000 else "   MISSED"
    say(f"\ndropping {', '.join(dropped)}: {milliseconds:.0f} ms; target under a second{missed}")
    for name, found in waits.items():
        say(f"  longest wait of one {name}: {max(found):.0f} ms meanwhile, {usual[name]:.0f} ms in the 2 s before")


if __name__ == "__main__":
    main()
