"""An answer of PagerDuty's that says yes, and how to take from it what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pagerduty_sync.errors import PayloadError, TransportError
from pagerduty_sync.pagerduty.replies import Reply

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with a 2xx status and its decoded body, None when there was none or it was no JSON."""

    reply: Reply
    content: Any

    def one(self, key: str, parse: Callable[[object], T]) -> T:
        """The resource below `key`; TransportError when it cannot be read, for then the outcome is not known."""
        try:
            return parse(self._member(key))
        except PayloadError as exc:
            raise self._unreadable(str(exc)) from exc

    def many(self, key: str, parse: Callable[[object], T]) -> list[T]:
        """The list below `key`; TransportError when any of it cannot be read."""
        try:
            return [parse(item) for item in self.items(key)]
        except PayloadError as exc:
            raise self._unreadable(str(exc)) from exc

    def items(self, key: str) -> list[Any]:
        items = self._member(key)
        if not isinstance(items, list):
            raise self._unreadable(f"{key} is not a list")
        return items

    def _member(self, key: str) -> object:
        if not isinstance(self.content, dict) or key not in self.content:
            raise self._unreadable(f"it has no {key}")
        return self.content[key]

    def _unreadable(self, why: str) -> TransportError:
        message = f"PagerDuty's answer to {self.reply.method} {self.reply.path} cannot be read: {why}"
        return TransportError(message, status=self.reply.status, request_id=self.reply.request_id)
