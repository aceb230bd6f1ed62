"""How much one rendering may do: turns of loops, and time. Every loop of a template runs through here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2.runtime import Undefined

from pagerduty_sync.errors import TemplateError

MAX_ITERATIONS = 10_000
MAX_SECONDS = 1.0


class Allowance:
    """What one rendering may still use up."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + MAX_SECONDS
        self._iterations = MAX_ITERATIONS

    def check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise TemplateError(f"takes longer than {MAX_SECONDS:g} seconds")

    def step(self) -> None:
        self._iterations -= 1
        if self._iterations < 0:
            raise TemplateError(f"loops more than {MAX_ITERATIONS:,} times")
        self.check_time()


_allowance: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def allowance() -> Iterator[Allowance]:
    """A new allowance for what is rendered inside the block."""
    made = Allowance()
    token = _allowance.set(made)
    try:
        yield made
    finally:
        _allowance.reset(token)


def items(value: object) -> Iterable[object]:
    """What a loop with one variable runs over."""
    return _counted(value.keys() if isinstance(value, Mapping) else value)


def pairs(value: object) -> Iterable[object]:
    """What a loop with two variables runs over: of a mapping, its keys with their values, as Tera has it."""
    return _counted(value.items() if isinstance(value, Mapping) else value)


def _counted(value: object) -> Iterator[object]:
    if isinstance(value, Undefined):
        str(value)  # raises, naming what is missing
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TemplateError("a loop needs a list or a mapping")
    current = _allowance.get() or Allowance()
    for item in value:
        current.step()
        yield item


def timed(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, refused once the time is up."""

    def checked(*args: Any, **named: Any) -> Any:
        current = _allowance.get()
        if current is not None:
            current.check_time()
        return call(*args, **named)

    return checked
