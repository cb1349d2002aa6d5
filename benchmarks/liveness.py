"""Asks /livez all the time: how long did a service not answer?"""

import socket
import threading
import time

_QUESTION = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_PAUSE_S = 0.02  # 50 questions a second cost the service about 1 % of a core
_TIMEOUT_S = 600


class Probe:
    """`with Probe(port) as probe: …; probe.longest_s`: from a question to its answer, at worst."""

    def __init__(self, port: int):
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._asked: float | None = None
        self._longest = 0.0

    @property
    def longest_s(self) -> float:
        """With the question that waits at this moment."""
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
