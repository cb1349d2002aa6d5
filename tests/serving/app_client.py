"""A client of an app in this process: no socket, no thread, one event loop that lives as long as the client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx
from fastapi import FastAPI

Png = Callable[..., bytes]
"""`png(seed, size=32)`: a PNG of noise."""

RAW = {"Content-Type": "image/png"}


class AppClient:
    """Starts the app on entering, stops it on leaving. An exception of the app is a 500, as for a real client."""

    def __init__(self, app: FastAPI, *, start: bool = True, headers: dict[str, str] | None = None):
        self.app = app
        self._start_app = start
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)

    def __enter__(self) -> Self:
        try:
            self._runner.run(self._start())
        except BaseException:  # an app that does not start
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._open.aclose())
        self._runner.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; `content` may be an iterator of bytes, which then arrive one by one."""
        return self.run(self.send(method, path, **options))

    def together(self, count: int, method: str, path: str, **options: Any) -> list[httpx.Response]:
        """The same request so many times, all under way at once."""

        async def gather() -> list[httpx.Response]:
            return await asyncio.gather(*(self.send(method, path, **options) for _ in range(count)))

        return self.run(gather())

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """`request`, for use within `run`."""
        if isinstance(options.get("content"), Iterator):
            options["content"] = _asynchronous(options["content"])
        return await self._http.request(method, path, **options)

    def run(self, work: Coroutine) -> Any:
        """Runs a coroutine on the client's event loop."""
        return self._runner.run(work)

    async def _start(self) -> None:
        await self._open.enter_async_context(self._http)
        if self._start_app:
            await self._open.enter_async_context(self.app.router.lifespan_context(self.app))


MakeClient = Callable[..., AppClient]
"""`make_client(max_parts=2)`: a client of an app with such settings."""


def form(*contents: bytes, name: str = "file") -> dict[str, Any]:
    """The options of a request that sends files in a form."""
    return {"files": [(name, (f"{index}.png", content, "image/png")) for index, content in enumerate(contents)]}


async def _asynchronous(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
