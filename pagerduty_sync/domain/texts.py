"""What a text may be before a Case takes it: trimmed, not blank, not too long, and something a database can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pagerduty_sync.errors import InvalidRequestError

LONGEST_TITLE = 512
LONGEST_COMMENT = 10_000
LONGEST_RESOLUTION_REASON = 4_096
LONGEST_DESCRIPTION = 20_000
LONGEST_LABEL = 4_096
MOST_LABELS = 1_000


def clean(text: str, field: str, longest: int) -> str:
    """The text without the white space around it; raises InvalidRequestError naming `field`."""
    trimmed = storable(text, field).strip()
    if not trimmed:
        raise InvalidRequestError(f"{field} must not be blank.", field)
    if len(trimmed) > longest:
        raise InvalidRequestError(f"{field} has {len(trimmed)} characters; at most {longest} are allowed.", field)
    return trimmed


def storable(text: str, field: str) -> str:
    """The text as it is; raises InvalidRequestError for what UTF-8 or PostgreSQL cannot represent."""
    if "\0" in text:
        raise InvalidRequestError(f"{field} must not contain the NUL character.", field)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{field} is not valid Unicode: half of a surrogate pair.", field) from None
    return text


def optional(text: str, field: str, longest: int) -> str:
    """Like `clean`, but an empty text is one too."""
    return clean(text, field, longest) if storable(text, field).strip() else ""


def clean_pairs(pairs: Mapping[str, Sequence[str]], field: str) -> dict[str, list[str]]:
    """Labels or groupings: a key may carry several values; raises InvalidRequestError naming `field`."""
    if sum(len(values) for values in pairs.values()) > MOST_LABELS:
        raise InvalidRequestError(f"{field} has more than {MOST_LABELS} values.", field)
    cleaned: dict[str, list[str]] = {}
    for key, values in pairs.items():
        cleaned.setdefault(clean(key, field, LONGEST_LABEL), []).extend(
            clean(value, field, LONGEST_LABEL) for value in values
        )
    return {key: list(dict.fromkeys(values)) for key, values in cleaned.items() if values}
