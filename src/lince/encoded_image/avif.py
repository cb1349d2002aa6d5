"""AVIF: the boxes that describe its items, and the size of each AV1 frame by its own header, not by the boxes.

Only the still picture is read: of an image sequence, the one that its file names as its cover.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from lince.encoded_image.structure import Structure, require
from lince.errors import ImageError

_MAX_BOXES = 1_000  # pictures in use have about 30, and image sequences a few for each track
_MAX_ITEMS = 256  # tiles of a grid, transparency, Exif
_MAX_SEQUENCE_BYTES = 64  # of a sequence header that are read: more than the fields before the size can take
_MAX_UNITS = 64  # of one item: a sequence header, one frame, sometimes metadata
# For each pixel of all frames: planes of 8 to 12 bits, their RGB, a copy. Measured with Pillow 13, with the picture:
# 9.4 bytes a pixel in colour, 12.1 with transparency, which is a second frame.
_BUFFER_BYTES = 9

_STILL, _SEQUENCE = b"avif", b"avis"
_BRANDS_BYTES = 256
_METADATA = frozenset({b"Exif", b"mime"})
_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
# Exif's orientation by quarter turns to the left, without a mirror and with one at either axis (ISO 23008-12, 6.5.10).
_ORIENTATIONS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


@dataclass
class _File:
    """What the boxes state."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    properties: list[tuple[bytes, int, int]] = field(default_factory=list)
    used: dict[int, list[int]] = field(default_factory=dict)
    boxes: int = 0


def is_avif(data: bytes) -> bool:
    """Whether the first box names AVIF as one of the brands of the file."""
    return any(brand in (_STILL, _SEQUENCE) for _, brand in _brands(data))


def read(data: bytes) -> Structure:
    """The structure of an AVIF.

    Raises:
        ImageError: `corrupt_image`: no item that can be shown, or one outside the file.
    """
    found, file = Structure("AVIF", slow=True), _File()
    for kind, start, end in _boxes(data, 0, len(data), file):
        if kind == b"meta":
            _read_meta(data, start + 4, end, file, found)
        elif kind == b"moov":
            found.edits.append((start - 4, start, b"free"))  # of a sequence the decoder sees only the cover
    found.edits += [(start, start + 4, _STILL) for start, brand in _brands(data) if brand == _SEQUENCE]
    found.edits.sort()
    shown = [file.properties[index] for index in file.used.get(file.primary, ()) if index < len(file.properties)]
    sizes = [struct.unpack_from(">II", data, start + 4) for kind, start, _ in shown if kind == b"ispe"]
    found.width, found.height = sizes[0] if sizes else (0, 0)
    turns, mirrors = ([data[start] for kind, start, _ in shown if kind == name] for name in (b"irot", b"imir"))
    found.orientation = _ORIENTATIONS[mirrors[0] & 1 if mirrors else None][turns[0] & 3 if turns else 0]
    frames = [_frame_pixels(data, file.places.get(item, [])) for item, kind in file.kinds.items() if kind == b"av01"]
    if not frames or not found.pixels:
        raise ImageError("corrupt_image", "The AVIF image is damaged: it holds no picture. Save it again.")
    found.buffer_bytes = _BUFFER_BYTES * max(found.pixels, sum(frames))
    return found


def _brands(data: bytes) -> list[tuple[int, bytes]]:
    """Position and name of each brand in the first box; its second word is a version, which equals no brand."""
    end = min(int.from_bytes(data[:4], "big"), _BRANDS_BYTES) if data[4:8] == b"ftyp" else 0
    return [(start, data[start : start + 4]) for start in range(8, end, 4)]


def _boxes(data: bytes, start: int, end: int, file: _File) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the body of each box (ISO 14496-12, 4.2)."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            [size] = struct.unpack_from(">Q", data, body)
            body += 8
        last = end if size == 0 else min(end, start + size)
        file.boxes += 1
        require("boxes", file.boxes, _MAX_BOXES)
        if last < body:
            return
        yield kind, body, last
        start = last


def _read_meta(data: bytes, start: int, end: int, file: _File, found: Structure) -> None:
    for kind, body, last in _boxes(data, start, end, file):
        version = data[body]
        if kind == b"pitm":
            [file.primary] = struct.unpack_from(">I" if version else ">H", data, body + 4)
        elif kind == b"iinf":
            for entry, entry_start, _ in _boxes(data, body + (8 if version else 6), last, file):
                if entry == b"infe":
                    _read_item(data, entry_start, file, found)
        elif kind == b"iloc":
            _read_places(data, body, file)
        elif kind == b"iprp":
            for inner, inner_start, inner_end in _boxes(data, body, last, file):
                if inner == b"ipco":
                    file.properties = list(_boxes(data, inner_start, inner_end, file))
                elif inner == b"ipma":
                    _read_uses(data, inner_start, file)


