"""The numbers that Prometheus reads at `/metrics`: requests with their status, how long they took, images, errors.

Each app has one registry. Several workers write their numbers to files in `PROMETHEUS_MULTIPROC_DIR`, which `server.py`
sets, and any of them answers for all.
"""

import os
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MultiProcessValue

from lince.errors import ImageErrorCode
from lince.serving.errors import RequestError
from lince.serving.models import ServedModel

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# From an empty answer (0.2 ms) to a picture of 25 megapixels behind others (seconds).
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_IMAGES = (1, 2, 4, 8, 16, 32)


def share(*, slot: int) -> None:
    """Makes this process count in the shared folder, in the files of its slot among the workers.

    The library names the files by process id, so every worker that is replaced would leave files behind. By slot there
    are as many sets of files as workers, and a new worker continues the counts of the one that it replaces.
    """
    os.makedirs(os.environ[FOLDER_VARIABLE], exist_ok=True)
    values.ValueClass = MultiProcessValue(lambda: slot)


class Metrics:
    """The service's numbers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lince_requests", "Requests answered.", ("path", "method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "lince_request_seconds",
            "From the request's headers to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._images = Histogram(
            "lince_images_per_request", "Images answered together.", buckets=_IMAGES, registry=self._registry
        )
        self._failures = Counter(
            "lince_image_errors", "Images that could not be read.", ("code",), registry=self._registry
        )
        self._model = Gauge(
            "lince_model_info",
            "1 for a model that is served, 0 for one that was.",
            ("name", "version"),
            registry=self._registry,
            multiprocess_mode="max",
        )
        for code in get_args(ImageErrorCode):  # opens all files now: no request fails when the folder is deleted later
            self._failures.labels(code)
        if FOLDER_VARIABLE not in os.environ:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)

    def show_model(self, old: ServedModel | None, new: ServedModel | None) -> None:
        """Shows the name and the version of a model that answers now, and no longer those of the one before it."""
        if old is not None:
            self._model.labels(old.name.name, old.name.version).set(0)
        if new is not None:
            self._model.labels(new.name.name, new.name.version).set(1)

    def count_request(self, *, path: str, method: str, status: int, seconds: float | None = None) -> None:
        """Counts one answer. `path` and `method` are of a fixed set: otherwise clients could fill the memory."""
        self._requests.labels(path, method, status).inc()
        if seconds is not None:
            self._seconds.labels(path).observe(seconds)

    def count_images(self, count: int) -> None:
        """Counts the images of one request, read or not."""
        self._images.observe(count)

    def count_failure(self, code: str) -> None:
        """Counts one image that could not be read."""
        self._failures.labels(code).inc()

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
