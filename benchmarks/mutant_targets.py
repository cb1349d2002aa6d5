"""The code that reads mutants inside one process: images, archives, the answers of a service."""

import io
import json
import shutil
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import hostile_exif
import hostile_jpeg
import hostile_others
import hostile_png
import numpy as np
from mutation import json_mutant, mutant, with_checksums
from ordinary_images import photo, saved

from lince import data, images
from lince.client import Client
from lince.errors import ImageError, LinceError
from lince.evaluation.served_model import server_predict
from lince.types import ImageSpec

_SPEC = ImageSpec()
_CLASSES = ("ant", "bee", "cat")
_CACHE_EVERY = 500  # archives; each leaves its pixels in the cache

Target = Callable[[int], None]
"""Tries the mutant of one seed; any exception is a failure."""


@cache
def image_sources() -> tuple[bytes, ...]:
    """Images of every format and variant, a few kB each."""
    small, frames = photo(40, 30), [photo(24, 24).rotate(angle) for angle in (0, 40, 80)]
    exif = b"Exif\0\0" + hostile_exif.ordinary(6, 40)
    animated = {"save_all": True, "append_images": frames[1:]}
    return (
        saved(small, "JPEG", exif=exif),
        saved(small, "JPEG", progressive=True),
        saved(small.convert("CMYK"), "JPEG"),
        saved(small.convert("L"), "JPEG", restart_marker_blocks=2),
        hostile_jpeg.arithmetic_scans(40, 30, 3),
        hostile_jpeg.refined(40, 30, 3),
        hostile_jpeg.multi_picture(hostile_exif.multi_picture(2, 2)),
        saved(frames[0], "MPO", **animated),
        saved(small, "PNG", exif=exif),
        saved(photo(40, 30, "RGBA"), "PNG"),
        saved(small.quantize(16), "PNG", transparency=bytes(range(16))),
        saved(frames[0], "PNG", **animated),
        hostile_png.plain(19, 17, hostile_png.RGBA, interlaced=True),
        hostile_png.tall_grey(9, 20),
        saved(small, "WEBP", exif=exif),
        saved(photo(40, 30, "RGBA"), "WEBP", lossless=True),
        saved(frames[0], "WEBP", **animated),
        hostile_others.webp_transformed(40, 30),
        saved(small, "GIF"),
        saved(frames[0], "GIF", **animated),
        hostile_others.gif(20, 20, canvas=(5, 5), before=b"!\xf9\4\x0d\0\0\0\0"),
        saved(small, "BMP"),
        saved(small.quantize(16), "BMP"),
        hostile_others.padded(20, 20),
        hostile_others.runs(300, 5),
        saved(small, "TIFF", compression="tiff_lzw"),
        saved(small, "TIFF", compression="tiff_adobe_deflate", exif=exif),
        saved(small.convert("CMYK"), "TIFF"),
        saved(small.convert("1"), "TIFF", compression="group4"),
        saved(small.quantize(16), "TIFF", compression="packbits"),
        saved(small, "TIFF", big_tiff=True),
        saved(small, "AVIF", exif=exif, speed=10),
        saved(photo(40, 30, "RGBA"), "AVIF", speed=10),
        saved(frames[0], "AVIF", speed=10, **animated),
    )


def image_mutant(seed: int) -> bytes:
    rng = np.random.default_rng((0, seed))
    made = mutant(image_sources(), rng)
    return with_checksums(made) if made.startswith(b"\x89PNG") and rng.integers(2) else made


def try_image(seed: int) -> None:
    with suppress(ImageError):
        pixels = images.decode(image_mutant(seed), _SPEC)
        assert pixels.shape == _SPEC.shape, pixels.shape


@cache
def _archive_sources() -> tuple[bytes, ...]:
    return tuple(_archive(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))


def _archive(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for index in range(8):
            picture = saved(photo(32, 32).rotate(index * 10), "PNG")
            archive.writestr(f"{('train', 'test')[index % 2]}/{_CLASSES[index // 3]}/{index}.png", picture)
    return file.getvalue()


class Archives:
    """Reads each mutant as a dataset."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mutants-"))

    def close(self) -> None:
        shutil.rmtree(self._folder)

    def __call__(self, seed: int) -> None:
        path = self._folder / "mutant.zip"
        path.write_bytes(mutant(_archive_sources(), np.random.default_rng((1, seed))))
        with suppress(LinceError):
            data.load(path, _SPEC, seed=0, cache=self._folder / "cache")
        if seed % _CACHE_EVERY == 0:
            shutil.rmtree(self._folder / "cache", ignore_errors=True)


_MODEL = {
    "name": "m",
    "version": "1",
    "classes": list(_CLASSES),
    "image": {"height": 32, "width": 32, "resize": "crop"},
    "limits": {"max_parts": 32, "max_body_bytes": 10**7},
    "calibration": {},
}
_PREDICTION = {
    **{"label": _CLASSES[0], "index": 0, "probability": 1 / len(_CLASSES), "abstain": False},
    "top": [{"label": _CLASSES[0], "index": 0, "probability": 1 / len(_CLASSES)}],
    **{"prediction_set": list(_CLASSES), "logits": [0.0] * len(_CLASSES), "distance": None},
}
_ANSWER = {"model": {"name": "m", "version": "1"}, "predictions": [_PREDICTION, _PREDICTION]}


class Answers:
    """A false service on loopback: its two answers are mutants, and sometimes their headers, too."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._client = Client(f"http://127.0.0.1:{self._listener.getsockname()[1]}", timeout_s=5, retries=0)
        self._rng = np.random.default_rng(0)
        self._images = np.zeros((2, 32, 32, 3), np.uint8)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._client.close()
        self._listener.close()

    def __call__(self, seed: int) -> None:
        self._rng = np.random.default_rng((2, seed))
        with suppress(LinceError):
            server_predict(self._client, self._client.model())(self._images)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                with self._listener.accept()[0] as connection, suppress(OSError):
                    connection.sendall(self._answer(_request(connection)))

    def _answer(self, request: bytes) -> bytes:
        value = _MODEL if request.startswith(b"GET") else _ANSWER
        body = json_mutant(value, self._rng) if self._rng.integers(2) else json.dumps(value).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        whole = head % len(body) + body
        return mutant([whole], self._rng) if self._rng.integers(8) == 0 else whole


def _request(connection: socket.socket) -> bytes:
    """Reads a whole request. Its body must be read, because closing would otherwise reset the connection."""
    received = b""
    while b"\r\n\r\n" not in received and (piece := connection.recv(65_536)):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    missing = int(fields.get(b"content-length", b"0")) - len(body)
    while missing > 0 and (piece := connection.recv(65_536)):
        missing -= len(piece)
    return received
