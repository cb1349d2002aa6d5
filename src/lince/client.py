"""A running server as a `Predict`, so that the service is evaluated by the same code as the model file.

Images are sent as PNG, which is lossless: the server gets the same pixels. A server's answers are not trusted. Their
size, time, types and ranges are bounded, and the probability of each answer must follow from its logits.
"""

import io
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from msgspec import Meta
from PIL import Image

from lince import calibration
from lince.errors import ServiceError
from lince.system import http_exchange
from lince.types import Calibration, ImageSpec, Outputs, Predict, ResizeRule

_PARTS_PER_REQUEST = 16  # a small request with a quick answer, even where the server takes more
_MODEL_LIMIT_BYTES = 16 * 2**20  # twice a model file's largest manifest
_ANSWER_LIMIT_BYTES = 32 * 2**20  # 16 answers with 10,000 logits at 100 bytes each, twice
_TOLERANCE = 1e-4  # of a probability: machines differ in the last bits of a softmax

_Side = Annotated[int, Meta(ge=1, le=1024)]  # of a model file's images
_Distance = Annotated[float, Meta(ge=0, le=1e38)]
_Logit = Annotated[float, Meta(ge=-1e38, le=1e38)]  # within float32
_Name = Annotated[str, Meta(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class _Image:
    height: _Side
    width: _Side
    resize: ResizeRule


@dataclass(frozen=True)
class _Limits:
    max_parts: Annotated[int, Meta(ge=1, le=2**20)]


@dataclass(frozen=True)
class _Model:
    """The part of `GET /model` that is read."""

    name: _Name
    version: _Name
    classes: Annotated[tuple[_Name, ...], Meta(min_length=2, max_length=2**16)]
    image: _Image
    limits: _Limits
    calibration: Calibration


@dataclass(frozen=True)
class _Failure:
    message: str


@dataclass(frozen=True)
class _Prediction:
    """An image that the server could not read has an `error`, and nothing else."""

    label: str = ""
    probability: float = 0.0
    logits: tuple[_Logit, ...] = ()
    distance: _Distance | None = None
    error: _Failure | None = None


@dataclass(frozen=True)
class _Answer:
    """The part of an answer of `POST /predict` that is read."""

    predictions: tuple[_Prediction, ...]


@dataclass(frozen=True)
class ServedModel:
    """The model of a server, as the server describes it.

    Attributes:
        max_parts: images it takes in one request.
        calibration: of its answers.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    image: ImageSpec
    max_parts: int
    calibration: Calibration


def served_model(url: str, *, timeout_s: float) -> ServedModel:
    """Asks a server which model it serves.

    Args:
        url: address of the service, such as http://127.0.0.1:8000.
        timeout_s: seconds to wait for it to connect, and for its whole answer.

    Raises:
        ServiceError: when nothing answers there, or not as Lince does.
    """
    content = http_exchange.ask(url, "GET", "/model", limit_bytes=_MODEL_LIMIT_BYTES, timeout_s=timeout_s)
    model = http_exchange.decode(url, "/model", content, _Model)
    if len(set(model.classes)) < len(model.classes):
        raise http_exchange.foreign(url, "/model", "it names a class twice")
    return ServedModel(
        name=model.name,
        version=model.version,
        classes=model.classes,
        image=ImageSpec(model.image.height, model.image.width, model.image.resize),
        max_parts=model.limits.max_parts,
        calibration=model.calibration,
    )


def server_predict(url: str, served: ServedModel, *, timeout_s: float) -> Predict:
    """Makes the address of a running server a `Predict`, by `POST /predict?logits=true`.

    Args:
        url: address of the service, such as http://127.0.0.1:8000.
        served: its model, from `served_model`. Columns are in the order of its classes.
        timeout_s: seconds to wait for it to connect, and for each whole answer.

    Returns:
        A function u8[n,H,W,3] → logits f32[n,K] and distances, with H and W of the served model: nothing is resized on
        the way. It keeps no connection open. It raises ServiceError when nothing answers there, or not as Lince does.
    """
    step = min(_PARTS_PER_REQUEST, served.max_parts)

    measures = served.calibration.distance_weight > 0

    def predict(images: UInt8[np.ndarray, "n h w 3"]) -> Outputs:
        _check_size(url, served.image, images)
        logits = np.zeros((len(images), len(served.classes)), np.float32)
        distances = np.zeros(len(images), np.float32)
        for start in range(0, len(images), step):
            batch = images[start : start + step]
            answer = _post_images(url, batch, timeout_s=timeout_s)
            try:
                found = _outputs(answer, served, len(batch))
                logits[start : start + step] = found.logits
                if found.distances is not None:
                    distances[start : start + step] = found.distances
            except ValueError as error:
                raise http_exchange.foreign(url, "/predict", str(error)) from error
        return Outputs(logits, distances if measures else None)

    return predict


def _check_size(url: str, image: ImageSpec, images: np.ndarray) -> None:
    if images.shape[1:] != image.shape:
        height, width = images.shape[1:3]
        raise ServiceError(
            f"Received images of {width} × {height} pixels for {url}, whose model sees {image.width} × {image.height}. "
            "Expected this size: read the data for that model."
        )


def _post_images(url: str, images: np.ndarray, *, timeout_s: float) -> _Answer:
    boundary = secrets.token_hex(16)
    body = _multipart((_png(image) for image in images), boundary)
    content = http_exchange.ask(
        url,
        "POST",
        "/predict?top=1&logits=true",
        body=body,
        content_type=f"multipart/form-data; boundary={boundary}",
        limit_bytes=_ANSWER_LIMIT_BYTES,
        timeout_s=timeout_s,
    )
    return http_exchange.decode(url, "/predict", content, _Answer)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    # Levels above 1 save few bytes and cost most of the time.
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _multipart(files: Iterable[bytes], boundary: str) -> bytes:
    """A form with every file under the name `file`. Source: RFC 7578."""
    pieces = []
    for index, content in enumerate(files):
        head = f'Content-Disposition: form-data; name="file"; filename="{index}.png"\r\nContent-Type: image/png\r\n\r\n'
        pieces += [f"--{boundary}\r\n{head}".encode(), content, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


def _outputs(answer: _Answer, served: ServedModel, count: int) -> Outputs:
    """Logits in the server's order of classes; ValueError where they are not `count` rows with their own answers."""
    predictions, num_classes = answer.predictions, len(served.classes)
    if len(predictions) != count:
        raise ValueError(f"{len(predictions)} predictions for {count} images")
    for prediction in predictions:
        if prediction.error is not None:
            raise ServiceError(f"The server refused an image: {http_exchange.shown(prediction.error.message)}")
        if len(prediction.logits) != num_classes:
            raise ValueError(f"{len(prediction.logits)} logits for {num_classes} classes and ?logits=true")
    logits = np.array([prediction.logits for prediction in predictions], np.float32)
    found = [prediction.distance for prediction in predictions if prediction.distance is not None]
    if served.calibration.distance_weight > 0 and len(found) < count:
        raise ValueError(f"{len(found)} distances for {count} images and a calibration that weighs them")
    outputs = Outputs(logits, np.array(found, np.float32) if len(found) == count else None)
    _require_consistent(predictions, outputs, served)
    return outputs


def _require_consistent(predictions: tuple[_Prediction, ...], outputs: Outputs, served: ServedModel) -> None:
    """Raises ValueError where a label or a probability does not follow from the logits and the calibration."""
    expected = calibration.apply(outputs.logits, served.calibration, distances=outputs.distances)
    for row, prediction in enumerate(predictions):
        index = int(expected.indices[row])
        label, probability = served.classes[index], float(expected.probabilities[row, index])
        if prediction.label != label:
            raise ValueError(f"the class {http_exchange.shown(repr(prediction.label))} where its logits say {label!r}")
        if not math.isclose(prediction.probability, probability, abs_tol=_TOLERANCE):
            raise ValueError(f"probability {prediction.probability:.4g} where its logits give {probability:.4g}")
