"""Ordinary requests for one small picture, answered on the event loop: no task, no routing, seldom a thread.

A picture of a few kilobytes and a small network take less time than the ways around them: half of a request's time was
the app's routing and a thread's turn. What the lane does not take goes the ordinary way through the app, whose answer
is the same to the byte but for its date and id. After each slice of the lane's work other connections are served.

Requests that wait at the same time are answered in groups, which saves a seventh of the time: what comes before and
after the network is computed for all of a group at once. No request waits for another one to come.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from jaxtyping import UInt8
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lince.serving import request_record
from lince.serving.access import DECIDED, Access
from lince.serving.errors import STATUS, STOPPING, error_body
from lince.serving.inference_queue import Inference, too_late
from lince.serving.logs import log_access
from lince.serving.metrics import Metrics
from lince.serving.models import Models, ServedModel
from lince.serving.protocols import native
from lince.serving.request_body import Buffer
from lince.serving.request_record import RequestRecord
from lince.serving.settings import ServeSettings
from lince.types import Outputs

_SLICE_S = 0.002
_GROUP_S = 0.0006  # of the network's time: a group has as many pictures as take so long, but at least one
_INLINE_S = 0.0003  # a network that takes longer runs in a thread: its turn costs a tenth of that
_MAX_BYTES, _MAX_DIGITS = 2**15, 5
_MAX_PIXELS = 2**16  # of a network's image, as for 256 × 256: larger ones take too long to resize, and too much memory
# Headers that ask for, or depend on, what the middleware, the router or uvicorn do.
_NOT_PLAIN = frozenset({b"origin", b"sec-fetch-site", b"expect", b"transfer-encoding", b"content-encoding", b"upgrade"})


Answer = Callable[[int, bytes, str], None]
"""Sends an answer: its status, its JSON, and the id of the request."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A whole request; `held_bytes` are those of its body and of its pixels."""

    cycle: RequestResponseCycle
    record: RequestRecord
    held_bytes: int
    answer: Answer
    decline: Callable[[], None]


