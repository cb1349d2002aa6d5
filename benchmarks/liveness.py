"""Asks /livez continuously, and measures how long a service did not answer."""

import socket
import threading
import time

_QUESTION = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_PAUSE_S = 0.05  # 20 questions a second: under 1 % of a core, and half the silence that is too long
_TIMEOUT_S = 600


class Probe:
    """`with Probe(port) as probe: …; probe.longest_s`: the longest time from a request to its answer."""

    def __init__(self, port: int):
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._asked: float | None = None
        self._longest = 0.0

    @property
    def longest_s(self) -> float:
        """The longest time so far, including the request that waits now."""
        asked = self._asked
        return max(self._longest, time.perf_counter() - asked if asked else 0.0)

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_S) as connection:
                    self._ask_on(connection)
            except OSError:  # the service has closed it or is gone: that is for the main thread to say
                time.sleep(_PAUSE_S)

    def _ask_on(self, connection: socket.socket) -> None:
        while not self._ended.wait(_PAUSE_S):
            self._asked = time.perf_counter()
            connection.sendall(_QUESTION)
            if not connection.recv(65_536):
                return
            self._longest, self._asked = max(self._longest, time.perf_counter() - self._asked), None
