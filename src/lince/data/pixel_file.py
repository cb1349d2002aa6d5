"""Images in a file, indexed like an array and read on access, so that a dataset may be larger than memory.

Measured on 1,000,000 images of 32 × 32 (3 GB) in random batches of 500, on two busy EPYC cores; µs an image:

                                            in the page cache     on disk     resident memory
    an array in memory (50,000 images)      0.3                   -           all of it
    np.memmap                               0.4 (at first 0.9)    75          grows to all of it
    np.memmap, pages returned               1.1                   75          up to 2.9 GB in between
    preadv                                  1.3                   50          one batch
    preadv after fadvise (used here)        1.8                   10          one batch

A read error ends the process where the file is memory-mapped (SIGBUS); a read call raises an exception.
"""

import hashlib
import io
import math
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, overload

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from lince.errors import DataError

# Half of a SHA-256. Among 2⁴⁰ different images, two have the same digest with a probability of 2⁻⁴⁹.
DIGEST_BYTES = 16

_Index = int | slice | np.ndarray | Sequence[int]


class PixelFile:
    """A file that begins with the pixels of N images, open for reading from any thread or forked process.

    Each image is compared with its digest when it is read for the first time.
    """

    def __init__(self, file: BinaryIO, image_shape: tuple[int, ...], expected: UInt8[np.ndarray, "n 16"]):
        """Keeps an open file open, after the caller closes it too; `expected` are the digests of its images.

        The file may be replaced or deleted later, except on Windows.
        """
        self.image_shape, self.digests = image_shape, expected
        self._name = file.name
        self._file = io.FileIO(os.dup(file.fileno()))
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()  # without `preadv` (Windows) all threads share one position
        self._is_verified = np.zeros(len(expected), bool)

    def read(self, rows: Int64[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w 3"]:
        """The images at `rows`, in that order, as a new array.

        Raises:
            DataError: when the file cannot be read, or an image has changed since it was written.
        """
        images = np.empty((len(rows), *self.image_shape), np.uint8)
        target = images.reshape(-1).data
        runs = list(_runs(rows, int(np.prod(self.image_shape))))
        try:
            self._announce(runs)
            for offset, begin, end in runs:
                while begin < end:  # one call reads at most 2 GiB
                    count = self._read_some(target[begin:end], offset)
                    if count == 0:
                        raise EOFError("it has become shorter")
                    begin, offset = begin + count, offset + count
        except (OSError, EOFError) as error:
            raise self._broken(str(error)) from error
        self._verify(images, rows)
        return images

    def _announce(self, runs: Sequence[tuple[int, int, int]]) -> None:
        """Tells the system which pieces are needed, so that the disk reads them all at once."""
        if hasattr(os, "posix_fadvise"):
            descriptor = self._file.fileno()
            for offset, begin, end in runs:
                os.posix_fadvise(descriptor, offset, end - begin, os.POSIX_FADV_WILLNEED)

    def _read_some(self, target: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), (target,), offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(target) or 0

    def _verify(self, images: UInt8[np.ndarray, "n h w 3"], rows: Int64[np.ndarray, " n"]) -> None:
        new = np.flatnonzero(~self._is_verified[rows])
        if len(new) == 0:
            return
        fresh = images if len(new) == len(rows) else images[new]
        if not np.array_equal(digests(fresh), self.digests[rows[new]]):
            raise self._broken("its pixels are not those that were written")
        self._is_verified[rows[new]] = True

    def _broken(self, reason: str) -> DataError:
        return DataError(
            f"The images in {str(self._name)!r} cannot be read ({reason}). Delete the file: they are decoded again."
        )


class StoredImages:
    """u8[N,H,W,3], RGB 0..255: a selection of images of a `PixelFile`, in a given order."""

    dtype = np.dtype(np.uint8)

    def __init__(self, file: PixelFile, rows: Int64[np.ndarray, " n"]):
        self._file, self._rows = file, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._file.image_shape)

    @property
    def digests(self) -> UInt8[np.ndarray, "n 16"]:
        """As of `digests`, without reading a pixel."""
        return np.asarray(self._file.digests[self._rows])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: _Index) -> UInt8[np.ndarray, "..."]:
        """The images at an index, as an array; a number gives one image, without the first axis."""
        if not isinstance(index, int | np.integer | slice | np.ndarray | list):
            raise IndexError(f"Received the index {index!r}. Expected a number, a slice or an array of indices.")
        rows = self._rows[index]
        images = self._file.read(np.atleast_1d(rows))
        return images if rows.ndim else np.asarray(images[0])

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> Shaped[np.ndarray, "n h w 3"]:
        """All images, in memory."""
        if copy is False:
            raise ValueError("Images in a file cannot become an array without being copied.")
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, indices: Int64[np.ndarray, " m"], axis: int = 0) -> "StoredImages":
        """The images at `indices`; no pixel is read."""
        if axis != 0:
            raise IndexError(f"Received axis={axis}. Expected 0, the axis of the images.")
        return StoredImages(self._file, self._rows[indices])

    def joined(self, other: "StoredImages") -> "StoredImages":
        """These images, then those of `other`, which are in the same file."""
        if other._file is not self._file:
            raise ValueError("Received images of two files. Expected one.")
        return StoredImages(self._file, np.concatenate([self._rows, other._rows]))


