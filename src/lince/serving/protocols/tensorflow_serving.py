"""TensorFlow Serving's REST API and KServe's version 1: `/v1/models/NAME` and `/v1/models/NAME:predict`.

A request has its images in rows (`instances`) or in columns (`inputs`): encoded files as `{"b64": "…"}`, or pixels as
lists of lists. The answer has the same form. Source: TensorFlow Serving, "RESTful API"; KServe, "V1 protocol".

Errors are `{"error": "text"}` on these routes, as that server has them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import FastAPI, Request
from jaxtyping import UInt8
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
from lince.serving.service import is_gone, service_of
from lince.types import ImageSpec, Prediction

_ROWS, _COLUMNS = "instances", "inputs"
_SIGNATURES = ("serving_default", "", None)
_SPARE = 1000  # brackets and braces of a request besides those of its images
_Images = list[bytes] | np.ndarray
_Image = list[list[list[Annotated[int, msgspec.Meta(ge=0, le=255)]]]]
_HOW = (
    f"Expected '{_ROWS}': a list of {{'b64': encoded image in base64}}, or of pixels, integers 0 to 255 in "
    f"lists; or '{_COLUMNS}' with such a list, or with one by the name '{IMAGE}' or '{PIXELS}'."
)


class _Base64(msgspec.Struct, forbid_unknown_fields=True):
    """An encoded image."""

    b64: bytes


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    """An encoded image, or an image under the name of its input."""

    b64: bytes | None = None
    image: _Base64 | None = None
    pixels: _Image | None = None

    @property
    def images(self) -> list[_Base64 | _Image]:
        encoded = None if self.b64 is None else _Base64(self.b64)
        return [one for one in (encoded, self.image, self.pixels) if one is not None]


class _Columns(msgspec.Struct, forbid_unknown_fields=True):
    """The images under the name of the input."""

    image: list[_Base64] | None = None
    pixels: list[_Image] | None = None


class _Request(msgspec.Struct):
    """A request. Rows and columns are read later: a number that is no integer then ends the reading at once."""

    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    signature_name: str | None = None


def add_routes(app: FastAPI) -> None:
    """Adds the routes below `/v1`."""
    app.add_api_route("/v1/models", models, include_in_schema=False)
    for start in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        app.add_api_route(f"{start}:predict", predict, methods=["POST"], include_in_schema=False)
        app.add_api_route(start, model_status, include_in_schema=False)


async def models(request: Request) -> Response:
    """`GET /v1/models`: the names of the models, as KServe lists them."""
    return json_response({"models": service_of(request).require_ready().models.names})


async def model_status(request: Request) -> Response:
    """`GET /v1/models/NAME`: its version and state, as both protocols say it."""
    ready = service_of(request).require_ready()
    name = model_of(request, ready).name
    state = {"version": name.version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return json_response({"name": name.name, "ready": ready.inference.is_ready, "model_version_status": [state]})


async def predict(request: Request) -> Response:
    """`POST /v1/models/NAME:predict`: answers for images, in rows or columns as the request has them."""
    service = service_of(request)
    ready = service.require_ready()
    classifier = model_of(request, ready).classifier
    ready.inference.check_room()
    with service.buffer.share() as take:
        body = await read_body(request, service.settings, take)
        images, in_rows = _parse(body, classifier.image_spec, most=service.settings.max_parts)
        take(sum(map(len, images)) if isinstance(images, list) else images.nbytes)
        del body
        finish = partial(_answer, classifier, in_rows)
        return await ready.inference.predict(classifier, images, finish, is_gone(request))


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
        asked = msgspec.json.decode(body, type=_Request)
        if bool(asked.instances) == bool(asked.inputs):
            raise invalid(f"Received neither '{_ROWS}' nor '{_COLUMNS}', or both. {_HOW}")
        if asked.instances:
            given = _of_rows(msgspec.json.decode(asked.instances, type=list[_Row | _Image]))
        else:
            given = _of_columns(msgspec.json.decode(asked.inputs, type=_Columns | list[_Base64 | _Image]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The JSON of the request cannot be read: {error}. {_HOW}") from error
    if asked.signature_name not in _SIGNATURES:
        raise invalid(f"Signature {shown(asked.signature_name)} is not known. Expected 'serving_default', or none.")
    if not 1 <= len(given) <= most:
        raise invalid(f"Received {len(given):,} images. Expected a list of 1 to {most} images. {_HOW}")
    encoded = [one.b64 for one in given if isinstance(one, _Base64)]
    if encoded and len(encoded) < len(given):
        raise invalid(f"Some images are encoded, and others are pixels. Expected all in one form. {_HOW}")
    return encoded or _pixels(given, spec), bool(asked.instances)


def _of_rows(rows: list[_Row | _Image]) -> list[_Base64 | _Image]:
    """The image of each row, which may stand under the name of its input."""
    found: list[_Base64 | _Image] = []
    for number, row in enumerate(rows):
        images = [row] if isinstance(row, list) else row.images
        if len(images) != 1:
            raise invalid(f"Row {number}, counted from 0, has {len(images)} images. Expected one in each. {_HOW}")
        found += images
    return found


def _of_columns(columns: _Columns | list[_Base64 | _Image]) -> list[_Base64 | _Image]:
    """The images of the one column."""
    if isinstance(columns, list):
        return columns
    if (columns.image is None) == (columns.pixels is None):
        raise invalid(f"Received no column of images, or two. Expected {IMAGE!r} or {PIXELS!r}. {_HOW}")
    return [*(columns.image or ()), *(columns.pixels or ())]


def _pixels(given: Sequence[Any], spec: ImageSpec) -> UInt8[np.ndarray, "n h w 3"]:
    """u8[N,H,W,3] from lists of lists."""
    try:
        found = np.array(given, np.uint8)
    except ValueError as error:
        raise invalid(f"The images are lists of different lengths. Expected lists of {spec.shape} for each.") from error
    if found.shape[1:] != spec.shape:
        raise invalid(f"Received pixels {list(found.shape)}. Expected lists of {spec.shape} for each image.")
    return found
