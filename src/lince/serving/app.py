"""The service as an ASGI app: `create_app(model, settings)`. READ THIS FIRST.

Predictions are in `protocols/`, one module for each; here are the routes about the service itself, and its page.
All of them are described in `docs/http-api.md`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

import lince
from lince.inference.classifier import Classifier
from lince.language import LANGUAGES, Language, catalogue
from lince.serving import errors, feedback, models
from lince.serving.access import HEALTH, Access
from lince.serving.direct_lane import DirectLane
from lince.serving.feedback_queue import FeedbackQueue
from lince.serving.flow_control import PausedConnections
from lince.serving.inference_queue import DEAD_S, Inference
from lince.serving.metrics import Metrics
from lince.serving.middleware import PAGE_FILES, Gate
from lince.serving.model_folder import ModelFolder
from lince.serving.models import Models
from lince.serving.protocols import explain, model_repository, native, open_inference, tensorflow_serving
from lince.serving.request_body import Buffer
from lince.serving.schemas import Health, ModelAnswer
from lince.serving.service import Ready, Service, service_of
from lince.serving.settings import ServeSettings

_PAGE = Path(__file__).parent / "page"
_SHOWN = ("page.", "class.")  # keys of the page's texts
_REVALIDATE = {"cache-control": "no-cache"}  # a browser asks whether its copy is current, so that an update shows


def create_app(model: Models | ModelFolder | Classifier | Path, settings: ServeSettings) -> FastAPI:
    """Makes the service.

    Args:
        model: what answers: models, a classifier, or the path of a model file, which is loaded and verified when the
            app starts.
        settings: limits and hosts. Address and number of workers are the server's, not the app's.

    Raises:
        ServiceError: the file of API keys is not valid, or the database of corrections cannot be used.
        ModelFileError: when the app starts, if the model file is not valid.
    """
    access = Access(settings)
    service = Service(settings, Metrics(), Buffer(settings.max_buffered_bytes))
    queue = FeedbackQueue(settings.feedback, settings) if settings.feedback is not None else None
    app = (FastAPI if settings.api_keys is None else _AppWithKeys)(
        title="Lince",
        version=lince.__version__,
        description='Classifies images. Every error is `{"error": {"code": …, "message": …}}`.',
        lifespan=_lifespan(service, access, model, queue),
        exception_handlers=errors.HANDLERS,
        docs_url=None,  # FastAPI's pages load scripts from the network; ours is at /docs and part of the package
        redoc_url=None,
        redirect_slashes=False,  # /predict/ is not found; a redirect would lose the body
    )
    app.state.service = service
    app.add_middleware(Gate, settings=settings, metrics=service.metrics, access=access)
    native.add_routes(app)
    explain.add_routes(app)
    feedback.add_routes(app)
    open_inference.add_routes(app)
    tensorflow_serving.add_routes(app)
    model_repository.add_routes(app)
    _add_routes(app)
    return app


class _AppWithKeys(FastAPI):
    """Describes, besides the routes, that they need a key."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        found = super().openapi()
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
        for path in HEALTH & found["paths"].keys():
            found["paths"][path]["get"]["security"] = []
        return found


def _lifespan(
    service: Service, access: Access, model: Models | ModelFolder | Classifier | Path, queue: FeedbackQueue | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        settings = service.settings
        folder = model if isinstance(model, ModelFolder) else None
        found = _models(model, settings)
        found.watch(service.metrics.models.show)
        if folder is not None:
            folder.watch_refusals(service.metrics.models.count_refused)
        inference = Inference(settings, service.metrics)
        service.ready = Ready(inference, found, folder, queue)
        watching = [asyncio.create_task(folder.watch())] if folder is not None else []
        watching += [asyncio.create_task(queue.purge_hourly())] if queue is not None else []
        lane = DirectLane(settings, access, service.metrics, inference, found, service.buffer)
        yield {  # for `http_connection.py`
            "settings": settings,
            "metrics": service.metrics,
            "inference": inference,
            "lane": lane,
            "paused": PausedConnections(),
        }
        service.ready = None
        for task in watching:
            task.cancel()
        lane.close()
        inference.close()
        if queue is not None:
            queue.close()

    return lifespan


def _models(model: Models | ModelFolder | Classifier | Path, settings: ServeSettings) -> Models:
    if isinstance(model, ModelFolder):
        return model.models
    if isinstance(model, Models):
        return model
    if isinstance(model, Classifier):
        return Models([models.served(model, settings)])
    return models.load([model], settings)


def _add_routes(app: FastAPI) -> None:
    is_well = "The models are loaded, there is room for requests, and they are answered."
    for path, endpoint, answer, description, codes in (
        ("/model", model, ModelAnswer, "A model that answers requests.", ("not_ready", "not_found", *errors.GUARDED)),
        ("/livez", livez, Health, "Requests are answered, or none has come.", ("stalled",)),
        ("/readyz", readyz, Health, is_well, ("not_ready", "stalled")),
    ):
        responses = errors.openapi_responses(*errors.ANYWHERE, *codes)
        app.add_api_route(path, endpoint, response_model=answer, response_description=description, responses=responses)
    app.add_api_route(
        "/metrics",
        metrics,
        response_class=PlainTextResponse,
        response_description="Numbers in Prometheus's text format.",
        responses=errors.openapi_responses(*errors.ANYWHERE, *errors.GUARDED, "metrics_unavailable"),
    )
    app.add_route("/", _document("index.html"), include_in_schema=False)
    app.add_route("/docs", _document("docs.html"), include_in_schema=False)
    for one in LANGUAGES:
        app.add_route(f"{PAGE_FILES}/texts/{one}.json", _texts(one), include_in_schema=False)
    app.mount(PAGE_FILES, _PageFiles(directory=_PAGE))


async def model(request: Request) -> Response:
    """What is served: classes, calibration, certificate, verdict, limits and the model card.

    `?model=NAME` asks for another one than the default.
    """
    return _json(service_of(request).require_ready().models.find(request.query_params.get("model")).description)


async def livez(request: Request) -> Response:
    """Whether requests are answered: 503 when one has waited for a minute and none was answered in that time."""
    ready = service_of(request).ready
    if ready is not None:
        ready.inference.check_progress(DEAD_S)
    return _json(b'{"status":"alive"}')


async def readyz(request: Request) -> Response:
    """Whether the models are loaded, there is room for a request, and requests are answered."""
    inference = service_of(request).require_ready().inference
    inference.check_room()
    inference.check_progress()
    return _json(b'{"status":"ready"}')


async def metrics(request: Request) -> Response:
    """Numbers for Prometheus."""
    return Response(service_of(request).metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _document(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def document(_: Request) -> Response:
        return FileResponse(_PAGE / name, headers=_REVALIDATE)

    return document


def _texts(chosen: Language) -> Callable[[Request], Awaitable[Response]]:
    """The page's texts in a language, those of its catalogue that the page shows."""
    shown = {key: words for key, words in catalogue(chosen).items() if key.startswith(_SHOWN)}
    content = msgspec.json.encode(shown)

    async def texts(_: Request) -> Response:
        return Response(content, media_type="application/json", headers=_REVALIDATE)

    return texts


class _PageFiles(StaticFiles):
    """The page's files, which browsers revalidate."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_REVALIDATE)
        return response
