"""Results in the shapes they leave in: Coralogix's record of metadata, labels and user data, and plain cells.

A timestamp is RFC 3339 text in UTC, a whole number has no fraction, an interval is a number of seconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pagerduty_sync.dataprime.compiler import Column

LARGEST_WHOLE = 2**53


def record_of(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    """One result as Coralogix's API gives it; `userData` is JSON in a text."""
    metadata: list[dict[str, str]] = []
    labels: list[dict[str, str]] = []
    data: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        prefix, *rest = column.segments
        if prefix == "$d":
            _put(data, rest, plain(value))
        elif prefix == "$l" and not rest:
            labels += [{"key": key, "value": str(item)} for key, items in value.items() for item in _listed(items)]
        elif value is not None:
            target = metadata if prefix == "$m" else labels
            target.append({"key": ".".join(rest), "value": cell(value)})
    return {"metadata": metadata, "labels": labels, "userData": json.dumps(data, ensure_ascii=False)}


def flat(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    """One result as an object of its columns by name."""
    return {column.name: plain(value) for column, value in zip(columns, row, strict=True)}


def plain(value: Any) -> Any:
    """The value as JSON knows it."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    if isinstance(value, timedelta):
        return plain(value.total_seconds())
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < LARGEST_WHOLE else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def cell(value: Any) -> str:
    """The value as one text."""
    value = plain(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _put(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    if not path:
        data.update(value)
        return
    *parents, last = path
    for parent in parents:
        data = data.setdefault(parent, {})
    data[last] = value


def _listed(items: Any) -> list[Any]:
    return items if isinstance(items, list) else [items]
