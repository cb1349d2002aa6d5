"""TIFF: the first directory, of which the decoder sees what pixels need. Offsets are believed only inside the file.

Read are the layouts of scanners, cameras and image programs: whole numbers of 1 to 16 bits, grey, colours, a palette
or CMYK, in strips or tiles, as they are or packed without loss. JPEG in TIFF is not read: each strip is a JPEG of its
own, with as many scans as it likes.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from lince.encoded_image.structure import Structure, require
from lince.errors import ImageError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _STRIPS, _ORIENTATION = 256, 257, 258, 259, 262, 273, 274
_SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES, _PREDICTOR, _PALETTE = 277, 278, 279, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _NUMBERS = 322, 323, 324, 325, 338, 339
_FILL_ORDER, _FAX_3, _FAX_4, _KIND, _DNG = 266, 292, 293, 254, 50706
_NEEDED = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _STRIPS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES, _PREDICTOR}
    | {_PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _NUMBERS, _FILL_ORDER, _FAX_3, _FAX_4}
)
_TYPES = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT and LONG
_ENTRY_BYTES = 12

_MAX_ENTRIES = 1_000  # of the directory; those in use have some 20
_MAX_PIECES = 16_384  # strips or tiles, as many as rows: Pillow takes 10 µs of Python for each that is not packed
_MAX_TILED = 4  # times the pixels of the picture that its tiles may have, and a tile of 1,024 × 1,024
_SPARE_TILED = 2**20

_PACKED = {1: False, 2: True, 3: True, 4: True, 5: True, 8: True, 32773: True, 32946: True}
_FAX = frozenset({2, 3, 4})
_OTHER_PACKED = {6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard"}
_GREYS, _RGB, _INDEXED, _CMYK = (0, 1), 2, 3, 5
# Colours, samples and bits of each: what Pillow reads as the values that were meant.
_LAYOUTS = frozenset(
    {(grey, 1, bits) for grey in _GREYS for bits in (1, 2, 4, 8)}
    | {(1, 1, 16), (1, 2, 8), (_CMYK, 4, 8)}
    | {(_RGB, samples, bits) for samples in (3, 4) for bits in (8, 16)}
    | {(_INDEXED, 1, bits) for bits in (1, 2, 4, 8)}
)
_AGAIN = "Expected whole numbers of 1 to 16 bits, packed by LZW, Deflate, PackBits or not at all: save it as PNG."


@dataclass
class _Directory:
    """The entries of the first directory that pixels need, and the others' numbers."""

    order: str
    data: bytes
    entries: dict[int, bytes] = field(default_factory=dict)

    def values(self, tag: int, default: Iterable[int] = (), *, limit: int) -> tuple[int, ...]:
        """The numbers of an entry; the default where there is none, or it holds others than whole numbers."""
        if tag not in self.entries:
            return tuple(default)
        _, kind, count = struct.unpack_from(self.order + "HHI", self.entries[tag])
        if kind not in _TYPES:
            return tuple(default)
        require("values in one entry of its directory", count, limit)
        layout = f"{self.order}{count}{_TYPES[kind]}"
        if struct.calcsize(layout) <= 4:
            return struct.unpack_from(layout, self.entries[tag], 8)
        return struct.unpack_from(layout, self.data, *struct.unpack_from(self.order + "I", self.entries[tag], 8))

    def value(self, tag: int, default: int) -> int:
        """The only number of an entry; the default where it holds several, or none."""
        if tag not in self.entries:
            return default
        _, kind, count = struct.unpack_from(self.order + "HHI", self.entries[tag])
        if kind not in _TYPES or count != 1:
            return default
        return struct.unpack_from(self.order + _TYPES[kind], self.entries[tag], 8)[0]


def read(data: bytes) -> Structure:
    """The structure of a TIFF.

    Raises:
        ImageError: `unsupported_format`: a layout that is not read, or a camera's raw file.
    """
    found = Structure("TIFF", slow=True)  # its decoders hold the interpreter's lock
    directory = _directory(data)
    found.width, found.height = directory.value(_WIDTH, 0), directory.value(_HEIGHT, 0)
    stated = directory.value(_ORIENTATION, 1)
    found.orientation = stated if 1 <= stated <= 8 else 1
    if directory.value(_KIND, 0) & 1 or _DNG in directory.entries or data[8:10] == b"CR":
        raise _unread("This is a camera's raw file, or begins with a preview. Expected a picture: export it as JPEG.")
    _require_layout(directory)
    _measure(found, directory)
    _leave_pixels(found, directory)
    return found


