"""One launcher for a data directory, and a way for others to learn which process that is."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pagerduty_sync.errors import SettingsError

NAME = "lock"


@contextmanager
def only_one(directory: Path, abandoned: Callable[[], int | None]) -> Iterator[None]:
    """Hold the data directory for this process.

    `abandoned` gives the process id of a supervisord that has outlived its launcher. Raises SettingsError when the
    directory is held, naming by whom.
    """
    with (directory / NAME).open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                running = holder(directory)
                if running is None:
                    continue
            else:
                running = abandoned()
            break
        if running:
            raise SettingsError(
                f"Process {running} is already running this on {directory}. Stop it with `make stop`, or let "
                "PAGERDUTY_SYNC_DATA_DIR name another directory for a second one."
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def holder(directory: Path) -> int | None:
    """The process id of the launcher that holds the directory, None when there is none."""
    path = directory / NAME
    while True:
        try:
            with path.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            text = path.read_text().strip()
            if text:
                return int(text)
            # It holds the lock and has not written its name yet.
            time.sleep(0.01)
