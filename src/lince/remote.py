"""A running server as a `Predict`, so that the service is evaluated by the same code as the model file.

Images travel as PNG, which loses nothing: the server sees the same pixels.
"""

import http.client
import io
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from lince.errors import ServiceError
from lince.records import Calibration, ImageSpec, Predict
from lince.sentences import brief

_PARTS_PER_REQUEST = 16  # keeps a request small, and the time to its answer short, whatever the server would take
_ANSWER_LIMIT_BYTES = 32 * 2**20  # 16 answers over 10,000 classes at 100 bytes each, twice; nobody's endless stream


@dataclass(frozen=True)
class ServedModel:
    """What a server says it serves.

    Attributes:
        max_parts: images it takes in one request.
        calibration: what its probabilities are read with: prediction sets, "I don't know".
    """

    name: str
    version: str
    classes: tuple[str, ...]
    image: ImageSpec
    max_parts: int
    calibration: Calibration


def served_model(url: str, *, timeout_s: float) -> ServedModel:
    """Asks a server what it serves.

    Args:
        url: address of the service, such as http://127.0.0.1:8000.
        timeout_s: seconds to wait for it to connect, and for each piece of its answer.

    Raises:
        ServiceError: when nothing answers there, or not as Lince does.
    """
    answer = _request(url, "GET", "/model", timeout_s=timeout_s)
    try:
        return ServedModel(
            name=str(answer["name"]),
            version=str(answer["version"]),
            classes=tuple(str(label) for label in answer["classes"]),
            image=ImageSpec(**{key: answer["image"][key] for key in ("height", "width", "resize")}),
            max_parts=int(answer["limits"]["max_parts"]),
            calibration=msgspec.convert(answer["calibration"], Calibration),
        )
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise _foreign(url, "/model", error) from error


def server_predict(url: str, classes: tuple[str, ...], *, timeout_s: float) -> Predict:
    """Makes the address of a running server a `Predict`.

    Args:
        url: address of the service, such as http://127.0.0.1:8000.
        classes: K names, in the order wanted for the columns; the server must serve just these, in any order.
        timeout_s: seconds to wait for it to connect, and for each piece of its answer.

    Returns:
        A function u8[n,H,W,3] → f32[n,K], with H and W those of the served model: nothing is resized on the way.
        It keeps no connection open, and raises ServiceError as this function does.

    Raises:
        ServiceError: when nothing answers there, or not as Lince does, or other classes are served.
    """
    served = served_model(url, timeout_s=timeout_s)
    _check_classes(url, served.classes, classes)
    columns = {label: column for column, label in enumerate(classes)}
    step = max(1, min(_PARTS_PER_REQUEST, served.max_parts))

    def predict(images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n k"]:
        _check_size(url, served.image, images)
        probabilities = np.zeros((len(images), len(classes)), np.float32)
        for start in range(0, len(images), step):
            batch = images[start : start + step]
            answer = _post_images(url, batch, top=len(classes), timeout_s=timeout_s)
            try:
                probabilities[start : start + step] = _rows(answer, columns, len(batch))
            except (KeyError, TypeError, ValueError) as error:
                raise _foreign(url, "/predict", error) from error
        return probabilities

    return predict


def _check_classes(url: str, served: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if sorted(served) != sorted(wanted):
        raise ServiceError(
            f"{url} serves a model for {len(served)} classes ({brief(served, unlike=wanted)}). Expected those of the "
            f"data, {len(wanted)} ({brief(wanted, unlike=served)}): serve a model that was trained on this data."
        )


def _check_size(url: str, image: ImageSpec, images: np.ndarray) -> None:
    if images.shape[1:] != image.shape:
        height, width = images.shape[1:3]
        raise ServiceError(
            f"Received images of {width} × {height} pixels for {url}, whose model sees {image.width} × {image.height}. "
            "Expected this size: read the data for that model."
        )


def _post_images(url: str, images: np.ndarray, *, top: int, timeout_s: float) -> Any:
    boundary = secrets.token_hex(16)
    body = _multipart((_png(image) for image in images), boundary)
    content_type = f"multipart/form-data; boundary={boundary}"
    return _request(url, "POST", f"/predict?top={top}", body=body, content_type=content_type, timeout_s=timeout_s)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(
        file, "PNG", compress_level=1
    )  # levels above 1 save few bytes and cost most of the time
    return file.getvalue()


def _multipart(files: Iterable[bytes], boundary: str) -> bytes:
    """A form with every file under the name `file`. Source: RFC 7578."""
    pieces = []
    for index, content in enumerate(files):
        head = f'Content-Disposition: form-data; name="file"; filename="{index}.png"\r\nContent-Type: image/png\r\n\r\n'
        pieces += [f"--{boundary}\r\n{head}".encode(), content, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])


def _rows(answer: Any, columns: dict[str, int], count: int) -> Float32[np.ndarray, "n k"]:
    """Reads a row of probabilities from each prediction's `top`, which must name every class once."""
    predictions = answer["predictions"]
    if len(predictions) != count:
        raise ValueError(f"{len(predictions)} predictions for {count} images")
    rows = np.zeros((count, len(columns)), np.float32)
    for row, prediction in zip(rows, predictions, strict=True):
        if "error" in prediction:  # an image of a form that the server could not read has an error in its place
            raise ServiceError(f"The server refused an image: {prediction['error']['message']}")
        named = {entry["label"]: float(entry["probability"]) for entry in prediction["top"]}
        if len(named) != len(columns):
            raise ValueError(f"{len(named)} classes for ?top={len(columns)}")
        for label, probability in named.items():
            row[columns[label]] = probability
    return rows


def _request(
    url: str, method: str, path: str, *, timeout_s: float, body: bytes | None = None, content_type: str | None = None
) -> Any:
    """One request on a connection of its own, and the JSON of its answer."""
    address = _address(url)
    secure = address.scheme == "https"
    make_connection = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = make_connection(address.hostname, address.port, timeout=timeout_s)
    try:
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
        connection.request(method, address.path.rstrip("/") + path, body, headers)
        response = connection.getresponse()
        status, content = response.status, response.read(_ANSWER_LIMIT_BYTES)
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        message = (
            f"No answer from {url} ({reason}). Expected a running server: start `lince serve`, or correct the address."
        )
        raise ServiceError(message) from error
    finally:
        connection.close()
    return _read_json(url, path, status=status, content=content)


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        valid = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:  # a port that is not a number, half an IPv6 address
        valid = False
    if not valid:
        raise ServiceError(f"Received {url!r}. Expected the address of a server, such as 'http://127.0.0.1:8000'.")
    return address


def _read_json(url: str, path: str, *, status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise _foreign(url, path, f"status {status}, no JSON") from error
    if status == 200:
        return answer
    try:
        said = answer["error"]["message"]
    except (KeyError, TypeError) as error:
        raise _foreign(url, path, f"status {status}") from error
    raise ServiceError(f"{url}{path} answered with status {status}: {said}")


def _foreign(url: str, path: str, reason: Exception | str) -> ServiceError:
    said = reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
    expected = "Expected the address of a `lince serve` of this version."
    return ServiceError(f"{url}{path} does not answer as Lince does ({said}). {expected}")
