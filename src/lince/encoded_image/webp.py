"""WebP: the chunks of a RIFF file (RFC 9649). Frames are kept; Exif, XMP, profiles and unknown chunks are left out."""

import struct

from lince.encoded_image import orientation
from lince.encoded_image.structure import Structure, require

_MAX_CHUNKS = 10_000  # C code reads them: an animation has one for each frame
_BUFFER_BYTES = 12  # of a pixel: two canvases and a copy, or the lossless decoder's (measured, Pillow 13)
# Of a lossless picture. Each group of codes takes 14 kB of tables, and only the compressed bits tell their number. A
# larger picture counts as slow, so that the service decodes it in a process with limited memory.
_SMALL_LOSSLESS_BYTES = 64 * 2**10
_NEEDED = frozenset({b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"})
_KEPT_FLAGS = 0x12  # of the canvas: transparency and animation; the others announce metadata or are unused
_FRAMES = frozenset({b"VP8 ", b"VP8L"})  # of a still picture: only metadata follows it


def read(data: bytes) -> Structure:
    """The structure of a WebP."""
    found = Structure("WEBP")
    [declared] = struct.unpack_from("<I", data, 4)
    position, chunks, needed, by_exif, by_xmp, is_complete = 12, 0, 4, 0, 0, False
    while position + 8 <= min(8 + declared, len(data)):
        kind, length = struct.unpack_from("<4sI", data, position)
        start, end = position + 8, position + 8 + length + length % 2
        chunks += 1
        require("chunks", chunks, _MAX_CHUNKS)
        if not found.width:
            found.width, found.height = _size(kind, data[start : start + 10])
        if kind in (b"VP8L", b"ALPH"):
            found.slow |= min(length, len(data) - start) > _SMALL_LOSSLESS_BYTES
        if kind in _NEEDED and not is_complete:
            if kind == b"VP8X":
                _leave_flags(found, data, start)
            needed += end - position
            is_complete = kind in _FRAMES
        else:
            found.drop(position, end)
            by_exif = by_exif or (orientation.from_exif(data[start:end]) if kind == b"EXIF" else 0)
            by_xmp = by_xmp or (orientation.from_xmp(data, start, end) if kind == b"XMP " else 0)
        position = end
    if not is_complete:  # the missing end of an animation may hold frames: it stays damaged
        needed += max(0, 8 + declared - position)
    if needed != declared:
        found.edits.insert(0, (4, 8, struct.pack("<I", needed & 0xFFFFFFFF)))
    found.buffer_bytes = _BUFFER_BYTES * found.pixels
    found.orientation = by_exif or by_xmp or 1
    return found


def _leave_flags(found: Structure, data: bytes, start: int) -> None:
    """Clears the flags of metadata. Libwebp refuses flags that it does not know, or whose chunk is missing."""
    kept = bytes([data[start] & _KEPT_FLAGS, 0, 0, 0])
    if data[start : start + 4] != kept:
        found.edits.append((start, start + 4, kept))


def _size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Width and height of the canvas, or of the only frame (sections 2.5 to 2.7)."""
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        [bits] = struct.unpack_from("<I", body, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0
