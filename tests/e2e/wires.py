"""A network between two programs that can fail: a relay on a port of its own, in front of somebody else's port.

Knows bytes and connections, and nothing of what is said over them.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
How = Literal["cut", "dead", "mute"]
"""Cut: refused, and what was connected is torn. Dead: taken, and nothing ever passes. Mute: what is said passes, no
answer comes back."""


class Wire:
    """Whoever connects to `port` is led to the other port, as long as the wire is whole."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        # Bound and never listening: the port stays ours while the wire is cut and nobody may connect.
        self._keeper = _bound(0)
        self.port = int(self._keeper.getsockname()[1])
        self._relays: set[asyncio.Task[None]] = set()
        self._there, self._back = asyncio.Event(), asyncio.Event()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"wire-{self.port}", daemon=True)
        self._thread.start()
        self._do(self._mend())

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @contextmanager
    def broken(self, how: How) -> Iterator[None]:
        """Break it for the length of the block."""
        self._do(self._break(how))
        try:
            yield
        finally:
            self._do(self._mend())

    def close(self) -> None:
        self._do(self._tear())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._keeper.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    # ------------------------------------------------------------ in the loop

    async def _mend(self) -> None:
        # What a dead wire has swallowed never arrives, as after a firewall that has forgotten its connections.
        await self._tear()
        self._there.set()
        self._back.set()
        self._server = await asyncio.start_server(self._take, sock=_bound(self.port))

    async def _break(self, how: How) -> None:
        if how == "cut":
            await self._tear()
            return
        self._back.clear()
        if how == "dead":
            self._there.clear()

    async def _tear(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay is not None
        self._relays.add(relay)
        try:
            their_reader, their_writer = await asyncio.open_connection(HOST, self._to_port)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(_pump(reader, their_writer, self._there))
                    pumps.create_task(_pump(their_reader, writer, self._back))
            finally:
                their_writer.transport.abort()
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            # One of the two is gone, or the wire is torn: the other one learns it by the end of its connection.
            pass
        finally:
            writer.transport.abort()
            self._relays.discard(relay)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event) -> None:
    while True:
        data = await reader.read(CHUNK_BYTES)
        await passes.wait()
        if not data:
            raise ConnectionResetError
        writer.write(data)
        await writer.drain()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((HOST, port))
    return bound
