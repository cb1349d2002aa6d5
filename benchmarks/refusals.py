"""The time from the last byte of a request to its 503."""

import socket
import threading
import time
from collections import Counter

from hostile_requests import Input

_CLIENTS = 8  # few, so that their own work does not show in the times
_TIMEOUT_S = 10


def refusal_times_ms(port: int, request: Input, seconds: float, others: Counter[str]) -> list[float]:
    """Repeats a request on a few connections, beside the present load; `others` counts answers that are not 503."""
    data = request.to_bytes().replace(b"Connection: close\r\n", b"")
    times: list[float] = []
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=_ask, args=(port, data, end, times, others)) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _ask(port: int, data: bytes, end: float, times: list[float], others: Counter[str]) -> None:
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
                _ask_on(connection, data, end, times, others)
        except OSError as error:
            others[type(error).__name__] += 1


def _ask_on(connection: socket.socket, data: bytes, end: float, times: list[float], others: Counter[str]) -> None:
    while time.monotonic() < end:
        connection.sendall(data)
        sent = time.perf_counter()
        answer = connection.recv(65_536)
        if answer.startswith(b"HTTP/1.1 503"):
            times.append((time.perf_counter() - sent) * 1000)
            continue
        others[answer[9:12].decode() or "closed"] += 1
        if not answer:
            return
