"""TensorFlow Serving's REST API and KServe's version 1: `/v1/models/NAME` and `/v1/models/NAME:predict`.

A request has its images in rows (`instances`) or in columns (`inputs`): encoded files as `{"b64": "…"}`, or pixels as
lists of lists. The answer has the same form. Source: TensorFlow Serving, "RESTful API"; KServe, "V1 protocol".

Errors are `{"error": "text"}` on these routes, as that server has them.
"""

import base64
import binascii
from functools import partial
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import FastAPI, Request
from starlette.responses import Response

from lince.inference.classifier import Classifier
from lince.serving.protocols.named_outputs import (
    IMAGE,
    LABEL,
    MAX_NUMBERS,
    PIXELS,
    invalid,
    json_response,
    model_of,
    shown,
    values_of,
)
from lince.serving.request_body import read_body
from lince.serving.service import service_of
from lince.types import ImageSpec, Prediction

_ROWS, _COLUMNS, _BASE64 = "instances", "inputs", "b64"
_SIGNATURES = ("serving_default", "", None)
_SPARE = 1000  # brackets and braces of a request besides those of its images
_Images = list[bytes] | np.ndarray
_HOW = (
    f"Expected '{_ROWS}': a list of {{'{_BASE64}': encoded image in base64}}, or of pixels, integers 0 to 255 in "
    f"lists; or '{_COLUMNS}' with such a list, or with one by the name '{IMAGE}' or '{PIXELS}'."
)


def add_routes(app: FastAPI) -> None:
    """Adds the routes below `/v1`."""
    app.add_api_route("/v1/models", models, include_in_schema=False)
    for start in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        app.add_api_route(f"{start}:predict", predict, methods=["POST"], include_in_schema=False)
        app.add_api_route(start, model_status, include_in_schema=False)


async def models(request: Request) -> Response:
    """`GET /v1/models`: the names of the models, as KServe lists them."""
    return json_response({"models": [service_of(request).require_ready().model_name.name]})


