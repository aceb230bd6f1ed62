"""Classic pagination ("Pagination" API page): limit 25, at most 100, `more`, and `total` only when asked for."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from flask import request

from .errors import invalid
from .model import Json

T = TypeVar("T")

DEFAULT_LIMIT = 25
MOST = 100
FURTHEST = 10_000


def page(name: str, items: Iterable[T], render: Callable[[T], Any]) -> Json:
    """One page of the items. Stops reading them as soon as it knows whether there are more."""
    limit, offset = min(_number("limit", DEFAULT_LIMIT), MOST), _number("offset", 0)
    if offset + limit > FURTHEST:
        raise invalid(f"Offset plus limit must not exceed {FURTHEST}.")
    wants_total = request.args.get("total") == "true"
    if wants_total:
        items = list(items)
    found = list(islice(items, offset, offset + limit + 1))
    return {
        name: [render(item) for item in found[:limit]],
        "limit": limit,
        "offset": offset,
        "more": len(found) > limit,
        "total": len(items) if isinstance(items, list) and wants_total else None,
    }


def _number(name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or (name == "limit" and int(text) == 0):
        raise invalid(f"{name.capitalize()} must be a positive number.")
    return int(text)


def containing(items: Iterable[T], texts: Callable[[T], tuple[str, ...]]) -> Iterator[T]:
    """Those whose name contains the `query` parameter, whatever the case ("List users" API page)."""
    wanted = request.args.get("query", "").lower()
    return (item for item in items if not wanted or any(wanted in text.lower() for text in texts(item)))
