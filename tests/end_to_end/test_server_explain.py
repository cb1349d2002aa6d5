"""`POST /explain` of the real server: work for clients that have gone is dropped, and a stop does not wait for it."""

import re
import socket
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack

from app_client import Png
from server_process import ServerProcess, running_server

_CROWD = 4  # as many as may be under way


def send(server: ServerProcess, body: bytes) -> socket.socket:
    """Sends a request, and returns the connection."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    head = (
        f"POST /explain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def answered(server: ServerProcess) -> dict[str, float]:
    """Explanations that have ended, by status."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as response:
        text = response.read().decode()
    pattern = r'lince_requests_total\{method="POST",model="[^"]*",path="/explain",status="(\d+)"\} (\S+)'
    found: Counter[str] = Counter()
    for status, count in re.findall(pattern, text):
        found[status] += float(count)
    return found


def test_work_of_clients_that_have_gone_is_dropped(png: Png):
    """Four clients leave at once: at most one of their explanations is still finished."""
    with running_server() as server:
        for connection in [send(server, png(seed)) for seed in range(_CROWD)]:
            connection.close()
        while sum(answered(server).values()) < _CROWD:
            time.sleep(0.01)
        assert answered(server).get("200", 0) <= 1


def test_a_stop_ends_explanations(png: Png):
    """With no time for requests in flight, each gets an answer: its explanation, or that the server stops."""
    with running_server(shutdown_s=0) as server, ExitStack() as connections:
        crowd = [connections.enter_context(send(server, png(seed))) for seed in range(_CROWD)]
        time.sleep(0.1)
        server.process.terminate()
        assert 0 == server.process.wait(20)
        statuses = {connection.recv(12) for connection in crowd}
        assert statuses <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}
        assert b"HTTP/1.1 503" in statuses
