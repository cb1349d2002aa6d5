"""How one process stops: connected clients are answered, and all of it takes at most `shutdown_s` and two seconds."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lince.serving import listener as listening
from lince.serving import logs
from lince.serving.settings import ServeSettings
from lince.serving.tls import Certificate, TlsListener
from lince.system import garbage

LAST_RESORT_S = 2.0
"""Seconds after `shutdown_s` at which a process ends, whatever its threads are doing."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ACCEPT_S = 0.5  # ten times as long as the event loop takes to accept a full backlog
# A client that was connected when the signal came has this long to send its first request.
_FIRST_REQUEST_S = 0.5
_POLL_S = 0.02
_LOG_S = 0.2
_SETTLE_S = 1.0  # after the first probes
_log = logging.getLogger(__name__)


class StoppableServer(uvicorn.Server):
    """uvicorn's server, with a stop that is bounded in time and ends with exit code 0.

    Args:
        config: of uvicorn.
        settings: of the service.
        certificate: for TLS; None without it.
        on_ready: called once requests are answered.
        supervised: whether a supervisor stops and kills this process. Repeated signals and SIGINT are then ignored.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        settings: ServeSettings,
        certificate: Certificate | None,
        *,
        on_ready: Callable[[], None],
        supervised: bool = False,
    ):
        super().__init__(config)
        self._settings, self._certificate = settings, certificate
        self._shutdown_s, self._on_ready, self._supervised = settings.shutdown_s, on_ready, supervised
        self._tls_listeners: list[TlsListener] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._certificate is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self._tls_listeners = [self._listen(one, self._certificate) for one in sockets or ()]
        self._on_ready()
        asyncio.get_running_loop().call_later(_SETTLE_S, garbage.settle)

    def _listen(self, one: socket.socket, certificate: Certificate) -> TlsListener:
        return TlsListener(
            one,
            self._connect,
            certificate,
            timeout_s=self._settings.receive_timeout_s,
            most=self._settings.max_connections,
        )

    def _connect(self) -> asyncio.Protocol:
        """A new connection, as uvicorn makes it."""
        connection: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return connection

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        began = asyncio.get_running_loop().time()
        # Each answer from now on announces that no further request is read.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for one in sockets or ():
            listening.refuse_new(one)
            await listening.drain(one, timeout_s=_ACCEPT_S)
        await self._wait_for_first_requests()
        for listener in self._tls_listeners:
            await listener.close()
        left_s = max(0.0, self._shutdown_s - (asyncio.get_running_loop().time() - began))
        self.config.timeout_graceful_shutdown = left_s  # type: ignore[assignment]  # asyncio takes fractions as well
        await super().shutdown(sockets)

    async def _wait_for_first_requests(self) -> None:
        """Waits, because uvicorn closes connections whose first request was not read, and the kernel resets them."""
        end = asyncio.get_running_loop().time() + min(_FIRST_REQUEST_S, self._shutdown_s)
        await asyncio.sleep(_POLL_S)  # until the sockets that were accepted last are connections
        while asyncio.get_running_loop().time() < end:
            connections = [one for one in self.server_state.connections if isinstance(one, HttpToolsProtocol)]
            is_shaking = any(listener.is_shaking for listener in self._tls_listeners)
            if not is_shaking and all(connection.cycle is not None for connection in connections):
                return
            await asyncio.sleep(_POLL_S)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles signals without raising them again after the stop, as uvicorn does: the exit code would not be 0."""
        previous = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            if not self.should_exit:  # a stop still joins threads, which may hang: the handlers stay
                for number, handler in previous.items():
                    signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._supervised and (self.should_exit or sig != signal.SIGTERM):
            return
        if self.should_exit:
            _end_now("A second signal came")
        else:
            self.should_exit = True
            end_process_after(self._shutdown_s + LAST_RESORT_S)


def end_process_after(seconds: float) -> None:
    """Ends the process after that time, if it still runs: a thread in native code cannot be ended otherwise."""
    timer = threading.Timer(seconds, _end_now, [f"The stop took {seconds:g} s"])
    timer.daemon = True
    timer.start()


def _end_now(reason: str) -> None:
    # Logs in a thread: another thread may hold the lock of a handler.
    message = "%s: the process ends now, whatever it is doing."
    logging_thread = threading.Thread(target=_log.warning, args=(message, reason), daemon=True)
    logging_thread.start()
    logging_thread.join(_LOG_S)
    logs.flush(_LOG_S)
    os._exit(0)  # the stop was requested: a success
