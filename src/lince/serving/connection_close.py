"""How a connection ends: with an answer in our shape where there can be one, and soon, whatever the client does."""

import asyncio
import socket
import struct
from asyncio.events import TimerHandle

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lince.serving.errors import STATUS, STOPPING
from lince.serving.metrics import Metrics
from lince.serving.middleware import REFUSED
from lince.serving.settings import ServeSettings
from lince.serving.wire import CycleTransport, Flow, MalformedLog, error_bytes

# What nginx and Apache allow for all headers lies between 8 and 64 KiB.
MAX_HEAD_BYTES = 32 * 2**10
# A refused client may finish sending for this long, because one that is cut off while it sends seldom reads the answer.
LINGER_S = 5.0
# As much of a refused body is read and dropped, unparsed: 5 ms of work; and of what is no body.
MAX_LINGER_BYTES = 64 * 2**20
_MAX_REST_BYTES = 2**20
_NO_LINGER = struct.pack("ii", 1, 0)
_malformed = MalformedLog()


class EndingConnection(HttpToolsProtocol):
    """What `http_connection.py` builds upon. Settings and metrics arrive through the app's lifespan state."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.flow: Flow = Flow(transport)
        self._settings: ServeSettings = self.app_state["settings"]
        self._metrics: Metrics = self.app_state["metrics"]
        self._bound_kernel()
        self._timer: TimerHandle | None = None  # of the message that is arriving; for `_phase` of it
        self._write_timer: TimerHandle | None = None
        self._close_timer: TimerHandle | None = None
        self._phase = ""
        self._running: RequestResponseCycle | None = None  # the app is at work on it, or was last
        self._open = False  # bytes of a message have come,
        self._begun = False  # the parser has seen its beginning,
        self._in_head = True  # and not the end of its headers
        self._eof = False
        self._ended = False  # nothing more is parsed
        self._late_bytes = 0
        self._linger_bytes = MAX_LINGER_BYTES
        self._cycle_transport = CycleTransport(transport, self._close_after_answer)

    def _bound_kernel(self) -> None:
        """What we have written lies in the kernel, which would offer it for a quarter of an hour after we closed."""
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            timeout_ms = int(1000 * (self._settings.receive_timeout_s + LINGER_S))
            own = self.transport.get_extra_info("socket")
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)

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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def shutdown(self) -> None:
        if self._ended:  # refused already, and read from for a last while
            return
        if self._waits_for_answer:
            self.cycle.keep_alive = False
        elif self._open and self._begun and self._in_head:
            self._refuse("shutting_down", STOPPING, linger=0)
        elif self._open and self._begun:  # answered, and still sending: closed at once it could not read its answer
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

    def eof_received(self) -> bool:
        """A client that says it has finished still gets its answers, if it has sent its requests whole.

        Returns:
            Whether the connection stays open.
        """
        self._eof = True
        if self._open and self._begun and not self._ended:
            self._refuse("incomplete_body", "The connection closed before the whole request had arrived.")
        elif self._waits_for_answer:
            self.cycle.keep_alive = False
        return self._waits_for_answer and not self.transport.is_closing()

    @property
    def _waits_for_answer(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.disconnected

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._phase, self._timer = "", None

    def _refuse_size(self) -> None:
        message = f"What is no body (headers, trailers, chunk sizes) exceeds {MAX_HEAD_BYTES:,} bytes. Send less."
        self._refuse("headers_too_large", message)

    def _refuse_malformed(self, reason: str) -> None:
        _malformed.add(reason)
        self._refuse("malformed_request", f"The request is not HTTP/1.1 as we know it: {reason}.")

    def _refuse(self, code: str, message: str, *, linger: int = _MAX_REST_BYTES) -> None:
        """Answers in the app's place, and ends the connection. Says nothing once another answer is on its way."""
        own = None if self._in_head else self.cycle  # what the app has of this message
        if self._running is not None and self._running is not own and not self._running.response_complete:
            self._end_after_answers(own)
            return
        if own is None:
            self._metrics.count_request(path="other", method="other", status=STATUS[code])
        elif not own.response_complete:
            own.scope[REFUSED] = STATUS[code]  # the app counts it
            own.disconnected = True
            own.message_event.set()
        if own is None or not own.response_started:
            dates = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
            status, rest = error_bytes(code, message, close=True).split(b"\r\n", 1)
            self.transport.write(b"%b\r\n%b%b" % (status, dates, rest))
            self._end(linger)
        else:
            self._end(0)

    def _end_after_answers(self, dropped: RequestResponseCycle | None = None) -> None:
        """Reads no more; what was asked before is answered, and then the connection closes."""
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
        """Closes; a client that is still sending is read from for a while, or it would not read our answer."""
        self._stop_timer()
        self._ended, self._late_bytes, self._linger_bytes = True, 0, linger
        if linger and not self._eof and not self.transport.is_closing():
            self.flow.release_all()
            self.transport.write_eof()
            self._close_timer = self.loop.call_later(LINGER_S, self._close)
        else:
            self._close()

    def _close_after_answer(self) -> None:
        """The last answer is written; there may be more of a body, or of requests that are not answered."""
        self._end(MAX_LINGER_BYTES if self._open else _MAX_REST_BYTES if self._ended else 0)

    def _close(self) -> None:
        """Closes when what was written has been read, or has not been for too long."""
        self._ended = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._close_timer = self.loop.call_later(LINGER_S, self._reset)
        self.transport.close()

    def _reset(self) -> None:
        """Ends at once; what was not read is forgotten, by the kernel too, which would keep it for minutes."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
