"""The numbers that Prometheus reads at `/metrics`: `docs/observability.md` lists them.

Each app has one registry. Several workers write their numbers to files in `PROMETHEUS_MULTIPROC_DIR`, which `server.py`
sets, and any of them answers for all.
"""

import itertools
import os
from functools import cache
from pathlib import Path
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MultiProcessValue

from lince.errors import ImageErrorCode
from lince.serving.errors import STATUS, RequestError
from lince.serving.model_metrics import ModelMetrics
from lince.serving.request_record import RequestRecord

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# From an empty answer (0.2 ms) to a picture of 25 megapixels behind others (seconds).
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_STAGE_SECONDS = (0.0001, 0.0002, *_SECONDS)
_IMAGES = (1, 2, 4, 8, 16, 32)

# The stages of one request in so many are counted: their five observations take 8 µs, as much as all other numbers.
_STAGES_OF = 4

STAGES = ("read", "queue", "decode", "infer", "respond")
"""Of a request for predictions, in order; what each is: docs/observability.md."""


def share(*, slot: int) -> None:
    """Makes this process count in the shared folder, in the files of its slot among the workers.

    The library names the files by process id, so every worker that is replaced would leave files behind. By slot there
    are as many sets of files as workers, and a new worker continues the counts of the one that it replaces. What that
    one was doing when it ended, and which models it served, is no longer true, and is removed.
    """
    folder = Path(os.environ[FOLDER_VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"gauge_*_{slot}.db"):
        stale.unlink()
    values.ValueClass = MultiProcessValue(lambda: slot)


class Metrics:
    """The service's numbers: of requests here, of models in `model_metrics.py`.

    Labels are bound once: binding one takes 1 µs, and an increment 0.7.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # a time for each series, which several workers do not have
        self._registry = CollectorRegistry()
        labels = ("path", "method", "status", "model")
        self._requests = cache(Counter("lince_requests", "Requests answered.", labels, registry=self._registry).labels)
        self._seconds = cache(
            Histogram(
                "lince_request_seconds",
                "From the request's headers to the end of its answer.",
                ("path",),
                buckets=_SECONDS,
                registry=self._registry,
            ).labels
        )
        stages = Histogram(
            "lince_stage_seconds",
            "Parts of the time of every fourth request whose images were answered.",
            ("stage",),
            buckets=_STAGE_SECONDS,
            registry=self._registry,
        )
        self._stages = [stages.labels(stage) for stage in STAGES]
        self._turns = itertools.cycle(range(_STAGES_OF))
        self._queue = Gauge(
            "lince_queue_depth",
            "Requests that wait for an answer.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._images = Histogram(
            "lince_images_per_request", "Images answered together.", buckets=_IMAGES, registry=self._registry
        )
        # All labels are bound, and so all files are opened, now: no request fails when the folder is deleted later.
        failures = Counter("lince_image_errors", "Images that could not be read.", ("code",), registry=self._registry)
        self._failures = {code: failures.labels(code) for code in get_args(ImageErrorCode)}
        rejections = Counter(
            "lince_rejections", "Requests that were answered with an error.", ("code",), registry=self._registry
        )
        self._rejections = {code: rejections.labels(code) for code in STATUS}
        self.models = ModelMetrics(self._registry)
        if FOLDER_VARIABLE not in os.environ:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)

    def count_request(
        self, *, path: str, method: str, status: int, model: str = "", code: str = "", seconds: float | None = None
    ) -> None:
        """Counts one answer.

        Args:
            path, method: of a fixed set: otherwise clients could fill the memory.
            status: of the answer.
            model: the name of one that is served; empty for a request that asks none.
            code: of an error, a key of `errors.STATUS`; empty for none.
            seconds: that the answer took; None when it was not measured.
        """
        self._requests(path, method, status, model).inc()
        if code:
            self._rejections[code].inc()
        if seconds is not None:
            self._seconds(path).observe(seconds)

    def count_stages(self, record: RequestRecord, ended_s: float) -> None:
        """Counts how long each stage of a request took whose images were answered; their sum is the whole.

        Only every fourth request is counted, beginning with the first.
        """
        if next(self._turns):
            return
        read_s, within_s = record.queued_s - record.began_s, record.answered_s - record.queued_s
        waited_s = max(0.0, within_s - record.decode_s - record.infer_s)
        times = (read_s, waited_s, record.decode_s, record.infer_s, ended_s - record.answered_s)
        for stage, seconds in zip(self._stages, times, strict=True):
            stage.observe(seconds)

    def show_queue(self, depth: int) -> None:
        """Shows how many requests wait for an answer in this process."""
        self._queue.set(depth)

    def count_images(self, count: int) -> None:
        """Counts the images of one request, read or not."""
        self._images.observe(count)

    def count_failure(self, code: str) -> None:
        """Counts one image that could not be read."""
        self._failures[code].inc()

    def render(self) -> bytes:
        """The exposition format of Prometheus, version 0.0.4.

        Raises:
            RequestError: the folder that the workers share is gone, or cannot be read.
        """
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        try:
            return _of_all_workers()
        except Exception as error:  # the library raises ValueError, OSError, KeyError, struct.error, … on damaged files
            folder = os.environ[FOLDER_VARIABLE]
            raise RequestError(
                "metrics_unavailable",
                f"The folder {folder!r}, in which the workers count, cannot be read ({type(error).__name__}). "
                "Requests are still answered. Restart the server to count from zero.",
            ) from error


def _of_all_workers() -> bytes:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    if not os.listdir(os.environ[FOLDER_VARIABLE]):
        raise FileNotFoundError("no worker counts in it")
    return generate_latest(registry)
