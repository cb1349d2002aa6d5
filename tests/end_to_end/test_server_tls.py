"""HTTPS of a real server, with one worker and with two: answers, renewals, bounds of connections, and stops."""

import http.client
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from hostile_requests import black_png
from server_process import COMMAND, ServerProcess, running_server
from tls_client import FIRST, SECOND, anybody, copied, der

PICTURE = black_png(32, 32)
IMAGE = {"Content-Type": "image/png"}


@contextmanager
def tls_server(pair: tuple[Path, Path] = FIRST, **settings: object) -> Iterator[ServerProcess]:
    with running_server(tls_cert=pair[0], tls_key=pair[1], **settings) as server:
        yield server


def connected(server: ServerProcess, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    return (context or anybody()).wrap_socket(plain)


def ask(server: ServerProcess, body: bytes = PICTURE) -> tuple[int, dict]:
    client = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=anybody())
    with closing(client):
        client.request("POST", "/predict", body, IMAGE)
        response = client.getresponse()
        return response.status, json.load(response)


def served_certificate(server: ServerProcess) -> bytes:
    with connected(server) as connection:
        return connection.getpeercert(binary_form=True)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def seconds_until_end(connection: socket.socket) -> float:
    start = time.monotonic()
    with connection, suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return time.monotonic() - start


@pytest.mark.parametrize("workers", [1, 2])
def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path, workers: int):
    """By every worker. Connections that are open go on, and half of a renewal changes nothing."""
    chain, _ = pair = copied(FIRST, tmp_path)
    with tls_server(pair, workers=workers) as server:
        assert f"on https://127.0.0.1:{server.port}" in server.log.read_text()
        assert 200 == ask(server)[0]
        client = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30, context=anybody())
        with closing(client):
            client.request("GET", "/livez")
            client.getresponse().read()
            chain.write_bytes(SECOND[0].read_bytes())
            wait_for(lambda: served_certificate(server) and "does not belong" in server.log.read_text())
            assert {der(FIRST[0])} == {served_certificate(server) for _ in range(8)}
            copied(SECOND, tmp_path)
            wait_for(lambda: {der(SECOND[0])} == {served_certificate(server) for _ in range(8)})
            client.request("POST", "/predict", PICTURE, IMAGE)
            assert 200 == client.getresponse().status
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("broken", ["another's key", "no certificate"])
def test_files_that_cannot_be_used_are_a_failed_start(workers: int, broken: str):
    """Exit code 3 and one sentence."""
    chain, key = (FIRST[0], SECOND[1]) if broken == "another's key" else (FIRST[1], FIRST[1])
    options = ["--port", "0", "--workers", str(workers), "--tls-cert", str(chain), "--tls-key", str(key)]
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    [line] = [line for line in done.stderr.splitlines() if "readable" not in line and "chmod" not in line]
    assert "does not belong" in line if broken == "another's key" else "Expected a certificate" in line


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """One with little patience."""
    with tls_server(receive_timeout_s=1, max_connections=20, max_body_bytes=2**20, keep_alive_s=1) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def test_old_versions_are_refused(server: ServerProcess):
    """TLS 1.2 is the oldest, and the newest is spoken where the client can."""
    old = anybody()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"EOF|PROTOCOL_VERSION"):  # some event loops send no alert
        connected(server, old)
    middle = anybody()
    middle.maximum_version = ssl.TLSVersion.TLSv1_2
    for context, version in ((middle, "TLSv1.2"), (anybody(), "TLSv1.3")):
        with connected(server, context) as connection:
            assert version == connection.version()


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_who_does_not_finish_the_handshake_is_cut_off(server: ServerProcess, data: bytes):
    """After `receive_timeout_s`, or at once when it is no TLS; others are answered meanwhile."""
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    plain.sendall(data)
    assert 200 == ask(server)[0]
    assert seconds_until_end(plain) < 1 + 5  # five for a busy machine


def test_who_is_silent_after_the_handshake_is_cut_off(server: ServerProcess):
    """With the error of every client that sends too slowly."""
    with connected(server) as connection:
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")
        assert seconds_until_end(connection) < 5 + 5 + 5  # the client may send for 5 s, and end for 5 s


def test_connections_are_bounded_in_number(server: ServerProcess):
    """The next one is told why."""
    crowd = [connected(server) for _ in range(20)]
    with connected(server) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 503")
    for one in crowd:
        one.close()
    wait_for(lambda: ask(server)[0] == 200)


def test_refused_bodies_are_told(server: ServerProcess):
    """The client reads the answer although it has not sent everything."""
    status, body = ask(server, bytes(2**22))
    assert (413, "body_too_large") == (status, body["error"]["code"])


def test_pipelined_requests_are_answered_in_order(server: ServerProcess):
    """And the connection ends after the last one, as it says."""
    get = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
    with connected(server) as connection:
        connection.sendall((get + b"\r\n") * 3 + get + b"Connection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert 4 == answer.count(b'{"status":"alive"}')


def test_who_does_not_read_is_cut_off(server: ServerProcess):
    """Its answers are not kept for ever."""
    get = b"GET /page/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(server) as connection:
        connection.settimeout(0.5)
        sent, end = 0, time.monotonic() + 30
        with suppress(OSError):
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    sent += connection.send(get * 100)
        assert time.monotonic() < end


def test_half_closed_clients_do_no_harm(server: ServerProcess):
    """One that ends TCP in the middle is no bug of ours."""
    for data in (b"", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        connection = connected(server)
        connection.sendall(data)
        with connection, suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
    assert 200 == ask(server)[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_answers_who_has_asked(workers: int):
    """A request in flight is answered; a client in its handshake does not hold the stop up."""
    slow = black_png(4_000, 4_000)
    with tls_server(workers=workers) as server, ThreadPoolExecutor(1) as threads:
        assert 200 == ask(server)[0]
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(3)]
        answer = threads.submit(ask, server, slow)
        wait_for(lambda: _is_decoding(server))
        server.process.send_signal(signal.SIGTERM)
        assert 200 == answer.result()[0]
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text()
        for one in silent:
            assert seconds_until_end(one) < 5


def _is_decoding(server: ServerProcess) -> bool:
    """Whether a process for large pictures runs, below the server or one of its workers."""
    found = psutil.Process(server.process.pid).children(recursive=True)
    return any("decoder_program" in " ".join(one.cmdline()) for one in found)