async def model_status(request: Request) -> Response:
    """`GET /v1/models/NAME`: its version and state, as both protocols say it."""
    name = model_of(request, service_of(request)).model_name
    state = {"version": name.version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return json_response({"name": name.name, "ready": True, "model_version_status": [state]})


async def predict(request: Request) -> Response:
    """`POST /v1/models/NAME:predict`: answers for images, in rows or columns as the request has them."""
    service = service_of(request)
    ready = model_of(request, service)
    ready.inference.check_room()
    classifier = ready.inference.classifier
    with service.buffer.share() as take:
        body = await read_body(request, service.settings, take)
        images, in_rows = _parse(body, classifier.image_spec, most=service.settings.max_parts)
        take(sum(map(len, images)) if isinstance(images, list) else images.nbytes)
        del body
        return await ready.inference.predict(images, partial(_answer, classifier, in_rows))


def _answer(classifier: Classifier, in_rows: bool, prediction: Prediction) -> Response:
    columns = _columns(prediction, classifier)
    if not in_rows:
        return json_response({"outputs": columns})
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json_response({"predictions": rows})


def _columns(prediction: Prediction, classifier: Classifier) -> dict[str, list[Any]]:
    """The outputs by name, a value for each image."""
    labels = [classifier.classes[index] for index in prediction.indices]
    return {LABEL: labels, **{name: values.tolist() for name, values in values_of(prediction).items()}}


def _parse(body: bytes, spec: ImageSpec, *, most: int) -> tuple[_Images, bool]:
    """The images of a request, and whether they are in rows.

    Brackets are counted first: a body of empty lists would take 20 times its size as Python objects.

    Raises:
        RequestError: the body does not keep to the protocol.
    """
    height, width, channels = spec.shape
    numbers = min(most * height * width * channels, MAX_NUMBERS)
    lists = numbers // channels + most * (1 + height)
    if body.count(b"[") + body.count(b"{") > lists + _SPARE or body.count(b",") > numbers + _SPARE:
        raise invalid(
            f"The request has more lists or numbers than {most} images of {height} × {width} pixels, or more than "
            f"{MAX_NUMBERS:,} numbers. Send fewer images, or encoded ones."
        )
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The JSON of the request is not valid: {error}. {_HOW}") from error
    if not isinstance(asked, dict) or (_ROWS in asked) == (_COLUMNS in asked):
        raise invalid(f"Received neither '{_ROWS}' nor '{_COLUMNS}', or both. {_HOW}")
    if asked.get("signature_name") not in _SIGNATURES:
        raise invalid(f"Signature {shown(asked['signature_name'])} is not known. Expected 'serving_default', or none.")
    in_rows = _ROWS in asked
    name, given = _without_name(asked[_ROWS]) if in_rows else _column(asked[_COLUMNS])
    if not isinstance(given, list) or not 1 <= len(given) <= most:
        received = f"{len(given):,} images" if isinstance(given, list) else shown(given)
        raise invalid(f"Received {received}. Expected a list of 1 to {most} images. {_HOW}")
    is_encoded = isinstance(given[0], dict)
    if name not in ("", IMAGE if is_encoded else PIXELS):
        found = "encoded images" if is_encoded else "pixels"
        raise invalid(f"Received {found} under the name {name!r}. {_HOW}")
    return (_decoded(given) if is_encoded else _pixels(given, spec)), in_rows


def _without_name(rows: Any) -> tuple[str, Any]:
    """The name under which each row has its image, or nothing; and the images."""
    if not isinstance(rows, list) or not rows or not _is_named(rows[0]):
        return "", rows
    name = next(iter(rows[0]))
    if not all(isinstance(row, dict) and list(row) == [name] for row in rows):
        raise invalid(f"Some rows have other inputs than {shown(name)}, which the first has. {_HOW}")
    return name, [row[name] for row in rows]


def _column(given: Any) -> tuple[str, Any]:
    """The name of the column of images, or nothing; and the images."""
    return next(iter(given.items())) if _is_named(given) else ("", given)


def _is_named(given: Any) -> bool:
    """Whether an object has one input by its name.

    Raises:
        RequestError: another name, or several.
    """
    if not isinstance(given, dict) or _BASE64 in given:
        return False
    if len(given) != 1 or next(iter(given)) not in (IMAGE, PIXELS):
        raise invalid(f"Received the inputs {shown(sorted(given))}. Expected {IMAGE!r} or {PIXELS!r}. {_HOW}")
    return True


def _decoded(given: list[Any]) -> list[bytes]:
    """Encoded images from base64."""
    found = []
    for number, one in enumerate(given):
        if not isinstance(one, dict) or set(one) != {_BASE64} or not isinstance(one[_BASE64], str):
            raise invalid(
                f"Image {number}, counted from 0, is {shown(one)}. Expected {{'{_BASE64}': base64}}, as the first."
            )
        try:
            found.append(base64.b64decode(one[_BASE64], validate=True))
        except (binascii.Error, ValueError) as error:
            raise invalid(f"Image {number}, counted from 0, is not base64: {error}. Encode its bytes again.") from error
    return found


def _pixels(given: list[Any], spec: ImageSpec) -> np.ndarray:
    """u8[N,H,W,3] from lists of lists."""
    kind = list[list[list[list[Annotated[int, msgspec.Meta(ge=0, le=255)]]]]]
    try:
        found = np.array(msgspec.convert(given, kind), np.uint8)
    except (msgspec.ValidationError, ValueError) as error:
        raise invalid(
            f"The pixels cannot be read: {error}. Expected integers 0 to 255 in lists of {spec.shape}."
        ) from error
    if found.shape[1:] != spec.shape:
        raise invalid(f"Received pixels {list(found.shape)}. Expected lists of {spec.shape} for each image.")
    return found
