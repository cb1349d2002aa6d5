"""A bounded queue in front of the models, from encoded images to answers. The event loop never waits for it.

A few threads decode small ordinary pictures. Large and unusual pictures, and forms of many, are decoded in a separate
process, one at a time. The process has a limit of CPU time and memory (`decoder_process.py`).
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

import numpy as np
from jaxtyping import UInt8

from lince import encoded_image, images
from lince.encoded_image import Structure
from lince.errors import ImageError
from lince.inference import answers
from lince.inference.classifier import Classifier
from lince.serving import decoder_process, request_record
from lince.serving.decoder_process import DecoderProcess
from lince.serving.errors import RequestError
from lince.serving.explanation_queue import ExplanationQueue
from lince.serving.metrics import Metrics
from lince.serving.request_record import RequestRecord
from lince.serving.schemas import ErrorAnswer, Failure
from lince.serving.settings import ServeSettings
from lince.types import ImageSpec, Outputs, Prediction

Answer = dict[str, Any] | ErrorAnswer
"""For one image: the fields of `lince.inference.answers.answer`, or why there are none."""

Decoded = np.ndarray | ImageError

IsGone = Callable[[], bool]
"""Whether the client of a request has closed its connection. It is called in threads."""

_Pixels = Sequence[Decoded] | UInt8[np.ndarray, "n h w 3"]
_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

DEFAULT_TOP = 5
"""Classes that an answer lists unless a request says how many."""

STALLED_S = 10.0
"""Requests wait, and none has been answered for so long: send no more requests here …"""
DEAD_S = 60.0
"""… and now a restart is better."""

# All images of a request that threads decode have at most so many pixels, counted as pixels of a PNG: 10 ms. A thread
# cannot be stopped.
_SMALL_PIXELS = 500_000
# The cost of a pixel. A JPEG is scaled down while it is decoded; WebP holds Python's lock as well.
_WEIGHTS = {"JPEG": 0.25, "WEBP": 2}
_PIXELS_NOW = 50_000  # what the event loop decodes itself: about a millisecond
_SMALL_BYTES = 2 * 2**20  # encoded: empty blocks of deflate take 0.07 µs a byte, whatever the number of pixels
_SCANS_PER_WEIGHT = 5  # scans of a JPEG that cost as much as decoding a PNG of its size
_MAX_LARGE = 16  # requests that wait for the process: about 5 s of 25-megapixel pictures
_BUSY_S = 0.05  # since the last answer: between the requests of a client, too
_FORM_IMAGES = 2  # a form may take as much CPU time as this number of images


class Inference:
    """Answers requests. Used from one event loop; `close` ends its threads and its process.

    A request brings its classifier: one that is replaced meanwhile answers the requests that came before.
    """

    def __init__(self, settings: ServeSettings, metrics: Metrics):
        self._metrics = metrics
        self._limits = settings.image_limits
        self._decode_cpu_s = settings.decode_cpu_s
        self._max_waiting, self._deadline_s = settings.max_waiting, settings.deadline_s
        self._waiting: dict[object, float] = {}  # when each request came, the oldest first
        self._large = 0
        self._closed = False
        self._last_answer_s = time.monotonic()
        self.explanations = ExplanationQueue(self._is_busy)
        self._decoder = DecoderProcess(self._limits)
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="inference")
        self._decoder_thread = ThreadPoolExecutor(1, thread_name_prefix="decoder")

    def close(self) -> None:
        """Drops the waiting requests. Takes about 100 ms at most, whatever is being decoded."""
        self._closed = True
        self.explanations.close()
        self._decoder.close()
        self._decoder_thread.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)

    @property
    def full(self) -> bool:
        """Whether as many requests wait as are allowed."""
        return self._count >= self._max_waiting

    @property
    def _count(self) -> int:
        return len(self._waiting) + len(self.explanations)

    def _is_busy(self) -> bool:
        """Whether requests other than for explanations are being answered."""
        return bool(self._waiting) or time.monotonic() - self._last_answer_s < _BUSY_S

    @property
    def stalled_s(self) -> float:
        """Seconds for which a request has waited while none was answered; 0 when none waits."""
        oldest_s = next(iter(self._waiting.values()), None)
        return 0.0 if oldest_s is None else time.monotonic() - max(oldest_s, self._last_answer_s)

    def check_room(self) -> None:
        """Raises: RequestError: when the queue is full."""
        if self.full:
            message = f"{self._count} requests are waiting already. Try again in a second."
            raise RequestError("overloaded", message)

    def check_progress(self, limit_s: float = STALLED_S) -> None:
        """Raises: RequestError: a request has waited for longer, and none was answered in that time."""
        if (stalled_s := self.stalled_s) > limit_s:
            message = f"Requests have waited for {stalled_s:.0f} s, and none was answered in that time."
            raise RequestError("stalled", message)

    @property
    def is_alive(self) -> bool:
        """Whether requests are answered, or none has come: otherwise a restart is better."""
        return self.stalled_s <= DEAD_S

    @property
    def is_ready(self) -> bool:
        """Whether there is room for requests, and they are answered."""
        return not self.full and self.stalled_s <= STALLED_S

    async def answer(
        self, classifier: Classifier, encoded: Sequence[bytes], is_gone: IsGone, *, top: int, logits: bool
    ) -> list[Answer]:
        """Answers for the images of one request, in their order; one that cannot be read has an error in its place.

        Raises:
            ImageError: when none of the images can be read; the first one's.
            RequestError: when the queue is full, the client goes, the deadline passes or the service stops.
        """
        return await self._in_queue(
            classifier.image_spec, encoded, partial(self._answers, classifier, top=top, logits=logits), is_gone
        )

    async def predict(
        self,
        classifier: Classifier,
        images: Sequence[bytes] | UInt8[np.ndarray, "n h w 3"],
        finish: Callable[[Prediction], _Result],
        is_gone: IsGone,
    ) -> _Result:
        """What `finish` makes of the prediction for the images of one request, of which all must be readable.

        Args:
            classifier: the one that answers.
            images: encoded, or pixels u8[N,H,W,3] of the model's size; at least one.
            finish: called in a thread.
            is_gone: whether the client has gone: nothing is computed for it then.

        Raises:
            ImageError: an image cannot be read; the first one's.
            RequestError: when the queue is full, the client goes, the deadline passes or the service stops.
        """
        return await self._in_queue(
            classifier.image_spec, images, lambda decoded: finish(self._prediction(classifier, decoded)), is_gone
        )

    def enter(self, request: object) -> None:
        """Counts a request among those that wait."""
        self._waiting[request] = time.monotonic()
        self._metrics.show_queue(len(self._waiting))

    def leave(self, request: object, *, answered: bool) -> None:
        """Counts a request no longer."""
        del self._waiting[request]
        self._metrics.show_queue(len(self._waiting))
        if answered:
            self._last_answer_s = time.monotonic()

    def decode_now(self, spec: ImageSpec, encoded: bytes) -> UInt8[np.ndarray, "h w 3"] | None:
        """Decodes one image in the calling thread; None when that would take long, or the image cannot be read."""
        structure = _inspect(encoded)
        if isinstance(structure, ImageError) or not _are_small([structure], most=_PIXELS_NOW):
            return None
        decoded = self._decode_small(spec, encoded, structure)
        return None if isinstance(decoded, ImageError) else decoded

    def answers_of(
        self, classifier: Classifier, pixels: UInt8[np.ndarray, "n h w 3"], outputs: Outputs
    ) -> list[Answer]:
        """The answers for images of N requests, one of each, whose outputs were computed; they are counted."""
        prediction = classifier.prediction(outputs)
        self._metrics.models.count_answers(classifier, pixels, prediction)
        for _ in pixels:
            self._metrics.count_images(1)
        return [answers.answer(prediction, row, classifier.classes, top=DEFAULT_TOP) for row in range(len(pixels))]

    async def decode(self, spec: ImageSpec, encoded: bytes, is_gone: IsGone) -> UInt8[np.ndarray, "h w 3"]:
        """The pixels of one image, as a network takes them.

        Raises:
            ImageError: it cannot be read.
            RequestError: as of `predict`.
        """
        decoded: list[Decoded] = await self._in_queue(spec, [encoded], list, is_gone)
        [image] = decoded
        if isinstance(image, ImageError):
            self._metrics.count_failure(image.code)
            raise image
        return image

    async def _in_queue(
        self,
        spec: ImageSpec,
        images: Sequence[bytes] | np.ndarray,
        finish: Callable[[_Pixels], _Result],
        is_gone: IsGone,
    ) -> _Result:
        """What `finish` makes of the images of one request when they are decoded, in a thread."""
        check = partial(self._check_wanted, is_gone, time.monotonic() + self._deadline_s)
        self.check_room()
        place, record = object(), request_record.current()
        self.enter(place)
        record.queued_s = time.perf_counter()
        finish = partial(_timed, record, finish)
        try:
            self._metrics.count_images(len(images))
            if isinstance(images, np.ndarray):
                found = await self._run(check, self._threads, finish, images)
            else:
                small = await self._run(check, self._threads, self._finish_small, record, spec, images, finish)
                found = (
                    small
                    if small is not None
                    else await self._run(
                        check, self._threads, finish, await self._decode_large(check, record, spec, images)
                    )
                )
        except (RequestError, asyncio.CancelledError):  # a refusal does not count as an answer
            self.leave(place, answered=False)
            raise
        except BaseException:
            self.leave(place, answered=True)
            raise
        self.leave(place, answered=True)
        record.answered_s = time.perf_counter()
        return found

    def _check_wanted(self, is_gone: IsGone, end_s: float) -> None:
        """Whether to begin with a piece of work that has waited."""
        if is_gone():
            raise RequestError("client_closed_request", "The client has gone, and nothing is computed for it.")
        if time.monotonic() > end_s:
            raise RequestError("deadline_exceeded", too_late(self._deadline_s))

    async def _run(
        self,
        check: Callable[[], None],
        executor: Executor,
        function: Callable[[*_Arguments], _Result],
        *arguments: *_Arguments,
    ) -> _Result:
        def begin() -> _Result:
            check()
            return function(*arguments)

        try:
            return await asyncio.get_running_loop().run_in_executor(executor, begin)
        except (asyncio.CancelledError, RuntimeError):  # `close` dropped it, or had shut the executor down already
            task = asyncio.current_task()
            if self._closed and not (task is not None and task.cancelling()):
                raise decoder_process.stopping() from None
            raise

    def _finish_small(
        self,
        record: RequestRecord,
        spec: ImageSpec,
        encoded: Sequence[bytes],
        finish: Callable[[_Pixels], _Result],
    ) -> _Result | None:
        """As `_in_queue`; None when the images must be decoded in the process."""
        if sum(map(len, encoded)) > _SMALL_BYTES:
            return None
        began_s = time.perf_counter()
        structures = [_inspect(data) for data in encoded]
        if not _are_small(structures):
            return None
        decoded = [*map(partial(self._decode_small, spec), encoded, structures)]
        record.decode_s = time.perf_counter() - began_s
        return finish(decoded)

    def _decode_small(self, spec: ImageSpec, data: bytes, structure: Structure | ImageError) -> Decoded:
        if isinstance(structure, ImageError):
            return structure
        try:
            return images.decode(data, spec, self._limits, structure)
        except ImageError as error:
            return error

    async def _decode_large(
        self, check: Callable[[], None], record: RequestRecord, spec: ImageSpec, encoded: Sequence[bytes]
    ) -> list[Decoded]:
        """Decodes one picture after the other, in turn with those of other requests."""
        if self._large >= _MAX_LARGE:
            message = f"{self._large} requests with large pictures are waiting already. Try again in a second."
            raise RequestError("overloaded", message)
        self._large += 1
        try:
            left_s, decoded = _FORM_IMAGES * self._decode_cpu_s, []
            for data in encoded:
                cpu_s = min(left_s, self._decode_cpu_s)
                image, spent_s = await self._run(
                    check, self._decoder_thread, self._decode_in_process, spec, data, cpu_s
                )
                left_s -= spent_s
                record.decode_s += spent_s
                decoded.append(image)
            return decoded
        finally:
            self._large -= 1

    def _decode_in_process(self, spec: ImageSpec, data: bytes, cpu_s: float) -> tuple[Decoded, float]:
        if cpu_s <= 0:  # the images before this one used all of it
            return decoder_process.timeout(self._decode_cpu_s * _FORM_IMAGES), 0.0
        return self._decoder.decode(data, spec, cpu_s=cpu_s)

    def _answers(self, classifier: Classifier, decoded: _Pixels, *, top: int, logits: bool) -> list[Answer]:
        failures = [image for image in decoded if isinstance(image, ImageError)]
        for failure in failures:
            self._metrics.count_failure(failure.code)
        if len(failures) == len(decoded):
            first = failures[0]
            message = f"None of the {len(failures)} images can be read. The first: {first}"
            raise first if len(failures) == 1 else ImageError(first.code, message)
        prediction = self._predict(classifier, np.stack([image for image in decoded if isinstance(image, np.ndarray)]))
        rows = itertools.count()
        return [
            ErrorAnswer(Failure(image.code, str(image)))
            if isinstance(image, ImageError)
            else answers.answer(prediction, next(rows), classifier.classes, top=top, logits=logits)
            for image in decoded
        ]

    def _prediction(self, classifier: Classifier, decoded: _Pixels) -> Prediction:
        if isinstance(decoded, np.ndarray):
            return self._predict(classifier, decoded)
        readable = []
        for number, image in enumerate(decoded):
            if isinstance(image, ImageError):
                self._metrics.count_failure(image.code)
                raise image if len(decoded) == 1 else ImageError(image.code, f"Image {number}, counted from 0: {image}")
            readable.append(image)
        return self._predict(classifier, np.stack(readable))

    def _predict(self, classifier: Classifier, pixels: UInt8[np.ndarray, "n h w 3"]) -> Prediction:
        prediction = classifier.predict(pixels)
        self._metrics.models.count_answers(classifier, pixels, prediction)
        return prediction


def _timed(record: RequestRecord, finish: Callable[[_Pixels], _Result], decoded: _Pixels) -> _Result:
    began_s = time.perf_counter()
    found = finish(decoded)
    record.infer_s = time.perf_counter() - began_s
    return found


def too_late(deadline_s: float) -> str:
    """The message for a request that has waited for too long."""
    return f"The request has waited for {deadline_s:g} s, the deadline. Try again in a second."


def _inspect(data: bytes) -> Structure | ImageError:
    try:
        return encoded_image.inspect(data)
    except ImageError as error:
        return error


def _are_small(structures: Sequence[Structure | ImageError], *, most: float = _SMALL_PIXELS) -> bool:
    """Whether decoding all of them is little work, as for so many pixels of a PNG."""
    pixels = 0.0
    for found in structures:
        if isinstance(found, ImageError):
            continue
        if found.slow:
            return False
        pixels += found.pixels * max(1, found.passes / _SCANS_PER_WEIGHT) * _WEIGHTS.get(found.format, 1)
    return pixels <= most
