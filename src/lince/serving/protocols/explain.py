"""`POST /explain`: which places of an image support a class; see `docs/http-api.md`."""

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

from lince.errors import LinceError
from lince.inference import answers, explanation
from lince.inference.explanation import Explanation
from lince.serving import errors, request_record
from lince.serving.errors import RequestError
from lince.serving.inference_queue import DEFAULT_TOP
from lince.serving.middleware import CLOSED
from lince.serving.protocols import native
from lince.serving.request_body import read_images
from lince.serving.schemas import ExplainAnswer, Explained, Heat
from lince.serving.service import is_gone, service_of
from lince.text import listed

_CLASS = {
    "name": "class",
    "in": "query",
    "required": False,
    "description": "The class to explain, by its label or its index; the answer otherwise.",
    "schema": {"type": "string"},
}


def add_routes(app: FastAPI) -> None:
    """Adds `/explain`."""
    app.add_api_route(
        "/explain",
        explain,
        methods=["POST"],
        response_model=ExplainAnswer,
        response_description="The model that answered, its answer for the image, and the heat map of a class.",
        responses=errors.openapi_responses(*native.CODES, "not_explainable", "explanation_timeout"),
        openapi_extra={"requestBody": native.ONE_IMAGE, "parameters": [_CLASS, native.MODEL]},
    )


async def explain(request: Request) -> Response:
    """Explains the answer for the one image in the body, or the support for another class.

    It takes more than a hundred answers of the network, and gives way to other requests.
    """
    service = service_of(request)
    ready = service.require_ready()
    inference, served = ready.inference, ready.models.find(request.query_params.get("model"))
    classifier = served.classifier
    request_record.current().model = served.name.name
    inference.check_room()
    inference.explanations.check_room()
    index = _index(request.query_params.get("class"), classifier.classes)
    with service.buffer.share() as take:
        encoded = await read_images(request, service.settings, take)
        if len(encoded) > 1:
            message = f"Received {len(encoded)} images. Expected one: explain them in several requests."
            raise RequestError("too_many_parts", message)
        pixels = await inference.decode(classifier.image_spec, encoded[0], is_gone(request))
        encoded.clear()

    async def has_left() -> bool:
        return CLOSED in request.scope["state"] or await request.is_disconnected()

    try:
        found = await inference.explanations.explain(classifier, pixels, index, is_gone=has_left)
    except RequestError:
        raise
    except LinceError as error:
        raise RequestError("not_explainable", str(error)) from error
    content = msgspec.json.encode({"model": served.name, **_answer(found, classifier.classes)})
    return Response(content, media_type="application/json")


def _index(received: str | None, classes: tuple[str, ...]) -> int | None:
    """The class that a request names by label or index; None for the answer."""
    if received is None:
        return None
    if received in classes:
        return classes.index(received)
    numbers = [str(index) for index in range(len(classes))]
    if received in numbers:
        return numbers.index(received)
    message = f"Parameter 'class' received {received[:100]!r}. Expected a class of the model, or its index: "
    raise RequestError("not_found", message + f"{listed(classes)}.")


def _answer(found: Explanation, classes: tuple[str, ...]) -> dict[str, object]:
    grid = found.grid.tolist()
    return {
        "prediction": answers.answer(found.prediction, 0, classes, top=DEFAULT_TOP),
        "explained": Explained(
            label=classes[found.index],
            index=found.index,
            probability=found.probability,
            without_most=found.without_most,
            without_least=found.without_least,
        ),
        "sentences": explanation.sentences(found, classes),
        "heat": Heat(rows=len(grid), columns=len(grid[0]), values=grid),
    }
