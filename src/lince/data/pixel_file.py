"""Images that stay in a file: indexed like an array, read when asked for, so that a dataset may be larger than memory.

Measured on 1,000,000 images of 32 × 32 (3 GB), random batches of 500, two EPYC cores that were busy otherwise:

                                            in the page cache          on disk        resident memory
    an array in memory (50,000 images)      0.3 µs an image            -              all of it
    np.memmap                               0.4 (at first 0.9)            75             grows to all of it
    np.memmap, pages given back             1.1                        75             up to 2.9 GB between
    preadv                                  1.3                        50             one batch
    preadv, told ahead (what is done here)  1.8                        10             one batch

A memory map also ends the process (SIGBUS) where a read raises an error.
"""

import hashlib
import io
import math
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Self

import numpy as np
from jaxtyping import Int64, UInt8

from lince.errors import DataError

# Half of a SHA-256. Among 2⁴⁰ images, more than anybody has, two that differ have the same with a chance of 2⁻⁴⁹.
DIGEST_BYTES = 16

_Index = int | slice | np.ndarray | Sequence[int]


class PixelFile:
    """A file that begins with the pixels of N images, open for reading from any thread or forked process.

    Each image is held against its digest when it is read for the first time.
    """

    def __init__(self, file: BinaryIO, image_shape: tuple[int, ...], expected: UInt8[np.ndarray, "n 16"]):
        """Keeps the file open.

        Args:
            file: open, and the caller's to close; it may be replaced or deleted meanwhile, except on Windows.
            image_shape: (H, W, 3).
            expected: the digest of each image.
        """
        self.image_shape, self.digests = image_shape, expected
        self._name = file.name
        self._file = io.FileIO(os.dup(file.fileno()))
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()  # where there is no `preadv` (Windows), the file has one position for all
        self._is_verified = np.zeros(len(expected), bool)

    def read(self, rows: Int64[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w 3"]:
        """The images at `rows`, in that order, as an array of their own.

        Raises:
            DataError: when the file cannot be read, or an image is not what it was when it was written.
        """
        images = np.empty((len(rows), *self.image_shape), np.uint8)
        target = memoryview(images.reshape(-1))
        runs = list(_runs(rows, int(np.prod(self.image_shape))))
        try:
            self._announce(runs)
            for offset, begin, end in runs:
                while begin < end:  # once, but for more than 2 GiB in a piece
                    count = self._read_some(target[begin:end], offset)
                    if count == 0:
                        raise EOFError("it has become shorter")
                    begin, offset = begin + count, offset + count
        except (OSError, EOFError) as error:
            raise self._broken(str(error)) from error
        self._verify(images, rows)
        return images

    def _announce(self, runs: Sequence[tuple[int, int, int]]) -> None:
        """Lets the disk work on all pieces at once, where it would get them one after another."""
        if hasattr(os, "posix_fadvise"):
            descriptor = self._file.fileno()
            for offset, begin, end in runs:
                os.posix_fadvise(descriptor, offset, end - begin, os.POSIX_FADV_WILLNEED)

    def _read_some(self, target: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), (target,), offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(target)

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
    """u8[N,H,W,3], RGB 0..255: some images of a `PixelFile`, in some order."""

    dtype = np.dtype(np.uint8)

    def __init__(self, file: PixelFile, rows: Int64[np.ndarray, " n"]):
        self._file, self._rows = file, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._file.image_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def digests(self) -> UInt8[np.ndarray, "n 16"]:
        """What `digests` would find, without reading a pixel."""
        return self._file.digests[self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: _Index) -> UInt8[np.ndarray, "..."]:
        """An array: one image for a number, else as many as the slice, the index array or the mask names."""
        if not isinstance(index, int | np.integer | slice | np.ndarray | list):
            raise IndexError(f"Received the index {index!r}. Expected a number, a slice or an array: images alone.")
        rows = self._rows[index]
        return self._file.read(rows) if rows.ndim else self._file.read(rows[None])[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All of them, in memory."""
        if copy is False:
            raise ValueError("Images that lie in a file cannot become an array without being copied.")
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, indices: Int64[np.ndarray, " m"], axis: int = 0) -> Self:
        """The images at `indices`; reads nothing."""
        if axis != 0:
            raise IndexError(f"Received axis={axis}. Expected 0: images alone.")
        return type(self)(self._file, self._rows[indices])

    def joined(self, other: Self) -> Self:
        """These, then those of `other`, which lie in the same file."""
        if other._file is not self._file:
            raise ValueError("Received images of two files. Expected one.")
        return type(self)(self._file, np.concatenate([self._rows, other._rows]))


class StoredNames(Sequence[str]):
    """Names as one text in memory, a third of what as many `str` take; decoded when asked for."""

    def __init__(
        self,
        text: UInt8[np.ndarray, " bytes"],
        ends: Int64[np.ndarray, " total"] | None = None,
        rows: Int64[np.ndarray, " n"] | None = None,
    ):
        """Names out of a text.

        Args:
            text: UTF-8, a line for each name, each ended by a line feed.
            ends: where the line feeds are; found when None.
            rows: which lines, in which order; all when None.
        """
        self._text = text
        self._ends = np.flatnonzero(text == ord("\n")) if ends is None else ends
        self._rows = np.arange(len(self._ends)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: _Index) -> "str | StoredNames":
        """One name for a number, else names."""
        rows = self._rows[index]
        return StoredNames(self._text, self._ends, rows) if rows.ndim else self._line(int(rows))

    def __iter__(self) -> Iterator[str]:
        return map(self._line, self._rows.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None

    def text(self) -> bytes:
        """All of them, as of `as_text`."""
        is_whole = np.array_equal(self._rows, np.arange(len(self._ends)))
        return self._text.tobytes() if is_whole else "".join(f"{name}\n" for name in self).encode()

    def joined(self, other: Self) -> "StoredNames":
        """These, then those of `other`, which are of the same text."""
        return StoredNames(self._text, self._ends, np.concatenate([self._rows, other._rows]))

    def _line(self, row: int) -> str:
        begin = self._ends[row - 1] + 1 if row else 0
        return self._text[begin : self._ends[row]].tobytes().decode()


def as_text(names: Sequence[str]) -> bytes:
    """UTF-8, each name ended by a line feed; `base.printable` has left none inside of them."""
    return names.text() if isinstance(names, StoredNames) else "".join(f"{name}\n" for name in names).encode()


def digests(images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n 16"]:
    """The begin of the SHA-256 of each image's pixels.

    Args:
        images: u8[N,H,W,3].

    Returns:
        u8[N,16]; 2 µs an image of 32 × 32.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    found = b"".join(hashlib.sha256(row).digest()[:DIGEST_BYTES] for row in rows)
    return np.frombuffer(found, np.uint8).reshape(len(images), DIGEST_BYTES)


def _runs(rows: Int64[np.ndarray, " n"], image_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Neighbours in one piece: its offset in the file, and where it begins and ends in the answer, in bytes."""
    if len(rows) == 0:
        return
    begins = np.concatenate([[0], np.flatnonzero(np.diff(rows) != 1) + 1])
    ends = np.append(begins[1:], len(rows))
    pieces = (rows[begins] * image_bytes, begins * image_bytes, ends * image_bytes)
    yield from zip(*(piece.tolist() for piece in pieces), strict=True)
