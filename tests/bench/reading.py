"""What it costs to read PagerDuty: reconcile and polling in API calls, time and statements, for 100 to 5,000 links.

Run it with `python tests/bench/reading.py`. Everything is in this one process but the servers: the real stores on a
PostgreSQL and a Valkey of its own, the real client over HTTP to the simulator. Ends with an error when reconcile costs
more than its bound, when a day without webhooks is not healed by one sweep, or when reading and people's calls starve
each other.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import structlog

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from pagerduty_sync.domain.cases import CasePriority  # noqa: E402
from pagerduty_sync.domain.incidents import IncidentStatus  # noqa: E402
from pagerduty_sync.domain.mapping import INCIDENT_STATUS  # noqa: E402
from pagerduty_sync.embedded.throwaway import start_throwaway  # noqa: E402
from pagerduty_sync.handlers.reconcile import OVERLAP  # noqa: E402
from pagerduty_sync.pagerduty.budget import CallClass  # noqa: E402
from pagerduty_sync.simulator import seeds  # noqa: E402
from pagerduty_sync.stores.database import migrate  # noqa: E402
from pagerduty_sync.stores.readings import Readings  # noqa: E402
from tests.harness import JANE, Harness, a_harness  # noqa: E402
from tests.pairs import Pair, calls_so_far, lines_since, open_pairs, pass_time  # noqa: E402

PAGE = 100
HOUR = 3_600.0
UNPACED = "60000"
PACED = "900"
SCARCE = "180"
"""So few that this process alone uses up all of them."""
BUSY_LINKS = 400
RESOLVES = 100
PRIORITIES = [{"id": seeds.PRIORITY_IDS[name], "type": "priority_reference"} for name in ("P1", "P2")]


@dataclass
class Verdicts:
    """What was demanded, and whether it held."""

    failed: list[str] = field(default_factory=list)

    def __call__(self, name: str, holds: bool) -> str:
        if not holds:
            self.failed.append(name)
        return "PASS" if holds else "FAIL"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, nargs="+", default=[100, 1_000, 5_000], help="open links, one run each")
    parser.add_argument("--day-links", type=int, default=1_000, help="open links on the day without webhooks")
    parser.add_argument("--minutes", type=int, default=3, help="simulated minutes of polling at each rate")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    verdicts = Verdicts()
    costs(options.links, verdicts)
    polling(options.links, options.minutes, verdicts)
    whole_day(options.day_links, verdicts)
    busy_queue(verdicts)
    if verdicts.failed:
        raise SystemExit("not held: " + "; ".join(verdicts.failed))


@contextmanager
def in_step(count: int, per_minute: str, **settings: str) -> Iterator[tuple[Harness, list[Pair]]]:
    """So many open links, and nothing left to do."""
    with start_throwaway() as servers, tempfile.TemporaryDirectory() as directory:
        migrate(servers.database_url)
        settings = {"requests_per_minute": per_minute, **settings}
        with a_harness(servers.database_url, servers.redis_url, Path(directory), **settings) as harness:
            yield harness, open_pairs(harness, count)


def work(harness: Harness) -> None:
    """Make every call that is due or will be, as workers would."""
    this = harness.application
    while True:
        for link_id in this.links.wanting_a_look(500, 0):
            this.sync.look(link_id)
        wait = this.sync.call(harness.integration_id)
        if wait is not None:
            time.sleep(min(wait, 0.5))
        elif not _rows(harness, "SELECT id FROM links WHERE due_at IS NOT NULL OR dirty_at IS NOT NULL LIMIT 1"):
            return


# ------------------------------------------------------------------ what a reconcile costs


def costs(links: Sequence[int], verdicts: Verdicts) -> None:
    say("Reconcile: calls <= pages of links + pages of log + changed incidents + incidents with notes", "")
    say(f"{'links':>6} {'what happened':24} {'lines':>6} {'bound':>6} {'calls':>6}{'seconds':>14} {'statements':>11}")
    for count in links:
        with in_step(count, UNPACED) as (harness, pairs):
            tenth, hundredth = count // 10, count // 100
            nothing = cost(harness, "nothing", count, 0, verdicts)
            verdicts(f"{count} links are not in step from the start", nothing)
            for name, some in {"1 % changed": pairs[:hundredth], "10 % changed": pairs[hundredth:][:tenth]}.items():
                for pair in some:
                    harness.set_incident(pair.case_id, status="acknowledged")
                cost(harness, name, count, len(some), verdicts)
                pass_time(harness, HOUR)
            for pair in pairs[:hundredth]:
                harness.add_note(pair.case_id, "seen")
            cost(harness, "a note on each of 1 %", count, hundredth, verdicts)
            pass_time(harness, HOUR)
            for pair in pairs[:hundredth]:
                harness.set_incident(pair.case_id, priority=PRIORITIES[0])
                harness.add_note(pair.case_id, "seen again")
            cost(harness, "1 % changed, with a note", count, 2 * hundredth, verdicts)
            cost(harness, "nothing, right after it", count, 0, verdicts)


def cost(harness: Harness, name: str, links: int, reads: int, verdicts: Verdicts) -> bool:
    """One reconcile with the reads it asks for, against its bound; whether it asked for nothing."""
    lines = lines_to_read(harness)
    bound = math.ceil(links / PAGE) + max(1, math.ceil(lines / PAGE)) + reads
    before, started = calls_so_far(harness), time.perf_counter()
    with statements() as count:
        asked = harness.reconcile()
        work(harness)
    seconds, calls = time.perf_counter() - started, calls_so_far(harness) - before
    verdict = verdicts(f"{links} links, {name}: {calls} calls, bound {bound}", calls <= bound)
    say(f"{links:6} {name:24} {lines:6} {bound:6} {calls:6} {verdict:5}{seconds:8.2f} {sum(count.values()):11}")
    return not asked


def lines_to_read(harness: Harness) -> int:
    """How many lines the log holds from where it is read the next time."""
    until = Readings(harness.application.database).log(harness.integration_id).until
    assert until is not None
    return len(lines_since(harness, until - OVERLAP))


@contextmanager
def statements() -> Iterator[Counter[str]]:
    """Counts what is sent to PostgreSQL meanwhile."""
    counted: Counter[str] = Counter()
    execute = psycopg.Cursor.execute

    def counting(cursor: Any, *args: Any, **options: Any) -> Any:
        counted["execute"] += 1
        return execute(cursor, *args, **options)

    psycopg.Cursor.execute = counting  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        psycopg.Cursor.execute = execute  # type: ignore[method-assign]


# ------------------------------------------------------------------ what polling costs


def polling(links: Sequence[int], minutes: int, verdicts: Verdicts) -> None:
    say("", "Polling, nothing but the log: simulated minutes, and the measured time of the work on top of them", "")
    say(f"{'links':>6} {'changes/min':>11} {'calls/min':>10} {'share':>6} {'lag p50':>8} {'p95':>7} {'worst':>7}")
    for count in links:
        with in_step(count, PACED, inbound="poll") as (harness, pairs):
            for rate in (0, 6, 60):
                calls, lags = poll_for(harness, pairs, rate, minutes)
                seconds = harness.application.settings.poll_seconds
                holds = len(lags) == rate * minutes and max(lags, default=0.0) < 2 * seconds
                verdict = verdicts(f"{count} links, {rate} changes a minute: all learned in time", holds)
                spread = " ".join(f"{_quantile(lags, share):7.1f}" for share in (0.5, 0.95, 1.0))
                share = calls / minutes / float(PACED)
                say(f"{count:6} {rate:11} {calls / minutes:10.1f} {share:6.1%} {spread} {verdict}")


def poll_for(harness: Harness, pairs: Sequence[Pair], rate: int, minutes: int) -> tuple[int, list[float]]:
    """Poll as often as set, while people make so many changes a minute. Returns calls, and seconds from act to Case."""
    dice = random.Random(rate)
    every = harness.application.settings.poll_seconds
    acts = sorted(dice.uniform(0, minutes * 60) for _ in range(rate * minutes))
    calls, now, done, lags = 0, 0.0, 0, []
    for poll_at in range(every, minutes * 60 + 1, every):
        touched: list[tuple[Pair, float]] = []
        while done < len(acts) and acts[done] <= poll_at:
            pass_time(harness, acts[done] - now)
            now = acts[done]
            pair = pairs[done % len(pairs)]
            act(harness, pair, done, rate)
            touched.append((pair, now))
            done += 1
        pass_time(harness, poll_at - now)
        now = float(poll_at)
        before, started = calls_so_far(harness), _now(harness)
        harness.application.upkeep.poll()
        work(harness)
        calls += calls_so_far(harness) - before
        lags += [poll_at - at + late for pair, at in touched if (late := _changed_after(harness, pair, started)) > 0]
    return calls, lags


def act(harness: Harness, pair: Pair, number: int, seed: int) -> None:
    """One change by a person: every third a note, the others a priority the incident has not got."""
    if number % 3 == 2:
        harness.add_note(pair.case_id, f"note {seed}-{number}")
        return
    is_first = harness.incident(pair.case_id)["priority"]["id"] != PRIORITIES[0]["id"]
    harness.set_incident(pair.case_id, priority=PRIORITIES[0 if is_first else 1])


def _changed_after(harness: Harness, pair: Pair, started: datetime) -> float:
    """How long after `started` the Case last changed."""
    statement = "SELECT max(created_at) AS at FROM case_timeline WHERE case_id = %s"
    [row] = _rows(harness, statement, pair.case_id)
    return float((row["at"] - started).total_seconds())


def _now(harness: Harness) -> datetime:
    [row] = _rows(harness, "SELECT clock_timestamp() AS now")
    return row["now"]  # type: ignore[no-any-return]


# ------------------------------------------------------------------ a day without webhooks


def whole_day(links: int, verdicts: Verdicts) -> None:
    say("", f"A day without webhooks: {links} links, people work on 40 % of them, then one reconcile", "")
    with in_step(links, PACED) as (harness, pairs):
        dice = random.Random(24)
        touched = dice.sample(pairs, links * 4 // 10)
        changed, noted = live_through_a_day(harness, touched, dice)
        lines = lines_to_read(harness)
        bound = math.ceil(links / PAGE) + math.ceil(lines / PAGE) + changed + noted
        pass_time(harness, HOUR)
        before, started = calls_so_far(harness), time.perf_counter()
        harness.reconcile()
        work(harness)
        seconds, calls = time.perf_counter() - started, calls_so_far(harness) - before
        apart = differing(harness, pairs)
        healed = harness.application.deliveries.count_by_reason().get("healed", 0)
        say(f"lines of log {lines}, incidents changed {changed}, with notes {noted}, writes healed {healed}")
        verdict = verdicts(f"the day cost {calls} calls, bound {bound}", calls <= bound)
        say(f"calls {calls}, bound {bound}: {verdict}; {seconds:.0f} s at {PACED} calls a minute")
        say(f"pairs that differ afterwards: {len(apart)}: {verdicts('the day is healed', not apart)}")


def live_through_a_day(harness: Harness, touched: Sequence[Pair], dice: random.Random) -> tuple[int, int]:
    """What people do: how many incidents changed, and how many got notes."""
    noted = 0
    for number, pair in enumerate(touched):
        if number % max(1, len(touched) // 24) == 0:
            pass_time(harness, HOUR)
        harness.set_incident(pair.case_id, status="acknowledged")
        if dice.random() < 0.3:
            harness.set_incident(pair.case_id, priority=dice.choice(PRIORITIES))
        if dice.random() < 0.4:
            noted += 1
            for line in range(dice.randint(1, 3)):
                harness.add_note(pair.case_id, f"looked at it, {line}")
        if dice.random() < 0.5:
            harness.set_incident(pair.case_id, status="resolved")
    return len(touched), noted


def differing(harness: Harness, pairs: Sequence[Pair]) -> list[str]:
    """The Cases whose status, priority or comments are not their incident's."""
    found = {incident["id"]: incident for incident in harness.incidents_opened()}
    names = {id_: CasePriority(name) for name, id_ in seeds.PRIORITY_IDS.items()}
    apart = []
    for pair in pairs:
        case, incident = harness.case(pair.case_id), found[pair.incident_id]
        comments = Counter(harness.comments(pair.case_id))
        if (
            INCIDENT_STATUS[case.status] is not IncidentStatus(incident["status"])
            or case.priority is not names[incident["priority"]["id"]]
            or any(comments[note["content"]] != 1 for note in incident["notes"])
        ):
            apart.append(case.name)
    return apart


