"""PNG: its chunks. Those that the pixels need are kept, all others are metadata."""

import struct
import zlib

from lince.encoded_image import orientation
from lince.encoded_image.structure import Structure, require

# More than pictures in use have; one more for each kilobyte of the file, since most chunks are 4 or 8 kB.
_MAX_CHUNKS = 1_000
_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_EXIF_TEXT, _XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# Bytes of a compressed text: a camera's directory is at its start, and empty deflate blocks take time.
_PACKED_BYTES, _UNPACKED_BYTES = 2**16, 2**17


def read(data: bytes) -> Structure:
    """The structure of a PNG."""
    found = Structure("PNG")
    position, chunks, by_exif, by_text, by_xmp = 8, 0, 0, 0, 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, end = position + 8, min(position + 8 + length, len(data))  # in a truncated file
        chunks += 1
        require("chunks", chunks, _MAX_CHUNKS + len(data) // 1024)
        if kind == b"IHDR" and not found.width:
            found.width, found.height = struct.unpack_from(">II", data, start)
        elif kind == b"IEND":
            break
        elif kind == b"IDAT" and end + 4 <= len(data) and not _is_whole(data, start, end):
            found.damage = "a part of its pixels does not fit its checksum"  # Pillow does not check it
        elif kind not in _NEEDED and kind.isalpha():  # anything but letters is damage
            found.drop(position, end + 4)
            if kind == b"eXIf" and not by_exif and _is_whole(data, start, end):
                by_exif = orientation.from_exif(data[start:end])
            elif kind in _TEXTS and data.startswith(_EXIF_TEXT, start) and not by_text and _is_whole(data, start, end):
                by_text = orientation.from_text(_text(kind, data[start + len(_EXIF_TEXT) : end]))
            elif kind == b"iTXt" and data.startswith(_XMP, start) and not by_xmp and _is_whole(data, start, end):
                by_xmp = orientation.from_xmp(_text(kind, data[start + len(_XMP) : end]))
        position = end + 4
    found.orientation = by_exif or by_text or by_xmp or 1
    return found


def _is_whole(data: bytes, start: int, end: int) -> bool:
    """Whether a chunk's checksum fits its kind and body."""
    return data[end : end + 4] == struct.pack(">I", zlib.crc32(memoryview(data)[start - 4 : end]))


def _text(kind: bytes, body: bytes) -> bytes:
    """The text after its keyword, decompressed; empty where that fails (PNG specification, 11.3.3)."""
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = body[:1] == b"\1"
        *_, body = body[2:].split(b"\0", 2)  # after a language and a keyword in that language
    elif packed:
        body = body[1:]
    if not packed:
        return body
    try:
        return zlib.decompressobj().decompress(body[:_PACKED_BYTES], _UNPACKED_BYTES)
    except zlib.error:
        return b""
