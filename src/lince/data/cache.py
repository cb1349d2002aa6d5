"""Decoded collections on disk, so that the second start reads arrays and decodes nothing.

A cache file is three `.npy` blocks after one another (header as JSON bytes, labels, images). It is trusted only when
its key is the one asked for and its content has the fingerprint that its header states. It can be deleted at any time.
"""

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lince.data.collection import Collection, fingerprint
from lince.errors import DataError
from lince.files import write_atomically
from lince.records import Rejected

_log = logging.getLogger(__name__)


def default_folder() -> Path:
    """Where caches and downloads go: `LINCE_CACHE`, or the user's cache folder of this operating system."""
    if chosen := os.environ.get("LINCE_CACHE"):
        return Path(chosen)
    try:
        import platformdirs  # comes with the `train` extra; predicting on files needs this package but no cache
    except ModuleNotFoundError as error:
        message = "platformdirs is not installed. Set LINCE_CACHE to a folder, or pip install '.[train]'."
        raise DataError(message) from error
    return platformdirs.user_cache_path("lince")


def read(path: Path, key: str) -> tuple[Collection, str] | None:
    """Reads a cached collection.

    Args:
        path: the cache file.
        key: what the content must have been made from.

    Returns:
        The collection and its fingerprint; None when there is none under this key, or it is broken.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            header = json.loads(np.load(file, allow_pickle=False).tobytes())
            if header["key"] != key:
                return None
            collection = _from_header(header, np.load(file, allow_pickle=False), np.load(file, allow_pickle=False))
        if fingerprint(collection) == header["fingerprint"]:
            return collection, header["fingerprint"]
        reason = "its content does not have its fingerprint"
    except Exception as error:  # damaged bytes make NumPy and json raise many types; none of them may stop a training
        reason = str(error) or type(error).__name__
    _log.warning("The cache file %s is broken (%s). It is made again.", path, reason)
    return None


def write(path: Path, key: str, collection: Collection) -> str:
    """Keeps a collection for the next start; a disk that cannot hold it costs the cache, not the training.

    Args:
        path: the cache file; an older one is replaced, in one step.
        key: what it was made from.
        collection: any.

    Returns:
        The collection's fingerprint.
    """
    identity = fingerprint(collection)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = json.dumps(_header(collection) | {"key": key, "fingerprint": identity}).encode()
        arrays = (np.frombuffer(header, np.uint8), collection.labels, collection.images)
        write_atomically(path, (chunk for array in arrays for chunk in _npy(array)))
    except OSError as error:
        _log.warning("The images cannot be cached in %s (%s). The next start decodes them again.", path, error.strerror)
    return identity


def _header(collection: Collection) -> dict[str, object]:
    rejected = [[one.path, one.reason] for one in collection.rejected]
    return {
        "classes": collection.classes,
        "names": collection.names,
        "num_train": collection.num_train,
        "rejected": rejected,
    }


def _from_header(header: dict, labels: np.ndarray, images: np.ndarray) -> Collection:
    return Collection(
        images=images,
        labels=labels,
        classes=tuple(header["classes"]),
        names=tuple(header["names"]),
        num_train=header["num_train"],
        rejected=tuple(Rejected(path, reason) for path, reason in header["rejected"]),
    )


def _npy(array: np.ndarray) -> Iterator[bytes | memoryview]:
    """The `.npy` block of an array: header and content, without a second copy of the content in memory."""
    array, header = np.ascontiguousarray(array), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    yield header.getvalue()
    yield array.reshape(-1).data
