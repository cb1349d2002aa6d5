"""Requests as bytes on a socket, and the answers to them, one by one."""

import http.client
import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """One answer. `code` is that of an error, None for another answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        return json.loads(self.body)["error"]["code"] if self.status >= 400 else None


class RawConnection:
    """A client that sends what it is told to."""

    def __init__(self, port: int, *, timeout_s: float = 20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def answer(self, *, of_head: bool = False) -> Answer:
        """The next answer that is not 100 Continue."""
        status = int(self._reader.readline().split()[1])
        headers = {name.lower(): value for name, value in http.client.parse_headers(self._reader).items()}
        if status == 100:
            return self.answer()
        body = b"" if of_head else self._reader.read(int(headers["content-length"]))
        return Answer(status, headers, body)

    def ends(self) -> bool:
        """Whether the server closes without another byte."""
        with suppress(ConnectionError):
            return self._reader.read(1) == b""
        return True

    def flood(self, piece: bytes, *, limit_bytes: int, seconds: float = 20, pause_s: float = 0.0) -> int:
        """Sends a piece over and over until the server ends the connection.

        Returns:
            How many bytes were sent.
        """
        sent, end = 0, time.monotonic() + seconds
        with suppress(ConnectionError, TimeoutError):
            while sent < limit_bytes and time.monotonic() < end:
                self.socket.sendall(piece)
                sent += len(piece)
                time.sleep(pause_s)
        return sent


def chunked(body: bytes, size: int = 1000, *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """A body in chunks, with its end."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    lines = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces]
    return b"".join(lines) + b"0\r\n" + trailers + b"\r\n"


def post(body: bytes, headers: bytes = b"", *, in_chunks: bool = False, **options: Any) -> bytes:
    """A request for an answer."""
    if in_chunks:
        return HEAD + headers + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, **options)
    return HEAD + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body
