"""Requests as bytes: images of every kind, encoded, and in batches that the service takes."""

import io
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from lince.client.answers import Failure, Limits
from lince.errors import LinceError

Picture = str | Path | bytes | np.ndarray | Image.Image
"""One image: the path of a file, a file's bytes, an array u8[H,W,3] of RGB pixels, or a PIL image."""

_PARTS_PER_REQUEST = 16  # a small request with a quick answer, even where the server takes more
_MODEL_LIMIT_BYTES = 16 * 2**20  # twice a model file's largest manifest
_ANSWER_LIMIT_BYTES = 32 * 2**20  # 16 answers with 10,000 logits at 100 bytes each, twice
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_CONVERTED = {
    **dict.fromkeys(("CMYK", "YCbCr", "LAB", "HSV", "RGBX"), "RGB"),
    **{"RGBa": "RGBA", "PA": "RGBA", "La": "LA"},
}
_ORIENTATION = 0x0112  # of EXIF


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        path: from the address of the service on, with the query.
        limit_bytes: the largest answer that is accepted.
        content_type, content: the body of a POST; None for a GET.
    """

    path: str
    limit_bytes: int
    content_type: str | None = None
    content: bytes | None = None

    @property
    def method(self) -> str:
        return "GET" if self.content is None else "POST"


_TOP = 5  # what the service lists when it is not told

READY = Request("/readyz", _MODEL_LIMIT_BYTES)


def model_request(name: str | None) -> Request:
    """Asks what is served; None for the default model."""
    return Request("/model" + _query(model=name), _MODEL_LIMIT_BYTES)


def predict_request(files: Sequence[bytes], *, top: int, logits: bool, model: str | None) -> Request:
    """Asks for the answers for encoded images: one is the body itself, several are a form."""
    # A request without a query has a shorter way through the service.
    path = "/predict" + _query(top=None if top == _TOP else top, logits="true" if logits else None, model=model)
    if len(files) == 1:
        return Request(path, _ANSWER_LIMIT_BYTES, "application/octet-stream", files[0])
    boundary = secrets.token_hex(16)
    form = b"".join([*(_part(boundary, content) for content in files), f"--{boundary}--\r\n".encode()])
    return Request(path, _ANSWER_LIMIT_BYTES, f"multipart/form-data; boundary={boundary}", form)


def explain_request(file: bytes, *, label: str | int | None, model: str | None) -> Request:
    """Asks which places of an encoded image support a class, by its label or index; None for the answer."""
    path = "/explain" + _query(**{"class": label, "model": model})
    return Request(path, _ANSWER_LIMIT_BYTES, "application/octet-stream", file)


def _query(**values: object) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _part(boundary: str, content: bytes) -> bytes:
    """Source: RFC 7578. Clients send a file's name; the service reads the format from the bytes."""
    head = 'Content-Disposition: form-data; name="file"; filename="image"\r\nContent-Type: application/octet-stream'
    return b"".join([f"--{boundary}\r\n{head}\r\n\r\n".encode(), content, b"\r\n"])


_PART_BYTES = len(_part("0" * 32, b""))
_END_BYTES = 2 + 32 + 4


def pictures(images: Picture | list[Any] | tuple[Any, ...]) -> tuple[Sequence[Picture], bool]:
    """The images that a user gave, one by one, and whether it was a single one.

    Raises:
        LinceError: an array has another type or shape, or something is no image.
    """
    if isinstance(images, list | tuple):
        for place, image in enumerate(images):
            _require_picture(image, where=f" at place {place} of a list")
        return images, False
    if isinstance(images, np.ndarray) and images.ndim == 4:
        _require_pixels(images, ndim=4)
        return list(images), False
    _require_picture(images)
    return [images], True


def _require_picture(image: object, *, where: str = "") -> None:
    if isinstance(image, np.ndarray):
        _require_pixels(image, ndim=3, where=where)
    elif not isinstance(image, str | Path | bytes | Image.Image):
        raise LinceError(
            f"Received an object of type {type(image).__name__}{where}. Expected a path, the bytes of an image file, "
            "an array u8[H,W,3] or u8[N,H,W,3], a PIL image, or a list of these, an image each."
        )


def _require_pixels(array: np.ndarray, *, ndim: int, where: str = "") -> None:
    if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        several = "" if where else ", or (images, height, width, 3)"
        raise LinceError(
            f"Received an array of type {array.dtype} and shape {array.shape}{where}. Expected one image: RGB pixels "
            f"from 0 to 255 as uint8, of shape (height, width, 3){several}."
        )


def batches(images: Sequence[Picture], limits: Limits) -> Iterator[list[bytes] | Failure]:
    """Encodes images, and groups them into requests that the service takes.

    Yields:
        In the order of the images: the files of one request, or the failure of one image that is too large for any.

    Raises:
        LinceError: a file or a picture cannot be read.
    """
    most = min(_PARTS_PER_REQUEST, limits.max_parts)
    batch: list[bytes] = []
    size = _END_BYTES
    for image in images:
        content = _encode(image, limits.max_body_bytes)
        is_too_large = len(content) > limits.max_body_bytes
        if batch and (is_too_large or len(batch) == most or size + _PART_BYTES + len(content) > limits.max_body_bytes):
            yield batch
            batch, size = [], _END_BYTES
        if is_too_large:
            message = f"The image has more than {limits.max_body_bytes:,} bytes, the limit of a request. Scale it down."
            yield Failure("body_too_large", message)
            continue
        batch.append(content)
        size += _PART_BYTES + len(content)
    if batch:
        yield batch


def _encode(image: Picture, limit_bytes: int) -> bytes:
    """The bytes of a file; of one that is too large, one byte more than the limit."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            with open(image, "rb") as file:
                return file.read(limit_bytes + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise LinceError(
                f"{str(image)!r} cannot be read ({reason}). Expected the path of an image file."
            ) from error
    return _png(Image.fromarray(image) if isinstance(image, np.ndarray) else image)


def _png(image: Image.Image) -> bytes:
    """A lossless file. Colour modes that PNG does not have are converted, and the EXIF orientation is kept."""
    file = io.BytesIO()
    try:
        orientation, exif = image.getexif().get(_ORIENTATION), Image.Exif()
        exif[_ORIENTATION] = orientation if orientation in range(1, 9) else 1
        image = image.convert(_CONVERTED[image.mode]) if image.mode in _CONVERTED else image
        if image.mode not in _PNG_MODES:
            modes = ", ".join(sorted({*_PNG_MODES, *_CONVERTED}))
            raise LinceError(f"Received a PIL image of mode {image.mode!r}. Expected one of {modes}: convert it.")
        # Levels above 1 save few bytes and cost most of the time.
        image.save(file, "PNG", compress_level=1, exif=exif)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reads a file when its pixels are needed
        raise LinceError(f"A PIL image cannot be read ({error}). Expected a whole picture.") from error
    return file.getvalue()
