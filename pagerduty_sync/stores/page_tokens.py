"""Opaque page tokens: where a page ended, bound to the question it was the answer to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from pagerduty_sync.errors import InvalidRequestError

_BIGGEST = 2**63 - 1


def write_token(question: object, *position: datetime | int | str) -> str:
    """A token for the page behind `position` of the answer to `question`."""
    values = [value.isoformat() if isinstance(value, datetime) else value for value in position]
    written = json.dumps([_digest(question), *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")


def read_token(token: str, question: object, *kinds: type[Any]) -> tuple[Any, ...]:
    """The position in a token of ours; raises InvalidRequestError when it is none, or belongs to another question.

    `kinds` are the types of the position's parts: datetime, int, or str for a UUID.
    """
    refused = InvalidRequestError(
        "The page token does not belong to this request; ask again from the first page, without a token.", "pageToken"
    )
    try:
        padded = token + "=" * (-len(token) % 4)
        digest, *values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if digest != _digest(question):
            raise refused
        return tuple(_part(value, kind) for value, kind in zip(values, kinds, strict=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise refused from None


def _part(value: object, kind: type[Any]) -> Any:
    if kind is int and type(value) is int and -_BIGGEST <= value <= _BIGGEST:
        return value
    if kind is datetime and isinstance(value, str):
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is not None:
            return instant
    if kind is str and isinstance(value, str):
        return str(UUID(value))
    raise ValueError("a part of the token has another type")


def _digest(question: object) -> str:
    return hashlib.sha256(json.dumps(question, default=str, sort_keys=True).encode()).hexdigest()[:16]
