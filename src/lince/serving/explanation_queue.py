"""A short queue for explanations, each of which takes more than a hundred answers of the network.

One thread computes one explanation at a time. It pauses between the copies of a picture while other requests are
answered: explanations then take a seventh of the network's time at most. An explanation ends early when its client has
gone, when it takes too long, and when the service stops.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from jaxtyping import UInt8

from lince.inference.classifier import Classifier
from lince.inference.explanation import Explanation, explain
from lince.serving.errors import STOPPING, RequestError

DEADLINE_S = 30.0
"""Seconds that an explanation may take, the time in the queue included."""

_MAX_EXPLANATIONS = 4  # the one being computed, too; a network of 7 ms takes 26 s for so many beside other requests
_PAUSE = 6  # times the CPU time of a copy, which is the pause after it while other requests are answered
_POLL_S = 0.1  # how often a client is looked after


class ExplanationQueue:
    """Used from one event loop; `close` ends its thread."""

    def __init__(self, is_busy: Callable[[], bool]):
        """
        Args:
            is_busy: whether other requests are being answered.
        """
        self._is_busy = is_busy
        self._under_way: set[_Pace] = set()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explanation")

    def __len__(self) -> int:
        """The number of explanations that wait or are being computed."""
        return len(self._under_way)

    def close(self) -> None:
        """Drops all explanations. Takes the time of one answer of the network."""
        self._closed = True
        for pace in self._under_way:
            pace.ended.set()
        self._thread.shutdown(cancel_futures=True)

    def check_room(self) -> None:
        """Raises: RequestError: when as many explanations wait as may."""
        if len(self) >= _MAX_EXPLANATIONS:
            raise RequestError("overloaded", f"{len(self)} explanations are under way already. Try again in a second.")

    async def explain(
        self,
        classifier: Classifier,
        pixels: UInt8[np.ndarray, "h w 3"],
        class_index: int | None,
        *,
        is_gone: Callable[[], Awaitable[bool]],
    ) -> Explanation:
        """Computes an explanation in its turn: see `lince.inference.explanation.explain`.

        Args:
            classifier, pixels, class_index: of the explanation.
            is_gone: whether the client has left.

        Raises:
            RequestError: the queue is full, the deadline has passed, the client has left, or the service stops.
            LinceError: the model cannot be explained.
        """
        self.check_room()
        if self._closed:
            raise _stopping()
        pace = _Pace(self._is_busy)
        self._under_way.add(pace)
        work = partial(explain, classifier, pixels, class_index, before_copy=pace.keep)
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            while not (await asyncio.wait([future], timeout=_POLL_S))[0]:
                if await is_gone():
                    message = "The connection was closed before the explanation was ready. Keep it open."
                    raise RequestError("incomplete_body", message)
        finally:  # the task may have been cancelled, too
            self._under_way.remove(pace)
            pace.ended.set()
            future.cancel()
        if future.cancelled():  # `close` dropped it before its turn
            raise _stopping()
        return future.result()


class _Pace:
    """When the next copy of one explanation's picture goes through the network, and whether it does."""

    def __init__(self, is_busy: Callable[[], bool]):
        self.ended = threading.Event()
        self._is_busy = is_busy
        self._end_s = time.monotonic() + DEADLINE_S
        self._cpu_s: float | None = None  # of the thread, when the last copy began

    def keep(self) -> None:
        """Called by the thread before each copy."""
        if self._cpu_s is not None and self._is_busy():
            self.ended.wait(_PAUSE * (time.thread_time() - self._cpu_s))
        if self.ended.is_set():
            raise _stopping()
        if time.monotonic() > self._end_s:
            message = f"The explanation took more than {DEADLINE_S:g} s, because the server is busy. Try again later."
            raise RequestError("explanation_timeout", message)
        self._cpu_s = time.thread_time()


def _stopping() -> RequestError:
    return RequestError("shutting_down", STOPPING)
