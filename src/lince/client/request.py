"""Requests as bytes: images of every kind, encoded, and in batches that the service takes."""

import io
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image, ImageOps

from lince.client.answers import Failure, Limits
from lince.errors import LinceError

Picture = str | Path | bytes | np.ndarray | Image.Image
"""One image: the path of a file, a file's bytes, an array u8[H,W,3] of RGB pixels, or a PIL image."""

_PARTS_PER_REQUEST = 16  # a small request with a quick answer, even where the server takes more
_MODEL_LIMIT_BYTES = 16 * 2**20  # twice a model file's largest manifest
_ANSWER_LIMIT_BYTES = 32 * 2**20  # 16 answers with 10,000 logits at 100 bytes each, twice
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_COLOUR_MODES = frozenset({"CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa", "La", "PA"})
_EXPECTED = (
    "Expected a path, the bytes of an image file, an array u8[H,W,3] or u8[N,H,W,3], a PIL image, or a list of these"
)


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


READY = Request("/readyz", _MODEL_LIMIT_BYTES)


def model_request(name: str | None) -> Request:
    """Asks what is served; None for the default model."""
    return Request("/model" + _query(model=name), _MODEL_LIMIT_BYTES)


def predict_request(files: Sequence[bytes], *, top: int, logits: bool, model: str | None) -> Request:
    """Asks for the answers for encoded images: one is the body itself, several are a form."""
    path = "/predict" + _query(top=top, logits="true" if logits else None, model=model)
    if len(files) == 1:
        return Request(path, _ANSWER_LIMIT_BYTES, "application/octet-stream", files[0])
    boundary = secrets.token_hex(16)
    form = b"".join([*(_part(boundary, content) for content in files), f"--{boundary}--\r\n".encode()])
    return Request(path, _ANSWER_LIMIT_BYTES, f"multipart/form-data; boundary={boundary}", form)


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
            _require_picture(image, f" at place {place} of a list", "in a list")
        return images, False
    if isinstance(images, np.ndarray) and images.ndim == 4:
        _require_array(images, "")
        return list(images), False
    _require_picture(images, "", "")
    return [images], True


def _require_picture(image: object, where: str, kind: str) -> None:
    if not isinstance(image, str | Path | bytes | np.ndarray | Image.Image):
        raise LinceError(f"Received an object of type {type(image).__name__}{where}. {_EXPECTED}.")
    if isinstance(image, np.ndarray):
        if image.ndim == 4 and kind:
            raise LinceError(f"Received an array of shape {image.shape}{where}. Expected u8[H,W,3] {kind}.")
        _require_array(image, where)


def _require_array(array: np.ndarray, where: str) -> None:
    if (
        array.dtype != np.uint8
        or array.ndim not in (3, 4)
        or array.shape[-1] != 3
        or 0 in array.shape[1 - array.ndim :]
    ):
        raise LinceError(
            f"Received an array of type {array.dtype} and shape {array.shape}{where}. "
            "Expected RGB pixels from 0 to 255 as uint8, of shape (height, width, 3) or (images, height, width, 3)."
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
    """A lossless file of an upright picture. Colour modes that PNG does not have become RGB, as the service does it."""
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in _COLOUR_MODES:
            upright = upright.convert("RGB")
        if upright.mode not in _PNG_MODES:
            modes = ", ".join(sorted(_PNG_MODES | _COLOUR_MODES))
            raise LinceError(
                f"Received a PIL image of mode {upright.mode!r}. Expected one of {modes}: convert it to RGB."
            )
        file = io.BytesIO()
        # Levels above 1 save few bytes and cost most of the time.
        upright.save(file, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow reads a file when its pixels are needed
        raise LinceError(f"A PIL image cannot be read ({error}). Expected a whole picture.") from error
    return file.getvalue()
