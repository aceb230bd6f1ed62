"""The filters and tests of templates, with the names and arguments Tera gives them. No result grows without a bound."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2.runtime import Undefined

from pagerduty_sync.errors import TemplateError

MAX_VALUE_CHARACTERS = 100_000
MAX_DATE_FORMAT = 100


def shown(value: Any) -> Any:
    """How a value reads where a template shows it: nothing for null, JSON for what is not a text or a number."""
    if isinstance(value, str | Undefined):
        return value
    if value is None:
        return ""
    return _json(value) if isinstance(value, bool | Mapping | list | tuple) else str(value)


def _default(given: Any, value: Any = "") -> Any:
    """Null counts as missing, as it would not be of use in an incident."""
    return value if given is None or isinstance(given, Undefined) else given


def _date(given: Any, format: str = "%Y-%m-%d") -> str:
    if not isinstance(format, str) or len(format) > MAX_DATE_FORMAT:
        raise TemplateError(f"a date's format is a text of at most {MAX_DATE_FORMAT} characters")
    # A directive may carry a width, and some would then give megabytes.
    if re.search(r"%(?![A-Za-z%])", format):
        raise TemplateError("a date's format knows % only before a letter, such as %Y-%m-%d")
    try:
        if isinstance(given, int | float) and not isinstance(given, bool):
            at = datetime.fromtimestamp(given, UTC)
        else:
            at = datetime.fromisoformat(_text(given))
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        return at.strftime(format)
    except (ValueError, OverflowError, OSError):
        raise TemplateError(f"{_text(given)[:60]!r} is not a time") from None


def _json_encode(given: Any, pretty: bool = False) -> str:
    return _json(_value(given), indent=2 if pretty else None)


def _join(given: Any, sep: str = "") -> str:
    items = _value(given)
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise TemplateError("join needs a list")
    return _text(sep).join(str(shown(item)) for item in items)


def _first(given: Any) -> Any:
    items = _sequence(given, "first")
    return items[0] if items else ""


def _last(given: Any) -> Any:
    items = _sequence(given, "last")
    return items[-1] if items else ""


def _length(given: Any) -> int:
    value = _value(given)
    if not isinstance(value, str | Sequence | Mapping):
        raise TemplateError("length needs a text, a list or a mapping")
    return len(value)


def _truncate(given: Any, length: int = 255, end: str = "…") -> str:
    text = _text(given)
    if type(length) is not int or length < 0:
        raise TemplateError("truncate needs a length of 0 or more")
    return text if len(text) <= length else text[:length] + _text(end)


def _sequence(given: Any, name: str) -> Sequence[Any]:
    value = _value(given)
    if not isinstance(value, str | Sequence):
        raise TemplateError(f"{name} needs a list")
    return value


def _value(given: Any) -> Any:
    if isinstance(given, Undefined):
        str(given)  # raises, naming what is missing
    return given


def _text(given: Any) -> str:
    return str(shown(_value(given)))


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _of_text(change: Callable[[str], str]) -> Callable[[Any], str]:
    return lambda given: change(_text(given))


def _bounded(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def bounded(*args: Any, **named: Any) -> Any:
        result = call(*args, **named)
        if isinstance(result, str) and len(result) > MAX_VALUE_CHARACTERS:
            raise TemplateError(f"a value has more than {MAX_VALUE_CHARACTERS:,} characters")
        return result

    return bounded


FILTERS: Mapping[str, Callable[..., Any]] = {
    name: _bounded(call)
    for name, call in {
        "default": _default,
        "date": _date,
        "lower": _of_text(str.lower),
        "upper": _of_text(str.upper),
        "capitalize": _of_text(str.capitalize),
        "title": _of_text(str.title),
        "trim": _of_text(str.strip),
        "truncate": _truncate,
        "json_encode": _json_encode,
        "join": _join,
        "first": _first,
        "last": _last,
        "length": _length,
    }.items()
}


def _starting_with(given: Any, text: Any) -> bool:
    return isinstance(given, str) and given.startswith(_text(text))


def _ending_with(given: Any, text: Any) -> bool:
    return isinstance(given, str) and given.endswith(_text(text))


def _containing(given: Any, item: Any) -> bool:
    return isinstance(given, str | Sequence | Mapping) and _value(item) in given


TESTS: Mapping[str, Callable[..., bool]] = {
    "defined": lambda given: not isinstance(given, Undefined),
    "undefined": lambda given: isinstance(given, Undefined),
    "none": lambda given: given is None,
    "starting_with": _starting_with,
    "ending_with": _ending_with,
    "containing": _containing,
}
