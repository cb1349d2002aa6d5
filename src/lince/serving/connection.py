"""One HTTP connection: uvicorn's, with the bounds it lacks, and with refusals in our shape.

uvicorn reads headers, chunk extensions and trailers without a limit of size or time, keeps silent connections open for
ever, reads the rest of a refused body to its end, and gives up on a client that offers another protocol. Here every
state has a bound in bytes and one in time:

    state                       bytes                                   time
    head                        _MAX_HEAD_BYTES, _MAX_HEADERS           receive_timeout_s
    body, not yet answered      the app's; framing: _MAX_HEAD_BYTES     receive_timeout_s
                                and as much as the body
    body, answered              _LINGER_BODIES × max_body_bytes         _LINGER_S
    requests sent in advance    _MAX_PIPELINED, one read                as the requests before them
    answer that is not read     what fits the buffers                   receive_timeout_s
    idle                        none                                    keep_alive_s
"""

from asyncio import Transport
from asyncio.events import TimerHandle

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lince.serving.errors import STATUS, error_body
from lince.serving.inference import Inference
from lince.serving.metrics import Metrics
from lince.serving.occasional_log import OccasionalLog
from lince.serving.settings import ServeSettings

# What nginx and Apache allow for all headers lies between 8 and 64 KiB. One read (up to 256 KiB) may exceed it.
_MAX_HEAD_BYTES = 32 * 2**10
_MAX_HEADERS = 100  # as Apache; each takes 200 bytes of Python objects, however short it is
_MAX_PIPELINED = 100
# A refused client may finish sending for this long, because one that is cut off while it sends seldom reads the answer.
_LINGER_S = 5
_LINGER_BODIES = 4
_RETRY_AFTER_S = 1

_OFFERS = frozenset({b"upgrade", b"http2-settings", b"connection"})  # headers of this connection alone