class StoredNames(Sequence[str]):
    """Names as one text in memory, a third of the size of a tuple of `str`; decoded on access."""

    def __init__(
        self,
        text: UInt8[np.ndarray, " bytes"],
        ends: Int64[np.ndarray, " total"] | None = None,
        rows: Int64[np.ndarray, " n"] | None = None,
    ):
        """Selects names from a text.

        Args:
            text: UTF-8, one name a line, each ended by a line feed.
            ends: positions of the line feeds; found when None.
            rows: the selected lines, in order; all when None.
        """
        self._text = text
        self._ends = np.flatnonzero(text == ord("\n")) if ends is None else ends
        self._rows = np.arange(len(self._ends)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: "slice | Int64[np.ndarray, ' m'] | Sequence[int]") -> "StoredNames": ...

    def __getitem__(self, index: _Index) -> "str | StoredNames":
        """One name for a number, else several."""
        rows = self._rows[index]
        return StoredNames(self._text, self._ends, rows) if rows.ndim else self._line(int(rows))

    def __iter__(self) -> Iterator[str]:
        return map(self._line, self._rows.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # as Python sets it for a class with __eq__ alone

    def text(self) -> bytes:
        """All names, as of `as_text`."""
        is_whole = np.array_equal(self._rows, np.arange(len(self._ends)))
        return self._text.tobytes() if is_whole else "".join(f"{name}\n" for name in self).encode()

    def joined(self, other: "StoredNames") -> "StoredNames":
        """These names, then those of `other`, which are of the same text."""
        return StoredNames(self._text, self._ends, np.concatenate([self._rows, other._rows]))

    def _line(self, row: int) -> str:
        begin = self._ends[row - 1] + 1 if row else 0
        return self._text[begin : self._ends[row]].tobytes().decode()


def as_text(names: Sequence[str]) -> bytes:
    """UTF-8, each name ended by a line feed; `text.printable` leaves none inside a name."""
    return names.text() if isinstance(names, StoredNames) else "".join(f"{name}\n" for name in names).encode()


def digests(images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n 16"]:
    """The first half of the SHA-256 of each image's pixels; an image of 32 × 32 takes 2 µs."""
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    found = b"".join(hashlib.sha256(row.data).digest()[:DIGEST_BYTES] for row in rows)
    return np.frombuffer(found, np.uint8).reshape(len(images), DIGEST_BYTES)


def _runs(rows: Int64[np.ndarray, " n"], image_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Neighbouring rows as one piece: its offset in the file, and its start and end in the result, in bytes."""
    if len(rows) == 0:
        return
    begins = np.concatenate([[0], np.flatnonzero(np.diff(rows) != 1) + 1])
    ends = np.append(begins[1:], len(rows))
    pieces = (rows[begins] * image_bytes, begins * image_bytes, ends * image_bytes)
    yield from zip(*(piece.tolist() for piece in pieces), strict=True)
