"""What is wrong with a query, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pagerduty_sync.errors import InvalidRequestError


class DataPrimeError(InvalidRequestError):
    """A query that cannot be read or run; `line` and `column` count from 1 and are 0 when the place is not known.

    `suggestion` is the nearest name there is, empty when none is near.
    """

    def __init__(self, line: int, column: int, reason: str, suggestion: str = "") -> None:
        place = f"line {line}, column {column}: " if line else ""
        question = f" Did you mean {suggestion}?" if suggestion else ""
        super().__init__(f"{place}{reason}{question}", "query")
        self.line = line
        self.column = column
        self.reason = reason
        self.suggestion = suggestion


def nearest(name: str, names: Iterable[str]) -> str:
    """The name most like this one, whatever the case of its letters; empty when none is near."""
    by_lower = {known.lower(): known for known in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""
