"""Decoded collections on disk: the second start decodes nothing, and a large source needs no memory for its pixels.

A cache file holds the pixels of all images one after another. Then come `.npy` blocks: a header (JSON as bytes),
labels, names (UTF-8 lines), sizes and digests. Its last 16 bytes say where the blocks begin. The header comes after the
pixels because it is only known when all images are decoded. A file is used only when it has the expected key, and its
content has the fingerprint in its header. It can be deleted at any time.
"""

import io
import json
import logging
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from jaxtyping import Shaped, UInt8

from lince.data.dataset import Catalogue, Collection, EmptyClass, Reading, fingerprint, in_memory
from lince.data.pixel_file import DIGEST_BYTES, PixelFile, StoredImages, StoredNames, as_text, digests
from lince.errors import DataError
from lince.system.files import open_regular, write_atomically
from lince.types import Rejected

# Up to this size pixels are kept in memory, where reading a random image takes 0.3 µs instead of 2 (see `pixel_file`):
# 87,381 images of 32 × 32, 2,427 of 192 × 192. Splitting needs two copies for a moment, as much as TensorFlow takes.
IN_MEMORY_BYTES = 2**28

_END = struct.Struct("<8sQ")
_MAGIC = b"lince px"
_INCOMPLETE = " incomplete"  # in the key where a file could not be reached: the next start, without it, decodes again
_log = logging.getLogger(__name__)


def default_folder() -> Path:
    """Where caches and downloads go: `LINCE_CACHE`, or the user's cache folder of this operating system."""
    if chosen := os.environ.get("LINCE_CACHE"):
        return Path(chosen)
    return platformdirs.user_cache_path("lince")


def read(path: Path, key: str) -> tuple[Collection, str] | None:
    """Opens a cached collection: a small one is read into memory, a large one stays in the file.

    Returns:
        The collection and its fingerprint; None when there is no file, it has another key (was made from another
        source), or it is broken.
    """
    if not path.exists():
        return None
    try:
        with open_regular(path) as file:
            return _read(file, key)
    except Exception as error:  # NumPy and json raise many types on damaged bytes; none may stop a training
        reason = str(error) or type(error).__name__
    _log.warning("The cache file %s is broken (%s). It is made again.", path, reason)
    return None


def fill(path: Path, key: str, reading: Reading) -> tuple[Collection, str]:
    """Decodes a source and keeps it for the next start.

    Where the disk cannot hold a small collection, it is used without being cached. A large one is written while it is
    decoded, in bounded memory; the file appears when it is complete.

    Args:
        path: the cache file; an existing one is replaced in one step.
        key: identifies the source.
        reading: the source, of which nothing is decoded yet.

    Raises:
        DataError: when the source cannot be used, or the disk cannot hold a large collection.
    """
    if _pixel_bytes(reading) > IN_MEMORY_BYTES:
        return _fill_large(path, key, reading)
    collection = in_memory(reading)
    if collection.is_final:
        try:
            _write(path, key, [collection.images[:]], lambda: collection)
        except OSError as error:
            message = "The images cannot be cached in %s (%s). The next start decodes them again."
            _log.warning(message, path, error.strerror)
    return collection, fingerprint(collection, image_shape=reading.image_shape, digests=collection.digests)


def _fill_large(path: Path, key: str, reading: Reading) -> tuple[Collection, str]:
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder).free) < _pixel_bytes(reading):
            raise _no_room(reading, folder, f"{free / 2**30:,.1f} GiB are free")
        _write(path, key, reading.blocks(), reading.catalogue)
    except OSError as error:
        raise _no_room(reading, folder, str(error.strerror)) from error
    if (found := read(path, key) or read(path, key + _INCOMPLETE)) is None:
        raise DataError(f"{str(path)!r} was changed by another program while it was in use. Start again.")
    return found


