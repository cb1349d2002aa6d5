"""Mutants of forms and of raw HTTP, sent to a real service."""

import socket
from contextlib import suppress

import numpy as np
from hostile_requests import FORM, Input, form, png
from mutant_targets import image_sources
from mutation import mutant

_TIMEOUT_S = 30  # an answer that takes as long is a hang


class BadAnswerError(Exception):
    """A 5xx other than a refusal because the queue is full, or no answer."""


def _keep_alive(request: Input) -> bytes:
    return request.to_bytes().replace(b"Connection: close\r\n", b"")


def _bodies() -> tuple[bytes, ...]:
    sources = image_sources()
    return (
        form(("file", sources[0])),
        form(*[("file", picture) for picture in sources[:6]]),
        form(("file", png(4, 4)), ("other", b"x"), more_headers="X-A: b\r\n"),
    )


def _wires() -> tuple[bytes, ...]:
    picture = image_sources()[8]
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(picture), picture)
    get = b"GET /model?a=b HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n\r\n"
    return (
        _keep_alive(Input(picture)),
        _keep_alive(Input(form(("file", picture)), FORM)),
        head + chunked,
        head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture,
        head + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n" + chunked,
        get,
        get * 3,
        b"HEAD /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nOPTIONS * HTTP/1.0\r\n\r\n",
    )


class Forms:
    """Damaged forms with a correct length, on one connection that stays open as long as the service allows."""

    def __init__(self, port: int):
        self._port = port
        self._bodies = _bodies()
        self._connection: socket.socket | None = None

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def __call__(self, seed: int) -> None:
        data = _keep_alive(Input(mutant(self._bodies, np.random.default_rng((3, seed))), FORM))
        answer = self._asked(data) or self._asked(data)  # the service may have closed the connection between the two
        _check(answer)
        if b"\r\nconnection: close" in answer.lower():
            self.close()

    def _asked(self, data: bytes) -> bytes:
        self._connection = self._connection or socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_S)
        received = b""
        with suppress(ConnectionError):
            self._connection.sendall(data)
        with suppress(ConnectionError):
            while not _is_whole(received) and (piece := self._connection.recv(65_536)):
                received += piece
        if not _is_whole(received):
            self.close()
        return received


class Wires:
    """Raw bytes, each on a connection of its own that is then half-closed: the service answers or closes it."""

    def __init__(self, port: int):
        self._port = port
        self._wires = _wires()

    def close(self) -> None:
        pass

    def __call__(self, seed: int) -> None:
        data = mutant(self._wires, np.random.default_rng((4, seed)))
        received = b""
        with socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_S) as connection, suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                received += piece
        if received:  # the service may close without an answer to bytes that are no request
            _check(received)


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(separator) and len(body) >= int(lengths[0] if lengths else 0)


def _check(answer: bytes) -> None:
    """Checks each answer. A 100, and several answers on one connection, are allowed."""
    if not answer.startswith(b"HTTP/1."):
        raise BadAnswerError(f"No answer: {answer[:100]!r}")
    bad = b"HTTP/1.1 5" in answer and b'"overloaded"' not in answer and b'"too_many_connections"' not in answer
    if bad or b"Traceback" in answer:
        raise BadAnswerError(repr(answer[:300]))
