"""One HTTP/1.1 connection: uvicorn's, with the bounds that it lacks, and with refusals in our shape.

uvicorn reads headers and trailers without a limit of size or time; its parser keeps all of them in memory. It keeps
silent connections open for ever, queues any number of pipelined requests, and reads a refused body to its end. It drops
the body of a request that offers another protocol. Here every state has a bound in bytes and in time:

| state | bytes | seconds | then |
|---|---|---|---|
| before and in the headers | 32 KiB, 100 headers | `receive_timeout_s` | 431, 408 |
| in the body | `max_body_bytes`; others: 32 KiB + the body's, 32 KiB in a row | `receive_timeout_s` | 413, 431, 408 |
| answered, body still arriving | 64 MiB, after the body 32 KiB | 5 | closed |
| pipelined | 16 requests | reading stops | closed after the last answer |
| the client does not read its answers | asyncio's buffer | `receive_timeout_s` | reset |
| closing | 1 MiB more is dropped, 64 MiB of a body | 5 | reset |
"""

import asyncio
import random
from asyncio.events import TimerHandle
from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from lince.serving.connection_close import LINGER_S, MAX_HEAD_BYTES, EndingConnection
from lince.serving.direct_lane import DirectLane
from lince.serving.errors import OTHER_PROTOCOLS, RETRY_AFTER_S, error_bytes, error_response, protocol_of
from lince.serving.flow_control import PausedConnections
from lince.serving.inference_queue import Inference
from lince.serving.middleware import OVERLOADED, asks_for_predictions, route_of
from lince.serving.service import IS_GONE

_MAX_HEADERS = 100  # as Apache; each takes 200 bytes of Python objects, however short it is
_MAX_ADDRESS_BYTES = 2**11  # 4 bytes of a query become 100 in Starlette, and take 1 µs
_MAX_PIPELINED = 16
# After a 503 we read nothing for as long as Retry-After says, and up to this factor longer: then the clients do not all
# return at once. Some clients ignore Retry-After: 200 of them cut 3,459 good answers in 4 s to 642 for 400 others.
# A connection that is refused again is paused for twice as long, as its next Retry-After says.
_SPREAD = 1.2
_LONGEST_PAUSE_S = 8
_PLAIN_HEADERS = b"content-type: application/json\r\nx-content-type-options: nosniff\r\n"
_CLOSE = (b"connection", b"close")  # among uvicorn's headers during a stop
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})

_FULL = "As many requests are waiting as may. Try again in a second."
_TURN_AWAY = {
    (path, close, seconds): error_bytes("overloaded", _FULL, close=close, path=path, retry_after_s=seconds)
    for path in ("", *OTHER_PROTOCOLS)
    for close in (False, True)
    for seconds in (RETRY_AFTER_S, 2, 4, _LONGEST_PAUSE_S)
}


