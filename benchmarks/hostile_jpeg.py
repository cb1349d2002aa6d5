"""JPEGs that are cheap to send and costly to decode, built marker by marker."""

import functools
import struct

import hostile_exif

_DC_TABLE = b"\x00" + bytes([1]) + bytes(15) + b"\0"  # one code, "0": no difference
_AC_TABLE = b"\x10" + bytes([1]) + bytes(15) + b"\xe0"  # one code, "0": a run of 2**14 + 14 bits blocks without change
_RUN = 2**15 - 1
_SUBSAMPLED = (0x22, 0x11, 0x11)

SEQUENTIAL, PROGRESSIVE, ARITHMETIC, ARITHMETIC_PROGRESSIVE = 0xC0, 0xC2, 0xC9, 0xCA


def segment(marker: int, data: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def picture(
    width: int,
    height: int,
    frame: int,
    sampling: tuple[int, ...],
    scans: bytes,
    *,
    before: bytes = b"",
    dpi: bool = True,
) -> bytes:
    """A JPEG of any structure.

    Args:
        width: pixels.
        height: pixels.
        frame: the kind of frame: SEQUENTIAL, PROGRESSIVE, …
        sampling: horizontal and vertical factor of each component.
        scans: what follows the tables.
        before: segments before the frame.
        dpi: whether JFIF gives a density. Without it, Pillow reads Exif when it opens the file.
    """
    components = b"".join(bytes([index + 1, factors, 0]) for index, factors in enumerate(sampling))
    size = struct.pack(">BHHB", 8, height, width, len(sampling))
    jfif = segment(0xE0, b"JFIF\0\1\1\1\0\x48\0\x48\0\0") if dpi else b""
    tables = segment(0xDB, b"\0" + b"\1" * 64) + segment(frame, size + components)
    codes = b"" if frame >= ARITHMETIC else segment(0xC4, _DC_TABLE) + segment(0xC4, _AC_TABLE)
    return b"\xff\xd8" + jfif + before + tables + codes + scans + b"\xff\xd9"


def scan(components: tuple[int, ...], first: int, last: int, high: int, low: int, data: bytes = b"") -> bytes:
    """One scan: coefficients `first` to `last`, refined from bit `high` to bit `low`."""
    selectors = b"".join(bytes([index + 1, 0]) for index in components)
    return segment(0xDA, bytes([len(components)]) + selectors + bytes([first, last, high << 4 | low])) + data


def _zeros(count: int) -> bytes:
    return bytes(-(-count // 8))


def _blocks(width: int, height: int) -> int:
    return -(-width // 8) * -(-height // 8)


def _no_change(blocks: int) -> bytes:
    """Runs of blocks that a refinement does not change; the decoder visits all their coefficients."""
    runs = -(-blocks // _RUN)
    bits = "".join(f"0{_RUN - 2**14:014b}" for _ in range(runs))
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "1"), 2).to_bytes(-(-len(bits) // 8), "big")
    return packed.replace(b"\xff", b"\xff\0")


def refined(width: int, height: int, scans: int) -> bytes:
    """Progressive and grey: `scans` refinements that change nothing, 15 ms each at 25 megapixels."""
    blocks = _blocks(width, height)
    first = scan((0,), 0, 0, 0, 0, _zeros(blocks)) + scan((0,), 1, 63, 0, 1, _no_change(blocks))
    return picture(width, height, PROGRESSIVE, (0x11,), first + scan((0,), 1, 63, 1, 0, _no_change(blocks)) * scans)


def refined_colour(width: int, height: int, scans: int, *, sampling: tuple[int, ...] = (0x11, 0x11, 0x11)) -> bytes:
    """The same for each component of a colour picture, one after the other."""
    data = _no_change(_blocks(width, height))
    turns = b"".join(scan((index % len(sampling),), 1, 63, 1, 0, data) for index in range(scans))
    first = scan(tuple(range(len(sampling))), 0, 0, 0, 0, _zeros(_blocks(width, height) * len(sampling)))
    return picture(width, height, PROGRESSIVE, sampling, first + turns)


def refined_without_data(width: int, height: int, scans: int) -> bytes:
    """Refinements of the mean alone, without data: 10 bytes a scan, and libjpeg supplies zeros."""
    first = scan((0,), 0, 0, 0, 1, _zeros(_blocks(width, height)))
    return picture(width, height, PROGRESSIVE, (0x11,), first + scan((0,), 0, 0, 1, 0) * scans)


def restarted(width: int, height: int, scans: int) -> bytes:
    """Repeated first passes over the coefficients, without data."""
    return picture(width, height, PROGRESSIVE, (0x11,), scan((0,), 1, 63, 0, 0) * scans)


def sequential_scans(width: int, height: int, scans: int) -> bytes:
    """Not progressive, but in many scans: each component is repeated, without data."""
    turns = b"".join(scan((index % 3,), 0, 63, 0, 0) for index in range(scans))
    return picture(width, height, SEQUENTIAL, _SUBSAMPLED, turns)


def arithmetic(width: int, height: int) -> bytes:
    """Arithmetic coding without data: the decoder works on zeros."""
    return picture(width, height, ARITHMETIC, _SUBSAMPLED, scan((0, 1, 2), 0, 63, 0, 0))


def arithmetic_scans(width: int, height: int, scans: int) -> bytes:
    """Arithmetic and progressive: each refinement has 10 bytes and costs a whole decoding."""
    first = scan((0,), 0, 0, 0, 0) + scan((0,), 1, 63, 0, 1)
    return picture(width, height, ARITHMETIC_PROGRESSIVE, (0x11,), first + scan((0,), 1, 63, 1, 0) * scans)


def whole(width: int, height: int, *, components: int = 4, progressive: bool = True) -> bytes:
    """All coefficients of all components held in memory: 2 bytes each, 200 MB for 25 megapixels CMYK."""
    zeros = _zeros(_blocks(width, height) * components)
    scans = scan(tuple(range(components)), 0, 0, 0, 0, zeros)
    return picture(width, height, PROGRESSIVE if progressive else SEQUENTIAL, (0x11,) * components, scans)


_small = functools.partial(picture, 8, 8, SEQUENTIAL, (0x11,), scan((0,), 0, 63, 0, 0, b"\0"))


def segments(marker: int, data: bytes, size: int) -> bytes:
    """A small picture behind `size` bytes of one repeated segment."""
    piece = segment(marker, data)
    return _small(before=piece * (size // len(piece)))


def exif_pieces(size: int, piece: int = 0) -> bytes:
    """Exif in segments of `piece` bytes. Pillow joins them one by one, in quadratic time."""
    return segments(0xE1, b"Exif\0\0" + bytes(piece), size)


def exif(block: bytes, *, dpi: bool = False) -> bytes:
    """One Exif block in as few segments as it needs."""
    pieces = (block[start : start + 65_000] for start in range(0, len(block), 65_000))
    return _small(before=b"".join(segment(0xE1, b"Exif\0\0" + piece) for piece in pieces), dpi=dpi)


def multi_picture(block: bytes) -> bytes:
    return _small(before=segment(0xE2, b"MPF\0" + block))


def photoshop(size: int) -> bytes:
    """Image resources without content, each parsed in Python."""
    return segments(0xED, b"Photoshop 3.0\0" + (b"8BIM" + bytes(8)) * 5_400, size)


def quantization(size: int) -> bytes:
    """A thousand tables in each segment. Pillow copies the rest of the segment for each table."""
    return segments(0xDB, (b"\0" + b"\1" * 64) * 1_000, size)


def filler(piece: bytes, size: int) -> bytes:
    """Meaningless bytes between two markers; each is read with a call of its own."""
    return _small(before=piece * (size // len(piece)))


def deep_multi_picture() -> bytes:
    """A block that states that four billion pictures follow."""
    return multi_picture(hostile_exif.multi_picture(2**32 - 1, 4_000))
