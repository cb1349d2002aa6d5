"""Bytes of images to answers, in a few threads behind a bounded line, so that the event loop never waits."""

import asyncio
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from lince import answers, images
from lince.classifier import Classifier
from lince.errors import ImageError
from lince.serving.errors import RequestError
from lince.serving.metrics import Metrics
from lince.serving.schemas import ErrorAnswer, Failure
from lince.serving.settings import ServeSettings

Answer = dict[str, Any] | ErrorAnswer
"""For one image: the fields of `lince.answers.answer`, or why there are none."""

# Decoding 2 MP takes 8 MB and 20 ms: any thread may do it at any time. Larger pictures are decoded one at a time, so
# that the memory they need is bounded by one of them and not by the number of threads.
_SMALL_PIXELS = 2_000_000


class Inference:
    """Answers requests with one classifier. Used from one event loop; `close` ends its threads."""

    def __init__(self, classifier: Classifier, settings: ServeSettings, metrics: Metrics):
        self._classifier = classifier
        self._metrics = metrics
        self._limits = settings.image_limits
        self._small_limits = replace(self._limits, max_pixels=min(_SMALL_PIXELS, settings.max_pixels))
        self._large = threading.Lock()
        self._max_waiting = settings.max_waiting
        self._waiting = 0
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="inference")

    def close(self) -> None:
        """Lets running requests end and drops those that wait."""
        self._threads.shutdown(cancel_futures=True)

    @property
    def full(self) -> bool:
        """Whether as many requests wait as may."""
        return self._waiting >= self._max_waiting

    def check_room(self) -> None:
        """Raises: RequestError: when the line is full."""
        if self.full:
            raise RequestError("overloaded", f"{self._waiting} requests are waiting already. Try again in a second.")

    async def answer(self, encoded: Sequence[bytes], *, top: int, logits: bool) -> list[Answer]:
        """Answers for the images of one request, in their order.

        Args:
            encoded: bytes of each image.
            top: how many classes to list.
            logits: whether to add the network's output.

        Returns:
            One answer an image; an image that cannot be read has an error in its place.

        Raises:
            ImageError: when none of the images can be read; the first one's.
            RequestError: when the line is full.
        """
        self.check_room()
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._answer, encoded, top, logits)
        finally:
            self._waiting -= 1

    def _answer(self, encoded: Sequence[bytes], top: int, logits: bool) -> list[Answer]:
        self._metrics.count_images(len(encoded))
        decoded = [self._decode(data) for data in encoded]
        pixels = [image for image in decoded if not isinstance(image, ImageError)]
        if not pixels:
            raise _none_of(decoded)
        prediction = self._classifier.predict(np.stack(pixels))
        rows = itertools.count()
        return [
            ErrorAnswer(Failure(image.code, str(image)))
            if isinstance(image, ImageError)
            else answers.answer(prediction, next(rows), self._classifier.classes, top=top, logits=logits)
            for image in decoded
        ]

    def _decode(self, data: bytes) -> np.ndarray | ImageError:
        spec = self._classifier.image_spec
        try:
            try:
                return images.decode(data, spec, self._small_limits)
            except ImageError as error:
                if error.code != "image_too_large" or len(data) > self._limits.max_bytes:
                    raise
            with self._large:
                return images.decode(data, spec, self._limits)
        except ImageError as error:
            self._metrics.count_failure(error.code)
            return error


def _none_of(errors: Sequence[ImageError]) -> ImageError:
    first = errors[0]
    if len(errors) == 1:
        return first
    return ImageError(first.code, f"None of the {len(errors)} images can be read. The first: {first}")
