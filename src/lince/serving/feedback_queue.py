"""The way of a correction into the database: one thread, a bounded queue, and a limit for each client."""

import asyncio
import io
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lince import encoded_image
from lince.errors import ServiceError
from lince.serving.errors import RequestError
from lince.serving.rate_limit import RateLimit, client_name
from lince.serving.settings import ServeSettings
from lince.types import ImageSpec

if TYPE_CHECKING:
    from lince.serving.feedback_store import Correction, FeedbackStore

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

_MAX_SIDE = 512  # pixels of the stored picture; training takes at most 224 today
_MAX_WAITING = 16
_PER_SECOND = 1.0  # of one client: who corrects by hand is slower
_PURGE_S = 3600

_log = logging.getLogger(__name__)


class FeedbackQueue:
    """Used on the event loop; the database is used in its thread."""

    def __init__(self, address: str, settings: ServeSettings):
        """Opens the database of an address.

        Raises:
            ServiceError: it cannot be opened, or a package of the extra `feedback` is missing.
        """
        self._store = _open(address, settings)
        self._limit = RateLimit(_PER_SECOND)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feedback")
        self._waiting = 0

    def wait_s(self, address: str) -> float:
        """Counts a correction of a client; 0 when it may pass, otherwise seconds until one may."""
        return self._limit.wait_s(client_name(address), time.monotonic())

    def check_room(self) -> None:
        """Raises: RequestError: too many corrections are being stored."""
        if self._waiting >= _MAX_WAITING:
            raise RequestError("overloaded", f"{self._waiting} corrections are being stored already. Try again.")

    async def spec_of(self, encoded: bytes) -> ImageSpec:
        """The size in which an image is stored: its own, or smaller in the same shape.

        Raises:
            ImageError: it cannot be read.
            RequestError: too many corrections are being stored.
        """
        return await self._run(_spec_of, encoded)

    async def add(self, name: str, version: str, label: str, pixels: UInt8[np.ndarray, "h w 3"]) -> "Correction":
        """Stores a correction, and returns it.

        Raises:
            RequestError: there is no room for it, or the database cannot be used.
        """
        return await self._run(self._add, name, version, label, pixels)

    async def delete(self, id: str) -> bool:
        """Deletes a correction; False where there is none of that id.

        Raises:
            RequestError: the database cannot be used.
        """
        return await self._run(self._store.delete, id)

    async def purge_hourly(self) -> None:
        """Deletes what is too old, until it is cancelled."""
        while True:
            try:
                await self._run(self._store.purge)
            except RequestError as error:
                _log.error("Old corrections could not be deleted. %s", error)
            await asyncio.sleep(_PURGE_S)

    def close(self) -> None:
        """Ends the thread after what it is doing."""
        self._thread.shutdown(cancel_futures=True)
        self._store.close()

    def _add(self, name: str, version: str, label: str, pixels: UInt8[np.ndarray, "h w 3"]) -> "Correction":
        from lince.serving.feedback_store import Correction

        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")  # pixels alone: nothing of the file's metadata comes so far
        correction = Correction(name, version, label, file.getvalue())
        self._store.add(correction)
        return correction

    async def _run(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        from lince.serving.feedback_store import StoreError, StoreFullError

        self.check_room()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except StoreFullError as error:
            raise RequestError("feedback_full", str(error)) from error
        except StoreError as error:
            _log.error("%s", error)  # for the operator: it names the database
            message = "The database of corrections cannot be used. The server's log says why."
            raise RequestError("feedback_unavailable", message) from error
        finally:
            self._waiting -= 1


def _open(address: str, settings: ServeSettings) -> "FeedbackStore":
    try:
        from lince.serving.feedback_store import FeedbackStore, StoreError

        try:
            return FeedbackStore(address, days=settings.feedback_days, most=settings.feedback_max)
        except StoreError as error:
            raise ServiceError(f"{error} Correct LINCE_FEEDBACK.") from error
    except ModuleNotFoundError as error:
        how = "pip install '.[feedback]'"
        raise ServiceError(f"LINCE_FEEDBACK needs {error.name!r}, which is not installed: {how}.") from error


def _spec_of(encoded: bytes) -> ImageSpec:
    width, height = encoded_image.inspect(encoded).upright_size
    scale = min(1.0, _MAX_SIDE / max(width, height, 1))
    return ImageSpec(max(1, round(height * scale)), max(1, round(width * scale)), "stretch")
