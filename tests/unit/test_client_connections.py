"""What the client does when PagerDuty cannot be reached, hangs up, or answers too slowly or too much: real sockets."""

import gzip
import json
import socket
import threading
import traceback
from contextlib import contextmanager

import pytest
import requests

from pagerduty_sync.errors import ServerError, TransportError
from pagerduty_sync.pagerduty import transport
from pagerduty_sync.pagerduty.client import PagerDutyClient
from tests.builders import a_rest_note

KEY = "y_NbAkKc66ryYTWUXYEu"


def a_client(base_url="http://127.0.0.1:1", **options):
    return PagerDutyClient(KEY, "bot@example.com", base_url, **{"backoff_seconds": 0.001, **options})


@contextmanager
def a_server(*answers):
    """A server with one answer a connection, bytes or a function. Yields its URL and the first lines it heard."""
    heard, is_over = [], threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)

    def serve():
        left = list(answers)
        while left and not is_over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5)
                heard.append(connection.recv(65536).partition(b"\r\n")[0])
                answer = left.pop(0)
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        is_over.set()
        thread.join()
        listener.close()


def an_answer(body, length=None):
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        length or len(body),
        body,
    )


ABILITIES = b'{"abilities": ["teams"]}'
NOTE = json.dumps({"note": a_rest_note()}).encode()


@pytest.mark.parametrize("broken", [b"", an_answer(ABILITIES[:5], length=24)], ids=["no answer", "half an answer"])
def test_a_read_survives_a_dropped_connection(broken):
    with a_server(broken, broken, an_answer(ABILITIES)) as (url, heard):
        assert a_client(url).list_abilities() == ["teams"]
    assert len(heard) == 3


@pytest.mark.parametrize("broken", [b"", an_answer(NOTE[:5], length=300)], ids=["no answer", "half an answer"])
def test_a_note_whose_answer_is_lost_is_not_sent_again(broken):
    seen = []
    with a_server(broken, an_answer(NOTE)) as (url, heard), pytest.raises(TransportError) as caught:
        a_client(url, on_response=seen.append).create_note("P1", "x")
    assert heard == [b"POST /incidents/P1/notes HTTP/1.1"]
    assert caught.value.status == 0
    assert [one.status for one in seen] == [0]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_note_is_tried_again_while_nobody_answers_the_phone():
    seen = []
    client = a_client(f"http://127.0.0.1:{free_port()}", on_response=seen.append)
    with pytest.raises(TransportError, match="could not connect"):
        client.create_note("P1", "x")
    assert len(seen) == 3


def test_a_name_that_does_not_resolve_is_tried_again():
    seen = []
    client = a_client("http://pagerduty.invalid", on_response=seen.append)
    with pytest.raises(TransportError, match=r"could not connect to pagerduty\.invalid"):
        client.create_note("P1", "x")
    assert len(seen) == 3


def test_a_slow_answer_is_given_up():
    release = threading.Event()
    with a_server(lambda _: release.wait(2)) as (url, heard), pytest.raises(TransportError, match="in time"):
        try:
            a_client(url, timeout=(3, 0.05)).create_note("P1", "x")
        finally:
            release.set()
    assert len(heard) == 1


def test_an_answer_that_trickles_in_ends_at_the_deadline():
    release = threading.Event()

    def trickle(connection):
        connection.sendall(an_answer(b" ", length=10_000))
        while not release.wait(0.01):
            connection.sendall(b" ")

    with a_server(trickle) as (url, _), pytest.raises(TransportError, match="in time"):
        try:
            a_client(url, timeout=(3, 3), deadline_seconds=0.15).create_note("P1", "x")
        finally:
            release.set()


def test_a_huge_error_page_is_read_no_further_than_needed():
    sent = []

    def send(connection):
        connection.sendall(b"HTTP/1.1 500 Oops\r\n\r\n")
        try:
            while len(sent) < 1000:
                connection.sendall(b"x" * 65_536)
                sent.append(65_536)
        except OSError:
            pass

    with a_server(send) as (url, _), pytest.raises(ServerError) as caught:
        a_client(url).create_note("P1", "x")
    assert len(sent) < 1000
    assert len(str(caught.value)) < 700


def test_a_success_beyond_all_measure_is_no_answer(monkeypatch):
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 100)
    with a_server(an_answer(b" " * 1000)) as (url, _), pytest.raises(TransportError):
        a_client(url).create_note("P1", "x")


def test_a_compressed_answer_is_read():
    body = gzip.compress(ABILITIES)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with a_server(head + body) as (url, _):
        assert a_client(url).list_abilities() == ["teams"]


def test_an_answer_in_chunks_is_read():
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (ABILITIES[:9], ABILITIES[9:])) + b"0\r\n\r\n"
    with a_server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks) as (url, _):
        assert a_client(url).list_abilities() == ["teams"]


def test_a_connection_is_used_again():
    body = an_answer(ABILITIES)

    def twice(connection):
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"GET /abilities")
        connection.sendall(body)

    with a_server(twice) as (url, heard):
        client = a_client(url)
        assert client.list_abilities() == client.list_abilities() == ["teams"]
        client.close()
        client.close()
    assert len(heard) == 1


def test_each_thread_has_its_own_session():
    client = a_client()
    sessions = []
    threads = [threading.Thread(target=lambda: sessions.append(client._session())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions += [client._session(), client._session()]
    assert len({id(session) for session in sessions}) == 4
    given = requests.Session()
    assert a_client(session=given)._session() is given


def test_the_key_is_in_no_error_and_no_repr(caplog):
    page = f"<html>your request: Authorization: Token token={KEY}</html>".encode()
    quoting = b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    shown = []
    for answer in (quoting, b"", an_answer(NOTE[:5], length=300), b"no HTTP at all\r\n\r\n"):
        with a_server(answer) as (url, _), pytest.raises((ServerError, TransportError)) as caught:
            client = a_client(url)
            shown += [repr(client), str(client)]
            client.create_note("P1", "x")
        error = caught.value
        shown += traceback.format_exception(error)
        while error is not None:
            shown += [repr(error), str(vars(error)), str(vars(getattr(error, "request", None) or object))]
            error = error.__cause__ or error.__context__
    assert KEY not in "".join(shown) + caplog.text
    assert "***" in shown[0]