# ------------------------------------------------------------------ a busy queue


@dataclass
class Takes:
    """What was asked of the budget, and when: class, seconds to wait (0.0 is granted)."""

    rows: list[tuple[float, CallClass, float]] = field(default_factory=list)

    def watch(self, harness: Harness) -> None:
        budget = harness.application.calls(harness.integration_id).budget
        take = budget.take

        def watched(call_class: CallClass, *args: Any, **options: Any) -> float:
            wait = take(call_class, *args, **options)
            self.rows.append((time.perf_counter(), call_class, wait))
            return wait

        budget.take = watched  # type: ignore[method-assign]

    def is_used_up(self, since: float) -> bool:
        return any(at > since and one is CallClass.URGENT and wait > 0 for at, one, wait in list(self.rows))


def busy_queue(verdicts: Verdicts) -> None:
    say("", f"A busy queue: {BUSY_LINKS} links, {RESOLVES} resolved with a note, {SCARCE} calls a minute", "")
    with in_step(BUSY_LINKS, SCARCE) as (harness, pairs):
        alone, together, healing = (pairs[:RESOLVES], pairs[RESOLVES:][:RESOLVES], pairs[-20:])
        takes = Takes()
        takes.watch(harness)
        resolve(harness, alone)
        started = time.perf_counter()
        work(harness)
        quiet = time.perf_counter() - started
        pass_time(harness, HOUR)

        for pair in healing:
            harness.set_incident(pair.case_id, priority=PRIORITIES[0])
        resolve(harness, together)
        started = time.perf_counter()
        compared: list[float] = []
        reading = threading.Thread(target=lambda: compared.extend(until_compared(harness, takes, started)))
        reading.start()
        work_until(harness, lambda: not waiting_notes(harness))
        busy = time.perf_counter() - started
        reading.join()
        work(harness)
        whole = time.perf_counter() - started
        apart = differing(harness, healing)
        say(f"people's calls alone {quiet:.1f} s; with a reconcile meanwhile {busy:.1f} s")
        say(f"the budget was used up after {compared[0]:.1f} s; reconcile had compared after {compared[1]:.1f} s")
        say(f"all healed after {whole:.1f} s, pairs that differ: {len(apart)}")
        is_in_time = compared[1] < 0.75 * busy and not apart
        say(f"people's calls are not starved: {verdicts('people wait for reconcile', busy < quiet * 1.25 + 2)}")
        say(f"reconcile is not starved: {verdicts('reconcile waits for people', is_in_time)}")


