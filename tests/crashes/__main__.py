"""`python -m tests.crashes --cases 200 --seed 7`: hurt a whole installation while Cases live, and see that all agrees.

The seed decides which faults strike, in which order and for how long; what meets what is decided by the machine. The
exit code is 1 as soon as two sides differ, a text is missing or doubled, or something never comes to its end.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from pagerduty_sync.embedded.server import StartError
from tests.crashes.report import last_line, table
from tests.crashes.run import run
from tests.crashes.strikes import KINDS
from tests.e2e.lives import Pace
from tests.e2e.playground import a_playground

# Longer than any call to PagerDuty may take, as in production; shorter than there, so that it runs out in many a life.
SETTINGS = {"LEASE_SECONDS": "25"}
# A life is to see several faults, so people take their time.
PACE = Pace(at_once=40, longest_pause_seconds=8.0, patience_seconds=600.0)
CASES_PER_FAULT = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="how many Cases live")
    parser.add_argument("--seed", type=int, default=1, help="decides the faults")
    arguments = parser.parse_args()
    # As a Ctrl-C does, so that nothing stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with a_playground(_print, SETTINGS) as breakable, tempfile.TemporaryDirectory() as directory:
            faults = max(len(KINDS), arguments.cases // CASES_PER_FAULT)
            result = run(breakable, Path(directory), arguments.cases, faults, arguments.seed, PACE, _progress)
    except StartError as exc:
        _print(str(exc))
        return 1
    except KeyboardInterrupt:
        _print("Stopped.")
        return 130
    for part in (result.failure, result.story, table(result), last_line(result)):
        if part:
            _print(f"\n{part}")
    return 0 if result.is_good else 1


def _progress(line: str) -> None:
    """One line that is written over on a terminal, one after the other elsewhere."""
    sys.stdout.write(f"\r\x1b[K{line}" if sys.stdout.isatty() else f"{line}\n")
    sys.stdout.flush()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
