"""`python -m tests.histories --count 10000 --seed 7`: play many histories, print what came of them, fail if one did.

The exit code is 1 as soon as one promise was broken in one history. `--only SEED` plays one history alone and shows it.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg

from pagerduty_sync.embedded.throwaway import start_throwaway
from tests.histories.actions import story_of
from tests.histories.baseline import BaselineWorkers
from tests.histories.checks import rows_of
from tests.histories.play import Played, play, shorten
from tests.histories.report import Tally, last_line, story_text, table
from tests.histories.wiring import OPTIONS
from tests.histories.workers import SyncWorkers
from tests.histories.world import Workers, World

AT_ONCE = 20
PROGRESS_SECONDS = 5.0
SHORTENED = 3


def main() -> int:
    arguments = _arguments()
    with start_throwaway() as servers:
        if arguments.only is not None:
            return _only(servers.database_url, arguments.only, arguments.keeper, arguments.as_it_is)
        return _many(servers.database_url, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="how many histories")
    parser.add_argument("--seed", type=int, default=1, help="where the seeds begin")
    parser.add_argument("--only", type=int, help="play this one history alone, shortened when it fails")
    parser.add_argument("--as-it-is", action="store_true", help="with --only: do not shorten")
    parser.add_argument("--keeper", choices=("sync", "baseline"), default="sync", help="with --only: who keeps step")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-baseline", action="store_true", help="leave the comparison out")
    return parser.parse_args()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# ------------------------------------------------------------------ worlds


@contextmanager
def a_world(server_url: str, name: str) -> Iterator[World]:
    """A world on a database of its own."""
    with psycopg.connect(server_url, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())
    parts = urlsplit(server_url)
    world = World(parts._replace(path=f"/{name}", query=f"options={quote(OPTIONS)}").geturl())
    try:
        yield world
    finally:
        world.application.close()
        with psycopg.connect(server_url, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def keeper_of(name: str, world: World) -> Workers:
    keepers: dict[str, Callable[[World], Workers]] = {"sync": SyncWorkers, "baseline": BaselineWorkers}
    return keepers[name](world)


def played(world: World, seed: int, keeper: str) -> Played:
    world.workers = keeper_of(keeper, world)
    return play(world, story_of(seed))


# ------------------------------------------------------------------ one history


def _only(server_url: str, seed: int, keeper: str, as_it_is: bool) -> int:
    with a_world(server_url, "histories_only") as world:
        result = played(world, seed, keeper)
        story = story_of(seed)
        if result.problems and not as_it_is:
            story = shorten(world, story, frozenset(problem.kind for problem in result.problems))
            result = play(world, story)
        _print(story_text(result, story.steps))
        if result.problems:
            _print(world.quietly(lambda: rows_of(world)))
        return 1 if result.problems else 0


# ------------------------------------------------------------------ many


def seed_of(first: int, number: int) -> int:
    """The seed of a run's n-th history: runs with different seeds share none."""
    return first * 1_000_000 + number


def _many(server_url: str, arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    keepers = ["sync"] if arguments.no_baseline else ["sync", "baseline"]
    work: Queue[Any] = multiprocessing.Queue()
    done: Queue[Any] = multiprocessing.Queue()
    for start in range(0, arguments.count, AT_ONCE):
        work.put((start, min(start + AT_ONCE, arguments.count)))
    processes = [
        multiprocessing.Process(
            target=_worker, args=(server_url, number, arguments.seed, keepers, work, done), daemon=True
        )
        for number in range(arguments.processes)
    ]
    for _ in processes:
        work.put(None)
    for process in processes:
        process.start()
    tallies = _collect(done, processes, arguments.count, keepers, began)
    sync, baseline = tallies["sync"], tallies.get("baseline")
    for seed in sorted(sync.failing_seeds)[:SHORTENED]:
        _print(f"\n--- the shortest story found of seed {seed} (alone: python -m tests.histories --only {seed})")
        _only(server_url, seed, "sync", False)
    _print("")
    _print(table(sync, baseline))
    _print("")
    _print(last_line(arguments.seed, time.monotonic() - began, sync, baseline))
    return 1 if sync.failed or sync.histories < arguments.count else 0


def _collect(
    done: Queue[Any],
    processes: list[multiprocessing.Process],
    count: int,
    keepers: list[str],
    began: float,
) -> dict[str, Tally]:
    tallies = {keeper: Tally() for keeper in keepers}
    shown = began
    alive = len(processes)
    while alive:
        part = done.get()
        if part is None:
            alive -= 1
            continue
        for keeper, tally in part.items():
            tallies[keeper].join(tally)
        now = time.monotonic()
        if now - shown > PROGRESS_SECONDS:
            shown = now
            sync = tallies["sync"]
            pace = sync.histories / (now - began)
            seeds = " ".join(map(str, sorted(sync.failing_seeds)[:SHORTENED]))
            _print(f"{sync.histories:>7,} of {count:,} · {sync.failed} failed {seeds} · {pace:.1f}/s")
    return tallies


def _worker(server_url: str, number: int, first: int, keepers: list[str], work: Queue[Any], done: Queue[Any]) -> None:
    try:
        with a_world(server_url, f"histories_{number}") as world:
            gc.freeze()
            while (span := work.get()) is not None:
                tallies = {keeper: Tally() for keeper in keepers}
                for history in range(*span):
                    for keeper in keepers:
                        tallies[keeper].add(played(world, seed_of(first, history), keeper))
                done.put(tallies)
    finally:
        done.put(None)


if __name__ == "__main__":
    sys.exit(main())
