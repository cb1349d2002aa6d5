"""The Open Inference Protocol, version 2, over REST: `/v2/…`, as clients of KServe and Triton speak it.

A model has two inputs, of which a request has exactly one: `pixels`, u8[N,H,W,3] as the network takes them, or `image`,
N encoded files. Sources: the protocol's specification by KServe; Triton's extensions "binary tensor data" and
"classification". `tensors.py` reads and writes the tensors.

Errors are `{"error": "text"}` on these routes: tritonclient cannot read an object.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from jaxtyping import UInt8
from starlette.responses import Response

import lince
from lince.inference.classifier import Classifier
from lince.serving.protocols import tensors
from lince.serving.protocols.named_outputs import (
    IMAGE,
    LABEL,
    PIXELS,
    invalid,
    json_response,
    model_of,
    outputs_of,
    shown,
    values_of,
)
from lince.serving.protocols.tensors import InferRequest, Input, OutputParameters, RequestParameters, Tensor
from lince.serving.request_body import read_body
from lince.serving.service import is_gone, service_of
from lince.types import Prediction

_CLASSIFIED = ("logits", "probabilities")
_VERSION = "/v2/models/{name}/versions/{version}"
_Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class _Wanted:
    """An output to answer with.

    Attributes:
        classes: the number of best classes to list as text; 0 for a number for each class.
        is_binary: whether it is behind the JSON.
    """

    name: str
    classes: int
    is_binary: bool


def add_routes(app: FastAPI) -> None:
    """Adds the routes below `/v2`."""
    server: tuple[tuple[str, _Endpoint], ...] = (
        ("/v2", server_metadata),
        ("/v2/health/live", health),
        ("/v2/health/ready", health),
        ("/v2/models", models),
    )
    for path, endpoint in server:
        _add(app, path, endpoint)
    for start in ("/v2/models/{name}", _VERSION):
        _add(app, start, model_metadata)
        _add(app, f"{start}/ready", model_ready)
        _add(app, f"{start}/infer", infer, method="POST")


def _add(app: FastAPI, path: str, endpoint: _Endpoint, *, method: str = "GET") -> None:
    app.add_api_route(path, endpoint, methods=[method], include_in_schema=False)


async def server_metadata(_: Request) -> Response:
    """`GET /v2`: what answers, and which extensions it knows."""
    return json_response(
        {"name": "lince", "version": lince.__version__, "extensions": ["binary_tensor_data", "classification"]}
    )


async def health(request: Request) -> Response:
    """`GET /v2/health/live` and `/v2/health/ready`: what `/livez` and `/readyz` find."""
    ready = service_of(request).ready
    is_live = ready is None or ready.inference.is_alive
    is_ready = ready is not None and ready.inference.is_ready
    is_well = is_live if request.scope["path"].endswith("/live") else is_ready
    return json_response({"live": is_live, "ready": is_ready}, status=200 if is_well else 503)


async def models(request: Request) -> Response:
    """`GET /v2/models`: the names of the models."""
    ready = service_of(request).require_ready()
    return json_response({"models": ready.models.names})


async def model_metadata(request: Request) -> Response:
    """`GET /v2/models/NAME`: its inputs and outputs."""
    served = model_of(request, service_of(request).require_ready())
    classifier = served.classifier
    (height, width, channels), classes = classifier.image_spec.shape, len(classifier.classes)
    inputs = [
        {"name": PIXELS, "datatype": "UINT8", "shape": [-1, height, width, channels]},
        {"name": IMAGE, "datatype": "BYTES", "shape": [-1]},
    ]
    outputs = [
        {"name": name, "datatype": datatype, "shape": [-1, classes] if of_classes else [-1]}
        for name, (datatype, of_classes) in outputs_of(classifier).items()
    ]
    described = {"name": served.name.name, "versions": [served.name.version], "platform": "lince_tflite"}
    return json_response({**described, "inputs": inputs, "outputs": outputs})


async def model_ready(request: Request) -> Response:
    """`GET /v2/models/NAME/ready`."""
    ready = service_of(request).require_ready()
    is_ready, served = ready.inference.is_ready, model_of(request, ready)
    return json_response({"name": served.name.name, "ready": is_ready}, status=200 if is_ready else 503)


async def infer(request: Request) -> Response:
    """`POST /v2/models/NAME/infer`: answers for a tensor of images."""
    service = service_of(request)
    ready = service.require_ready()
    served = model_of(request, ready)
    ready.inference.check_room()
    classifier, header = served.classifier, request.headers.get(tensors.LENGTH_HEADER)
    with service.buffer.share() as take:
        body = await read_body(request, service.settings, take)
        if header == "0":  # a raw request: the body is the one element of the one input
            images: list[bytes] | np.ndarray = [body]
            asked = InferRequest([], parameters=RequestParameters(binary_data_output=True))
        else:
            asked, rest = tensors.parse(body, header)
            images = _images(asked.inputs, rest, classifier, most=service.settings.max_parts)
            take(sum(map(len, images)) if isinstance(images, list) else images.nbytes)
            asked = InferRequest([], asked.id, asked.parameters, asked.outputs)  # without the data
            del rest
        wanted = _wanted(asked, classifier)
        del body
        answer: dict[str, Any] = {"model_name": served.name.name, "model_version": served.name.version}
        if asked.id is not None:
            answer["id"] = asked.id
        content, length = await ready.inference.predict(
            classifier, images, partial(_render, answer, wanted, classifier), is_gone(request)
        )
    if length is None:
        return Response(content, media_type="application/json")
    headers = {tensors.LENGTH_HEADER: str(length)}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _render(
    answer: dict[str, Any], wanted: list[_Wanted], classifier: Classifier, prediction: Prediction
) -> tuple[bytes, int | None]:
    outputs = [_output(one, prediction, classifier) for one in wanted]
    return tensors.render(answer, outputs, [one.is_binary for one in wanted])


def _images(
    inputs: Sequence[Input], rest: memoryview, classifier: Classifier, *, most: int
) -> list[bytes] | UInt8[np.ndarray, "n h w 3"]:
    """The images of a request: encoded, or pixels. Name, datatype and shape are checked before any data are read.

    Raises:
        RequestError: other inputs than one of both, another datatype or shape, no image, too many, or other data.
    """
    if len(inputs) != 1 or inputs[0].name not in (PIXELS, IMAGE):
        received = ", ".join(shown(one.name) for one in inputs[:4]) or "no input"
        raise invalid(f"Received {received}. Expected exactly one of the inputs {PIXELS!r} and {IMAGE!r}.")
    one, expected = inputs[0], classifier.image_spec.shape
    if one.name == PIXELS:
        is_fit = one.datatype == "UINT8" and len(one.shape) == 4 and tuple(one.shape[1:]) == expected
        form = f"UINT8 [-1, {', '.join(map(str, expected))}]"
    else:
        is_fit = one.datatype == "BYTES" and (len(one.shape) == 1 or (len(one.shape) == 2 and one.shape[1] == 1))
        form = "BYTES [-1] or [-1, 1]"
    if not is_fit:
        raise invalid(f"Input {one.name!r} is {shown(one.datatype)} {one.shape}. Expected {form}.")
    if not 1 <= one.shape[0] <= most:
        raise invalid(f"Input {one.name!r} has {one.shape[0]:,} images. Expected 1 to {most}.")
    return tensors.pixels(one, rest) if one.name == PIXELS else tensors.elements(one, rest)


def _wanted(asked: InferRequest, classifier: Classifier) -> list[_Wanted]:
    """The outputs to answer with, in order.

    Raises:
        RequestError: an unknown output, one that is named twice, or classes of one that has none.
    """
    known = outputs_of(classifier)
    by_default = asked.parameters.binary_data_output if asked.parameters else False
    if not asked.outputs:
        return [_Wanted(name, 0, by_default) for name in known]
    names = [one.name for one in asked.outputs]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise invalid(f"Received two outputs {shown(min(doubled))}. Expected each name once.")
    found = []
    for one in asked.outputs:
        if one.name not in known:
            raise invalid(f"Output {shown(one.name)} is not known. Expected {', '.join(known)}.")
        options = one.parameters or OutputParameters()
        if options.shared_memory_region is not None:
            raise invalid(f"Output {one.name!r} is asked for in shared memory. Expected it in the answer: see GET /v2.")
        if options.classification and one.name not in _CLASSIFIED:
            expected = " or ".join(_CLASSIFIED)
            raise invalid(f"Output {one.name!r} has the parameter 'classification'. Expected it of {expected}.")
        is_binary = by_default if options.binary_data is None else options.binary_data
        found.append(_Wanted(one.name, min(options.classification, len(classifier.classes)), is_binary))
    return found


def _output(wanted: _Wanted, prediction: Prediction, classifier: Classifier) -> Tensor:
    """One output of all images; the best classes as `value:index:label`."""
    name, (datatype, _) = wanted.name, outputs_of(classifier)[wanted.name]
    if name == LABEL:
        labels = [classifier.classes[index].encode() for index in prediction.indices]
        return Tensor(name, datatype, (len(labels),), labels)
    values = values_of(prediction)[name]
    if not wanted.classes:
        return Tensor(name, datatype, values.shape, values)
    order = (-prediction.logits).argsort(axis=1, kind="stable")[:, : wanted.classes]
    listed = [
        f"{row[index]:f}:{index}:{classifier.classes[index]}".encode()
        for row, best in zip(values, order, strict=True)
        for index in best
    ]
    return Tensor(name, "BYTES", order.shape, listed)
