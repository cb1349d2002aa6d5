"""JPEG: its segments up to the first scan, and the number of its scans."""

import re
import struct
from collections.abc import Iterator

from lince.encoded_image import orientation
from lince.encoded_image.structure import Structure, require

# More than pictures in use have. Pillow takes 3 to 5 µs of Python for each part, so that these take about 10 ms.
_MAX_SEGMENTS = 1_000
_MAX_SCANS = 100  # progressive pictures have about 10; each takes 15 ms at 25 megapixels, also when it is empty
_MAX_SCANNED_PIXELS = 800_000_000  # 16 scans of 50 megapixels
_ARITHMETIC_WEIGHT = 4  # of a scan in arithmetic coding
_MAX_FRAME_BYTES = 20  # of the frame header: four components

_ALONE = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})  # markers that Pillow reads no length after
_FRAME = frozenset({*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset(range(0xC9, 0xD0))
_TEMPORARY = 0x01  # marker TEM: libjpeg reads no length after it; Pillow refuses it before the first scan
_START_OF_SCAN, _END_OF_IMAGE, _APP0, _APP1, _APP14 = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE
_METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})  # application segments and comments
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# Two of them state the colour space: libjpeg reads so many bytes of each, and ignores shorter ones.
_COLOURS = {_APP0: (b"JFIF\0", 14), _APP14: (b"Adobe", 12)}
_NEXT = re.compile(rb"\xff[^\x00\xff]")  # no escaped byte or fill byte
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # inside a scan: no escaped byte, restart or fill byte


def read(data: bytes) -> Structure:
    """The structure of a JPEG."""
    found = Structure("JPEG")
    progressive, components, sampling = False, 0, 0.0
    frames, weight, by_exif, by_xmp = 0, 1, 0, 0
    for marker, start, end in _segments(data, found):
        if marker in _FRAME:
            frames += 1
            require("frame headers", frames, 1)
            require("bytes in its frame header", end - start - 2, _MAX_FRAME_BYTES)
            weight = _ARITHMETIC_WEIGHT if marker in _ARITHMETIC else 1
            found.height, found.width, components = struct.unpack_from(">HHB", data, start + 5)
            progressive = marker in _PROGRESSIVE
            sampling = _samples_per_pixel(data[start + 10 : end])
        elif marker == _START_OF_SCAN:
            if progressive or data[start + 4] < components:
                found.passes = _scans(data, end)
                require("pixels in all its scans", weight * found.passes * found.pixels, _MAX_SCANNED_PIXELS)
                found.buffer_bytes = int(2 * sampling * found.pixels)  # all coefficients, in 16 bits
            break
        elif marker in _METADATA:
            name, least = _COLOURS.get(marker, (b"", 0))
            if not least or end - start - 4 < least or not data.startswith(name, start + 4):
                found.drop(start, end)
            if marker == _APP1 and data.startswith(_EXIF, start + 4):
                by_exif = by_exif or orientation.from_exif(data[start + 4 : end])
            elif marker == _APP1 and data.startswith(_XMP, start + 4):
                by_xmp = by_xmp or orientation.from_xmp(data, start + 4, end)
    found.orientation = by_exif or by_xmp or 1
    return found


def _segments(data: bytes, found: Structure) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment up to the first scan. Bytes between segments are left out.

    A segment whose stated length is too short leaves such bytes. libjpeg skips them, Pillow one by one.
    """
    position, segments = 2, 0
    while match := _NEXT.search(data, position):
        start, marker = match.start(), data[match.start() + 1]
        if start > position:
            found.drop(position, start)
        if marker < 0xC0:
            return
        segments += 1
        length = 0 if marker in _ALONE else max(2, data[start + 2] << 8 | data[start + 3])
        position = start + 2 + length
        yield marker, start, position
        require("segments", segments, _MAX_SEGMENTS)
    found.drop(min(position, len(data)), len(data))


def _samples_per_pixel(components: bytes) -> float:
    factors = [(code >> 4, code & 15) for code in components[1::3]]
    largest = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    return sum(h * v for h, v in factors) / max(1, largest)


def _scans(data: bytes, position: int) -> int:
    """The number of scans up to the end of the image; the segments between them are skipped."""
    scans = segments = 1
    while (match := _MARKER.search(data, position)) and data[match.start() + 1] != _END_OF_IMAGE:
        start = match.start()
        scans += data[start + 1] == _START_OF_SCAN
        segments += 1
        require("scans", scans, _MAX_SCANS)
        require("segments", segments, _MAX_SEGMENTS)
        alone = data[start + 1] in _ALONE or data[start + 1] == _TEMPORARY or start + 4 > len(data)
        position = start + 2 + (0 if alone else max(2, struct.unpack_from(">H", data, start + 2)[0]))
    return scans
