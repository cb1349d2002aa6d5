"""TIFF and BigTIFF: the first directory, written anew with what the pixels need.

The layouts of scanners, cameras and image programs are read: unsigned integers of 1 to 16 bits; grey, RGB, a palette
or CMYK; in strips or tiles; without compression or compressed without loss. JPEG in TIFF is not read: each strip is a
JPEG by itself, with any number of scans. Offsets must point into the file.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from lince.encoded_image.structure import Structure, require
from lince.errors import ImageError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _STRIPS, _ORIENTATION = 256, 257, 258, 259, 262, 273, 274
_SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANES, _PREDICTOR, _PALETTE = 277, 278, 279, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _NUMBERS = 322, 323, 324, 325, 338, 339
_FILL_ORDER, _FAX_3, _FAX_4, _KIND, _CAMERA, _DNG = 266, 292, 293, 254, 271, 50706
_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}  # unsigned integers and file offsets

_MAX_VALUES = 16  # of an entry: one for each sample, except for offsets and a palette
_MAX_PALETTE = 3 * 2**8
_MAX_ENTRIES = 1_000  # of the directory; those in use have about 20
_MAX_PIECES = 16_384  # strips or tiles, as many as rows: Pillow takes 10 µs of Python for each uncompressed one
_MAX_TILED = 4  # the tiles may have so many times the picture's pixels, and one tile of 1,024 × 1,024 more
_SPARE_TILED = 2**20
_SHORT = 2**16
_ENTRY_BYTES = 12
_CLASSIC, _BIG = 42, 43

_UNPACKED, _OLD_JPEG = 1, 6
_FAX, _WITH_PREDICTOR = frozenset({2, 3, 4}), frozenset({5, 8, 32946})
_READ_PACKED = frozenset({_UNPACKED, 32773}) | _FAX | _WITH_PREDICTOR
_OTHER_PACKED = {_OLD_JPEG: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000"}
_OTHER_PACKED |= {34887: "LERC", 34925: "LZMA", 34933: "PNG", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}
_RAW_PACKED = frozenset({262, 32767, 32769, 32770, 34713, 34892, 65000, 65535})  # by makers of cameras

_GREYS, _RGB, _INDEXED, _CMYK = (0, 1), 2, 3, 5
_COLOUR_NAMES = {0: "grey where 0 is white", 1: "grey", _RGB: "RGB", _INDEXED: "a palette", _CMYK: "CMYK"}
_COLOUR_NAMES |= {4: "a mask", 6: "YCbCr", 8: "Lab", 9: "Lab", 10: "Lab"}
_RAW_COLOURS = frozenset({32803, 34892})  # a filter before each sensor, and what is computed of it
_COLOUR_SAMPLES = {0: 1, 1: 1, _RGB: 3, _INDEXED: 1, _CMYK: 4}
_UNSIGNED, _UNSTATED = 1, 4
_NUMBER_NAMES = {_UNSIGNED: "", 2: "signed ", 3: "floating-point ", _UNSTATED: ""}
# Colour space, samples and bits of each: the layouts whose values Pillow reads correctly.
_LAYOUTS = frozenset(
    {(grey, 1, bits) for grey in _GREYS for bits in (1, 2, 4, 8)}
    | {(1, 1, 16), (1, 2, 8), (_CMYK, 4, 8)}
    | {(_RGB, samples, bits) for samples in (3, 4) for bits in (8, 16)}
    | {(_INDEXED, 1, bits) for bits in (1, 2, 4, 8)}
)
_AGAIN = (
    "Expected grey of up to 16 bits, RGB of 8 or 16, a palette or CMYK of 8, in unsigned integers, compressed by LZW, "
    "Deflate, PackBits, fax or not at all: save it as PNG."
)


@dataclass
class _Directory:
    """The first directory. For each entry: its type, how many values it has, and where they are."""

    order: str
    data: bytes
    entries: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def values(self, tag: int, default: Sequence[int] = (), *, limit: int = _MAX_VALUES) -> Sequence[int]:
        """The integers of an entry; the default where there is none.

        Raises:
            ImageError: `corrupt_image`: values of another type. `image_too_complex`: more than the limit.
            struct.error: values outside the file.
        """
        if tag not in self.entries:
            return default
        kind, count, start = self.entries[tag]
        if kind not in _TYPES or not count:
            message = f"The TIFF image is damaged: entry {tag} of its directory holds no whole numbers. Save it again."
            raise ImageError("corrupt_image", message)
        require(f"values in entry {tag} of its directory", count, limit)
        return struct.unpack_from(f"{self.order}{count}{_TYPES[kind]}", self.data, start)

    def value(self, tag: int, default: int) -> int:
        """The first number of an entry; as `values`."""
        return self.values(tag, (default,))[0]

    def metadata(self, tag: int, default: int) -> int:
        """The first number of an entry that the pixels do not need; the default also where it cannot be read."""
        try:
            return self.value(tag, default)
        except (ImageError, struct.error):
            return default


@dataclass(frozen=True)
class _Layout:
    """How the pixels are stored, in strips or in tiles (pieces)."""

    width: int
    height: int
    colours: int
    samples: int
    bits: int
    packing: int
    planes: int
    is_tiled: bool
    piece_width: int
    piece_rows: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of one strip or tile."""
        return (self.piece_width * self.samples // self.planes * self.bits + 7) // 8

    @property
    def across(self) -> int:
        return -(-self.width // self.piece_width)

    @property
    def pieces(self) -> int:
        return self.across * -(-self.height // self.piece_rows) * self.planes

    def rows(self, piece: int) -> int:
        """Rows of a strip or tile that are inside the picture; the planes are stored one after the other."""
        down = piece % (self.pieces // self.planes) // self.across
        return min(self.piece_rows, self.height - self.piece_rows * down)


def read(data: bytes) -> Structure:
    """The structure of a TIFF.

    Raises:
        ImageError: `unsupported_format`: a layout that is not read, or a camera's raw file. `corrupt_image`: a
            directory with contradictions. `image_too_complex`: more parts than pictures in use have.
    """
    found = Structure("TIFF", slow=True)  # its decoders hold the interpreter's lock
    directory = _directory(data)
    _require_no_raw(directory)
    found.width, found.height = directory.value(_WIDTH, 0), directory.value(_HEIGHT, 0)
    stated = directory.metadata(_ORIENTATION, 1)
    found.orientation = stated if 1 <= stated <= 8 else 1
    layout = _layout(directory, found.width, found.height)
    found.buffer_bytes = layout.piece_rows * layout.row_bytes + len(data)
    if pieces := _pieces(directory, layout):
        _leave_pixels(found, directory, {**_kept(directory, layout), **pieces})
    else:
        found.damage = "it ends early"
    return found


def _directory(data: bytes) -> _Directory:
    order = "<" if data.startswith(b"II") else ">"
    [version] = struct.unpack_from(order + "H", data, 2)
    long, count_type = ("Q", "Q") if version == _BIG else ("I", "H")
    [start] = struct.unpack_from(order + long, data, struct.calcsize(long))
    [count] = struct.unpack_from(order + count_type, data, start)
    require("entries in its directory", count, _MAX_ENTRIES)
    directory, entry = _Directory(order, data), struct.Struct(f"{order}HH{long}")
    position = start + struct.calcsize(count_type)
    for _ in range(count):
        tag, kind, values = entry.unpack_from(data, position)
        position += entry.size
        where, value_bytes = position, values * struct.calcsize(_TYPES.get(kind, "B"))
        [beyond] = struct.unpack_from(order + long, data, position)
        position += struct.calcsize(long)
        directory.entries.setdefault(tag, (kind, values, where if value_bytes <= position - where else beyond))
    return directory


def _require_no_raw(directory: _Directory) -> None:
    """Raises ImageError for raw files of cameras, most of which are TIFFs that begin with a small preview."""
    packing, colours = directory.metadata(_COMPRESSION, 1), directory.metadata(_COLOURS, 0)
    is_raw = packing in _RAW_PACKED or colours in _RAW_COLOURS or _DNG in directory.entries
    is_raw |= packing == _OLD_JPEG and _CAMERA in directory.entries
    if is_raw or directory.data[8:12] == b"CR\2\0" or directory.metadata(_KIND, 0) & 1:
        raise _unread("This is a camera's raw file, or begins with a preview. Expected a picture: export it as JPEG.")


def _layout(directory: _Directory, width: int, height: int) -> _Layout:
    """The layout. Raises ImageError unless it and the compression are among those that are read."""
    packing = directory.value(_COMPRESSION, _UNPACKED)
    if packing not in _READ_PACKED:
        raise _unread(f"This is a TIFF compressed by {_OTHER_PACKED.get(packing, f'method {packing}')}. {_AGAIN}")
    bits = directory.values(_BITS, [1])
    samples = directory.value(_SAMPLES, len(bits))
    colours = directory.value(_COLOURS, _RGB if samples > 2 else int(packing not in _FAX))  # libtiff's default
    numbers = set(directory.values(_NUMBERS, [_UNSIGNED]))
    is_planar = samples > 1 and directory.value(_PLANES, 1) == 2
    is_plain = len(set(bits[:samples])) == 1 and numbers <= {_UNSIGNED, _UNSTATED}
    is_plain &= packing not in _FAX or bits[0] == samples == 1
    is_plain &= not is_planar or packing != _UNPACKED or bits[0] == 8  # Pillow reads one byte of each sample
    if not is_plain or (colours, samples, bits[0]) not in _LAYOUTS:
        sign = _NUMBER_NAMES.get(min(numbers - {_UNSIGNED}, default=_UNSIGNED), "")
        name = _COLOUR_NAMES.get(colours, f"colours of kind {colours}")
        kind = f"{samples} samples of {bits[0]} {sign}bits a pixel{', in separate planes' if is_planar else ''}"
        raise _unread(f"This is a TIFF of {name} with {kind}. {_AGAIN}")
    if packing in _WITH_PREDICTOR and directory.value(_PREDICTOR, 1) not in (1, 2):
        raise _unread(f"This is a TIFF with predictor {directory.value(_PREDICTOR, 1)}. {_AGAIN}")
    is_tiled = _TILES in directory.entries
    piece_width = directory.value(_TILE_WIDTH, 0) if is_tiled else width
    piece_rows = directory.value(_TILE_HEIGHT, 0) if is_tiled else min(directory.value(_STRIP_ROWS, height), height)
    shape = max(1, piece_width), max(1, piece_rows)
    return _Layout(width, height, colours, samples, bits[0], packing, samples if is_planar else 1, is_tiled, *shape)


def _pieces(directory: _Directory, layout: _Layout) -> dict[int, Sequence[int]]:
    """The entries with the offsets of strips or tiles; none unless the file holds all strips or tiles."""
    offsets, lengths = (_TILES, _TILE_BYTES) if layout.is_tiled else (_STRIPS, _STRIP_BYTES)
    starts = directory.values(offsets, limit=_MAX_PIECES)[: layout.pieces]
    if len(starts) < max(1, layout.pieces):
        return {}
    if layout.is_tiled:
        tiled = layout.pieces // layout.planes * layout.piece_width * layout.piece_rows
        require("pixels in its tiles", tiled, _MAX_TILED * layout.width * layout.height + _SPARE_TILED)
    end = len(directory.data)
    sizes: Sequence[int]
    stated: dict[int, Sequence[int]] = {}
    if layout.packing == _UNPACKED:  # the stated sizes are often wrong, and no decoder uses them
        sizes = [layout.rows(piece) * layout.row_bytes for piece in range(layout.pieces)]
    else:
        sizes = directory.values(lengths, limit=_MAX_PIECES)[: layout.pieces]
        if len(starts) == 1 and not any(sizes):  # old files state none
            sizes = [max(0, end - starts[0])]
        stated = {lengths: sizes}
    if len(sizes) < len(starts) or any(start + size > end for start, size in zip(starts, sizes, strict=True)):
        return {}
    if stated:
        require("bytes in its strips or tiles", sum(sizes), end)  # more would mean that some overlap
    return {offsets: starts, **stated}


def _kept(directory: _Directory, layout: _Layout) -> dict[int, Sequence[int]]:
    """The other entries that the pixels need."""
    kept: dict[int, Sequence[int]] = {_WIDTH: [layout.width], _HEIGHT: [layout.height]}
    kept |= {_BITS: [layout.bits] * layout.samples}
    kept |= {_COMPRESSION: [layout.packing], _COLOURS: [layout.colours], _SAMPLES: [layout.samples]}
    kept |= {_PLANES: [1 if layout.planes == 1 else 2], _FILL_ORDER: [2 if directory.value(_FILL_ORDER, 1) == 2 else 1]}
    if layout.is_tiled:
        kept |= {_TILE_WIDTH: [layout.piece_width], _TILE_HEIGHT: [layout.piece_rows]}
    else:
        kept[_STRIP_ROWS] = [layout.piece_rows]
    if layout.colours == _INDEXED:
        palette = directory.values(_PALETTE, [0], limit=_MAX_PALETTE)
        kept[_PALETTE] = palette if max(palette) > 255 else [257 * level for level in palette]  # old files have 8 bits
    if layout.samples > _COLOUR_SAMPLES[layout.colours] and _EXTRA in directory.entries:
        kept[_EXTRA] = directory.values(_EXTRA)[:1]
    if layout.packing in _WITH_PREDICTOR:
        kept[_PREDICTOR] = [directory.value(_PREDICTOR, 1)]
    if layout.packing in _FAX:
        kept |= {tag: [directory.value(tag, 0)] for tag in (_FAX_3, _FAX_4)}
    return kept


def _leave_pixels(found: Structure, directory: _Directory, kept: dict[int, Sequence[int]]) -> None:
    """Appends a directory with what the pixels need and without a successor; nothing else is moved."""
    order, end = directory.order, len(directory.data)
    start = end + end % 2
    rows, values, values_at = b"", b"", start + 2 + _ENTRY_BYTES * len(kept) + 4
    for tag, numbers in sorted(kept.items()):
        kind = 3 if max(numbers) < _SHORT else 4
        packed = struct.pack(f"{order}{len(numbers)}{_TYPES[kind]}", *numbers)
        rows += struct.pack(order + "HHI", tag, kind, len(numbers))
        rows += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", values_at + len(values))
        values += packed if len(packed) > 4 else b""
    written = bytes(end % 2) + struct.pack(order + "H", len(kept)) + rows + bytes(4) + values
    header = directory.data[:2] + struct.pack(order + "HI", _CLASSIC, start)
    found.edits = [(0, len(header), header), (end, end, written)]


def _unread(message: str) -> ImageError:
    return ImageError("unsupported_format", message)