def _is_within(client: tuple[str, int] | None, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an address is of one of the networks; not one of a Unix socket."""
    if client is None:
        return False
    try:
        address = ip_address(client[0].partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in networks)


class _StopError(Exception):
    """Stops the parser from within a callback, after the request has been answered or dropped."""


class _Answered(RequestResponseCycle):
    """Takes the place of uvicorn's object for a request, when the request was answered without the app."""

    def __init__(self, *, keep_alive: bool):
        """Sets what is read of a complete request; the rest of uvicorn's attributes are never used."""
        self.keep_alive = keep_alive
        self.response_started = self.response_complete = True
        self.disconnected = False
        self.message_event = asyncio.Event()


class BoundedConnection(EndingConnection):
    """HTTP/1.1 for one client. Settings, metrics and inference arrive through the app's lifespan state."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._inference: Inference = self.app_state["inference"]
        self._paused: PausedConnections = self.app_state["paused"]
        self._lane: DirectLane = self.app_state["lane"]
        proxies = self._settings.trusted_proxies
        self._is_of_proxy = bool(proxies) and _is_within(self.client, proxies)
        self._pause_timer: TimerHandle | None = None
        self._pause_number = -1
        self._pause_s = RETRY_AFTER_S  # after the next refusal
        self._declining = False
        self._head_bytes = self._body_bytes = self._other_bytes = self._since_body = 0
        if len(self.connections) > self._settings.max_connections and not self._paused.drop_gone():
            message = f"{self._settings.max_connections:,} connections are open already. Try again in a second."
            self._refuse("overloaded", message, linger=0)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deferred is not None:  # no task works on it, which would count it
            self._count_deferred("incomplete_body")
        if self._pause_timer is not None:
            self._pause_timer.cancel()
            self._paused.remove(self._pause_number)
        super().connection_lost(exc)

    # Bytes

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._ended:
            self._drop(len(data))
            return
        if not self._open:
            self._start_message()
        self._midway, body_bytes = False, self._body_bytes
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            if not self._ended:
                self._refuse_malformed(str(error))
            return
        if self._open:
            # A message that began in the middle of this read is counted from the next read on.
            if not self._midway:
                self._other_bytes += len(data) - (self._body_bytes - body_bytes)
                self._since_body = 0 if self._body_bytes > body_bytes else self._since_body + len(data)
            self._check_bounds(len(data))
        if self._deferred is not None:  # its body comes slowly
            self._decline(self._deferred)

    def _feed(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
                self._decline_offer()

    def _decline_offer(self) -> None:
        """Ignores an offer of another protocol, and goes on with HTTP/1.1 (RFC 9110, section 7.8).

        The parser cannot do that, so a new one takes its place. It is told how the body is framed.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        lines = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name.lower() in _FRAMING]
        start = b"%b / HTTP/%b\r\n" % (self.scope["method"].encode(), self.scope["http_version"].encode())
        self._declining = True
        self.parser.feed_data(b"".join([start, *lines, b"\r\n"]))
        self._declining = False

    def _check_bounds(self, count: int) -> None:
        # Framing may take as many bytes as the body: a chunk of five bytes has five of framing. A client that sends
        # chunks of one byte is refused after 16,000 of them: a byte costs ten times as much as in chunks of sixteen.
        # The parser joins the value of a trailer or an extension at each read, so it must stay short.
        if self._since_body > MAX_HEAD_BYTES or self._other_bytes > MAX_HEAD_BYTES + self._body_bytes:
            self._refuse_size()
        elif not self._in_head and self.cycle.response_complete:
            self._drop(count)
        self._watch()

    def _drop(self, count: int) -> None:
        self._late_bytes += count
        if self._late_bytes > self._linger_bytes:
            self._close()

    # The parser's callbacks

    def on_message_begin(self) -> None:
        if self._declining:
            return
        if self._ended:  # during this read
            raise _StopError
        if not self._open:
            self._midway = True
            self._start_message()
        self._begun = True
        super().on_message_begin()

    def _start_message(self) -> None:
        self._open, self._begun, self._in_head = True, False, True
        self._head_bytes = self._body_bytes = self._other_bytes = self._since_body = self._late_bytes = 0

    def on_url(self, url: bytes) -> None:
        if not self._declining:
            self._head_bytes += len(url)
            super().on_url(url)
            if len(self.url) > _MAX_ADDRESS_BYTES:
                self._refuse("headers_too_large", f"The address exceeds {_MAX_ADDRESS_BYTES:,} bytes. Shorten it.")
                raise _StopError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Drops trailers, which the parser reports here too: uvicorn would take them for headers."""
        if self._in_head:
            self._head_bytes += len(name) + len(value) + 4
            super().on_header(name, value)
            if len(self.headers) > _MAX_HEADERS:
                self._refuse("headers_too_large", f"The request has more than {_MAX_HEADERS} headers. Send fewer.")
                raise _StopError

    def on_headers_complete(self) -> None:
        if self._declining:
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_size()
            raise _StopError
        if self.parser.should_upgrade() and self.parser.get_method() == b"CONNECT":
            self._refuse_malformed("CONNECT is for proxies")
            raise _StopError
        if len(self.pipeline) >= _MAX_PIPELINED or self._pause_timer is not None:
            self._end_after_answers()
            raise _StopError
        self.expect_100_continue &= self.parser.get_http_version() != "1.0"  # which knows no 100 (RFC 9110, 10.1.1)
        if self._inference.full and self._may_turn_away():
            self._turn_away()
        else:
            super().on_headers_complete()
            self.cycle.transport = self._answer_transport
            if self.pipeline:
                self.flow.hold("pipeline")
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():  # the parser ends here, but the body follows: see `_decline_offer`
            return
        self._open, self._in_head = False, True
        self._stop_timer()
        super().on_message_complete()
        if (cycle := self._deferred) is not None:
            self._deferred = None
            self._lane.put(cycle, partial(self._answer_directly, cycle), partial(self._decline, cycle))
        if self.cycle.response_complete:  # it was answered before its body had arrived
            self._rest()

    # Answering without the app

    def _answer_directly(self, cycle: RequestResponseCycle, status: int, content: bytes, request_id: str) -> None:
        """Does what uvicorn does when the app sends an answer."""
        if _CLOSE in cycle.default_headers:  # the server stops
            cycle.keep_alive = False
        dates = [b"%b: %b\r\n" % header for header in cycle.default_headers if header != _CLOSE]
        named = b"x-request-id: %b\r\n" % request_id.encode()
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        if status == 503:
            cycle.scope["state"][OVERLOADED] = True
            named += b"retry-after: %d\r\n" % RETRY_AFTER_S
        length = b"content-length: %d\r\n" % len(content)
        cycle.transport.write(b"".join([STATUS_LINE[status], *dates, length, _PLAIN_HEADERS, named, end, content]))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def _decline(self, cycle: RequestResponseCycle) -> None:
        """Hands a request to the app after all."""
        self._deferred = None
        cycle.scope["state"][IS_GONE] = lambda: cycle.disconnected
        super()._start_asgi_task(cycle, self._admit)

    # Refusing at once, while the queue is full

    def _may_turn_away(self) -> bool:
        """Whether this is a request for predictions, and the only one of its connection."""
        if self.parser.get_method() != b"POST" or not asks_for_predictions(self._path):
            return False
        is_only = self.cycle is None or self.cycle.response_complete
        return is_only and not self._is_of_allowed_page(self.headers)

    def _turn_away(self) -> None:
        """Answers 503 without the app: 0.02 ms instead of 0.5. The body is dropped as it arrives."""
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self.cycle = _Answered(keep_alive=keep_alive)
        self.transport.write(_TURN_AWAY[protocol_of(self._path), not keep_alive, self._pause_s])
        self._count_overloaded(self._path)

    def _count_overloaded(self, path: str) -> None:
        self._metrics.count_request(path=route_of(path), method="POST", status=503, code="overloaded")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        scope = cycle.scope
        is_arriving = app is self.app and cycle is self.cycle and cycle.more_body
        if is_arriving and self._lane.takes(cast("dict[str, Any]", scope)):
            self._running = self._deferred = cycle
            return
        scope["state"][IS_GONE] = lambda: cycle.disconnected
        asks = scope["method"] == "POST" and asks_for_predictions(scope["path"])
        super()._start_asgi_task(cycle, self._admit if asks else app)

    async def _admit(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Checks again: requests that arrived in the same turn of the event loop all saw room in the queue."""
        request = cast(HTTPScope, scope)
        if self._inference.full and not self._is_of_allowed_page(request["headers"]):
            request["state"][OVERLOADED] = True
            self._count_overloaded(request["path"])
            headers = {"retry-after": str(self._pause_s), "x-content-type-options": "nosniff"}
            answer = error_response("overloaded", _FULL, path=request["path"], headers=headers)
            app = cast(ASGI3Application, answer)
        else:
            app = self.app
        await app(scope, receive, send)

    def _is_of_allowed_page(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a page of an allowed site asks. It reads the answer by headers that `middleware.py` writes."""
        return bool(self._settings.allowed_origins) and any(name == b"origin" for name, _ in headers)

    def _rest(self) -> None:
        """Waits for the next request. A client that got 503 is not read from until it may come back.

        A trusted proxy is: requests of other clients come on its connections.
        """
        is_refused = isinstance(self.cycle, _Answered) or OVERLOADED in self.cycle.scope["state"]
        if not self.cycle.keep_alive:
            self._close()
        elif is_refused and not self._is_of_proxy:
            self._unset_keepalive_if_required()
            self.flow.hold("pause")
            pause_s = random.uniform(self._pause_s, self._pause_s * _SPREAD)
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)
            self._pause_timer = self.loop.call_later(pause_s, self._end_pause)
            self._pause_number = self._paused.add(self.transport)
        else:
            self._pause_s = RETRY_AFTER_S
            self._wait_for_next()

    def _end_pause(self) -> None:
        self._pause_timer = None
        self._paused.remove(self._pause_number)
        self._wait_for_next()
        self.flow.release("pause")

    def _wait_for_next(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    # The end of an answer

    def on_response_complete(self) -> None:
        if self._close_timer is not None:
            return
        super().on_response_complete()
        if not self.pipeline:
            self.flow.release("pipeline")
        if self._open:
            self._unset_keepalive_if_required()
            self._watch()
        elif self.cycle.response_complete and OVERLOADED in self.cycle.scope["state"]:
            self._rest()

    # Time

    def _watch(self) -> None:
        """Starts the timer of the state that the message is in, unless it runs already."""
        if self.flow.held:
            self._stop_timer()
        if self._ended or self.flow.held or self.transport.is_closing():
            return
        phase = "head" if self._in_head else "answered" if self.cycle.response_complete else "body"
        if phase != self._phase:
            self._stop_timer()
            patience = self._settings.receive_timeout_s
            seconds = {"head": patience, "body": patience + LINGER_S, "answered": LINGER_S}[phase]
            self._phase, self._timer = phase, self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._in_head and not self._begun and self.cycle is not None:  # an idle connection that sent empty lines
            self._close()
        else:
            seconds = self._settings.receive_timeout_s
            self._refuse("receive_timeout", f"The request did not arrive within {seconds:g} s. Send it faster.")
