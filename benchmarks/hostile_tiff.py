"""TIFFs that are cheap to send and costly to decode."""

import struct
import zlib
from collections.abc import Sequence

import hostile_png

_SHORT, _LONG = 3, 4
RAW, FAX, LZW, DEFLATE, PACK_BITS = 1, 4, 5, 8, 32773

Tag = tuple[int, int, Sequence[int]]


def tiff(tags: Sequence[Tag], data: bytes) -> bytes:
    """A TIFF: data at byte 8, then the directory, then the values that do not fit into it."""
    start = 8 + len(data) + len(data) % 2
    rows, values, behind = b"", b"", start + 2 + 12 * len(tags) + 4
    for tag, kind, numbers in sorted(tags):
        packed = struct.pack(f"<{len(numbers)}{'HI'[kind == _LONG]}", *numbers)
        where = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", behind + len(values))
        values += packed if len(packed) > 4 else b""
        rows += struct.pack("<HHI", tag, kind, len(numbers)) + where
    directory = struct.pack("<H", len(tags)) + rows + bytes(4) + values
    return b"II*\0" + struct.pack("<I", start) + data + bytes(len(data) % 2) + directory


def layout(width: int, height: int, packing: int, *, samples: int = 3, bits: int = 8, colours: int = 2) -> list[Tag]:
    return [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [bits] * samples),
        (259, _SHORT, [packing]),
        (262, _SHORT, [colours]),
        (277, _SHORT, [samples]),
    ]


def strips(width: int, height: int, packing: int, pieces: Sequence[bytes], rows: int, **options: int) -> bytes:
    """A picture in strips of the given number of rows."""
    starts, position = [], 8
    for piece in pieces:
        starts.append(position)
        position += len(piece)
    places = [(273, _LONG, starts), (278, _LONG, [rows]), (279, _LONG, [len(piece) for piece in pieces])]
    return tiff([*layout(width, height, packing, **options), *places], b"".join(pieces))


def deflated(width: int, height: int, *, rows: int = 0, samples: int = 3, bits: int = 8, colours: int = 2) -> bytes:
    """One colour, in strips or in one piece."""
    rows = rows or height
    piece = hostile_png.packed(bytes(width * samples * bits // 8) for _ in range(rows))
    options = {"samples": samples, "bits": bits, "colours": colours}
    return strips(width, height, DEFLATE, [piece] * -(-height // rows), rows, **options)


def raw_rows(width: int, height: int) -> bytes:
    """One bit a pixel, each row a strip. Pillow makes an object of each strip."""
    row = bytes((width + 7) // 8)
    return strips(width, height, RAW, [row] * height, 1, samples=1, bits=1, colours=1)


def shared_strip(size: int, count: int) -> bytes:
    """All strips share the same bytes, which take long to decode."""
    blocks = zlib.compress(bytes(24))[:2] + hostile_png.empty_blocks(size)
    place = [(273, _LONG, [8] * count), (278, _LONG, [1]), (279, _LONG, [len(blocks)] * count)]
    return tiff([*layout(8, count, DEFLATE), *place], blocks)


def blocks(size: int) -> bytes:
    """Empty deflate blocks."""
    pixels = zlib.compress(bytes(192))
    return strips(8, 8, DEFLATE, [pixels[:2] + hostile_png.empty_blocks(size) + pixels[2:]], 8)


def tiles(width: int, height: int, tile: int, count: int) -> bytes:
    """Tiles far larger than the picture."""
    piece = hostile_png.packed(bytes(3 * tile) for _ in range(tile))
    sizes = [(322, _LONG, [tile]), (323, _LONG, [tile])]
    place = [(324, _LONG, [8] * count), (325, _LONG, [len(piece)] * count)]
    return tiff([*layout(width, height, DEFLATE), *sizes, *place], piece)


def entries(count: int) -> bytes:
    """A directory of the greatest length, whose entries all hold the same 60 kB."""
    rows = b"".join(struct.pack("<HHII", index, 7, 60_000, 8) for index in range(count))
    return b"II*\0" + struct.pack("<I", 60_008) + bytes(60_000) + struct.pack("<H", count) + rows + bytes(4)


def values(tag: int, count: int) -> bytes:
    """An entry that states very many numbers."""
    made = [one for one in layout(8, 8, RAW) if one[0] != tag]
    place = [(273, _LONG, [8]), (278, _LONG, [8]), (279, _LONG, [192])]
    data = bytearray(tiff([*made, *[one for one in place if one[0] != tag], (tag, _LONG, [0] * 3)], bytes(4 * count)))
    where = data.rindex(struct.pack("<HHI", tag, _LONG, 3))
    data[where : where + 12] = struct.pack("<HHII", tag, _LONG, count, 8)
    return bytes(data)


def exif(block: bytes) -> bytes:
    """A picture that states where its Exif is. The block's offsets are not those of the file, and are not followed."""
    place = [(273, _LONG, [8]), (278, _LONG, [8]), (279, _LONG, [192]), (0x8769, _LONG, [200])]
    return tiff([*layout(8, 8, RAW), *place], bytes(192) + block)
