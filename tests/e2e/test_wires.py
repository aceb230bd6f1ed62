"""The broken network of these tests breaks as it says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import ClassVar

import pytest

from tests.e2e.wires import HOST, How, Wire

SECONDS = 10.0
LITTLE = 0.3


class Shout(StreamRequestHandler):
    """Answers each line in capitals, and remembers it."""

    heard: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        for line in self.rfile:
            self.heard.append(line)
            self.wfile.write(line.upper())


@pytest.fixture
def wire() -> Iterator[Wire]:
    Shout.heard.clear()
    with ThreadingTCPServer((HOST, 0), Shout) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wire = Wire(server.server_address[1])
        yield wire
        wire.close()
        server.shutdown()


def connected(wire: Wire, seconds: float = SECONDS) -> socket.socket:
    return socket.create_connection((HOST, wire.port), seconds)


def said(through: socket.socket, line: bytes) -> bytes:
    through.sendall(line)
    return through.recv(100)


def test_a_whole_wire_passes_everything(wire: Wire) -> None:
    with connected(wire) as one, connected(wire) as other:
        assert (said(one, b"a\n"), said(other, b"b\n"), said(one, b"c\n")) == (b"A\n", b"B\n", b"C\n")


def test_a_cut_wire_tears_and_refuses_and_is_whole_again_afterwards(wire: Wire) -> None:
    with connected(wire) as one:
        assert said(one, b"a\n") == b"A\n"
        with wire.broken("cut"):
            with pytest.raises(ConnectionRefusedError):
                connected(wire)
            assert one.recv(100) == b""
    with connected(wire) as other:
        assert said(other, b"b\n") == b"B\n"
    assert Shout.heard == [b"a\n", b"b\n"]


@pytest.mark.parametrize(("how", "heard"), [("dead", []), ("mute", [b"before\n", b"during\n"])])
def test_over_a_dead_wire_nothing_arrives_and_over_a_mute_one_no_answer_does(
    wire: Wire, how: How, heard: list[bytes]
) -> None:
    with connected(wire, LITTLE) as before:
        with wire.broken(how), connected(wire, LITTLE) as during:
            for one, line in ((before, b"before\n"), (during, b"during\n")):
                with pytest.raises(TimeoutError):
                    said(one, line)
        assert before.recv(100) == b""
    with connected(wire) as after:
        assert said(after, b"after\n") == b"AFTER\n"
    assert Shout.heard == [*heard, b"after\n"]