def resolve(harness: Harness, pairs: Sequence[Pair]) -> None:
    """A person resolves these Cases with a note: a call each that cannot be made together with others."""
    this = harness.application
    for pair in pairs:
        this.cases.resolve(pair.case_id, JANE, "Rolled back")
        link_id = this.router.route(pair.case_id)
        assert link_id is not None
        this.sync.look(link_id)


def until_compared(harness: Harness, takes: Takes, started: float) -> tuple[float, float]:
    """Once people's calls have to wait, reconcile. When they had to, and when that was done."""
    while not takes.is_used_up(started):
        time.sleep(0.1)
    used_up = time.perf_counter() - started
    harness.reconcile()
    return used_up, time.perf_counter() - started


def waiting_notes(harness: Harness) -> bool:
    return bool(
        _rows(harness, "SELECT id FROM comment_ledger WHERE direction = 'outbound' AND state <> 'placed' LIMIT 1")
    )


def work_until(harness: Harness, is_done: Any) -> None:
    while not is_done():
        wait = harness.application.sync.call(harness.integration_id)
        time.sleep(min(wait if wait is not None else 0.05, 0.5))


# ------------------------------------------------------------------ shared


def _rows(harness: Harness, statement: str, *values: object) -> list[dict[str, Any]]:
    with harness.application.database.transaction() as conn:
        return conn.execute(statement.encode(), values).fetchall()


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
