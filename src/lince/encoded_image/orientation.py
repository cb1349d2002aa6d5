"""The orientation of a picture, read from its metadata; upright where it cannot be read.

It is in three kinds of metadata: Exif (a TIFF directory), Exif as text (ImageMagick writes it into PNG), and XMP.
"""

import re
import struct

_TAG, _BYTE, _SHORT, _LONG = 0x0112, 1, 3, 4
_PREFIX = b"Exif\0\0"
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_HEX_BYTES = 2**16  # that are read of Exif as text: a camera's directory is at its start


def from_exif(block: bytes) -> int:
    """The orientation that an Exif block states, 1 to 8; 0 where there is none, or it cannot be read."""
    start = len(_PREFIX) if block.startswith(_PREFIX) else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    if order is None:
        return 0
    try:
        [directory] = struct.unpack_from(order + "I", block, start + 4)
        [count] = struct.unpack_from(order + "H", block, start + directory)
        entries = block[start + directory + 2 :][: 12 * count]
        whole = entries[: len(entries) // 12 * 12]
        return next(filter(None, (_stated(entry, order) for entry in struct.iter_unpack(order + "HHI4s", whole))), 0)
    except struct.error:
        return 0


def from_text(text: bytes) -> int:
    """The same of an Exif block in hexadecimal, after a heading of three lines."""
    try:
        return from_exif(bytes.fromhex(b"".join(text[:_HEX_BYTES].split(b"\n")[3:]).decode("ascii")))
    except ValueError:
        return 0


def from_xmp(data: bytes, start: int = 0, end: int | None = None) -> int:
    """The same of an XMP packet in the part of `data` from `start` to `end`."""
    found = _IN_XMP.search(data, start, len(data) if end is None else end)
    return int(found[1]) if found else 0


def _stated(entry: tuple[int, int, int, bytes], order: str) -> int:
    tag, kind, count, value = entry
    layout = {_BYTE: "B", _SHORT: "H", _LONG: "I"}.get(kind)
    if tag != _TAG or count != 1 or layout is None:
        return 0
    [stated] = struct.unpack_from(order + layout, value)
    return stated if 1 <= stated <= 8 else 0
