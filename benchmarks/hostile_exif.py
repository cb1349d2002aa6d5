"""Exif blocks that are cheap to send and costly to read; JPEG, PNG and WebP can all contain them."""

import struct

_SHORT, _LONG, _RATIONAL, _UNDEFINED = 3, 4, 5, 7
_UNIT = {_SHORT: 2, _LONG: 4, _RATIONAL: 8, _UNDEFINED: 1}
_ORIENTATION, _X_RESOLUTION, _RESOLUTION_UNIT = 0x0112, 0x011A, 0x0128

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, and four bytes: the value or where it is."""


def directory(entries: list[Entry], data: bytes = b"") -> bytes:
    """A TIFF block with one directory; `data` begins at `data_offset(len(entries))`."""
    rows = b"".join(struct.pack("<HHL4s", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + rows + bytes(4) + data


def data_offset(count: int) -> int:
    """Where the data behind a directory of that many entries begins."""
    return 8 + 2 + 12 * count + 4


def shared_block(count: int, size: int) -> bytes:
    """Each entry points to the same block. A reader that copies it for each entry holds count × size bytes."""
    where = struct.pack("<L", data_offset(count))
    return directory([(1 + index, _UNDEFINED, size, where) for index in range(count)], bytes(size))


def rationals(size: int, tag: int = _X_RESOLUTION) -> bytes:
    """A resolution of very many fractions: Pillow makes a Python object of each."""
    numbers = struct.pack("<LL", 72, 1) * (size // 8)
    unit = (_RESOLUTION_UNIT, _SHORT, 1, b"\2\0\0\0")  # asked for first: without it, Pillow stops there
    return directory([unit, (tag, _RATIONAL, size // 8, struct.pack("<L", data_offset(2)))], numbers)


def long_orientation(size: int) -> bytes:
    """An orientation that is a list of fractions, read after the pixels."""
    return rationals(size, _ORIENTATION)


def many_small(count: int = 65_535) -> bytes:
    """As many entries as a directory can have, each with its value inside."""
    return directory([(index, _SHORT, 1, b"\1\0\0\0") for index in range(count)])


def many_warnings(count: int = 65_535) -> bytes:
    """Each entry is larger than the file. Pillow warns of each, and never frees the texts."""
    return directory([(index, _LONG, 2**30, b"\1\0\0\0") for index in range(count)])


def ordinary(orientation: int = 1, size: int = 0) -> bytes:
    """The Exif of a camera: an orientation and, instead of a thumbnail, `size` bytes."""
    where = struct.pack("<L", data_offset(2))
    entries = [(_ORIENTATION, _SHORT, 1, struct.pack("<HH", orientation, 0)), (0x927C, _UNDEFINED, size, where)]
    return directory(entries, bytes(index % 251 for index in range(size)))


def multi_picture(count: int, entries: int) -> bytes:
    """MPF: says that `count` pictures follow and describes `entries`."""
    where = struct.pack("<L", data_offset(2))
    rows = struct.pack("<LLLHH", 0, 1, 0, 0, 0) * entries
    return directory([(0xB001, _LONG, 1, struct.pack("<L", count)), (0xB002, _UNDEFINED, len(rows), where)], rows)