class BoundedConnection(HttpToolsProtocol):
    """HTTP/1.1 for one client. What it needs of the service arrives through the app's lifespan state."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self._settings: ServeSettings = self.app_state["settings"]
        self._metrics: Metrics = self.app_state["metrics"]
        self._inference: Inference = self.app_state["inference"]
        self._malformed: OccasionalLog = self.app_state["malformed"]
        self._in_head, self._in_message = True, False
        self._headers_count = self._framing_bytes = self._gap_bytes = self._body_bytes = 0
        self._swallowing = False  # a request that was refused before it came to the app
        self._offered = False  # another protocol, which we do not speak
        self._timer: TimerHandle | None = None  # of the message that is being received
        self._write_timer: TimerHandle | None = None  # of the answer that is not being read
        self._pause_timer: TimerHandle | None = None
        if len(self.connections) > self._settings.max_connections:
            message = f"{self._settings.max_connections:,} connections are open already. Try again in a second."
            self._refuse("overloaded", message)
        else:
            self._start_timer(self._settings.receive_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        for timer in (self._write_timer, self._pause_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._framing_bytes += len(data)
        self._gap_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._malformed.warn("A request is malformed: %s", error)
            self._refuse("malformed_request", "The request is not HTTP/1.1 as we know it. Send it again.")
        self._framing_bytes = max(0, self._framing_bytes)  # of a read that held the end of the message before
        if not self._in_message and self._gap_bytes and self._timer is None and self._is_idle():
            self._start_timer(self._settings.receive_timeout_s)  # for what comes before a message: empty lines
        self._check_bytes()

    def eof_received(self) -> bool:
        """A client that has sent its whole request, and closed its side, waits for the answer."""
        waits = not self._is_idle() and not self._in_message
        if waits:
            self.cycle.keep_alive = False
        return waits

    def _feed(self, data: bytes) -> None:
        """Parses bytes. An offer of another protocol is ignored, as RFC 9110 (section 7.8) allows.

        The parser stops after a head that makes such an offer, and leaves its body. The same head without the offer
        goes through a new parser, and what follows after it.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as stop:
                data = data[stop.args[0] :]
                if not self._offered or self.transport.is_closing():
                    return
                head = self._head_without_offer()
                self._offered = False
                self.parser = httptools.HttpRequestParser(self)
                self.parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        options = [value.lower() for name, value in self.headers if name == b"connection"]
        kept = [(name, value) for name, value in self.headers if name not in _OFFERS]
        if any(b"close" in value for value in options):
            kept.append((b"connection", b"close"))
        version = self.parser.get_http_version().encode()
        request = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        return request + b"".join(b"%b: %b\r\n" % header for header in kept) + b"\r\n"

    # What the parser calls, in the order of a message.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._headers_count = self._framing_bytes = self._gap_bytes = self._body_bytes = 0
        if self._timer is None:
            self._start_timer(self._settings.receive_timeout_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self.transport.is_closing():  # a trailer is nothing that we need
            self._headers_count += 1
            if self._headers_count > _MAX_HEADERS:
                self._refuse("headers_too_large", f"The request has more than {_MAX_HEADERS} headers. Send fewer.")
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.transport.is_closing():
            return
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse("method_not_allowed", "CONNECT is not answered here: this is no proxy.")
            return
        self._offered = self.parser.should_upgrade()
        if self._offered:
            return
        self._in_head = False
        self._start_timer(self._settings.receive_timeout_s)
        waits = not self._is_idle()
        if waits and len(self.pipeline) >= _MAX_PIPELINED:
            message = f"More than {_MAX_PIPELINED} requests were sent in advance. Wait for answers in between."
            self._refuse("malformed_request", message)
        elif not waits and self._is_overload(method):
            self._answer_overload()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        self._body_bytes += len(body)
        self._gap_bytes = 0
        if not self._swallowing and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._offered or self.transport.is_closing():
            return
        self._in_message = False
        self._gap_bytes = 0
        self._stop_timer()
        if self._swallowing:
            self._swallowing = False
            self._pause()
            return
        super().on_message_complete()
        if self.cycle.response_complete:  # uvicorn waited for the next request already, until this body came instead
            self._start_keep_alive()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()
        elif self._in_message and not self.pipeline:
            self._start_timer(_LINGER_S)

    # Bytes and time.

    def _check_bytes(self) -> None:
        if self.transport.is_closing():
            return
        if max(self._gap_bytes, self._framing_bytes - self._body_bytes) > _MAX_HEAD_BYTES:
            what = "headers" if self._in_head else "chunk sizes, extensions and trailers"
            self._refuse("headers_too_large", f"The {what} exceed {_MAX_HEAD_BYTES:,} bytes. Send fewer.")
        elif (
            self._in_message
            and self._is_answered()
            and self._body_bytes > _LINGER_BODIES * self._settings.max_body_bytes
        ):
            self._close()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_answered(self) -> bool:
        return self._swallowing or (not self._in_head and self.cycle.response_complete)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        what = "headers" if self._in_head else "body"
        seconds = self._settings.receive_timeout_s
        self._refuse("receive_timeout", f"The {what} did not arrive within {seconds:g} s. Send faster, or less.")

    def _start_keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._settings.receive_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._abort_later()

    def _abort_later(self) -> None:
        """A client that does not read its last answer keeps the connection for so long, and no longer."""
        self.loop.call_later(_LINGER_S, self.transport.abort)

    # Refusals.

    def _is_overload(self, method: bytes) -> bool:
        return self._inference.full and method == b"POST" and self.url.partition(b"?")[0] == b"/predict"

    def _answer_overload(self) -> None:
        """503, without the app; then nothing is read from this client until it may come back.

        A client that ignores Retry-After would otherwise make the server spend its time on refusals.
        """
        self._swallowing = True
        self._metrics.count_request(path="/predict", method="POST", status=503)
        message = f"{self._settings.max_waiting} requests are waiting already. Try again in a second."
        self._write("overloaded", message, close=not self.parser.should_keep_alive())
        self._start_timer(_LINGER_S)

    def _pause(self) -> None:
        if not self.parser.should_keep_alive():
            self._close()
            return
        self.flow.pause_reading()
        self._pause_timer = self.loop.call_later(_RETRY_AFTER_S, self._resume)

    def _resume(self) -> None:
        self._pause_timer = None
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._start_keep_alive()

    def _refuse(self, code: str, message: str) -> None:
        """Answers in the app's place, and ends the connection. Says nothing once another answer is on its way."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        answered = self._in_message and self._is_answered()
        if not answered and (cycle is None or cycle.response_complete or not cycle.response_started):
            self._metrics.count_request(path="other", method="other", status=STATUS[code])
            self._write(code, message, close=True)
        if cycle is not None:
            cycle.disconnected = True  # so that the app, if it is at work on this request, does not answer as well
            cycle.message_event.set()
        self._close()

    def _write(self, code: str, message: str, *, close: bool) -> None:
        status, body = STATUS[code], error_body(code, message)
        retry = b"retry-after: %d\r\n" % _RETRY_AFTER_S if status == 503 else b""
        end = b"connection: close\r\n" if close else b""
        head = b"content-type: application/json\r\n%b%bcontent-length: %d\r\n\r\n" % (retry, end, len(body))
        self.transport.write(STATUS_LINE[status] + head + body)
