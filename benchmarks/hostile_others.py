"""BMPs, GIFs and WebPs that are cheap to send and costly to decode."""

import struct

_RLE8, _RLE4 = 1, 2


def bmp(width: int, height: int, data: bytes, *, compression: int = _RLE8, bits: int = 8) -> bytes:
    """A BMP with a palette, followed by the given bytes."""
    colours = bytes(4 << bits)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    offset = 14 + len(head) + len(colours)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + colours + data


def padded(width: int, height: int) -> bytes:
    """RLE8: one pixel a row. Pillow fills the rest in Python, byte by byte."""
    return bmp(width, height, b"\1\1\0\0" * height + b"\0\1")


def runs(width: int, height: int) -> bytes:
    """RLE4: runs of 254 pixels. Pillow unpacks them in Python, pixel by pixel."""
    row = b"\xfe\x12" * (width // 254) + bytes([width % 254, 0x12]) + b"\0\0"
    return bmp(width, height, row * height + b"\0\1", compression=_RLE4, bits=4)


def absolute(width: int, height: int) -> bytes:
    """RLE4: pixels one by one, in escapes of 252."""
    row = (b"\0\xfc" + bytes(126)) * (width // 252)
    return bmp(width // 252 * 252, height, row * height + b"\0\1", compression=_RLE4, bits=4)


def no_progress(piece: bytes, size: int) -> bytes:
    """RLE8: codes that add no pixel, so that the picture never ends."""
    return bmp(8, 8, b"\x08\1" + piece * (size // len(piece)))


def deltas(width: int, height: int) -> bytes:
    """RLE8: jumps of 255 rows."""
    return bmp(width, height, b"\0\2\0\xff" * (-(-height // 255)) + b"\0\1")


def uncompressed(width: int, height: int) -> bytes:
    """One bit a pixel: eight times smaller than a byte a pixel."""
    return bmp(width, height, bytes((width + 31) // 32 * 4 * height), compression=0, bits=1)


def _sub_blocks(data: bytes, size: int = 255) -> bytes:
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def _lzw(pixels: int) -> bytes:
    """Zeros in codes whose strings grow longer: n codes stand for n²/2 pixels."""
    codes, width, next_code, done, length = [(256, 9), (0, 9)], 9, 258, 1, 1
    while done < pixels:
        length += 1
        codes.append((next_code, width))
        done, next_code = done + length, next_code + 1
        width = min(12, max(width, next_code.bit_length()))
        if next_code == 4095:
            codes += [(256, 12), (0, 9)]
            width, next_code, length, done = 9, 258, 1, done + 1
    codes.append((257, width))
    bits = "".join(f"{code:0{width}b}" for code, width in reversed(codes))
    return int(bits, 2).to_bytes(-(-len(bits) // 8), "little")


def gif(
    width: int, height: int, *, canvas: tuple[int, int] = (0, 0), before: bytes = b"", interlaced: bool = False,
    sub_block: int = 255
) -> bytes:  # fmt: skip
    """A GIF of one colour, with extensions before its frame."""
    screen = struct.pack("<HHBBB", *(canvas if any(canvas) else (width, height)), 0xF7, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, interlaced << 6) + b"\x08"
    colours = bytes(3) + b"\xff" * 765
    return b"GIF89a" + screen + colours + before + frame + _sub_blocks(_lzw(width * height), sub_block) + b";"


def gif_flood(piece: bytes, size: int) -> bytes:
    """`size` bytes of one repeated extension."""
    return gif(8, 8, before=piece * (size // len(piece)))


def gif_comment(size: int, sub_block: int) -> bytes:
    """One comment in very many pieces."""
    return gif(8, 8, before=b"!\xfe" + _sub_blocks(b"c" * (size * sub_block // (sub_block + 1)), sub_block))


def gif_disposed(width: int, height: int) -> bytes:
    """The canvas is filled once for the frame and once for its disposal."""
    return gif(width, height, before=b"!\xf9\4\x0d\0\0\0\0")


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(_riff_chunk(kind, data) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _riff_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _bits(*fields: tuple[int, int]) -> bytes:
    """Packs (value, width), the lowest bit first."""
    bits = "".join(f"{value:0{width}b}"[::-1] for value, width in fields)
    return int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")


# A prefix code of one symbol, 0, five times: the pixels then need no bits at all.
_ONE_COLOUR = ((0, 1), *((1, 1), (0, 1), (0, 1), (0, 1)) * 5)


def _vp8l(width: int, height: int, transforms: tuple[tuple[int, int], ...] = ()) -> bytes:
    head = ((width - 1, 14), (height - 1, 14), (1, 1), (0, 3))
    return b"\x2f" + _bits(*head, *transforms, (0, 1), (0, 1), (0, 1), *_ONE_COLOUR[1:]) + bytes(8)


def webp_lossless(width: int, height: int) -> bytes:
    """One colour with alpha in 40 bytes."""
    return riff((b"VP8L", _vp8l(width, height)))


def webp_transformed(width: int, height: int) -> bytes:
    """The same behind three transforms: predicted, decorrelated, green added."""
    tile = ((0, 3),)  # of 4 × 4 pixels
    transforms = ((1, 1), (0, 2), *tile, *_ONE_COLOUR, (1, 1), (1, 2), *tile, *_ONE_COLOUR, (1, 1), (2, 2))
    return riff((b"VP8L", _vp8l(width, height, transforms)))


def _canvas(width: int, height: int, flags: int) -> tuple[bytes, bytes]:
    return b"VP8X", struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def webp_animated(width: int, height: int, frame: tuple[int, int] = (1, 1), frames: int = 2) -> bytes:
    """Two canvases are held, whatever the size of the frames."""
    size = (frame[0] - 1).to_bytes(3, "little") + (frame[1] - 1).to_bytes(3, "little")
    body = bytes(6) + size + b"\1\0\0\0" + _riff_chunk(b"VP8L", _vp8l(*frame))
    return riff(_canvas(width, height, 0x12), (b"ANIM", bytes(6)), *[(b"ANMF", body)] * frames)


def webp_flood(kind: bytes, data: bytes, size: int) -> bytes:
    """Chunks of an unknown type, before and after the picture."""
    count = size // (8 + len(data))
    return riff(_canvas(8, 8, 0x10), (b"VP8L", _vp8l(8, 8)), *[(kind, data)] * count)


def webp_exif(block: bytes) -> bytes:
    return riff(_canvas(8, 8, 0x18), (b"VP8L", _vp8l(8, 8)), (b"EXIF", block))
