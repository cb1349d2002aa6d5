"""`POST /feedback` and `DELETE /feedback/ID`: visitors' corrections; see `docs/http-api.md`."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

from lince.serving import errors, request_record
from lince.serving.errors import RequestError, error_response
from lince.serving.feedback_queue import FeedbackQueue
from lince.serving.protocols import native
from lince.serving.request_body import read_images
from lince.serving.schemas import FeedbackAnswer
from lince.serving.service import is_gone, service_of
from lince.text import listed

_STRING = {"type": "string"}
_LABEL = {"name": "label", "in": "query", "required": True, "description": "The right class.", "schema": _STRING}
_ID = {"name": "id", "in": "path", "required": True, "description": "Of the correction.", "schema": _STRING}


def add_routes(app: FastAPI) -> None:
    """Adds `/feedback`. Its answer is 404 where the settings name no database."""
    app.add_api_route(
        "/feedback",
        add,
        methods=["POST"],
        status_code=201,
        response_model=FeedbackAnswer,
        response_description="The correction is stored.",
        responses=errors.openapi_responses(*native.CODES, "feedback_full", "feedback_unavailable"),
        openapi_extra={"requestBody": native.ONE_IMAGE, "parameters": [_LABEL, native.MODEL]},
    )
    codes = (*errors.ANYWHERE, *errors.GUARDED, "not_found", "not_ready", "cross_site", "feedback_unavailable")
    app.add_api_route(
        "/feedback/{id}",
        remove,
        methods=["DELETE"],
        status_code=204,
        response_description="The correction is deleted.",
        responses=errors.openapi_responses(*codes),
        openapi_extra={"parameters": [_ID]},
    )


async def add(request: Request) -> Response:
    """Stores the one image in the body, without its metadata, under the class that is right for it."""
    service = service_of(request)
    ready = service.require_ready()
    queue = _require(ready.feedback)
    served = ready.models.find(request.query_params.get("model"))
    request_record.current().model = served.name.name
    label = _label(request.query_params.get("label"), served.classifier.classes)
    if wait_s := queue.wait_s((request.scope.get("client") or ("",))[0]):
        seconds = str(math.ceil(wait_s))
        message = f"Received more corrections from this address than are taken. Try again in {seconds} s."
        return error_response("rate_limited", message, headers={"retry-after": seconds})
    queue.check_room()
    with service.buffer.share() as take:
        encoded = await read_images(request, service.settings, take)
        if len(encoded) > 1:
            message = f"Received {len(encoded)} images. Expected one: correct them in several requests."
            raise RequestError("too_many_parts", message)
        spec = await queue.spec_of(encoded[0])
        pixels = await ready.inference.decode(spec, encoded[0], is_gone(request))
        correction = await queue.add(served.name.name, served.name.version, label, pixels)
    expires = datetime.fromtimestamp(correction.created_s, UTC) + timedelta(days=service.settings.feedback_days)
    answer = FeedbackAnswer(correction.id, served.name, label, expires.isoformat())
    return Response(msgspec.json.encode(answer), status_code=201, media_type="application/json")


async def remove(request: Request) -> Response:
    """Deletes a correction. Its id is known to who has sent it."""
    queue = _require(service_of(request).require_ready().feedback)
    id = request.path_params["id"]
    if not await queue.delete(id):
        raise RequestError("not_found", f"There is no correction {id[:100]!r}. It may be deleted already.")
    return Response(status_code=204)


def _require(queue: FeedbackQueue | None) -> FeedbackQueue:
    if queue is None:
        message = "This server takes no corrections. Its operator can name a database for them in LINCE_FEEDBACK."
        raise RequestError("not_found", message)
    return queue


def _label(received: str | None, classes: tuple[str, ...]) -> str:
    if received not in classes:
        shown = "nothing" if received is None else repr(received[:100])
        message = f"Parameter 'label' received {shown}. Expected a class of the model: {listed(classes)}."
        raise RequestError("invalid_parameter", message)
    return received
