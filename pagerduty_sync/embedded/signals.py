"""Ctrl-C and its relatives: the first asks for an orderly stop, the next ones are told to be patient."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

ASKING_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest(BaseException):
    """Somebody asked for the end."""


class Signals:
    """While entered, the first signal raises StopRequest wherever the main thread is, unless it is held."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._held = self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._received) for number in ASKING_TO_STOP}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """From now on a signal changes nothing."""
        self._held = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put a signal off until the end of a block that must not be left half done."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._asked:
            raise StopRequest

    def _received(self, number: int, frame: FrameType | None) -> None:
        again, self._asked = self._asked, True
        if again:
            self._say("Still stopping: what is under way is being finished, so that nothing is lost.")
        elif not self._held:
            raise StopRequest
