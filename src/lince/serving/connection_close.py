"""How a connection ends: soon, whatever the client does, and with an answer in our shape where one is possible."""

import asyncio
import logging
import socket
import struct
import time
from asyncio.events import TimerHandle
from collections.abc import Callable
from typing import cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lince.serving.errors import STATUS, STOPPING, error_bytes
from lince.serving.flow_control import PausableFlow
from lince.serving.metrics import Metrics
from lince.serving.middleware import CLOSED, REFUSED
from lince.serving.settings import ServeSettings

# nginx and Apache allow between 8 and 64 KiB for all headers.
MAX_HEAD_BYTES = 32 * 2**10
# A refused client may go on sending for this long: one that is cut off while it sends seldom reads the answer.
LINGER_S = 5.0
# So many bytes of a refused body are read and dropped without parsing, which is 5 ms of work …
MAX_LINGER_BYTES = 64 * 2**20
# … and so many bytes of anything else.
_MAX_REST_BYTES = 2**20
_NO_LINGER = struct.pack("ii", 1, 0)
_LOG_INTERVAL_S = 1.0
_log = logging.getLogger(__name__)


class _MalformedLog:
    """Logs requests that are not HTTP in at most one line a second: a flood of them would fill the disk."""

    def __init__(self) -> None:
        self._count, self._last = 0, float("-inf")

    def add(self, reason: str) -> None:
        """Counts one request, and logs it unless the last line is younger than a second."""
        self._count += 1
        now = time.monotonic()
        if now - self._last < _LOG_INTERVAL_S:
            return
        more = f" ({self._count} since the line before)" if self._count > 1 else ""
        _log.warning("Malformed HTTP request: %s%s.", reason, more)
        self._count, self._last = 0, now


_malformed = _MalformedLog()


