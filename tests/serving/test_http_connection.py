"""Bounds below HTTP: endless headers, silent and too many connections; against the real server."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from hostile_requests import black_png, encoded
from server_process import ServerProcess, running_server

pytestmark = pytest.mark.waits

RECEIVE_TIMEOUT_S = 1.0
HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with little patience and few connections."""
    with running_server(receive_timeout_s=RECEIVE_TIMEOUT_S, max_connections=4, keep_alive_s=1) as server:
        yield server


@pytest.fixture(scope="module")
def patient_server() -> Iterator[ServerProcess]:
    """A server with the default settings."""
    with running_server() as server:
        yield server


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        yield connection


def test_endless_headers_are_refused(connection: socket.socket):
    """One line of a megabyte is not kept in memory: 431, and the connection ends."""
    connection.sendall(HEAD + b"X: ")
    with suppress(ConnectionError):  # refused already
        for _ in range(64):
            connection.sendall(b"y" * 2**14)
    status, answer = _answer(connection)
    assert (status, answer["error"]["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize("start", [b"", HEAD])
def test_headers_that_never_end_time_out(connection: socket.socket, start: bytes):
    """Whoever says nothing, or half of it, is let go: 408."""
    connection.sendall(start)
    begun = time.monotonic()
    status, answer = _answer(connection)
    assert (status, answer["error"]["code"]) == (408, "receive_timeout")
    assert 0.5 * RECEIVE_TIMEOUT_S < time.monotonic() - begun < 10 * RECEIVE_TIMEOUT_S


def test_body_that_never_ends_times_out(connection: socket.socket):
    """The same for a body that was promised."""
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nsome")
    status, answer = _answer(connection)
    assert (status, answer["error"]["code"]) == (408, "receive_timeout")


@pytest.mark.parametrize("path", [b"/v2/models/cifar10/infer", b"/v1/models/cifar10:predict"])
@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"X: y\r\n", 408),
        (b"Content-Length: 1000\r\n\r\nsome", 408),
        (b"Content-Length: minus one\r\n\r\n", 400),
        (b"X: " + b"y" * 2**16 + b"\r\n\r\n", 431),
    ],
)
def test_refusals_have_the_form_of_the_protocol(connection: socket.socket, path: bytes, rest: bytes, expected: int):
    """Clients of other protocols read text, and break on an object."""
    with suppress(ConnectionError):  # refused already
        connection.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + rest)
    status, answer = _answer(connection)
    assert (expected, str) == (status, type(answer["error"]))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"this is not HTTP\r\n\r\n",
        HEAD + b"Content-Length: minus one\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
    ],
)
def test_what_is_not_http_gets_our_error(connection: socket.socket, request_bytes: bytes):
    """400 in our shape, also when the app was at work on the request already."""
    connection.sendall(request_bytes)
    status, answer = _answer(connection)
    assert (status, answer["error"]["code"]) == (400, "malformed_request")


def test_refused_bodies_are_read_to_a_clean_answer(connection: socket.socket):
    """A client that sends too much, and reads only then, gets its 413 and not a broken pipe."""
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (16 * 2**20))
    for _ in range(16):
        connection.sendall(bytes(2**20))
    status, answer = _answer(connection)
    assert (status, answer["error"]["code"]) == (413, "body_too_large")


def test_refused_bodies_are_not_read_for_ever(connection: socket.socket):
    """A client that goes on sending after its refusal is cut off within seconds."""
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    begun = time.monotonic()
    with suppress(ConnectionError):
        while time.monotonic() < begun + 20:
            connection.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")
            time.sleep(0.002)
    assert time.monotonic() - begun < 15


PNG = encoded(np.random.default_rng(0), "PNG")
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(PNG) + PNG
GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def test_short_headers_are_counted(patient_server: ServerProcess):
    """Each of them is an object in memory: 8,000 headers of four bytes are refused."""
    with socket.create_connection(("127.0.0.1", patient_server.port), timeout=20) as connection:
        connection.sendall(HEAD + b"a:\r\n" * 5_000)
        status, answer = _answer(connection)
    assert (431, "headers_too_large") == (status, answer["error"]["code"])


def test_long_addresses_are_refused(patient_server: ServerProcess):
    """Each byte of a query takes a hundred of memory once it is parsed."""
    with socket.create_connection(("127.0.0.1", patient_server.port), timeout=20) as connection:
        connection.sendall(b"POST /predict?" + b"a=1&" * 2_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        status, answer = _answer(connection)
    assert (431, "headers_too_large") == (status, answer["error"]["code"])


def test_http_1_0_is_told_no_100(patient_server: ServerProcess):
    """Such a client would take it for the answer."""
    with socket.create_connection(("127.0.0.1", patient_server.port), timeout=20) as connection:
        connection.sendall(WHOLE.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nExpect: 100-continue\r\n"))
        status, answer = _answer(connection)
    assert (200, 1) == (status, len(answer["predictions"]))


def test_a_full_line_is_told_at_once_and_then_not_read():
    """503 to a client that does not wait as it was told, and after it nothing for the second that Retry-After names."""
    with running_server(max_waiting=1) as server:
        large = black_png(4_900, 4_900)
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(large) + large
        crowd = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(3)]
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as eager:
            for member in crowd:
                member.sendall(request)
            time.sleep(0.1)
            eager.sendall(WHOLE)
            assert eager.recv(65_536).startswith(b"HTTP/1.1 503")
            begun = time.monotonic()
            eager.sendall(GET + b"Connection: close\r\n\r\n")
            assert eager.recv(65_536).startswith(b"HTTP/1.1 200")
            assert time.monotonic() - begun > 0.8
        for member in crowd:
            assert member.recv(65_536).startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
            member.close()


def test_connections_are_bounded(server: ServerProcess):
    """The fifth of four gets 503; once others have gone there is room again."""
    _wait_until_alone(server)
    crowd = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(4)]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as fifth:
        status, answer = _answer(fifth)
    for member in crowd:
        member.close()
    assert (status, answer["error"]["code"]) == (503, "overloaded")
    _wait_until_alone(server)


def test_refusals_below_the_app_are_counted(server: ServerProcess):
    """/metrics knows of the answers that never reached a route."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert _answer(connection)[0] == 400
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b'lince_requests_total{method="other",model="",path="other",status="400"}' in text
    assert b'lince_rejections_total{code="malformed_request"}' in text


def _answer(connection: socket.socket) -> tuple[int, dict]:
    """Status and JSON of an answer after which the server closes."""
    received = b""
    with suppress(ConnectionResetError):  # the server closed with our bytes unread
        while piece := connection.recv(65_536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def _wait_until_alone(server: ServerProcess) -> None:
    """Until the server takes a connection and answers on it, which it does when there is room."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if connection.recv(65_536).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.05)
    pytest.fail("The server never had room again.")
