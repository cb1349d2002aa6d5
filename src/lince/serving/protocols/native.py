"""Lince's own protocol: `POST /predict` with images as bytes, in a form or in JSON; see `docs/http-api.md`."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl

import msgspec
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from lince.serving import errors, request_record
from lince.serving.errors import RequestError
from lince.serving.inference_queue import DEFAULT_TOP, Answer
from lince.serving.models import ServedModel
from lince.serving.request_body import FIELDS, read_images
from lince.serving.request_record import RequestRecord
from lince.serving.schemas import PredictAnswer
from lince.serving.service import is_gone, service_of
from lince.serving.settings import expected


class Parameters(BaseModel, frozen=True):
    """The query of `POST /predict`, by name; other names are ignored.

    FastAPI would parse it too, in 25 µs a request, and most requests have none.
    """

    top: Annotated[int, Field(ge=1, description="Classes to list, best first; at most all of them.")] = DEFAULT_TOP
    logits: Annotated[bool, Field(description="Add the network's output, in the order of the classes.")] = False
    model: Annotated[str | None, Field(description="Name of the model; the default one otherwise.")] = None
    timing: Annotated[bool, Field(description="Add the header Server-Timing, in milliseconds.")] = False

    @classmethod
    def parse(cls, query: str) -> Self:
        """Parses the part of an address behind its question mark. The last value of a repeated name counts.

        Raises:
            RequestError: a value out of range or of another type.
        """
        try:
            return cls.model_validate(dict(parse_qsl(query, keep_blank_values=True)))
        except ValidationError as error:
            first = error.errors()[0]
            received = f"{first['input']!r}"[:100]
            name = str(first["loc"][0])
            message = f"Parameter {name!r} received {received}. Expected {expected(cls.model_fields[name])}."
            raise RequestError("invalid_parameter", message) from error

    @classmethod
    def openapi(cls) -> list[dict[str, Any]]:
        """The parameters as OpenAPI describes them."""
        properties = cls.model_json_schema()["properties"]
        return [
            {"name": name, "in": "query", "required": False, "description": schema.pop("description"), "schema": schema}
            for name, schema in properties.items()
        ]


_DEFAULTS = Parameters()
IMAGE = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {name: {"type": "array", "minItems": 1, "items": IMAGE} for name in FIELDS},
    "additionalProperties": False,
    "minProperties": 1,
}
IN_JSON = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {
            "type": "object",
            "required": ["b64"],
            "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": IMAGE},
        "application/octet-stream": {"schema": IMAGE},
        "multipart/form-data": {"schema": _FORM},
        "application/json": {"schema": {"anyOf": [IN_JSON, {"type": "array", "minItems": 1, "items": IN_JSON}]}},
    },
}
ONE_IMAGE = {
    "required": True,
    "content": {
        "image/*": {"schema": IMAGE},
        "application/octet-stream": {"schema": IMAGE},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": dict.fromkeys(FIELDS, IMAGE),
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            }
        },
        "application/json": {"schema": IN_JSON},
    },
}
"""The body of a request about one image, as OpenAPI describes it."""
MODEL = {
    "name": "model",
    "in": "query",
    "required": False,
    "description": "Name of the model; the default one otherwise.",
    "schema": {"type": "string"},
}
"""The parameter that names a model."""
# Not described for this route: errors of other addresses and methods (404, 405), a fault of ours (500), the codes of
# health checks, and those of tensors, of packed bodies, of explanations and of corrections.
_NOT_OF_PREDICT = {
    *("method_not_allowed", "internal_error", "metrics_unavailable", "stalled"),
    *("invalid_tensor", "malformed_encoding", "model_refused", "forbidden", "client_closed_request"),
    *("not_explainable", "explanation_timeout", "feedback_full", "feedback_unavailable"),
}
CODES = tuple(code for code in errors.STATUS if code not in _NOT_OF_PREDICT)
"""Codes of errors of a request with images."""


def add_routes(app: FastAPI) -> None:
    """Adds `/predict`. An included `APIRouter` would cost each request 30 µs (two shared cores, n = 5)."""
    app.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=PredictAnswer,
        response_description="The model that answered, and an answer for each image, in their order.",
        responses=errors.openapi_responses(*CODES),
        openapi_extra={"requestBody": _BODY, "parameters": Parameters.openapi()},
    )


async def predict(request: Request) -> Response:
    """Classifies the image, or the images, in the body.

    One of several images that cannot be read has an `error` in its place; when none can, the whole answer is an error.
    """
    service = service_of(request)
    ready = service.require_ready()
    ready.inference.check_room()
    parameters = Parameters.parse(request.url.query) if request.scope["query_string"] else _DEFAULTS
    served = ready.models.find(parameters.model)
    request_record.current().model = served.name.name
    with service.buffer.share() as take:
        encoded = await read_images(request, service.settings, take)
        predictions = await ready.inference.answer(
            served.classifier, encoded, is_gone(request), top=parameters.top, logits=parameters.logits
        )
    headers = {"server-timing": _timing(request_record.current())} if parameters.timing else None
    return Response(content(served, predictions), media_type="application/json", headers=headers)


def _timing(record: RequestRecord) -> str:
    """Milliseconds of decoding, of the network, and of all since the request's headers had arrived."""
    spent = (
        ("decode", record.decode_s),
        ("infer", record.infer_s),
        ("total", time.perf_counter() - record.began_s),
    )
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in spent)


def content(served: ServedModel, predictions: Sequence[Answer]) -> bytes:
    """The JSON of an answer."""
    return msgspec.json.encode({"model": served.name, "predictions": predictions})
