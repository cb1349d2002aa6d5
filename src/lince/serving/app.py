"""The service as an ASGI app: `create_app(model, settings)`. READ THIS FIRST; the routes are in `docs/http-api.md`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

import lince
from lince.images import FORMATS
from lince.inference.classifier import Classifier
from lince.serving import errors
from lince.serving.flow_control import Paused
from lince.serving.inference_queue import Inference
from lince.serving.metrics import Metrics
from lince.serving.middleware import PAGE_FILES, Gate
from lince.serving.protocols.native import Question, question_parameters
from lince.serving.request_body import FIELD, Buffer, read_images
from lince.serving.schemas import Health, Limits, ModelAnswer, ModelName, PredictAnswer
from lince.serving.settings import ServeSettings

_PAGE = Path(__file__).parent / "page"
_REVALIDATE = {"cache-control": "no-cache"}  # a browser asks whether its copy is still right: an update shows at once
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PARTS = {"type": "array", "minItems": 1, "items": _BINARY["schema"]}
_USUAL = Question()
_STALLED_S = 10.0  # without an answer, after which no more requests should be sent here …
_DEAD_S = 60.0  # … and after which a new process is the better one
_OF_PROBES_ALONE = {"metrics_unavailable", "stalled"}
_NOT_OF_PREDICT = {404, 405, 500}  # of another address or verb, or of no use to describe
_FORM = {"type": "object", "required": [FIELD], "properties": {FIELD: _PARTS}, "additionalProperties": False}
_PREDICT_BODY = {
    "required": True,
    "content": {
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": {"schema": _FORM},
    },
}


@dataclass
class Service:
    """What lives as long as the app; `app.state.service`. `inference` is there while the model is ready."""

    settings: ServeSettings
    metrics: Metrics
    buffer: Buffer
    inference: Inference | None = None
    model_name: ModelName | None = None
    model_answer: bytes = b""


def create_app(model: Classifier | Path, settings: ServeSettings) -> FastAPI:
    """Makes the service.

    Args:
        model: a classifier, or the path of a model file, which is then loaded and verified when the app starts.
        settings: bounds and hosts; where to listen and how many workers is not the app's concern.

    Raises:
        ModelFileError: from the app's start, when the model file is not valid.
    """
    service = Service(settings, Metrics(), Buffer(settings.max_buffered_bytes))
    app = FastAPI(
        title="Lince",
        version=lince.__version__,
        description='Classifies images. Every error is `{"error": {"code": …, "message": …}}`.',
        lifespan=_lifespan(service, model),
        docs_url=None,  # FastAPI's pages load scripts from the network; ours is at /docs and comes with the package
        redoc_url=None,
        redirect_slashes=False,  # /predict/ is not found, rather than redirected with its body lost
    )
    app.state.service = service
    app.add_middleware(Gate, settings=settings, metrics=service.metrics)
    errors.install(app)
    _add_routes(app)
    return app


def _lifespan(service: Service, model: Classifier | Path) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        classifier = model if isinstance(model, Classifier) else Classifier.load(model, sha256=service.settings.sha256)
        manifest = classifier.manifest
        service.model_name = ModelName(manifest.name, manifest.version)
        service.model_answer = msgspec.json.encode(_describe(classifier, service.settings))
        service.metrics.name_model(manifest.name, manifest.version)
        service.inference = Inference(classifier, service.settings, service.metrics)
        yield {  # for `http_connection.py`
            "settings": service.settings,
            "metrics": service.metrics,
            "inference": service.inference,
            "paused": Paused(),
        }
        inference, service.inference = service.inference, None
        inference.close()

    return lifespan


def _describe(classifier: Classifier, settings: ServeSettings) -> ModelAnswer:
    manifest = classifier.manifest
    return ModelAnswer(
        name=manifest.name,
        version=manifest.version,
        created=manifest.created,
        classes=manifest.classes,
        image=manifest.image,
        arithmetic=manifest.arithmetic,
        calibration=replace(manifest.calibration),  # msgspec leaves out defaults that the file did not name
        certificate=manifest.certificate,
        verdict=manifest.verdict,
        limits=Limits(settings.max_parts, settings.max_body_bytes, settings.max_pixels, FORMATS),
        card=classifier.card,
    )


def _add_routes(app: FastAPI) -> None:
    refusals = (
        code for code, status in errors.STATUS.items() if status not in _NOT_OF_PREDICT and code not in _OF_PROBES_ALONE
    )
    once_ready = errors.openapi_responses(*errors.ANYWHERE, "not_ready")
    not_stalled = errors.openapi_responses(*errors.ANYWHERE, "stalled")
    in_progress = errors.openapi_responses(*errors.ANYWHERE, "not_ready", "stalled")
    app.post(
        "/predict",
        response_model=PredictAnswer,
        response_description="The model that answered, and an answer for each image, in their order.",
        responses=errors.openapi_responses(*refusals),
        openapi_extra={"requestBody": _PREDICT_BODY, "parameters": question_parameters()},
    )(predict)
    answers = {"response_model": ModelAnswer, "response_description": "The model that answers requests."}
    app.get("/model", **answers, responses=once_ready)(model)
    alive = {"response_model": Health, "response_description": "Requests are answered, or none has come."}
    app.get("/livez", **alive, responses=not_stalled)(livez)
    ready = {
        "response_model": Health,
        "response_description": "The model is loaded, there is room for requests, and they are answered.",
    }
    app.get("/readyz", **ready, responses=in_progress)(readyz)
    numbers = {"response_class": PlainTextResponse, "response_description": "Numbers in Prometheus's text format."}
    counted = errors.openapi_responses(*errors.ANYWHERE, "metrics_unavailable")
    app.get("/metrics", **numbers, responses=counted)(metrics)
    app.add_route("/", _document("index.html"), include_in_schema=False)
    app.add_route("/docs", _document("docs.html"), include_in_schema=False)
    app.mount(PAGE_FILES, _PageFiles(directory=_PAGE))


async def predict(request: Request) -> Response:
    """Classifies the image, or the images, in the body.

    An image of a form that cannot be read has an `error` in its place; when none can, the whole answer is an error.
    """
    service, inference = _ready(request)
    inference.check_room()
    question = Question.read(request.url.query) if request.scope["query_string"] else _USUAL
    with service.buffer.share() as share:
        encoded = await read_images(request, service.settings, share)
        predictions = await inference.answer(encoded, top=question.top, logits=question.logits)
    return _json(msgspec.json.encode({"model": service.model_name, "predictions": predictions}))


async def model(request: Request) -> Response:
    """What is served: classes, calibration, certificate, verdict, limits and the model card."""
    service, _ = _ready(request)
    return _json(service.model_answer)


async def livez(request: Request) -> Response:
    """Whether requests are answered: 503 when one has waited for a minute and none was answered in that time."""
    inference = request.app.state.service.inference
    if inference is not None:
        _require_progress(inference, _DEAD_S)
    return _json(b'{"status":"alive"}')


async def readyz(request: Request) -> Response:
    """Whether the model is loaded, there is room for a request, and requests are answered."""
    _, inference = _ready(request)
    inference.check_room()
    _require_progress(inference, _STALLED_S)
    return _json(b'{"status":"ready"}')


async def metrics(request: Request) -> Response:
    """Numbers for Prometheus."""
    return Response(request.app.state.service.metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})


def _ready(request: Request) -> tuple[Service, Inference]:
    service: Service = request.app.state.service
    if service.inference is None:
        raise errors.RequestError("not_ready", "The model is not loaded. Ask /readyz again in a second.")
    return service, service.inference


def _require_progress(inference: Inference, limit_s: float) -> None:
    if (stalled_s := inference.stalled_s) > limit_s:
        message = f"Requests have waited for {stalled_s:.0f} s, and none was answered in that time."
        raise errors.RequestError("stalled", message)


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _document(name: str) -> Callable[[Request], Response]:
    async def document(_: Request) -> Response:
        return FileResponse(_PAGE / name, headers=_REVALIDATE)

    return document


class _PageFiles(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_REVALIDATE)
        return response
