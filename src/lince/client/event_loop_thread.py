"""A thread with an event loop, so that code without one can wait for coroutines.

A time limit for a whole answer needs it: a socket's own timeout begins anew with each byte that arrives.
"""

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from lince.errors import LinceError

_Result = TypeVar("_Result")
_Stop = Callable[[], object]


class EventLoopThread:
    """Starts with the first coroutine. It ends by `close`, when nothing refers to it, and with the program."""

    def __init__(self, at_end: Callable[[], Awaitable[None]]):
        """Starts nothing.

        Args:
            at_end: the last thing that the loop runs.
        """
        self._at_end = at_end
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Runs a coroutine on the loop, and waits for its result. Several threads may do so at the same time.

        Raises:
            LinceError: it is closed, or was started before this process was forked.
        """
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._start()
        if self._thread is None or not self._thread.is_alive():
            work.close()
            raise LinceError("The client is closed, or was used before this process was forked. Make another one.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # after Ctrl-C

    def close(self) -> None:
        """Ends what is under way, and the thread."""
        with self._lock:
            self._is_closed = True
        if self._thread is not None and self._stop.alive:
            self._stop()
            self._thread.join()

    def _start(self) -> None:
        started: Future[tuple[asyncio.AbstractEventLoop, _Stop]] = Future()
        self._thread = threading.Thread(target=_run, args=(started, self._at_end), daemon=True, name="lince-client")
        self._thread.start()
        self._loop, stop = started.result()
        self._stop = weakref.finalize(self, stop)


def _run(started: Future[tuple[asyncio.AbstractEventLoop, _Stop]], at_end: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        started.set_result((loop, lambda: loop.call_soon_threadsafe(stopped.set)))
        await stopped.wait()
        await at_end()

    asyncio.run(main())