@dataclass(frozen=True, eq=False)
class _Group:
    """Requests whose pictures the network answers together: `pixels` u8[N,H,W,3] of N requests, for one model."""

    requests: list[_Waiting]
    served: ServedModel
    pixels: UInt8[np.ndarray, "n h w 3"]

    def is_worthless(self, deadline_s: float) -> bool:
        """Whether nobody waits any more, or in vain."""
        now_s = time.perf_counter()
        return all(one.cycle.disconnected or now_s - one.record.began_s > deadline_s for one in self.requests)

    def outputs(self) -> tuple[Outputs | None, float]:
        """What the network says, and the seconds that it took; None for a fault, which the app meets again."""
        began_s = time.perf_counter()
        try:
            return self.served.classifier.outputs(self.pixels), time.perf_counter() - began_s
        except Exception:
            return None, 0.0


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
        self._access, self._deadline_s = access, settings.deadline_s
        self._metrics, self._inference, self._models, self._buffer = metrics, inference, models, buffer
        self._hosts = None if settings.hosts is None else {name.encode() for name in settings.hosts}
        # A limit for each client, and the log, need the address that middleware takes from a proxy's header. For pages
        # of other sites it adds headers.
        behind_proxy = settings.trusted_proxies and (settings.rate_limit or settings.access_log)
        self._is_open = not (settings.allowed_origins or behind_proxy)
        self._logs_requests = settings.access_log
        self._waiting: deque[_Waiting] = deque()
        self._under_way: set[_Waiting] = set()  # those that wait, and those in the thread
        self._ids = request_record.ids()
        self._network: _NetworkThread | None = None

    def takes(self, scope: Scope) -> bool:
        """Whether a request may go this way: one image as the body, and nothing that asks for more than an answer."""
        if scope["path"] != "/predict" or scope["method"] != "POST" or scope["query_string"] or not self._is_open:
            return False
        if not self._is_plain(scope["headers"]):
            return False
        scope["state"][DECIDED] = refusal = self._access.refuse(scope)
        return refusal is None

    def _is_plain(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        length, is_image, has_host = 0, False, False
        for name, value in headers:
            if name == b"content-length":
                is_number = value.isdigit() and len(value) <= _MAX_DIGITS
                length = int(value) if is_number and not length else _MAX_BYTES + 1
            elif name == b"content-type":
                is_image = value.startswith(b"image/") or value == b"application/octet-stream"
                if not is_image or b";" in value:
                    return False
            elif name == b"host":
                host, _, port = value.partition(b":")
                is_known = self._hosts is None or host in self._hosts
                if has_host or not is_known or (port and not port.isdigit()):
                    return False
                has_host = True
            elif name in _NOT_PLAIN:
                return False
        return is_image and 0 < length <= _MAX_BYTES

    def put(self, cycle: RequestResponseCycle, answer: Answer, decline: Callable[[], None]) -> None:
        """Queues a request whose body has arrived whole. One of the functions is called, none if the client goes.

        Args:
            cycle: the request, on which no task works.
            answer: sends a status, a JSON and the request's id.
            decline: hands the request to the app, which can wait, and tells errors.
        """
        spec = self._models.find().classifier.image_spec
        pixels = spec.height * spec.width
        held_bytes = len(cycle.body) + 3 * pixels
        if self._inference.full or pixels > _MAX_PIXELS or not self._buffer.hold(held_bytes):
            decline()
            return
        self._inference.enter(cycle)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._work)
        record = RequestRecord(request_record.id_of(cycle.scope["headers"], self._ids))
        record.queued_s = record.began_s
        one = _Waiting(cycle, record, held_bytes, answer, decline)
        self._waiting.append(one)
        self._under_way.add(one)

    def close(self) -> None:
        """Ends the thread, and tells those that still wait that the service stops."""
        if self._network is not None:
            self._network.close()
        for one in [*self._under_way]:
            self._fail(one, "shutting_down", STOPPING)

    def _work(self) -> None:
        end_s = time.perf_counter() + _SLICE_S
        try:
            while self._waiting and time.perf_counter() < end_s:
                self._begin()
        finally:
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._work)

    def _begin(self) -> None:
        """Decodes some pictures that wait, and computes what the network says: here or in the thread."""
        try:
            served = self._models.find()
        except Exception:  # the app meets it again
            self._decline(self._waiting.popleft())
            return
        image_s = served.classifier.image_s
        most = min(len(self._waiting), max(1, int(_GROUP_S / image_s)))
        decoded = [(one, self._decode(one, served)) for one in [self._waiting.popleft() for _ in range(most)]]
        ready = [(one, pixels) for one, pixels in decoded if pixels is not None]
        if not ready:
            return
        group = _Group([one for one, _ in ready], served, np.stack([pixels for _, pixels in ready]))
        if image_s <= _INLINE_S:
            self._finish(group, *group.outputs())
            return
        if self._network is None:
            self._network = _NetworkThread(asyncio.get_running_loop(), self._deadline_s, self._finish)
        self._network.put(group)

    def _decode(self, one: _Waiting, served: ServedModel) -> UInt8[np.ndarray, "h w 3"] | None:
        """The pixels of a picture; None for a request that was handed to the app, or ended."""
        if not self._is_wanted(one):
            return None
        one.record.model, began_s = served.name.name, time.perf_counter()
        try:
            pixels = self._inference.decode_now(served.classifier.image_spec, bytes(one.cycle.body))
        except Exception:  # the app meets it again: it logs the fault and answers 500
            pixels = None
        one.record.decode_s = time.perf_counter() - began_s
        if pixels is None or one.cycle.flow.write_paused:
            self._decline(one)
            return None
        return pixels

    def _finish(self, group: _Group, outputs: Outputs | None, seconds: float) -> None:
        """Answers with what the network has said in so many seconds; without outputs the app answers."""
        began_s = time.perf_counter()
        wanted = [(row, one) for row, one in enumerate(group.requests) if self._is_wanted(one)]
        contents = self._contents(group, outputs)
        seconds += time.perf_counter() - began_s
        for row, one in wanted:
            if contents is None:
                self._decline(one)
                continue
            one.record.infer_s, one.record.answered_s = seconds, time.perf_counter()
            self._end(one, answered=True)
            request_record.begin(one.record)  # a line of the log names it
            try:
                one.answer(200, contents[row], one.record.id)
            except Exception:  # the others of the group are answered all the same
                _log.exception("An answer could not be sent.")
                continue
            ended_s = time.perf_counter()
            self._count(one, 200, "", ended_s)
            self._metrics.count_stages(one.record, ended_s)

    def _contents(self, group: _Group, outputs: Outputs | None) -> list[bytes] | None:
        """The JSON of each answer; None after a fault, which the app meets again."""
        if outputs is None:
            return None
        try:
            found = self._inference.answers_of(group.served.classifier, group.pixels, outputs)
            return [native.content(group.served, [answer]) for answer in found]
        except Exception:
            return None

    def _is_wanted(self, one: _Waiting) -> bool:
        """Whether there is still somebody to answer, in time; otherwise the request ends here."""
        if one not in self._under_way:  # the service stops
            return False
        if one.cycle.disconnected:
            self._end(one)
            code = "client_closed_request"
            self._count(one, STATUS[code], code, time.perf_counter())
            return False
        if time.perf_counter() - one.record.began_s > self._deadline_s:
            self._fail(one, "deadline_exceeded", too_late(self._deadline_s))
            return False
        return True

    def _decline(self, one: _Waiting) -> None:
        self._end(one)
        one.decline()

    def _fail(self, one: _Waiting, code: str, message: str) -> None:
        self._end(one)
        one.answer(STATUS[code], error_body(code, message), one.record.id)
        self._count(one, STATUS[code], code, time.perf_counter())

    def _end(self, one: _Waiting, *, answered: bool = False) -> None:
        self._under_way.remove(one)
        self._buffer.release(one.held_bytes)
        self._inference.leave(one.cycle, answered=answered)

    def _count(self, one: _Waiting, status: int, code: str, ended_s: float) -> None:
        seconds = ended_s - one.record.began_s
        self._metrics.count_request(
            path="/predict", method="POST", status=status, model=one.record.model, code=code, seconds=seconds
        )
        if self._logs_requests:
            log_access(one.cycle.scope, one.record, status=status, seconds=seconds)


class _NetworkThread:
    """Runs the network while the event loop reads, decodes and writes: a network of a millisecond uses its own core.

    `finish` is called on the event loop, with None where nothing was computed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline_s: float,
        finish: Callable[[_Group, Outputs | None, float], None],
    ):
        self._loop, self._deadline_s, self._finish = loop, deadline_s, finish
        self._given: SimpleQueue[_Group | None] = SimpleQueue()
        self._done: deque[tuple[_Group, Outputs | None, float]] = deque()
        self._is_closed = False
        threading.Thread(target=self._run, name="network", daemon=True).start()

    def put(self, group: _Group) -> None:
        """Queues pictures."""
        self._given.put(group)

    def close(self) -> None:
        """Ends the thread after the pictures that it works on."""
        self._is_closed = True
        self._given.put(None)

    def _run(self) -> None:
        while (group := self._given.get()) is not None and not self._is_closed:
            found = (None, 0.0) if group.is_worthless(self._deadline_s) else group.outputs()
            self._done.append((group, *found))
            with suppress(RuntimeError):  # the event loop has ended
                self._loop.call_soon_threadsafe(self._finish_done)

    def _finish_done(self) -> None:
        while self._done:
            self._finish(*self._done.popleft())
