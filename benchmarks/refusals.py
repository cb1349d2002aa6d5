"""From the last byte of a request to its 503."""

import socket
import threading
import time
from contextlib import suppress

from hostile_requests import Input

_CLIENTS = 8  # few, so that their own work does not show in the times
_TIMEOUT_S = 10


def refusal_times_ms(port: int, request: Input, seconds: float) -> list[float]:
    """Asks again and again from a few connections, beside whatever load there is; other answers are left out."""
    data = request.to_bytes().replace(b"Connection: close\r\n", b"")
    times: list[float] = []
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=_ask, args=(port, data, end, times)) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _ask(port: int, data: bytes, end: float, times: list[float]) -> None:
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
            while time.monotonic() < end:
                connection.sendall(data)
                sent = time.perf_counter()
                answer = connection.recv(65_536)
                if not answer:
                    break
                if answer.startswith(b"HTTP/1.1 503"):
                    times.append((time.perf_counter() - sent) * 1000)
