"""Ordinary requests for one small picture, answered on the event loop: no task, no thread, no routing.

A picture of a few kilobytes and a small network take less time than the ways around them: half of a request's time was
the app's routing and a thread's turn. What the lane does not take goes the ordinary way through the app, whose answer
is the same to the byte but for its date. After each slice of the lane's work other connections are served.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import numpy as np
from jaxtyping import UInt8
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lince.inference.classifier import Classifier
from lince.serving import request_record
from lince.serving.access import ADMITTED, Access
from lince.serving.errors import STATUS
from lince.serving.inference_queue import Inference
from lince.serving.metrics import Metrics
from lince.serving.models import Models, ServedModel
from lince.serving.protocols import native
from lince.serving.request_body import Buffer
from lince.serving.request_record import RequestRecord
from lince.serving.settings import ServeSettings
from lince.types import Outputs

_SLICE_S = 0.002
_INLINE_S = 0.0003  # a network that takes longer runs in a thread: its turn costs a tenth of that
_MAX_BYTES, _MAX_DIGITS = 2**15, 5
_ID_HEADER = request_record.ID_HEADER.encode()
# Headers that ask for, or depend on, what the middleware, the router or uvicorn do.
_NOT_PLAIN = frozenset({b"origin", b"sec-fetch-site", b"expect", b"transfer-encoding", b"content-encoding", b"upgrade"})


@dataclass(frozen=True)
class _Waiting:
    """A whole request."""

    cycle: RequestResponseCycle
    record: RequestRecord
    answer: Callable[[bytes, str], None]
    decline: Callable[[], None]


class DirectLane:
    """The lane of one worker. It is used on the event loop only."""

    def __init__(
        self,
        settings: ServeSettings,
        access: Access,
        metrics: Metrics,
        inference: Inference,
        models: Models,
        buffer: Buffer,
    ):
        self._access = access
        self._metrics, self._inference, self._models, self._buffer = metrics, inference, models, buffer
        self._hosts = None if settings.hosts is None else {name.encode() for name in settings.hosts}
        # A limit for each client needs the address that middleware takes from a proxy's header.
        self._is_open = not settings.access_log and not (settings.rate_limit and settings.trusted_proxies)
        self._waiting: deque[_Waiting] = deque()
        self._ids = request_record.ids()
        self._network: _NetworkThread | None = None

    def takes(self, scope: Scope) -> bool:
        """Whether a request may go this way: one image as the body, and nothing that asks for more than an answer."""
        if scope["path"] != "/predict" or scope["method"] != "POST" or scope["query_string"] or not self._is_open:
            return False
        if not self._is_plain(scope["headers"]) or self._access.refuse(scope) is not None:
            return False
        scope["state"][ADMITTED] = True
        return True

    def _is_plain(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        length, is_image = 0, False
        for name, value in headers:
            if name == b"content-length":
                is_number = value.isdigit() and len(value) <= _MAX_DIGITS
                length = int(value) if is_number and not length else _MAX_BYTES + 1
            elif name == b"content-type":
                is_image = value.startswith(b"image/") or value == b"application/octet-stream"
            elif name == b"host":
                if self._hosts is not None and value.partition(b":")[0] not in self._hosts:
                    return False
            elif name in _NOT_PLAIN:
                return False
        return is_image and 0 < length <= _MAX_BYTES

    def put(
        self, cycle: RequestResponseCycle, answer: Callable[[bytes, str], None], decline: Callable[[], None]
    ) -> None:
        """Queues a request whose body has arrived whole. One of the functions is called, none if the client goes.

        Args:
            cycle: the request, on which no task works.
            answer: takes the JSON of the answer, of status 200, and the request's id.
            decline: hands the request to the app, which can wait, and tells errors.
        """
        if self._inference.full or not self._buffer.hold(len(cycle.body)):
            decline()
            return
        self._inference.enter(cycle)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._work)
        sent = next((value for name, value in cycle.scope["headers"] if name == _ID_HEADER), b"").decode("latin-1")
        record = RequestRecord(sent if request_record.is_id(sent) else next(self._ids))
        record.queued_s = record.began_s
        self._waiting.append(_Waiting(cycle, record, answer, decline))

    def close(self) -> None:
        """Ends the thread."""
        if self._network is not None:
            self._network.close()

    def _work(self) -> None:
        end_s = time.perf_counter() + _SLICE_S
        try:
            while self._waiting and time.perf_counter() < end_s:
                self._begin(self._waiting.popleft())
        finally:
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._work)

    def _begin(self, one: _Waiting) -> None:
        """Decodes the picture, and computes what the network says: here or in the thread."""
        cycle, record, served = one.cycle, one.record, self._models.find()
        if cycle.disconnected or cycle.flow.write_paused:
            self._end(one, None)
            return
        record.model, began_s = served.name.name, time.perf_counter()
        pixels = self._inference.decode_now(served.classifier.image_spec, bytes(cycle.body))
        record.decode_s = time.perf_counter() - began_s
        if pixels is None:
            self._end(one, None)
        elif served.classifier.image_s <= _INLINE_S:
            self._finish(one, served, pixels[None], _outputs(served.classifier, pixels[None]))
        else:
            if self._network is None:
                self._network = _NetworkThread(asyncio.get_running_loop())
            self._network.put(cycle, served.classifier, pixels[None], partial(self._finish, one, served, pixels[None]))

    def _finish(
        self, one: _Waiting, served: ServedModel, pixels: UInt8[np.ndarray, "1 h w 3"], outputs: Outputs | None
    ) -> None:
        content = None
        if outputs is not None and not one.cycle.disconnected:
            try:
                answer = self._inference.answer_of(served.classifier, pixels, outputs)
                content = native.content(served, [answer])
            except Exception:  # the app meets it again: it logs the fault and answers 500
                content = None
            one.record.answered_s = time.perf_counter()
            one.record.infer_s = one.record.answered_s - one.record.began_s - one.record.decode_s
        self._end(one, content)

    def _end(self, one: _Waiting, content: bytes | None) -> None:
        """Sends the answer, or hands the request to the app, or forgets it when its client has gone."""
        cycle, record = one.cycle, one.record
        self._buffer.release(len(cycle.body))
        self._inference.leave(cycle, answered=content is not None)
        if cycle.disconnected:
            content = None
        elif content is None:
            one.decline()
            return
        else:
            one.answer(content, record.id)
        ended_s = time.perf_counter()
        code = "client_closed_request" if content is None else ""
        self._metrics.count_request(
            path="/predict",
            method="POST",
            status=STATUS[code] if code else 200,
            model=record.model,
            code=code,
            seconds=ended_s - record.began_s,
        )
        if content is not None:
            self._metrics.count_stages(record, ended_s)


class _NetworkThread:
    """Runs the network while the event loop reads, decodes and writes: a network of a millisecond uses its own core."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._given: SimpleQueue[_Given | None] = SimpleQueue()
        self._done: deque[tuple[Callable[[Outputs | None], None], Outputs | None]] = deque()
        threading.Thread(target=self._run, name="network", daemon=True).start()

    def put(
        self,
        cycle: RequestResponseCycle,
        classifier: Classifier,
        pixels: UInt8[np.ndarray, "1 h w 3"],
        finish: Callable[[Outputs | None], None],
    ) -> None:
        """Queues a picture. `finish` is called on the event loop; with None for a fault, or a client that has gone."""
        self._given.put((cycle, classifier, pixels, finish))

    def close(self) -> None:
        """Ends the thread after what was queued."""
        self._given.put(None)

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            cycle, classifier, pixels, finish = given
            outputs = None if cycle.disconnected else _outputs(classifier, pixels)
            is_first = not self._done
            self._done.append((finish, outputs))
            if is_first:
                with suppress(RuntimeError):  # the event loop has ended
                    self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        while self._done:
            finish, outputs = self._done.popleft()
            finish(outputs)


_Given = tuple[RequestResponseCycle, Classifier, np.ndarray, Callable[[Outputs | None], None]]


def _outputs(classifier: Classifier, pixels: UInt8[np.ndarray, "1 h w 3"]) -> Outputs | None:
    try:
        return classifier.outputs(pixels)
    except Exception:  # the app meets it again
        return None
