"""Parts of a connection: answers as bytes, reading that can be held, a log that cannot be flooded."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lince.serving.errors import RETRY_AFTER_S, STATUS, error_body

_LOG_INTERVAL_S = 1.0
_log = logging.getLogger(__name__)


class Flow(FlowControl):
    """uvicorn's switch for reading, which stays off as long as one of our reasons holds."""

    def __init__(self, transport: asyncio.Transport):
        super().__init__(transport)
        self._reasons: set[Hashable] = set()

    @property
    def held(self) -> bool:
        return bool(self._reasons)

    def hold(self, reason: Hashable) -> None:
        self._reasons.add(reason)
        self.pause_reading()

    def release(self, reason: Hashable) -> None:
        """Reads again, unless there is another reason."""
        self._reasons.discard(reason)
        self.resume_reading()

    def release_all(self) -> None:
        self._reasons.clear()
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self._reasons:
            super().resume_reading()


class CycleTransport:
    """What uvicorn writes an answer to. Its `close` is ours, so that whoever is still sending reads the answer."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]):
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class Answered:
    """Stands where uvicorn has a request at work, for one that was answered without the app."""

    response_started = response_complete = True

    def __init__(self, *, keep_alive: bool):
        self.keep_alive = keep_alive
        self.disconnected = False
        self.message_event = asyncio.Event()


def error_bytes(code: str, message: str, *, close: bool, retry_after_s: int = RETRY_AFTER_S) -> bytes:
    """A whole answer, but for its date: status, headers and the error in our shape."""
    status = STATUS[code]
    body = error_body(code, message)
    lines = [
        STATUS_LINE[status],
        b"content-type: application/json\r\nx-content-type-options: nosniff\r\n",
        b"retry-after: %d\r\n" % retry_after_s if status == 503 else b"",
        b"connection: close\r\n" if close else b"",
        b"content-length: %d\r\n\r\n" % len(body),
        body,
    ]
    return b"".join(lines)


def error_messages(code: str, message: str, *, retry_after_s: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same as the two messages of an app."""
    body = error_body(code, message)
    headers = [
        (b"content-type", b"application/json"),
        (b"x-content-type-options", b"nosniff"),
        (b"retry-after", b"%d" % retry_after_s),
        (b"content-length", b"%d" % len(body)),
    ]
    start = {"type": "http.response.start", "status": STATUS[code], "headers": headers}
    return start, {"type": "http.response.body", "body": body}


class MalformedLog:
    """One line a second at most, however many requests are no HTTP: a flood of them would fill the disk."""

    def __init__(self):
        self._count = 0
        self._last = float("-inf")

    def add(self, reason: str) -> None:
        self._count += 1
        now = time.monotonic()
        if now - self._last < _LOG_INTERVAL_S:
            return
        more = f" ({self._count} since the line before)" if self._count > 1 else ""
        _log.warning("Malformed HTTP request: %s%s.", reason, more)
        self._count, self._last = 0, now
