"""Ordinary requests for one small picture, answered on the event loop: no task, no thread, no routing.

A picture of a few kilobytes and a small network take less time than the ways around them: half of a request's time was
the app's routing and a thread's turn. What the lane does not take goes the ordinary way through the app, whose answer
is the same to the byte but for its date. After each slice of the lane's work other connections are served.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lince.serving import request_record
from lince.serving.access import ADMITTED, Access
from lince.serving.errors import STATUS
from lince.serving.inference_queue import Inference
from lince.serving.metrics import Metrics
from lince.serving.models import Models
from lince.serving.protocols import native
from lince.serving.request_body import Buffer
from lince.serving.request_record import RequestRecord
from lince.serving.settings import ServeSettings

_SLICE_S = 0.002
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

    def _work(self) -> None:
        end_s = time.perf_counter() + _SLICE_S
        try:
            while self._waiting and time.perf_counter() < end_s:
                self._serve(self._waiting.popleft())
        finally:
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._work)

    def _serve(self, one: _Waiting) -> None:
        cycle = one.cycle
        content = None if cycle.disconnected else self._content(cycle, one.record)
        self._buffer.release(len(cycle.body))
        self._inference.leave(cycle, answered=content is not None)
        if content is not None:
            one.answer(content, one.record.id)
        elif not cycle.disconnected:
            one.decline()
            return
        ended_s = time.perf_counter()
        code = "client_closed_request" if content is None else ""
        self._metrics.count_request(
            path="/predict",
            method="POST",
            status=STATUS[code] if code else 200,
            model=one.record.model,
            code=code,
            seconds=ended_s - one.record.began_s,
        )
        if content is not None:
            self._metrics.count_stages(one.record, ended_s)

    def _content(self, cycle: RequestResponseCycle, record: RequestRecord) -> bytes | None:
        if cycle.flow.write_paused:
            return None
        served = self._models.find()
        record.model = served.name.name
        try:
            answer = self._inference.answer_now(served.classifier, bytes(cycle.body), record)
        except Exception:  # the app meets it again: it logs the fault and answers 500
            return None
        return None if answer is None else native.content(served, [answer])
