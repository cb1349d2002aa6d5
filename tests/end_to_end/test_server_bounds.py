"""Every state of a connection has a bound in bytes and in time; against the real server."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from app_client import Png
from raw_http import GET, HEAD, RawConnection, chunked, post
from server_process import ServerProcess, running_server

PATIENCE_S = 1.0
LINGER_S = 5  # as in `connection_close.py`
IN_CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
UNREAD = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSED = IN_CHUNKS.replace(b"image/png", b"text/plain")
STARTS = {"app reads": IN_CHUNKS, "GET answered": UNREAD, "415 answered": REFUSED}
PIECES = {
    "trailer lines": (b"0\r\n", b"X: y\r\n" * 4096),
    "one trailer's value": (b"0\r\nX: ", b"y" * 2**14),
    "one trailer's name": (b"0\r\n", b"y" * 2**14),
    "a chunk's extension": (b"5;", b"y" * 2**14),
    "extensions of many chunks": (b"", b"1;" + b"y" * 1024 + b"\r\nx\r\n"),
    "leading zeros": (b"", b"0" * 2**14),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server(receive_timeout_s=PATIENCE_S, keep_alive_s=1) as server:
        yield server


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[RawConnection]:
    with RawConnection(server.port) as connection:
        yield connection


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", PIECES)
def test_what_is_no_body_is_bounded_in_bytes(connection: RawConnection, start: str, kind: str):
    """Whoever parses it, and whether an answer has been sent or not: a few megabytes at most are taken."""
    beginning, piece = PIECES[kind]
    connection.send(STARTS[start] + beginning)
    sent = connection.flood(piece, limit_bytes=60 * 2**20)
    assert sent < 16 * 2**20  # what lies in the buffers of both ends


def test_endless_trailers_take_no_memory(server: ServerProcess):
    """60 MB of trailers: 431, and the process has grown by less than 8 MB. It was 20 bytes for each that is sent."""
    with RawConnection(server.port) as first:
        assert first.send(GET).answer().status == 200
    before = server.memory_bytes()
    for start in STARTS.values():
        with RawConnection(server.port) as connection:
            connection.send(start + b"0\r\n").flood(b"X: y\r\n" * 2**14, limit_bytes=60 * 2**20)
    assert server.memory_bytes() < before + 8 * 2**20
    assert server.memory_bytes("VmHWM") < before + 16 * 2**20


@pytest.mark.parametrize("piece", [b"0\r\n" + b"X: y\r\n" * 20_000, b"1\r\nx\r\n" * 40_000])
def test_too_much_that_is_no_body_gets_431(connection: RawConnection, piece: bytes):
    """In our shape, when no answer was sent."""
    connection.send(IN_CHUNKS).flood(piece, limit_bytes=len(piece))
    assert connection.answer().code == "headers_too_large"
    assert connection.ends()


def test_headers_of_any_number_are_bounded(connection: RawConnection):
    """Whole in one write as well: many small ones, 80 kB together."""
    connection.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 14_000 + b"\r\n")
    assert connection.answer().code == "headers_too_large"


@pytest.mark.parametrize(("size", "extension"), [(1, b""), (5, b""), (64, b";name=value")])
def test_small_chunks_are_answered(connection: RawConnection, png: Png, size: int, extension: bytes):
    """A picture in chunks of one byte is legitimate."""
    connection.send(IN_CHUNKS + chunked(png(), size, extension=extension))
    assert connection.answer().status == 200


def test_a_drip_ends_in_every_state(server: ServerProcess):
    """A byte now and then keeps no connection open: headers, sizes, body, trailers, between requests."""
    starts = [
        b"",
        HEAD,
        HEAD + b"X",
        IN_CHUNKS,
        IN_CHUNKS + b"5;",
        IN_CHUNKS + b"1\r\nx\r\n0\r\nX: ",
        UNREAD,
        UNREAD + b"0\r\nX: ",
        REFUSED + b"5\r\nx",
        HEAD + b"Content-Length: 100000\r\n\r\n",
        GET + b"\r\n",
        GET + GET[:20],
    ]
    cases = [(start, drip) for start in starts for drip in (b"", b"\r\n", b"5")]
    with ThreadPoolExecutor(len(cases)) as threads:
        ended = list(threads.map(lambda case: _ends_under_drip(server.port, *case), cases))
    assert [case for case, has_ended in zip(cases, ended, strict=True) if not has_ended] == []


def _ends_under_drip(port: int, start: bytes, drip: bytes) -> bool:
    end = time.monotonic() + 2 * PATIENCE_S + 2 * LINGER_S + 5
    with RawConnection(port, timeout_s=0.3) as connection:
        connection.send(start)
        while time.monotonic() < end:
            if _has_ended(connection.socket, drip):
                return True
    return False


def _has_ended(connection: socket.socket, drip: bytes) -> bool:
    try:
        connection.sendall(drip)
        return connection.recv(65_536) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("start", [UNREAD, REFUSED, HEAD + b"Content-Length: 99999999999\r\n\r\n"])
def test_bodies_that_nobody_wants_are_bounded(connection: RawConnection, start: bytes):
    """A GET with a body, a 415 and a 413, sent slowly and without end."""
    begun = time.monotonic()
    piece = b"4000\r\n" + b"x" * 2**14 + b"\r\n"
    connection.send(start)
    assert connection.flood(piece, limit_bytes=2**30, seconds=30, pause_s=0.01) < 2**27
    assert time.monotonic() - begun < LINGER_S + 10


def test_pipelined_requests_are_answered_in_order(connection: RawConnection, png: Png):
    """A few requests in one write."""
    connection.send(GET + post(png()) + GET + post(b"", in_chunks=True) + GET)
    assert [connection.answer().status for _ in range(5)] == [200, 200, 200, 400, 200]


def test_pipelined_requests_are_bounded(server: ServerProcess, png: Png):
    """Of thousands in one write some are answered, the last of them saying that it is the last."""
    with RawConnection(server.port) as connection:
        connection.flood(post(png()) + GET * 10_000, limit_bytes=2**19)
        answers = [connection.answer()]
        while "connection" not in answers[-1].headers:
            answers.append(connection.answer())
        assert connection.ends()
    assert {answer.status for answer in answers} == {200}
    assert 2 <= len(answers) < 100


def test_malformed_after_whole_requests_keeps_their_answers(connection: RawConnection, png: Png):
    """What follows a request is not told as its answer."""
    connection.send(post(png()) + b"nonsense\r\n\r\n")
    assert connection.answer().status == 200
    assert connection.ends()


def test_answers_that_nobody_reads_end(server: ServerProcess):
    """A client that asks on and on, and reads nothing, is reset."""
    with RawConnection(server.port, timeout_s=2 * PATIENCE_S + 10) as connection:
        begun = time.monotonic()
        request = GET.replace(b"livez", b"openapi.json")
        connection.flood(request, limit_bytes=2**30, seconds=60, pause_s=0.001)
        assert time.monotonic() - begun < 40


def test_malformed_requests_are_logged_once_a_second(server: ServerProcess):
    """Of two hundred in a burst a few lines tell, with a number."""
    before = server.log.read_text().count("Malformed")
    begun = time.monotonic()
    for _ in range(200):
        with RawConnection(server.port) as connection:
            assert connection.send(b"nonsense\r\n\r\n").answer().code == "malformed_request"
    seconds = time.monotonic() - begun
    time.sleep(1.1)
    with RawConnection(server.port) as connection:
        connection.send(b"nonsense\r\n\r\n").answer()
    log = server.log.read_text()
    assert 1 <= log.count("Malformed") - before <= seconds + 3
    assert "since the line before" in log
    assert "Traceback" not in log
