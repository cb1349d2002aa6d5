"""CIFAR-10 from its official binary archive. No pickle is read anywhere.

Source: Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html (the binary version).
"""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lince.data.dataset import Catalogue
from lince.data.sources.download import download
from lince.errors import DataError
from lince.images import decode
from lince.progress import Progress, silent
from lince.types import ImageSpec

NAME = "cifar10"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
# SHA-256 of the archive whose MD5 is published as c32a1d4ab5d03f1284b67883e8d87530: MD5 can be forged, this cannot.
CHECKSUM = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_ARCHIVE_BYTES = 170_052_171
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = "test_batch"
_SIDE = 32
_RECORD_BYTES = 1 + 3 * _SIDE * _SIDE  # the label, then the red, green and blue plane
_BATCH_BYTES = 10_000 * _RECORD_BYTES
_MAX_MEMBERS = 64  # the archive has 9
_BLOCK = 500  # images handed on at a time: 14 MB at 96 × 96


def archive_path(cache: Path) -> Path:
    """Where the downloaded archive is kept."""
    return cache / "downloads" / "cifar-10-binary.tar.gz"


class Cifar10Reading:
    """CIFAR-10, downloaded and not yet resized; see `dataset.Reading`."""

    def __init__(self, spec: ImageSpec, *, cache: Path, checksum: str = CHECKSUM, progress: Progress = silent):
        """Downloads CIFAR-10 unless the cache has it. `LINCE_CIFAR10_URL` sets another address.

        Args:
            spec: the size of the images. At 32 × 32 the pixels are those of the archive, unchanged.
            cache: the folder that keeps the archive.
            checksum: of the archive: SHA-256, 64 hex digits.
            progress: called with bytes and images.

        Raises:
            DownloadError: when the archive cannot be downloaded, or is not the expected one.
            DataError: when its content is not as expected.
        """
        url = os.environ.get("LINCE_CIFAR10_URL") or URL
        path = download(url, archive_path(cache), checksum=checksum, limit_bytes=_ARCHIVE_BYTES, progress=progress)
        self._batches, self._spec, self._progress = _read_batches(path), spec, progress
        self.total, self.image_shape = sum(map(len, self._batches.values())), spec.shape
        if (highest := max(int(records[:, 0].max()) for records in self._batches.values())) >= len(CLASSES):
            raise DataError(f"{str(path)!r} holds the label {highest}. Expected 0 to {len(CLASSES) - 1}.")

    def blocks(self) -> Iterator[UInt8[np.ndarray, "n h w 3"]]:
        """The images of five training batches, then of the test batch."""
        done = 0
        for records in self._batches.values():
            for start in range(0, len(records), _BLOCK):
                planes = records[start : start + _BLOCK, 1:].reshape(-1, 3, _SIDE, _SIDE)
                yield _fit(planes.transpose(0, 2, 3, 1), self._spec)
                done += len(planes)
                if self.image_shape != (_SIDE, _SIDE, 3):
                    self._progress(done, self.total, "Resizing images")

    def catalogue(self) -> Catalogue:
        """Labels, and names with the batch and the index of each image."""
        names = tuple(f"{name}/{index:05d}" for name, records in self._batches.items() for index in range(len(records)))
        labels = np.concatenate([records[:, 0] for records in self._batches.values()]).astype(np.int64)
        sizes = np.full((self.total, 2), _SIDE, np.uint16)
        return Catalogue(labels, CLASSES, names, sizes, num_train=self.total - len(self._batches[_TEST]))


def _read_batches(path: Path) -> dict[str, UInt8[np.ndarray, "n bytes"]]:
    """Reads the six batches from the archive's stream, by name; nothing is written to disk."""
    batches: dict[str, UInt8[np.ndarray, "n bytes"]] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for _, member in zip(range(_MAX_MEMBERS), archive, strict=False):
                folder, _, name = member.name.rpartition("/")
                is_batch = folder == "cifar-10-batches-bin" and name.endswith(".bin") and member.isfile()
                if is_batch and (file := archive.extractfile(member)):
                    batches[name.removesuffix(".bin")] = _records(file.read(_BATCH_BYTES + 1), name)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:  # zlib's errors come as ReadError or OSError
        raise DataError(f"{str(path)!r} is not a readable archive. Delete it, and it is downloaded again.") from error
    if missing := {*_TRAIN, _TEST} - batches.keys():
        raise DataError(f"{str(path)!r} lacks {', '.join(sorted(missing))}. Expected CIFAR-10's binary archive.")
    return {name: batches[name] for name in (*_TRAIN, _TEST)}


def _records(data: bytes, name: str) -> UInt8[np.ndarray, "n bytes"]:
    if not data or len(data) % _RECORD_BYTES or len(data) > _BATCH_BYTES:
        expected = f"1 to 10,000 records of {_RECORD_BYTES:,} bytes"
        raise DataError(f"{name} of CIFAR-10 has a wrong size. Expected {expected}.")
    return np.frombuffer(data, np.uint8).reshape(-1, _RECORD_BYTES)


def _fit(images: UInt8[np.ndarray, "n 32 32 3"], spec: ImageSpec) -> UInt8[np.ndarray, "n h w 3"]:
    """Resizes the images exactly as image files are: each is written to a lossless file, and decoded by `decode`."""
    if spec.shape == (_SIDE, _SIDE, 3):
        return images
    fitted = np.empty((len(images), *spec.shape), np.uint8)
    for index, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "BMP")
        fitted[index] = decode(file.getvalue(), spec)
    return fitted
