"""`python -m tests.interleavings --length 5`: play every sequence of up to so many steps, and tabulate how they end.

The exit code is 1 when one of them broke a promise; the shortest of those is then told step by step.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from multiprocessing import Pool

from tests.interleavings.play import parts
from tests.interleavings.report import last_line, table, told
from tests.interleavings.tally import Tally, tally_of

PROGRESS_SECONDS = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interleavings", description=__doc__)
    parser.add_argument("--length", type=int, default=5, help="how many steps a sequence has at most")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        tally = _play_all(arguments.length, arguments.processes, began)
    except KeyboardInterrupt:
        _print("Stopped.")
        return 130
    _print(table(arguments.length, tally))
    if tally.first_broken is not None:
        _print(f"\n{told(tally.first_broken)}")
    cpu = os.times()
    cpu_seconds = cpu.user + cpu.system + cpu.children_user + cpu.children_system
    _print(f"\n{last_line(arguments.length, time.monotonic() - began, cpu_seconds, tally)}")
    return 0 if tally.first_broken is None else 1


def _play_all(length: int, processes: int, began: float) -> Tally:
    """Every part, each in the process that is free next."""
    tally = Tally()
    shown = began
    todo = list(parts(length))
    # Ctrl-C is for this process alone; leaving the pool ends the others.
    with Pool(processes, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        for number, part in enumerate(pool.imap_unordered(tally_of, todo), 1):
            tally.join(part)
            now = time.monotonic()
            if now - shown > PROGRESS_SECONDS:
                shown = now
                counts = f"{tally.sequences.total():>9,} sequences · {tally.broken.total()} broken"
                _print(f"{number:>4} of {len(todo)} parts · {counts} · {now - began:.0f} s")
        pool.close()
        pool.join()
    return tally


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
