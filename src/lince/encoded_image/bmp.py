"""BMP: its header, which exists in many lengths."""

import struct

from lince.encoded_image.structure import Structure, require

_MAX_RLE_PIXELS = 4_000_000  # in run-length encoding, whose decoder is Python: 0.1 µs a pixel
_RLE_BYTES = 4  # of a pixel: twice the size of the worst encoding
_RLE_SPARE_BYTES = 2**16  # header, palette and ends of lines
_RUN_LENGTH, _BIT_FIELDS = (1, 2), 3

_FILE_HEADER_BYTES, _OLDEST, _USUAL = 14, 12, 40
_KNOWN = frozenset({_OLDEST, _USUAL, 52, 56, 64, 108, 124})  # that Pillow reads; all but the oldest start alike
_SHORTEST, _LONGEST = 16, 1_024  # bytes of other headers: missing fields count as 0, additional ones are ignored


def read(data: bytes) -> Structure:
    """The structure of a BMP."""
    found = Structure("BMP")
    [header_bytes] = struct.unpack_from("<I", data, _FILE_HEADER_BYTES)
    if header_bytes == _OLDEST:
        found.width, found.height = struct.unpack_from("<HH", data, 18)
        return found
    header = data[_FILE_HEADER_BYTES:][: min(header_bytes, _USUAL)].ljust(_USUAL, b"\0")
    width, height, _, _, compression = struct.unpack_from("<iiHHI", header, 4)
    found.width, found.height = abs(width), abs(height)
    if compression in _RUN_LENGTH:
        found.slow, found.buffer_bytes = True, 2 * found.pixels
        require("pixels in run-length encoding", found.pixels, _MAX_RLE_PIXELS)
        require("bytes for its pixels", len(data), _RLE_BYTES * found.pixels + _RLE_SPARE_BYTES)
    if header_bytes not in _KNOWN and _SHORTEST <= header_bytes <= _LONGEST:
        _shorten(found, data, header, header_bytes, compression)
    return found


def _shorten(found: Structure, data: bytes, header: bytes, header_bytes: int, compression: int) -> None:
    """Replaces a header of a length that Pillow does not read by one of the usual length, with its colour masks."""
    [pixels_at] = struct.unpack_from("<I", data, 10)
    end = _FILE_HEADER_BYTES + header_bytes
    masks = data[54:66] if compression == _BIT_FIELDS and header_bytes >= _USUAL + 12 else b""
    header = struct.pack("<I", _USUAL) + header[4:] + masks
    moved = pixels_at + _FILE_HEADER_BYTES + len(header) - end
    found.edits = [(10, end, struct.pack("<I", moved & 0xFFFFFFFF) + header)]