def _read_item(data: bytes, start: int, file: _File, found: Structure) -> None:
    """Reads the number and the kind of an item; metadata gets a kind that decoders ignore."""
    version = data[start]
    layout = ">HH4s" if version == 2 else ">IH4s"
    number, _, kind = struct.unpack_from(layout, data, start + 4)
    require("items", len(file.kinds), _MAX_ITEMS)
    file.kinds[number] = kind
    if kind in _METADATA:
        position = start + 4 + struct.calcsize(layout) - 4
        found.edits.append((position, position + 4, b"skip"))


def _read_places(data: bytes, start: int, file: _File) -> None:
    """Reads where the bytes of each item are (ISO 14496-12, 8.11.3)."""
    reader = _Bits(data, start + 4)
    version, sizes = data[start], reader.number(2)
    offset_bytes, length_bytes, base_bytes, index_bytes = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    count = reader.number(2 if version < 2 else 4)
    require("items", count, _MAX_ITEMS)
    for _ in range(count):
        item = reader.number(2 if version < 2 else 4)
        method = reader.number(2) & 15 if version else 0
        reader.number(2)
        base, extents = reader.number(base_bytes), reader.number(2)
        require("pieces of an item", extents, _MAX_ITEMS)
        places = []
        for _ in range(extents):
            reader.number(index_bytes if version else 0)
            offset = base + reader.number(offset_bytes)
            places.append((offset, offset + reader.number(length_bytes)))
        file.places[item] = places if method == 0 else []


def _read_uses(data: bytes, start: int, file: _File) -> None:
    """Reads which properties each item has, counted from 0 (ISO 14496-12, 8.11.14)."""
    reader = _Bits(data, start + 4)
    version, is_wide = data[start], data[start + 3] & 1
    count = reader.number(4)
    require("items", count, _MAX_ITEMS)
    for _ in range(count):
        item = reader.number(2 if version < 1 else 4)
        indices = [reader.number(2) & 0x7FFF if is_wide else reader.number(1) & 0x7F for _ in range(reader.number(1))]
        file.used.setdefault(item, [index - 1 for index in indices if index])


def _frame_pixels(data: bytes, places: list[tuple[int, int]]) -> int:
    """The most pixels that the AV1 frame of an item can have, by the header that its decoder uses.

    Raises:
        ImageError: `image_too_complex`: several frames. `corrupt_image`: no such header, or it is outside the file.
    """
    if len(places) != 1 or places[0][1] > len(data):
        raise ImageError(
            "corrupt_image", "The AVIF image is damaged: it ends early. Expected a whole file: save it again."
        )
    [(position, end)] = places
    units = frames = pixels = 0
    while position < end:
        head = data[position]
        kind, size_at = head >> 3 & 15, position + 1 + (head >> 2 & 1)
        size, body = _leb128(data, size_at) if head & 2 else (end - size_at, size_at)
        units += 1
        frames += kind in (_FRAME, _FRAME_HEADER)
        require("units of AV1 in one item", units, _MAX_UNITS)
        require("frames in one item", frames, 1)
        if kind == _SEQUENCE_HEADER:
            pixels = max(pixels, _largest_frame(data[body : body + min(size, _MAX_SEQUENCE_BYTES)]))
        position = body + size
    if not pixels:
        raise ImageError("corrupt_image", "The AVIF image is damaged: it has no AV1 header. Save it again.")
    return pixels


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[position + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    raise IndexError


def _largest_frame(header: bytes) -> int:
    """Pixels by a sequence header (AV1, 5.5.1): those of a still picture, else the most that a frame can have."""
    bits = _Bits(header)
    bits.take(4)
    if is_still := bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    return width * height if is_still else 1 << width_bits + height_bits


def _skip_operating_points(bits: "_Bits") -> None:
    delay_bits, has_model = 0, 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            zeros = 0
            while not bits.take(1) and zeros < 32:
                zeros += 1
            bits.take(zeros)
        if has_model := bits.take(1):
            delay_bits = bits.take(5) + 1
            bits.take(42)
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if has_model and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)


class _Bits:
    """Reads numbers of given sizes in bits or bytes, one after the other, the highest bit first."""

    def __init__(self, data: bytes, position: int = 0):
        self._data, self._bit = data, 8 * position

    def take(self, count: int) -> int:
        start, self._bit = self._bit, self._bit + count
        if self._bit > 8 * len(self._data):
            raise IndexError
        return int.from_bytes(self._data[start // 8 : -(-self._bit // 8)], "big") >> -self._bit % 8 & (1 << count) - 1

    def number(self, size: int) -> int:
        return self.take(8 * size)
