"""Bounded memories of what came in and what went out, for tests and for the webhooks page. Never holds a whole key."""

import threading
from collections import deque
from collections.abc import Callable
from itertools import count, islice

from .model import Json

BODY_LIMIT = 65_536


class Ring:
    """The last rows, numbered from 1; old ones fall out by count and by the size of the bodies they carry."""

    def __init__(self, rows: int = 50_000, body_bytes: int = 64_000_000) -> None:
        self._lock = threading.Lock()
        self._rows: deque[Json] = deque()
        self._most_rows, self._most_bytes = rows, body_bytes
        self._bytes = 0
        self._numbers = count(1)

    def add(self, row: Json) -> None:
        with self._lock:
            self._rows.append({"seq": next(self._numbers), **row})
            self._bytes += _size(row)
            while len(self._rows) > self._most_rows or self._bytes > self._most_bytes:
                self._bytes -= _size(self._rows.popleft())

    def newest(self, limit: int, wanted: Callable[[Json], bool] = lambda row: True) -> list[Json]:
        """The last `limit` rows that are wanted, oldest first."""
        with self._lock:
            rows = list(self._rows)
        return list(islice((row for row in reversed(rows) if wanted(row)), limit))[::-1]

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()
            self._bytes = 0


def _size(row: Json) -> int:
    return len(row.get("body") or "")
