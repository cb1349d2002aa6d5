"""Checks of untrusted zip archives and of the arrays in them: sizes before a byte is unpacked, no hidden bytes."""

import zipfile

import numpy as np
from numpy.lib import format as npy

from lince.errors import WRITE_AGAIN, ModelFileError

# Sizes in the zip format (PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16): of a member's header, of its line
# in the directory, and of the record at the end. Names, extra fields and comments are not counted.
_HEADER_BYTES, _LINE_BYTES, _END_BYTES = 30, 46, 22


def require_bounded(entry: zipfile.ZipInfo) -> None:
    """Refuses bzip2 and LZMA: zipfile inflates them whole, whatever size they declare (2 MB became 847 MB).

    Raises:
        ModelFileError: the member is neither deflated nor stored.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelFileError(
            f"{entry.filename} is compressed by method {entry.compress_type}. Expected deflate or none."
        )


def require_no_holes(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Checks that every byte of an archive of `size` belongs to a member or to the directory: nothing is hidden.

    Raises:
        ModelFileError: there are other bytes.
    """
    around = _HEADER_BYTES + _LINE_BYTES
    needed = _END_BYTES + sum(around + 2 * len(entry.filename) + entry.compress_size for entry in entries)
    if size != needed:
        raise ModelFileError(
            f"its archive has {size:,} bytes, its members need {needed:,}. Expected nothing between or behind them: "
            f"the file was altered. {WRITE_AGAIN}"
        )


def array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Reads the member `name` of an npz, after a check of its header.

    Raises:
        ValueError: the member has another format, shape or type, or ends early.
    """
    with archive.open(name) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is not in version 1.0 of the npy format")
        header = npy.read_array_header_1_0(file)
        if header != (shape, False, np.dtype(dtype)):
            raise ValueError(f"{name} holds {header[2]}{list(header[0])}, expected {np.dtype(dtype)}{list(shape)}")
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        data = file.read(size)
        if len(data) != size:
            raise ValueError(f"{name} ends early")
    return np.frombuffer(data, dtype).reshape(shape)