class _AnswerTransport(asyncio.Transport):
    """The transport to which uvicorn writes an answer. Its `close` is ours, so that the client reads the answer."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]):
        super().__init__()
        self._transport, self._close = transport, close

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._close()


class EndingConnection(HttpToolsProtocol):
    """The part of a connection that ends it; `http_connection.py` adds the rest.

    Settings and metrics arrive through the app's lifespan state.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # of TCP, as uvicorn expects
        super().connection_made(stream)
        self.flow: PausableFlow = PausableFlow(stream)
        self._settings: ServeSettings = self.app_state["settings"]
        self._metrics: Metrics = self.app_state["metrics"]
        self._bound_kernel()
        self._timer: TimerHandle | None = None  # for the message that is arriving, in its `_phase`
        self._write_timer: TimerHandle | None = None
        self._close_timer: TimerHandle | None = None
        self._phase = ""
        self._running: RequestResponseCycle | None = None  # the one that the app works on, or worked on last
        self._deferred: RequestResponseCycle | None = None  # may be answered directly once its body is here
        self._open = False  # bytes of a message have arrived
        self._begun = False  # the parser has seen the beginning of that message …
        self._in_head = True  # … and not yet the end of its headers
        self._eof = False
        self._ended = False  # nothing more is parsed
        self._late_bytes = 0
        self._linger_bytes = MAX_LINGER_BYTES
        self._answer_transport = _AnswerTransport(stream, self._close_after_answer)

    def _bound_kernel(self) -> None:
        """Limits how long the kernel sends what we have written: without it, 15 minutes after the close."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            timeout_ms = int(1000 * (self._settings.receive_timeout_s + LINGER_S))
            connection: socket.socket = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        for timer in (self._write_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def shutdown(self) -> None:
        if self._ended:  # it was refused, and its last bytes are being dropped
            return
        if self._waits_for_answer:
            self.cycle.keep_alive = False
        elif self._open and self._begun and self._in_head:
            self._refuse("shutting_down", STOPPING, linger=0)
        elif self._open and self._begun:  # answered but still sending: an immediate close would lose the answer
            self._end(MAX_LINGER_BYTES)
        else:
            self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._settings.receive_timeout_s, self._reset)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn always closes; asyncio takes a bool as well
        """Answers a client that has closed its sending half, if its requests have arrived whole: then it stays open.

        Over TLS the event loop closes all the same.
        """
        self._eof = True
        if self._open and self._begun and not self._ended:
            self._refuse("incomplete_body", "The connection closed before the whole request had arrived.")
        elif self._waits_for_answer:
            self.cycle.keep_alive = False
            self.cycle.scope["state"][CLOSED] = True
        return self._waits_for_answer and self.transport.can_write_eof() and not self.transport.is_closing()

    @property
    def _waits_for_answer(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.disconnected

    @property
    def _path(self) -> str:
        """Of the request whose headers arrive, as far as it is known."""
        return self.url.partition(b"?")[0].decode("latin-1")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._phase, self._timer = "", None

    def _refuse_size(self) -> None:
        message = f"Headers, trailers and chunk sizes together exceed {MAX_HEAD_BYTES:,} bytes. Send less of them."
        self._refuse("headers_too_large", message)

    def _refuse_malformed(self, reason: str) -> None:
        _malformed.add(reason)
        self._refuse("malformed_request", f"The request is not valid HTTP/1.1: {reason}.")

    def _refuse(self, code: str, message: str, *, linger: int = _MAX_REST_BYTES) -> None:
        """Answers in the app's place, and ends the connection. Sends nothing where another answer has begun."""
        own = None if self._in_head else self.cycle  # the app's part of this message
        if self._running is not None and self._running is not own and not self._running.response_complete:
            self._end_after_answers(own)
            return
        if own is None:
            self._metrics.count_request(path="other", method="other", status=STATUS[code], code=code)
        elif not own.response_complete:
            own.scope["state"][REFUSED] = code  # the middleware counts it, if a task works on it
            if self._deferred is own:
                self._count_deferred(code)
            own.disconnected = True
            own.message_event.set()
        if own is None or not own.response_started:
            dates = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
            path = own.scope["path"] if own is not None else self._path if self._begun else ""
            status, rest = error_bytes(code, message, close=True, path=path).split(b"\r\n", 1)
            self.transport.write(b"%b\r\n%b%b" % (status, dates, rest))
            self._end(linger)
        else:
            self._end(0)

    def _count_deferred(self, code: str) -> None:
        """Counts a request for predictions that ends before a task works on it."""
        self._deferred = None
        self._metrics.count_request(path="/predict", method="POST", status=STATUS[code], code=code)

    def _end_after_answers(self, dropped: RequestResponseCycle | None = None) -> None:
        """Stops reading. Earlier requests are answered, and then the connection closes."""
        self._stop_timer()
        self._ended = True
        if dropped is not None:
            self.pipeline.popleft()
        self.cycle = self.pipeline[0][0] if self.pipeline else self._running or self.cycle
        self._in_head, self._open = True, False
        self.flow.hold("end")
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self._end(0)

    def _end(self, linger: int) -> None:
        """Closes. A client that still sends is read from for a while: otherwise it would not read our answer."""
        self._stop_timer()
        self._ended, self._late_bytes, self._linger_bytes = True, 0, linger
        if linger and not self._eof and not self.transport.is_closing():
            self.flow.release_all()
            if self.transport.can_write_eof():  # not over TLS: there Connection and Content-Length tell the end
                self.transport.write_eof()
            self._close_timer = self.loop.call_later(LINGER_S, self._close)
        else:
            self._close()

    def _close_after_answer(self) -> None:
        """Ends after the last answer; bytes of its body, or of requests without an answer, may still arrive."""
        self._end(MAX_LINGER_BYTES if self._open else _MAX_REST_BYTES if self._ended else 0)

    def _close(self) -> None:
        """Closes once the client has read everything; resets the connection when that takes too long."""
        self._ended = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._close_timer = self.loop.call_later(LINGER_S, self._reset)
        self.transport.close()

    def _reset(self) -> None:
        """Ends at once. The kernel drops unread bytes too, which it would otherwise keep for minutes."""
        if (connection := self.transport.get_extra_info("socket")) is not None:  # None once TLS has ended
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
