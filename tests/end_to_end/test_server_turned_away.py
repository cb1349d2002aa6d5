"""A full line: who is turned away is told at once, and not listened to for as long as Retry-After says."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

import pytest
from app_client import Png
from hostile_requests import black_png
from raw_http import GET, HEAD, RawConnection, post
from server_process import ServerProcess, running_server

RETRY_AFTER_S = 1.0


@pytest.fixture(scope="module")
def busy_server() -> Iterator[ServerProcess]:
    """A server with room for one request, which large pictures take again and again."""
    picture, stop = post(black_png(5_000, 5_000)), Event()

    def keep_busy(port: int) -> None:
        while not stop.is_set():
            with suppress(OSError, IndexError), RawConnection(port) as connection:
                connection.send(picture).answer()

    with running_server(max_waiting=1) as server, ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(keep_busy, server.port)
        yield server
        stop.set()


def _turned_away(server: ServerProcess, request: bytes) -> RawConnection:
    """A connection that was answered 503; the answer is checked."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        connection = RawConnection(server.port)
        answer = connection.send(request).answer()
        if answer.status == 503:
            assert (answer.code, answer.headers["retry-after"]) == ("overloaded", "1")
            return connection
        connection.__exit__()
        time.sleep(0.005)
    pytest.fail("The line was never full.")


@pytest.mark.parametrize("in_chunks", [False, True])
def test_who_is_turned_away_is_heard_a_second_later(busy_server: ServerProcess, png: Png, in_chunks: bool):
    """The same connection is kept, and read from again after the pause."""
    with _turned_away(busy_server, post(png(), in_chunks=in_chunks)) as connection:
        begun = time.monotonic()
        assert connection.send(GET).answer().status == 200
        assert time.monotonic() - begun > 0.8 * RETRY_AFTER_S


def test_the_answer_does_not_wait_for_the_body(busy_server: ServerProcess, png: Png):
    """503 comes first; the body that follows is dropped, and the connection goes on."""
    body = png()
    with _turned_away(busy_server, HEAD + b"Content-Length: %d\r\n\r\n" % len(body)) as connection:
        connection.send(body)
        time.sleep(0.1)
        assert connection.send(GET).answer().status == 200


def test_others_are_heard_meanwhile(busy_server: ServerProcess, png: Png):
    """The pause is of one connection."""
    with _turned_away(busy_server, post(png())), RawConnection(busy_server.port) as other:
        assert other.send(GET).answer().status == 200


def test_who_is_turned_away_is_counted(busy_server: ServerProcess, png: Png):
    """/metrics knows of them as of every other answer."""
    _turned_away(busy_server, post(png())).__exit__()
    with RawConnection(busy_server.port) as connection:
        text = connection.send(GET.replace(b"livez", b"metrics")).answer().body
    assert b'lince_requests_total{method="POST",model="",path="/predict",status="503"}' in text


def test_who_closes_is_told_so(busy_server: ServerProcess, png: Png):
    """A client that wants no other answer gets this one, and the end."""
    with _turned_away(busy_server, post(png(), b"Connection: close\r\n")) as connection:
        assert connection.ends()
