"""How one process stops: who is connected is answered, and nothing takes longer than `shutdown_s` and two seconds."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from lince.serving import listener as listening

LAST_RESORT_S = 2.0
"""Seconds past `shutdown_s` after which a process ends, whatever its threads are doing."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ACCEPT_S = 0.5  # a loop that runs accepts a full backlog in a tenth of this
# Whoever was connected when the signal came has mostly sent a request by now; who has not is let go.
_FIRST_REQUEST_S = 0.5
_POLL_S = 0.02
_SAY_S = 0.2
_log = logging.getLogger(__name__)


class StoppableServer(uvicorn.Server):
    """uvicorn's server, for which a stop that was asked for is a success, and has an end.

    Args:
        config: of uvicorn; `timeout_graceful_shutdown` is set.
        supervised: a supervisor sends the signals and kills: a repeated one means nothing, and an interrupt is its.
    """

    def __init__(self, config: uvicorn.Config, *, supervised: bool = False):
        super().__init__(config)
        self._supervised = supervised

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        began = asyncio.get_running_loop().time()
        # Whoever is answered from now on is told that no further request is read.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for one in sockets:
            listening.refuse_new(one)
            await listening.until_nobody_waits(one, timeout_s=_ACCEPT_S)
        await self._until_everybody_has_asked()
        taken = asyncio.get_running_loop().time() - began
        self.config.timeout_graceful_shutdown = max(0, self.config.timeout_graceful_shutdown - taken)
        await super().shutdown(sockets)

    async def _until_everybody_has_asked(self) -> None:
        """uvicorn closes a connection whose first request was not read yet; the kernel then resets it."""
        end = asyncio.get_running_loop().time() + min(_FIRST_REQUEST_S, self.config.timeout_graceful_shutdown)
        await asyncio.sleep(_POLL_S)  # those that were accepted last become connections
        while asyncio.get_running_loop().time() < end:
            if all(connection.cycle is not None for connection in self.server_state.connections):
                return
            await asyncio.sleep(_POLL_S)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signal again once it has stopped, and the process ends as if killed."""
        previous = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            if not self.should_exit:  # a stop goes on after this: threads are joined, and may hang
                for number, handler in previous.items():
                    signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._supervised and (self.should_exit or sig != signal.SIGTERM):
            return
        if self.should_exit:
            _end_now("A second signal came")
        else:
            self.should_exit = True
            end_at_last(self.config.timeout_graceful_shutdown + LAST_RESORT_S)


def end_at_last(seconds: float) -> None:
    """Ends the process after that time, if it still runs: a thread in native code can be waited for, not ended."""
    timer = threading.Timer(seconds, _end_now, [f"The stop took {seconds:g} s"])
    timer.daemon = True
    timer.start()


def _end_now(reason: str) -> None:
    # In a thread, because another one may hold the log's lock, or nobody may read what is logged.
    message = "%s: the process ends now, whatever it is doing."
    saying = threading.Thread(target=_log.warning, args=(message, reason), daemon=True)
    saying.start()
    saying.join(_SAY_S)
    os._exit(0)  # asked for, and so a success
