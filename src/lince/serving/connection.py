"""One HTTP connection: uvicorn's, with the bounds it lacks, and with refusals in our shape.

uvicorn reads headers without a limit of size or time (its parser keeps an endless one in memory), keeps silent
connections open for ever, and reads the rest of a refused body to its end, however long.
"""

from asyncio import Transport
from asyncio.events import TimerHandle

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lince.serving.errors import STATUS, error_body
from lince.serving.metrics import Metrics
from lince.serving.settings import ServeSettings

# What nginx and Apache allow for all headers lies between 8 and 64 KiB. One read (up to 256 KiB) may exceed it.
_MAX_HEAD_BYTES = 64 * 2**10
# A refused client may finish sending for this long, because one that is cut off while it sends seldom reads the answer.
_LINGER_S = 5


class BoundedConnection(HttpToolsProtocol):
    """HTTP/1.1 for one client. `settings` and `metrics` arrive through the app's lifespan state."""

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self._settings: ServeSettings = self.app_state["settings"]
        self._metrics: Metrics = self.app_state["metrics"]
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: TimerHandle | None = None
        self._linger_timer: TimerHandle | None = None
        if len(self.connections) > self._settings.max_connections:
            message = f"{self._settings.max_connections:,} connections are open already. Try again in a second."
            self._refuse("overloaded", message)
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            if was_in_head:
                self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._refuse("headers_too_large", f"The headers exceed {_MAX_HEAD_BYTES:,} bytes. Send fewer.")
            elif self._head_timer is None:
                self._start_head_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timers()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete and self._linger_timer is None:
            self._linger_timer = self.loop.call_later(_LINGER_S, self.transport.close)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_timers()
        super().on_message_complete()
        if self.cycle.response_complete:  # uvicorn waited for the next request already, until this body came instead
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        self._refuse("malformed_request", f"{msg.removesuffix('.')}: it is not HTTP/1.1 as we know it.")

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._settings.receive_timeout_s, self._give_up_on_head)

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._linger_timer = None

    def _give_up_on_head(self) -> None:
        if not self.transport.is_closing():
            seconds = self._settings.receive_timeout_s
            self._refuse("receive_timeout", f"The headers did not arrive within {seconds:g} s. Send them faster.")

    def _refuse(self, code: str, message: str) -> None:
        """Answers in the app's place, and ends the connection. Says nothing once another answer is on its way."""
        status = STATUS[code]
        self._metrics.count_request(path="other", method="other", status=status)
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = error_body(code, message)
            retry = b"retry-after: 1\r\n" if status == 503 else b""
            head = b"content-type: application/json\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head % (retry, len(body)) + body)
        if cycle is not None:
            cycle.disconnected = True  # so that the app, if it is at work on this request, does not answer as well
        self.transport.close()
