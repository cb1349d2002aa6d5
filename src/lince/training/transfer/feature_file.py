"""The features of a run's images in a file, `features.npy`, so that they are computed once."""

import io
import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float16

from lince.errors import TrainingError
from lince.system.files import open_regular, reason_of, write_atomically

_DTYPE = np.dtype("<f2")
_MOST_HEADER_BYTES = 4096


class StoredFeatures:
    """f16[N,V,D]: the features of N images in V views, read from the file when images are indexed.

    Reading calls are used and no memory map, for the reasons in `data/pixel_file.py`.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], offset: int):
        self._path, self.shape, self._offset = path, shape, offset

    def __len__(self) -> int:
        return self.shape[0]

    def first(self, count: int) -> "StoredFeatures":
        """The features of the first images; nothing is read."""
        return StoredFeatures(self._path, (count, *self.shape[1:]), self._offset)

    def __getitem__(self, images: slice) -> Float16[np.ndarray, "m v d"]:
        """The features of a slice of images, without a step."""
        start, stop, _ = images.indices(len(self))
        shape = (max(0, stop - start), *self.shape[1:])
        row_bytes = math.prod(self.shape[1:]) * _DTYPE.itemsize
        try:
            with open_regular(self._path) as file:
                file.seek(self._offset + start * row_bytes)
                data = file.read(shape[0] * row_bytes)
            return np.frombuffer(data, _DTYPE).reshape(shape)
        except (OSError, ValueError) as error:  # ValueError: it has become shorter
            raise _unreadable(self._path, reason_of(error)) from error


def write(path: Path, shape: tuple[int, int, int], batches: Iterable[Float16[np.ndarray, "b v d"]]) -> None:
    """Writes features as they are computed, in the format `.npy`.

    Args:
        path: of the file.
        shape: N, V, D.
        batches: the features of some images after the other, N in all.

    Raises:
        TrainingError: the file cannot be written.
    """
    header = io.BytesIO()
    description = {"descr": _DTYPE.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)

    def parts() -> Iterable[bytes]:
        yield header.getvalue()
        for batch in batches:
            yield np.ascontiguousarray(batch, _DTYPE).tobytes()

    try:
        write_atomically(path, parts())
    except OSError as error:
        raise TrainingError(
            f"The features {str(path)!r} could not be written ({error.strerror}). Expected room for "
            f"{math.prod(shape) * _DTYPE.itemsize:,} bytes: free disk space, then continue with "
            f"lince train --resume {path.parent}."
        ) from error


def read(path: Path) -> StoredFeatures:
    """Opens the features of a run; they are read when they are indexed.

    Raises:
        TrainingError: the file is missing, damaged, or holds something else.
    """
    try:
        with open_regular(path) as file:
            version = np.lib.format.read_magic(file)
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_MOST_HEADER_BYTES)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        raise _unreadable(path, reason_of(error)) from error
    expected = offset + math.prod(shape) * _DTYPE.itemsize
    if version != (1, 0) or is_fortran or dtype != _DTYPE or len(shape) != 3 or size != expected:
        raise _unreadable(path, "it is damaged or cut short")
    return StoredFeatures(path, shape, offset)


def _unreadable(path: Path, reason: str) -> TrainingError:
    return TrainingError(
        f"{str(path)!r} cannot be read ({reason}). Expected the features that lince train computes with a pretrained "
        "network: train again with lince train DATA --recipe photos."
    )