def _directory(data: bytes) -> _Directory:
    directory = _Directory("<" if data.startswith(b"II") else ">", data)
    [start] = struct.unpack_from(directory.order + "I", data, 4)
    [count] = struct.unpack_from(directory.order + "H", data, start)
    require("entries in its directory", count, _MAX_ENTRIES)
    for position in range(start + 2, start + 2 + _ENTRY_BYTES * count, _ENTRY_BYTES):
        [tag] = struct.unpack_from(directory.order + "H", data, position)
        directory.entries.setdefault(tag, data[position : position + _ENTRY_BYTES])
    return directory


def _require_layout(directory: _Directory) -> None:
    """Raises ImageError unless the samples are packed and laid out in a way that is read."""
    packing = directory.value(_COMPRESSION, 1)
    if packing not in _PACKED:
        raise _unread(f"This is a TIFF packed by {_OTHER_PACKED.get(packing, f'method {packing}')}. {_AGAIN}")
    samples = directory.value(_SAMPLES, 1)
    bits = directory.values(_BITS, [1], limit=16)
    layout = (directory.value(_COLOURS, 0), samples, bits[0])
    is_plain = len(set(bits)) == 1 and set(directory.values(_NUMBERS, [1], limit=16)) == {1}
    if not is_plain or layout not in _LAYOUTS or (packing in _FAX and layout not in ((0, 1, 1), (1, 1, 1))):
        raise _unread(f"This is a TIFF with {samples} samples of {bits[0]} bits a pixel. {_AGAIN}")
    if directory.value(_PREDICTOR, 1) not in (1, 2):
        raise _unread(f"This is a TIFF with predictor {directory.value(_PREDICTOR, 1)}. {_AGAIN}")


def _measure(found: Structure, directory: _Directory) -> None:
    """What the decoder holds, and that strips or tiles are no more, and no larger, than a picture has."""
    samples, bits = directory.value(_SAMPLES, 1), directory.values(_BITS, [1], limit=16)[0]
    if directory.value(_PLANES, 1) != 1:
        samples = 1
    width, rows = found.width, min(directory.value(_STRIP_ROWS, found.height), found.height)
    offsets, lengths = _STRIPS, _STRIP_BYTES
    if _TILES in directory.entries:
        width, rows = directory.value(_TILE_WIDTH, 0), directory.value(_TILE_HEIGHT, 0)
        offsets, lengths = _TILES, _TILE_BYTES
    starts = directory.values(offsets, limit=_MAX_PIECES)
    sizes = directory.values(lengths, limit=_MAX_PIECES)
    tiled = width * rows * max(1, len(starts)) // max(1, directory.value(_SAMPLES, 1) // samples)
    if _TILES in directory.entries:
        require("pixels in its tiles", tiled, _MAX_TILED * found.pixels + _SPARE_TILED)
    end = len(directory.data)
    there = (max(0, min(start + size, end) - start) for start, size in zip(starts, sizes, strict=False))
    require("bytes in its strips or tiles", sum(there), end)  # several would have to be the same
    found.buffer_bytes = rows * ((width * samples * bits + 7) // 8) + end


def _leave_pixels(found: Structure, directory: _Directory) -> None:
    """Another directory behind the data, with what pixels need and no next one; nothing else is moved."""
    kept = [directory.entries[tag] for tag in sorted(_NEEDED & directory.entries.keys())]
    padding = len(directory.data) % 2
    end = len(directory.data)
    written = bytes(padding) + struct.pack(directory.order + "H", len(kept)) + b"".join(kept) + bytes(4)
    found.edits = [(4, 8, struct.pack(directory.order + "I", end + padding)), (end, end, written)]


def _unread(message: str) -> ImageError:
    return ImageError("unsupported_format", message)
