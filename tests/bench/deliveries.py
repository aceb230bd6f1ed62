"""The log of deliveries at size: how long questions take, what a full log does to writing, and how a month is dropped.

Run it with `python tests/bench/deliveries.py`; `--rows 1000000` is quick. Rows are spread evenly over the months up to
now, a dozen to a Case. PostgreSQL flushes each commit to disk. The target of each figure stands beside it, and a missed
one makes the exit code 1.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import random
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pagerduty_sync.bootstrap import Application, build  # noqa: E402
from pagerduty_sync.commands.shell import quiet_logs  # noqa: E402
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason  # noqa: E402
from pagerduty_sync.embedded.throwaway import start_throwaway  # noqa: E402
from pagerduty_sync.settings import Settings  # noqa: E402
from pagerduty_sync.stores.database import Database, migrate  # noqa: E402
from pagerduty_sync.stores.deliveries import Deliveries, DeliveryFilters  # noqa: E402
from pagerduty_sync.stores.queries import Queries  # noqa: E402
from tests.bench.deliveries_world import PER_CASE, World, fill, months_before, say  # noqa: E402

BATCHES = {1: 15, 20: 60}
"""Rows a commit, a webhook's and a storm's, and how many rounds are written so, in turns with an empty log."""
WRITTEN = 1200
"""Rows a round."""
TARGET_MS = 100.0
QUERY_TARGET_MS = 5000.0
"""People ask it now and then; what the console shows is asked all the time."""
MOST_SLOWER = 0.1
DROP_TARGET_MS = 1000.0

QUERIES = {
    "what failed": "filter outcome == 'failed' | choose at, operation, case, incident, reason, http_status, detail",
    "why did this not sync": "filter case == '{case}' && outcome != 'delivered' "
    "| choose at, operation, outcome, reason, detail | orderby at",
    "who acknowledged": "filter operation == 'incident.acknowledged' || operation == 'acknowledge_incident' "
    "| choose at, case, actor, outcome, reason",
    "how late were we": "filter lateness_ms != null | groupby direction "
    "aggregate count() as n, percentile(0.95, lateness_ms) as p95, max(lateness_ms) as worst",
    "what was refused": "filter direction == 'outbound' && http_status >= 400 | countby http_status, reason",
    "not delivered, newest": "source system/notification.deliveries | filter $d.source.entityType == 'cases' && "
    "$d.outcome.status != 'Success' | choose $m.timestamp, $d.destination.connectorInfo.name as connector, "
    "$d.outcome.status as status, $d.outcome.https.responseStatusCode as http, $d.outcome.statusReasons as why "
    "| orderby $m.timestamp desc | limit 100",
    "by connector and status": "source system/notification.deliveries | filter $d.source.entityType == 'cases' "
    "| groupby $d.destination.connectorInfo.name as connector, $d.outcome.status as status aggregate count() as n "
    "| orderby n desc",
    "by reason": "countby reason",
}
"""The examples of the README and those written for Coralogix's own dataset."""

Questions = dict[str, Callable[[], object]]


