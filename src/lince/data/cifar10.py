"""CIFAR-10 from its official binary archive. No pickle is read anywhere.

Source: Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html (the binary version).
"""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lince.data.collection import Collection
from lince.data.download import download
from lince.data.progress import Progress, silent
from lince.errors import DataError
from lince.images import decode
from lince.records import ImageSpec

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


def archive_path(cache: Path) -> Path:
    """Where the downloaded archive is kept."""
    return cache / "downloads" / "cifar-10-binary.tar.gz"


def read_collection(
    spec: ImageSpec,
    *,
    cache: Path,
    checksum: str = CHECKSUM,
    progress: Progress = silent,
) -> Collection:
    """Reads CIFAR-10, downloading it first where it is not at hand. `LINCE_CIFAR10_URL` names another address.

    Args:
        spec: the size wanted. At 32 × 32 the pixels are those of the archive, unchanged.
        cache: the folder that keeps the archive.
        checksum: of the archive: SHA-256, 64 hex digits.
        progress: told about bytes and images.

    Returns:
        All images: five training batches, then the test batch.

    Raises:
        DownloadError: when the archive cannot be had, or is not the one expected.
        DataError: when it does not hold what it should.
    """
    url = os.environ.get("LINCE_CIFAR10_URL") or URL
    path = download(url, archive_path(cache), checksum=checksum, limit_bytes=_ARCHIVE_BYTES, progress=progress)
    batches = _read_batches(path)
    names = tuple(f"{name}/{index:05d}" for name in (*_TRAIN, _TEST) for index in range(len(batches[name])))
    num_train = len(names) - len(batches[_TEST])
    images, labels = np.empty((len(names), _SIDE, _SIDE, 3), np.uint8), np.empty(len(names), np.int64)
    start = 0
    for name in (*_TRAIN, _TEST):
        records = batches.pop(name)  # released one by one: all of them are 184 MB
        here = slice(start, start := start + len(records))
        labels[here] = records[:, 0]
        images[here] = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    if labels.max() >= len(CLASSES):
        raise DataError(f"{str(path)!r} holds the label {labels.max()}. Expected 0 to {len(CLASSES) - 1}.")
    return Collection(_fit(images, spec, progress=progress), labels, CLASSES, names, num_train=num_train)


def _read_batches(path: Path) -> dict[str, UInt8[np.ndarray, "n bytes"]]:
    """Takes the six batches out of the archive's stream, by name; nothing is unpacked to disk."""
    batches: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for _, member in zip(range(_MAX_MEMBERS), archive, strict=False):
                folder, _, name = member.name.rpartition("/")
                if folder == "cifar-10-batches-bin" and name.endswith(".bin") and member.isfile():
                    batches[name.removesuffix(".bin")] = _records(
                        archive.extractfile(member).read(_BATCH_BYTES + 1), name
                    )
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:  # zlib's errors come as ReadError or OSError
        raise DataError(
            f"{str(path)!r} is not a readable archive ({error}). Delete it, and it is downloaded anew."
        ) from error
    if missing := {*_TRAIN, _TEST} - batches.keys():
        raise DataError(f"{str(path)!r} lacks {', '.join(sorted(missing))}. Expected CIFAR-10's binary archive.")
    return batches


def _records(data: bytes, name: str) -> UInt8[np.ndarray, "n bytes"]:
    if not data or len(data) % _RECORD_BYTES or len(data) > _BATCH_BYTES:
        expected = f"1 to 10,000 records of {_RECORD_BYTES:,} bytes"
        raise DataError(f"{name} of CIFAR-10 has a wrong size. Expected {expected}.")
    return np.frombuffer(data, np.uint8).reshape(-1, _RECORD_BYTES)


def _fit(
    images: UInt8[np.ndarray, "n 32 32 3"], spec: ImageSpec, *, progress: Progress
) -> UInt8[np.ndarray, "n h w 3"]:
    """Brings the images to another size the way every image file is: as a (lossless) file, through `decode`."""
    if spec.shape == (_SIDE, _SIDE, 3):
        return images
    fitted = np.empty((len(images), *spec.shape), np.uint8)
    for index, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "BMP")
        fitted[index] = decode(file.getvalue(), spec)
        if index % 1000 == 999:
            progress(index + 1, len(images), "Resizing images")
    return fitted
