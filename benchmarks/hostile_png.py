"""PNGs that are cheap to send and costly to decode."""

import itertools
import struct
import zlib
from collections.abc import Iterable

from hostile_requests import png

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = _SAMPLES

Chunk = tuple[bytes, bytes]


def packed(data: bytes | Iterable[bytes], level: int = 9) -> bytes:
    """Compresses with deflate, one piece after the other, so that 100 MB are never held in memory."""
    packer = zlib.compressobj(level)
    pieces = [data] if isinstance(data, bytes) else data
    return b"".join(packer.compress(piece) for piece in pieces) + packer.flush()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def plain(
    width: int,
    height: int,
    colour: int,
    *,
    depth: int = 8,
    filter_type: int = 0,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A valid picture of one colour, with whole chunks before and after its pixels."""
    rows = [(width, height)] if not interlaced else _passes(width, height)
    data = packed(
        piece
        for columns, count in rows
        for piece in _rows(bytes([filter_type]) + bytes((columns * depth * _SAMPLES[colour] + 7) // 8), count)
        if columns
    )
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), before, chunk(b"IDAT", data), after, chunk(b"IEND")]
    )


def _rows(row: bytes, count: int) -> Iterable[bytes]:
    """The repeated row, in pieces of about 64 kB."""
    at_once = max(1, 65_536 // len(row))
    yield from itertools.repeat(row * at_once, count // at_once)
    yield row * (count % at_once)


def _passes(width: int, height: int) -> list[tuple[int, int]]:
    """Columns and rows of Adam7's seven pictures."""
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    return [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in starts]


def tall_grey(width: int, height: int) -> bytes:
    """16-bit grey with a transparent level. Pillow needs a pointer for each row, and two conversions."""
    return plain(width, height, GREY, depth=16, before=chunk(b"tRNS", b"\0\0"))


def transparent_level(width: int, height: int) -> bytes:
    """RGB with one transparent colour: converted to RGBA."""
    return plain(width, height, RGB, before=chunk(b"tRNS", bytes(6)))


def palette(width: int, height: int, *, depth: int = 8) -> bytes:
    """A palette with alpha: a byte a pixel in the file and four when resampled."""
    tables = chunk(b"PLTE", bytes(3 << depth)) + chunk(b"tRNS", bytes(range(1 << depth)))
    return plain(width, height, PALETTE, depth=depth, before=tables)


def flood(kind: bytes, data: bytes, size: int, *, late: bool = False) -> bytes:
    """`size` bytes of one repeated chunk, before or after the pixels."""
    piece = chunk(kind, data)
    pieces = piece * (size // len(piece))
    return plain(8, 8, RGB, after=pieces) if late else plain(8, 8, RGB, before=pieces)


def inflating(kind: bytes, size: int, *, late: bool = False) -> bytes:
    """Chunks of 1 kB that inflate to 1 MB each, as much as Pillow reads of one."""
    head = {b"iCCP": b"a\0\0", b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    return flood(kind, head + packed(bytes(2**20)), size, late=late)


def empty_data(size: int, *, late: bool = False) -> bytes:
    """Empty IDAT chunks, before or after those of the pixels."""
    return flood(b"IDAT", b"", size, late=late)


def sliced_data(width: int, height: int, level: int = 0) -> bytes:
    """Pixels in chunks of one byte each."""
    data = packed((b"\0" + bytes(width * 3) for _ in range(height)), level)
    return png(width, height, *((b"IDAT", data[index : index + 1]) for index in range(len(data))))


def deflate_blocks(size: int) -> bytes:
    """Pixels behind empty blocks."""
    pixels = zlib.compress(b"\0" + bytes(24) + (b"\0" + bytes(24)) * 7)
    return png(8, 8, (b"IDAT", pixels[:2] + empty_blocks(size) + pixels[2:]))


def empty_blocks(size: int) -> bytes:
    """Deflate blocks that hold only their tables: 90 bits each, and the decoder builds a table for each."""
    lengths = [0] * 18  # of the code for lengths, in the order of RFC 1951: 18 and 1 have a bit each
    lengths[2] = lengths[17] = 1
    fields = [(0, 1), (2, 2), (0, 5), (0, 5), (14, 4), *((length, 3) for length in lengths)]
    # 256 zeros are 138 + 118; then the end of the block and a distance have one bit each. Codes: 1 is "0", 18 is "1".
    fields += [(1, 1), (127, 7), (1, 1), (107, 7), (0, 1), (0, 1), (0, 1)]
    bits = "".join(f"{value:0{width}b}"[::-1] for value, width in fields) * 4  # four are a whole number of bytes
    block = int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")
    return block * (size // len(block))


def frame_controls(size: int) -> bytes:
    """Tens of thousands of frames of an animation, none with pixels."""
    count = size // 38
    body = struct.pack(">IIIIHHBB", 8, 8, 0, 0, 1, 1, 0, 0)
    frames = b"".join(chunk(b"fcTL", struct.pack(">I", index) + body) for index in range(count))
    return plain(8, 8, RGB, before=chunk(b"acTL", struct.pack(">II", count, 0)) + frames)


def animation(width: int, height: int) -> bytes:
    """An animation of two full frames."""
    control = struct.pack(">IIIIHHBB", width, height, 0, 0, 1, 1, 1, 0)
    data = packed(b"\0" + bytes(width * 4) for _ in range(height))
    before = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", bytes(4) + control)
    after = chunk(b"fcTL", struct.pack(">I", 1) + control) + chunk(b"fdAT", struct.pack(">I", 2) + data)
    return plain(width, height, RGBA, before=before, after=after)


def exif(block: bytes) -> bytes:
    return plain(8, 8, RGB, before=chunk(b"eXIf", block))


def exif_text(block: bytes) -> bytes:
    """Exif as ImageMagick writes it: hexadecimal, in a compressed text."""
    text = f"\nexif\n{len(block):8}\n{(b'Exif' + bytes(2) + block).hex()}".encode()
    return plain(8, 8, RGB, before=chunk(b"zTXt", b"Raw profile type exif\0\0" + packed(text)))