class Verdicts:
    """What was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def of(self, name: str, *, is_met: bool) -> str:
        if not is_met:
            self.missed.append(name)
        return "PASS" if is_met else "FAIL"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--cases", type=int, default=100_000, help="of them with a link, and everything around it")
    parser.add_argument("--months", type=int, default=6)
    parser.add_argument("--samples", type=int, default=200, help="times each question is asked")
    options = parser.parse_args()
    world = World(options.rows, options.months, min(options.cases, options.rows // PER_CASE))
    verdicts = Verdicts()
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    quiet_logs()
    with start_throwaway(durable=True) as servers, databases(servers.postgres.url) as (empty, full):
        started = time.monotonic()
        environment = fill(full, world, address(servers.postgres.url, "bench_full"), servers.redis_url)
        say(f"{world.rows:,} rows in {world.months} months, ready after {time.monotonic() - started:.0f} s")
        application = build(Settings.from_environment(environment))
        # As the web process does.
        gc.freeze()
        try:
            ask("console and explain", console(application, world), TARGET_MS, options.samples, verdicts)
            for span in (timedelta(days=1), timedelta(days=7)):
                questions = dataprime(full, world, span)
                ask(f"DataPrime, {span.days} days", questions, QUERY_TARGET_MS, options.samples // 4, verdicts)
        finally:
            application.close()
        for batch, rounds in BATCHES.items():
            write(empty, full, rounds, batch, verdicts)
        drop(full, world.months, verdicts)
    say(f"\n{'missed: ' + ', '.join(verdicts.missed) if verdicts.missed else 'every target is met'}")
    sys.exit(bool(verdicts.missed))


def address(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def databases(url: str) -> Iterator[tuple[Database, Database]]:
    """Two databases on one server, with the schema and nothing else."""
    made = []
    for name in ("bench_empty", "bench_full"):
        with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        migrate(address(url, name))
        made.append(Database(address(url, name), statement_timeout_seconds=3600))
        Deliveries(made[-1]).ensure_partitions()
    try:
        yield made[0], made[1]
    finally:
        for database in made:
            database.close()


# ------------------------------------------------------------------ asking


def console(application: Application, world: World) -> Questions:
    """What the console's lists and `explain` ask, about another Case each time."""
    deliveries, explain, chance, now = application.deliveries, application.explain, random.Random(1), datetime.now(UTC)

    def a_number(*, is_linked: bool) -> int:
        return chance.randrange(world.cases) * world.stride if is_linked else chance.randrange(world.rows // PER_CASE)

    def find(**filters: object) -> Callable[[], object]:
        return lambda: deliveries.find(DeliveryFilters(**filters))  # type: ignore[arg-type]

    def about(*, is_linked: bool, **template: str) -> Callable[[], object]:
        def asked() -> object:
            number = a_number(is_linked=is_linked)
            values = {name: text.format(n=number, x=f"{number:X}") for name, text in template.items()}
            return deliveries.find(DeliveryFilters(**values))  # type: ignore[arg-type]

        return asked

    def page_after(pages: int, **filters: object) -> Callable[[], object]:
        token = None
        for _ in range(pages):
            _, token = deliveries.find(DeliveryFilters(**filters), limit=500, page_token=token)  # type: ignore[arg-type]
        return lambda: deliveries.find(DeliveryFilters(**filters), page_token=token)  # type: ignore[arg-type]

    return {
        "newest page": find(),
        "the page after 10,000 rows": page_after(20),
        "the page after 10,000 rows of one outcome": page_after(20, outcome=Outcome.IGNORED),
        "page by outcome (0.1 % of rows)": find(outcome=Outcome.FAILED),
        "page by outcome (most rows)": find(outcome=Outcome.DELIVERED),
        "page of an outcome nothing has": find(outcome=Outcome.SENDING),
        "page by reason": find(reason=Reason.RATE_LIMITED),
        "page of a reason nothing has": find(reason=Reason.GAVE_UP),
        "page by outcome and reason": find(outcome=Outcome.FAILED, reason=Reason.REFUSED),
        "page of an outcome and a reason that never meet": find(outcome=Outcome.DELIVERED, reason=Reason.RATE_LIMITED),
        "page by direction": find(direction=Direction.INBOUND),
        "page by direction and outcome that never meet": find(direction=Direction.INBOUND, outcome=Outcome.FAILED),
        "one Case by its id": about(is_linked=True, case="CASE-{n}"),
        "one Case by a name no link has": about(is_linked=False, case="CASE-{n}"),
        "one Case by a name nothing has": about(is_linked=False, case="NONE-{n}"),
        "one incident": about(is_linked=False, incident_id="Q{x}"),
        "an incident nothing has": about(is_linked=False, incident_id="P{x}"),
        "reasons of the last day, counted": lambda: deliveries.count_by_reason(now - timedelta(days=1)),
        "reasons of one Case, counted": lambda: deliveries.count_by_reason(case=f"CASE-{a_number(is_linked=True)}"),
        "explain a Case": lambda: explain.case(f"CASE-{a_number(is_linked=True)}"),
        "explain a life of 500 attempts": lambda: explain.case("CASE-0"),
        "explain an incident": lambda: explain.incident(f"Q{a_number(is_linked=True):X}"),
        "explain an incident without a Case": lambda: explain.incident(f"Q{a_number(is_linked=True) + 1:X}"),
    }


def dataprime(database: Database, world: World, span: timedelta) -> Questions:
    queries, now = Queries(database, 60), datetime.now(UTC)
    latest = f"CASE-{world.rows // PER_CASE - 100}"

    def asked(text: str) -> Callable[[], object]:
        return lambda: queries.run(text.format(case=latest), since=now - span)

    return {name: asked(text) for name, text in QUERIES.items()}


def ask(title: str, questions: Mapping[str, Callable[[], object]], target: float, samples: int, to: Verdicts) -> None:
    """Each question many times."""
    say(f"\n{title:<50}{'median':>10}{'p95':>10}   target p95 < {target:.0f} ms")
    for name, question in questions.items():
        question()
        times = sorted(timed(question) for _ in range(samples))
        p95 = times[int(0.95 * len(times))]
        verdict = to.of(f"{title}: {name}", is_met=p95 < target)
        say(f"{name:<50}{statistics.median(times):>7.1f} ms{p95:>7.1f} ms   {verdict}")


def timed(action: Callable[[], object]) -> float:
    """Milliseconds the action takes."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


# ------------------------------------------------------------------ writing


_CASES = itertools.count(1_000_000)


def some_deliveries(batch: int, rows: int = WRITTEN) -> list[list[Delivery]]:
    """Batches about Cases nobody has written about before, a dozen rows to a Case, mixed as they would be.

    Names and links are numbered in order; the ids of Cases and incidents are others' and come in none.
    """
    one = Delivery(Direction.OUTBOUND, "status", Outcome.DELIVERED, Reason.APPLIED, http_status=200, duration_ms=80)
    lives = [
        replace(
            one,
            case_id=str(uuid.uuid4()),
            case_name=f"CASE-{number}",
            incident_id=uuid.uuid4().hex[:14].upper(),
            link_id=f"01900000-0000-7000-8000-{number:012x}",
        )
        for number in itertools.islice(_CASES, rows // PER_CASE)
    ]
    mixed = lives * PER_CASE
    random.Random(rows).shuffle(mixed)
    return [mixed[start : start + batch] for start in range(0, len(mixed), batch)]


def write(empty: Database, full: Database, rounds: int, batch: int, to: Verdicts) -> None:
    """Rows a second into an empty and a full log, one batch here and one there, so that both see the same machine."""
    logs = {"empty": Deliveries(empty), "full": Deliveries(full)}
    rates: dict[str, list[float]] = {name: [] for name in logs}
    for _ in range(rounds):
        with empty.transaction() as connection:
            connection.execute("TRUNCATE notification_deliveries")
        written = {name: some_deliveries(batch) for name in logs}
        spent = dict.fromkeys(logs, 0.0)
        for log in logs.values():
            log.add(None, some_deliveries(batch)[0])
        for place in range(len(written["empty"])):
            for name in sorted(logs, reverse=place % 2 == 1):
                spent[name] += timed(partial(logs[name].add, None, written[name][place]))
        for name, milliseconds in spent.items():
            rates[name].append(WRITTEN / milliseconds * 1000)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    slower = statistics.median(1 - f / e for f, e in zip(rates["full"], rates["empty"], strict=True))
    title = f"writing, rows a commit: {batch}"
    say(f"\n{title}: empty {medians['empty']:,.0f} rows/s, full {medians['full']:,.0f} rows/s")
    verdict = to.of(title, is_met=slower <= MOST_SLOWER)
    say(f"  the full log is {slower:+.1%} slower (median of {rounds} pairs); at most {MOST_SLOWER:+.0%}   {verdict}")


# ------------------------------------------------------------------ dropping


def drop(database: Database, months: int, to: Verdicts) -> None:
    """Drop the oldest month while others read and write; the longest of their waits is what blocking there was."""
    deliveries, stop = Deliveries(database), threading.Event()
    waits: dict[str, list[float]] = {"reading": [], "writing": []}

    def keep(name: str, action: Callable[[], object]) -> None:
        while not stop.is_set():
            waits[name].append(timed(action))

    threads = [
        threading.Thread(target=keep, args=("reading", lambda: deliveries.find(limit=50))),
        threading.Thread(target=keep, args=("writing", lambda: deliveries.add(None, some_deliveries(max(BATCHES))[0]))),
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
    verdict = to.of("dropping a month", is_met=milliseconds < DROP_TARGET_MS)
    say(f"\ndropping {', '.join(dropped)}: {milliseconds:.0f} ms; target under {DROP_TARGET_MS:.0f} ms   {verdict}")
    for name, found in waits.items():
        say(f"  longest wait of one {name}: {max(found):.0f} ms meanwhile, {usual[name]:.0f} ms in the 2 s before")


if __name__ == "__main__":
    main()
