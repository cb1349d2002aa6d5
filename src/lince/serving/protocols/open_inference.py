"""The Open Inference Protocol, version 2, over REST: `/v2/…`, as clients of KServe and Triton speak it.

A model has two inputs, of which a request has exactly one: `pixels`, u8[N,H,W,3] as the network takes them, or `image`,
N encoded files. Sources: the protocol's specification by KServe; Triton's extensions "binary tensor data" and
"classification". `tensors.py` reads and writes the tensors.

Errors are `{"error": "text"}` on these routes: tritonclient cannot read an object.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
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
from lince.serving.protocols.tensors import InferRequest, Tensor
from lince.serving.request_body import read_body
from lince.serving.service import service_of
from lince.types import Prediction

_CLASSIFIED = ("logits", "probabilities")
_BINARY, _ALL_BINARY, _CLASSIFICATION = "binary_data", "binary_data_output", "classification"
_VERSION = "/v2/models/{name}/versions/{version}"
_Endpoint = Callable[[Request], Awaitable[Response]]


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
    """`GET /v2/health/live` and `/v2/health/ready`."""
    is_live = request.url.path.endswith("/live")
    is_ready = service_of(request).ready is not None
    return json_response({"live": True, "ready": is_ready}, status=200 if is_live or is_ready else 503)


async def models(request: Request) -> Response:
    """`GET /v2/models`: the names of the models."""
    ready = service_of(request).require_ready()
    return json_response({"models": [ready.model_name.name]})


async def model_metadata(request: Request) -> Response:
    """`GET /v2/models/NAME`: its inputs and outputs."""
    ready = model_of(request, service_of(request))
    classifier = ready.inference.classifier
    (height, width, channels), classes = classifier.image_spec.shape, len(classifier.classes)
    inputs = [
        {"name": PIXELS, "datatype": "UINT8", "shape": [-1, height, width, channels]},
        {"name": IMAGE, "datatype": "BYTES", "shape": [-1]},
    ]
    outputs = [
        {"name": name, "datatype": datatype, "shape": [-1, classes] if of_classes else [-1]}
        for name, (datatype, of_classes) in outputs_of(classifier).items()
    ]
    name = ready.model_name
    described = {"name": name.name, "versions": [name.version], "platform": "lince_tflite"}
    return json_response({**described, "inputs": inputs, "outputs": outputs})


async def model_ready(request: Request) -> Response:
    """`GET /v2/models/NAME/ready`."""
    return json_response({"name": model_of(request, service_of(request)).model_name.name, "ready": True})


async def infer(request: Request) -> Response:
    """`POST /v2/models/NAME/infer`: answers for a tensor of images."""
    service = service_of(request)
    ready = model_of(request, service)
    ready.inference.check_room()
    with service.buffer.share() as take:
        body = await read_body(request, service.settings, take)
        header = request.headers.get(tensors.LENGTH_HEADER)
        if header == "0":  # a raw request: the body is the one element of the one input
            asked = InferRequest([])
            images: list[bytes] | np.ndarray = [body]
        else:
            asked, given = tensors.parse(body, header)
            images = _images(given, ready.inference.classifier, most=service.settings.max_parts)
        wanted = _wanted(asked, ready.inference.classifier)
        prediction = await ready.inference.predict(images)
    name = ready.model_name
    answer: dict[str, Any] = {"model_name": name.name, "model_version": name.version}
    if asked.id is not None:
        answer["id"] = asked.id
    outputs = [_output(one, count, prediction, ready.inference.classifier) for one, count, _ in wanted]
    content, length = tensors.render(answer, outputs, [is_binary for _, _, is_binary in wanted])
    if length is None:
        return Response(content, media_type="application/json")
    headers = {tensors.LENGTH_HEADER: str(length)}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _images(given: Sequence[Tensor], classifier: Classifier, *, most: int) -> list[bytes] | np.ndarray:
    """The images of a request: encoded, or pixels u8[N,H,W,3].

    Raises:
        RequestError: other inputs than one of both, another datatype or shape, no image, or too many.
    """
    names = [tensor.name for tensor in given]
    if names not in ([PIXELS], [IMAGE]):
        received = ", ".join(map(shown, names)) or "no input"
        raise invalid(f"Received {received}. Expected exactly one of the inputs {PIXELS!r} and {IMAGE!r}.")
    tensor, expected = given[0], classifier.image_spec.shape
    if tensor.name == PIXELS:
        is_fit = tensor.datatype == "UINT8" and tensor.shape[1:] == expected and len(tensor.shape) == 4
        form = f"UINT8 [-1, {', '.join(map(str, expected))}]"
    else:
        is_fit = tensor.datatype == "BYTES" and tensor.shape in ((tensor.shape or (0,))[:1], (*tensor.shape[:1], 1))
        form = "BYTES [-1] or [-1, 1]"
    if not is_fit:
        raise invalid(f"Input {tensor.name!r} is {tensor.datatype} {list(tensor.shape)}. Expected {form}.")
    if not 1 <= tensor.shape[0] <= most:
        raise invalid(f"Input {tensor.name!r} has {tensor.shape[0]:,} images. Expected 1 to {most}.")
    return tensor.data if isinstance(tensor.data, np.ndarray) else list(tensor.data)


def _wanted(asked: InferRequest, classifier: Classifier) -> list[tuple[str, int, bool]]:
    """The outputs to answer with, in order: name, number of classes to list (0: a number for each), and whether binary.

    Raises:
        RequestError: an unknown output, or a parameter that is not valid.
    """
    known, by_default = outputs_of(classifier), _flag(asked.parameters, _ALL_BINARY, otherwise=False)
    if not asked.outputs:
        return [(name, 0, by_default) for name in known]
    found = []
    for one in asked.outputs:
        if one.name not in known:
            raise invalid(f"Output {shown(one.name)} is not known. Expected {', '.join(known)}.")
        count = one.parameters.get(_CLASSIFICATION, 0)
        is_number = isinstance(count, int) and not isinstance(count, bool) and count >= 0
        if not is_number or (count and one.name not in _CLASSIFIED):
            raise invalid(
                f"Output {one.name!r} has {_CLASSIFICATION!r} {shown(count)}. Expected a number of classes, and the "
                f"output {' or '.join(_CLASSIFIED)}."
            )
        classes = min(int(count or 0), len(classifier.classes))
        found.append((one.name, classes, _flag(one.parameters, _BINARY, otherwise=by_default)))
    return found


def _flag(parameters: tensors.Parameters, name: str, *, otherwise: bool) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise invalid(f"Parameter {name!r} is {shown(value)}. Expected true or false.")
    return value


def _output(name: str, count: int, prediction: Prediction, classifier: Classifier) -> Tensor:
    """One output of all images; with a count, the best classes as `value:index:label`."""
    datatype, _ = outputs_of(classifier)[name]
    if name == LABEL:
        labels = [classifier.classes[index].encode() for index in prediction.indices]
        return Tensor(name, datatype, (len(labels),), labels)
    values = values_of(prediction)[name]
    if not count:
        return Tensor(name, datatype, values.shape, values)
    order = (-prediction.logits).argsort(axis=1, kind="stable")[:, :count]
    listed = [
        f"{row[index]:f}:{index}:{classifier.classes[index]}".encode()
        for row, best in zip(values, order, strict=True)
        for index in best
    ]
    return Tensor(name, "BYTES", order.shape, listed)
