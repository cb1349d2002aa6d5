"""The client of a service: `AsyncClient`, and `Client`, which does the same and waits."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args, overload

import numpy as np
from PIL import Image

from lince.client import answers, request
from lince.client.answers import Answer, Explanation, Failure, NoAnswerError, ServedModel
from lince.client.event_loop_thread import EventLoopThread
from lince.client.request import Picture
from lince.errors import ImageErrorCode, LinceError, ServiceError

if TYPE_CHECKING:
    from lince.client.connection import Connection

_IMAGE_CODES = frozenset(get_args(ImageErrorCode))


class AsyncClient:
    """A client of one service, for code with asyncio. Use it by `async with`, or call `aclose` at the end.

    Several calls may be under way at the same time. All belong to one event loop.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
    ):
        """Connects at the first call.

        Args:
            url: address of the service, such as http://127.0.0.1:8000.
            model: name of the model; None for the service's default.
            api_key: is sent as `Authorization: Bearer KEY`.
            timeout_s: seconds for each request, from connecting to the end of the answer, with all its retries.
            retries: how many times a request is made again when the service is busy (status 429 or 503) or the
                connection fails. The pauses grow, and are as long as the service's `Retry-After` at least.

        Raises:
            ServiceError: the address is not that of a server.
            LinceError: another argument is not valid, or httpx is not installed.
        """
        self.url = url
        self._model = model
        self._connection = _connection(url, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._served: ServedModel | None = None

    @overload
    async def predict(
        self, images: str | Path | bytes | Image.Image, *, top: int = 5, logits: bool = False
    ) -> Answer: ...
    @overload
    async def predict(
        self, images: list[Any] | tuple[Any, ...], *, top: int = 5, logits: bool = False
    ) -> list[Answer]: ...
    @overload
    async def predict(self, images: np.ndarray, *, top: int = 5, logits: bool = False) -> Any: ...
    async def predict(
        self, images: Picture | list[Any] | tuple[Any, ...], *, top: int = 5, logits: bool = False
    ) -> Answer | list[Answer]:
        """Classifies an image, or several.

        Args:
            images: the path of an image file, the bytes of one, an array u8[H,W,3] of RGB pixels, a PIL image, or a
                list of these; or an array u8[N,H,W,3]. A file is sent as it is, and pixels as PNG, which loses
                nothing. They are divided into requests that the service takes.
            top: how many classes to list, most probable first.
            logits: whether to add the network's output, and the distance from the training images.

        Returns:
            An answer for a single image; a list of answers, in the order of the images, for a list and for an array
            of several. One of several images that cannot be read has an `error` in its answer.

        Raises:
            ServiceError: a single image cannot be read; or there is no answer, or an error that is not about an image.
            LinceError: something is no image, or a file does not exist.
        """
        pictures, is_single = request.pictures(images)
        if not pictures:
            return []
        served = self._served or await self.model()
        found: list[Answer] = []
        batches = request.batches(pictures, served.limits)
        while len(found) < len(pictures):
            batch = await asyncio.to_thread(next, batches)  # to encode large pictures takes long
            if isinstance(batch, Failure):
                found.append(Answer(served.name, served.version, error=batch))
            else:
                found += await self._answers(batch, served, top=top, logits=logits, is_single=is_single)
        if not is_single:
            return found
        if (failure := found[0].error) is not None:
            raise ServiceError(answers.shown(failure.message), code=failure.code)
        return found[0]

    async def explain(self, image: Picture, label: str | int | None = None) -> Explanation:
        """Finds out which places of an image support a class. The service takes a hundred times as long as to answer.

        Args:
            image: as of `predict`.
            label: of the class, or its index; None for the answer.

        Raises:
            ServiceError: there is no such class, the image cannot be read, or there is no answer.
            LinceError: something is no image, or a file does not exist.
        """
        pictures, is_single = request.pictures(image)
        if not is_single:
            raise LinceError(f"Received {len(pictures)} images. Expected one: explain them one by one.")
        served = self._served or await self.model()
        file = await asyncio.to_thread(next, request.batches(pictures, served.limits))
        if isinstance(file, Failure):
            raise ServiceError(file.message, code=file.code)
        reply = await self._connection.ask(request.explain_request(file[0], label=label, model=self._model))
        return answers.read_explanation(self.url, reply, name=self._model)

    async def model(self) -> ServedModel:
        """What the service says of its model: classes, calibration, certificate, limits and more.

        Raises:
            ServiceError: there is no answer, or not as Lince answers.
        """
        reply = await self._connection.ask(request.model_request(self._model))
        self._served = answers.read_model(self.url, reply, name=self._model)
        return self._served

    async def ready(self) -> bool:
        """Whether the service answers predictions now. False while it starts, and where nothing answers.

        Raises:
            ServiceError: something else than a service of Lince answers.
        """
        try:
            reply = await self._connection.ask(request.READY, repeat=False)
        except NoAnswerError:
            return False
        if reply.status != 503:
            answers.require_success(self.url, "/readyz", reply)
        return reply.status == 200

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _answers(
        self, files: list[bytes], served: ServedModel, *, top: int, logits: bool, is_single: bool
    ) -> list[Answer]:
        reply = await self._connection.ask(request.predict_request(files, top=top, logits=logits, model=self._model))
        if reply.status == 200 or is_single:
            return answers.read_answers(self.url, reply, count=len(files), name=self._model)
        failure = answers.read_failure(self.url, "/predict", reply)
        if failure.code not in _IMAGE_CODES:
            answers.require_success(self.url, "/predict", reply)
        if len(files) == 1:
            return [Answer(served.name, served.version, error=failure)]
        # None of them could be read, and the answer is about the first one.
        return [
            answer
            for file in files
            for answer in await self._answers([file], served, top=top, logits=logits, is_single=False)
        ]


class Client:
    """A client of one service. Use it by `with`, or call `close` at the end.

    Several threads may use it at the same time. Its work is done by a thread of its own, which the first call starts.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
    ):
        """See `AsyncClient`."""
        self._client = AsyncClient(url, model=model, api_key=api_key, timeout_s=timeout_s, retries=retries)
        self._thread = EventLoopThread(self._client.aclose)

    @property
    def url(self) -> str:
        return self._client.url

    @overload
    def predict(self, images: str | Path | bytes | Image.Image, *, top: int = 5, logits: bool = False) -> Answer: ...
    @overload
    def predict(self, images: list[Any] | tuple[Any, ...], *, top: int = 5, logits: bool = False) -> list[Answer]: ...
    @overload
    def predict(self, images: np.ndarray, *, top: int = 5, logits: bool = False) -> Any: ...
    def predict(
        self, images: Picture | list[Any] | tuple[Any, ...], *, top: int = 5, logits: bool = False
    ) -> Answer | list[Answer]:
        """Classifies an image, or several; see `AsyncClient.predict`."""
        found: Answer | list[Answer] = self._thread.run(self._client.predict(images, top=top, logits=logits))
        return found

    def explain(self, image: Picture, label: str | int | None = None) -> Explanation:
        """Finds out which places of an image support a class; see `AsyncClient.explain`."""
        return self._thread.run(self._client.explain(image, label))

    def model(self) -> ServedModel:
        """What the service says of its model; see `AsyncClient.model`."""
        return self._thread.run(self._client.model())

    def ready(self) -> bool:
        """Whether the service answers predictions now; see `AsyncClient.ready`."""
        return self._thread.run(self._client.ready())

    def close(self) -> None:
        """Closes all connections."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connection(url: str, *, api_key: str | None, timeout_s: float, retries: int) -> "Connection":
    try:
        from lince.client.connection import Connection
    except ModuleNotFoundError as error:
        message = f'The client needs {error.name!r}, which is not installed: pip install "lince[client]".'
        raise LinceError(message) from error
    return Connection(url, api_key=api_key, timeout_s=timeout_s, retries=retries)