def _no_room(reading: Reading, folder: Path, reason: str) -> DataError:
    height, width, _ = reading.image_shape
    size = f"{_pixel_bytes(reading) / 2**30:,.1f} GiB"
    return DataError(
        f"{reading.total:,} images of {height} × {width} need {size} in the cache folder {str(folder)!r} ({reason}). "
        "Make room, set LINCE_CACHE to a folder on a larger disk, or choose a smaller image size."
    )


def _pixel_bytes(reading: Reading) -> int:
    return reading.total * math.prod(reading.image_shape)


def _write(
    path: Path, key: str, blocks: Iterable[UInt8[np.ndarray, "n h w 3"]], catalogue: Callable[[], Catalogue]
) -> None:
    """Writes the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _content(key, blocks, catalogue))


def _content(
    key: str, blocks: Iterable[UInt8[np.ndarray, "n h w 3"]], make_catalogue: Callable[[], Catalogue]
) -> Iterator[bytes | memoryview]:
    """The bytes of a cache file, made as they are written."""
    of_blocks, size, image_shape = [np.empty((0, DIGEST_BYTES), np.uint8)], 0, (0, 0, 3)
    for block in blocks:
        _, height, width, _ = block.shape
        size, image_shape = size + block.nbytes, (height, width, 3)
        of_blocks.append(digests(block))
        yield np.ascontiguousarray(block).reshape(-1).data
    catalogue, found = make_catalogue(), np.concatenate(of_blocks)
    fields = {key: getattr(catalogue, key) for key in ("classes", "num_train", "trees", "reading", "warnings")}
    fields |= {key: list(map(astuple, getattr(catalogue, key))) for key in ("rejected", "empty")}
    fields |= {"key": key if catalogue.is_final else key + _INCOMPLETE, "image_shape": image_shape}
    fields |= {"fingerprint": fingerprint(catalogue, image_shape=image_shape, digests=found)}
    texts = (json.dumps(fields).encode(), as_text(catalogue.names))
    header, names = (np.frombuffer(text, np.uint8) for text in texts)
    for array in (header, catalogue.labels, names, catalogue.sizes, found):
        yield from _npy(array)
    yield _END.pack(_MAGIC, size)


def _read(file: BinaryIO, key: str) -> tuple[Collection, str] | None:
    file.seek(-_END.size, os.SEEK_END)
    magic, size = _END.unpack(file.read())
    if magic != _MAGIC:
        raise ValueError("it does not end as one")
    file.seek(size)
    header = json.loads(np.load(file, allow_pickle=False).tobytes())
    if header["key"] != key:
        return None
    labels, names, sizes, stored = (np.load(file, allow_pickle=False) for _ in range(4))
    image_shape, is_small = tuple(header["image_shape"]), size <= IN_MEMORY_BYTES
    if size != len(stored) * math.prod(image_shape) or sizes.shape != (len(stored), 2):
        raise ValueError("its parts do not fit together")
    names = StoredNames(names)
    catalogue = Catalogue(
        labels=labels,
        classes=tuple(header["classes"]),
        names=tuple(names) if is_small else names,
        sizes=sizes,
        num_train=header["num_train"],
        rejected=tuple(Rejected(*fields) for fields in header["rejected"]),
        empty=tuple(EmptyClass(*fields) for fields in header["empty"]),
        trees=tuple(header["trees"]),
        reading=header["reading"],
        warnings=tuple(header["warnings"]),
    )
    identity = fingerprint(catalogue, image_shape=image_shape, digests=stored)
    if identity != header["fingerprint"]:
        raise ValueError("its content does not have its fingerprint")
    images = StoredImages(PixelFile(file, image_shape, stored), np.arange(len(stored)))
    return Collection(**vars(catalogue), images=images[:] if is_small else images, digests=stored), identity


def _npy(array: Shaped[np.ndarray, "..."]) -> Iterator[bytes | memoryview]:
    """The `.npy` block of an array: header and content, without copying the content."""
    array, header = np.ascontiguousarray(array), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    yield header.getvalue()
    yield array.reshape(-1).data
