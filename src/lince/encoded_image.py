"""What an encoded image is made of, read from its segments, chunks and blocks; nothing is decoded.

A file of a few kilobytes can cost its decoder minutes: a thousand scans, a hundred thousand comments. `inspect` counts
such parts at the speed of `bytes.find`, refuses what no camera or program writes, and says what decoding will meet.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lince.errors import ImageError

# What pictures in use have, with room. Pillow takes 3 to 5 µs of Python for each part, so that these are some 10 ms.
_MAX_PARTS = 1_000  # segments of a JPEG, chunks of a PNG; a PNG may have one more for each kilobyte, most are 4 or 8 kB
_MAX_CHUNKS = 10_000  # of a WebP, which C code reads: an animation has one for each frame
_MAX_BLOCKS = 4_096  # of at most 255 bytes before the first frame of a GIF; Pillow reads them one by one in Python
_MAX_JUNK_BYTES = 4_096  # between segments of a JPEG; Pillow steps over them byte by byte
_MAX_EXIF_SEGMENTS = 16  # 64 kB each, one in all but a few files; Pillow joins them one by one
_MAX_EXIF_BYTES = 2**20  # 0.3 s of Python, when it is one long list of numbers
_MAX_SCANS = 100  # progressive pictures have about 10; each costs 15 ms at 25 megapixels, also when it is empty
_MAX_SCANNED_PIXELS = 800_000_000  # 16 scans of 50 megapixels
_ARITHMETIC_WEIGHT = 4  # of a scan in arithmetic coding
_MAX_PACKED = 16  # profiles and texts of a PNG that are compressed: 1 MB each once unpacked, 4 as wide letters
_MAX_FRAME_BYTES = 20  # of a JPEG's frame header: four components
_MAX_RLE_PIXELS = 4_000_000  # of a run-length encoded BMP: its decoder is Python, 0.1 µs a pixel
_RLE_BYTES = 4  # a pixel: twice what the worst encoding of a picture takes
_RLE_SPARE_BYTES = 2**16  # header, palette and the ends of lines

_WEBP_BUFFER_BYTES = 12  # a pixel: two canvases and a copy, or the lossless decoder's (measured, Pillow 13)
# Of lossless WebP, whose groups of codes take 14 kB of tables each; how many there are stands in the compressed bits.
# Larger ones are decoded where memory is limited.
_SMALL_LOSSLESS_BYTES = 64 * 2**10
_JPEG_ALONE = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})  # markers that Pillow reads no length after
_JPEG_FRAME = frozenset({*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC})
_JPEG_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_JPEG_ARITHMETIC = frozenset(range(0xC9, 0xD0))
_TEMPORARY = 0x01  # libjpeg reads no length after it; Pillow refuses it before the first scan
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # inside a scan: no stuffed byte, restart or fill


@dataclass
class Structure:
    """What decoding will meet.

    Attributes:
        format: Pillow's name; empty where the first bytes are of no format that we read.
        width, height: as the header declares them; 0 where it is not to be found.
        passes: times that the decoder goes over the pixels: scans of a JPEG, 1 for the others.
        buffer_bytes: what the decoder holds beside the picture.
        metadata_bytes: of everything that is not pixels.
        slow: whether decoding may take long, or hold the interpreter's lock, for a reason of its own.
    """

    format: str = ""
    width: int = 0
    height: int = 0
    passes: int = 1
    buffer_bytes: int = 0
    metadata_bytes: int = 0
    slow: bool = False

    @property
    def pixels(self) -> int:
        return self.width * self.height


def inspect(data: bytes) -> Structure:
    """Reads the structure of one encoded image.

    Args:
        data: an encoded image; damaged, cut short or none at all.

    Returns:
        As much as is to be found. What is damaged is for the decoder to say.

    Raises:
        ImageError: `image_too_complex`: more parts than any picture in use has.
    """
    for magic, read in _READERS.items():
        if data.startswith(magic):
            try:
                return read(data)
            except (struct.error, IndexError):
                return Structure(slow=True)
    return Structure()


def _jpeg(data: bytes) -> Structure:
    found = Structure("JPEG")
    progressive, components, sampling = False, 0, 0.0
    exif_segments, frames, weight = 0, 0, 1
    for marker, start, end in _jpeg_segments(data, found):
        if marker in _JPEG_FRAME:
            frames += 1
            _require("frame headers", frames, 1)
            _require("bytes in its frame header", end - start - 2, _MAX_FRAME_BYTES)
            weight = _ARITHMETIC_WEIGHT if marker in _JPEG_ARITHMETIC else 1
            found.height, found.width, components = struct.unpack_from(">HHB", data, start + 5)
            progressive = marker in _JPEG_PROGRESSIVE
            sampling = _jpeg_samples_per_pixel(data[start + 10 : end])
        elif marker == _START_OF_SCAN:
            if progressive or data[start + 4] < components:
                found.passes = _jpeg_scans(data, end)
                _require("pixels in all its scans", weight * found.passes * found.pixels, _MAX_SCANNED_PIXELS)
                found.buffer_bytes = int(2 * sampling * found.pixels)  # all coefficients, in 16 bits
            break
        elif marker == _APP1 and data.startswith(b"Exif\0\0", start + 4):
            exif_segments += 1
            _require("Exif segments", exif_segments, _MAX_EXIF_SEGMENTS)
    return found


def _jpeg_segments(data: bytes, found: Structure) -> Iterator[tuple[int, int, int]]:
    """Marker, first and last byte of each segment up to the first scan, as Pillow steps through them."""
    position, segments, junk = 2, 0, 0
    while (start := data.find(b"\xff", position)) >= 0 and start + 1 < len(data):
        marker = data[start + 1]
        junk += start - position
        if marker in (0x00, 0xFF):  # an escaped byte, or fill
            junk, position = junk + 1, start + (1 if marker else 2)
        elif marker < 0xC0:
            return
        else:
            segments += 1
            length = 0 if marker in _JPEG_ALONE else max(2, struct.unpack_from(">H", data, start + 2)[0])
            position = start + 2 + length
            found.metadata_bytes += 2 + length
            yield marker, start, position
        found.slow = junk > 0
        _require("bytes between segments", junk, _MAX_JUNK_BYTES)
        _require("segments", segments, _MAX_PARTS)
    _require("bytes between segments", junk + len(data) - position if start < 0 else junk, _MAX_JUNK_BYTES)


def _jpeg_samples_per_pixel(components: bytes) -> float:
    factors = [(code >> 4, code & 15) for code in components[1::3]]
    largest = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    return sum(h * v for h, v in factors) / max(1, largest)


def _jpeg_scans(data: bytes, position: int) -> int:
    """Scans from the first one to the end of the image; segments between them are stepped over."""
    scans = segments = 1
    while (match := _JPEG_MARKER.search(data, position)) and data[match.start() + 1] != _END_OF_IMAGE:
        start = match.start()
        scans += data[start + 1] == _START_OF_SCAN
        segments += 1
        _require("scans", scans, _MAX_SCANS)
        _require("segments", segments, _MAX_PARTS)
        alone = data[start + 1] in _JPEG_ALONE or data[start + 1] == _TEMPORARY or start + 4 > len(data)
        position = start + 2 + (0 if alone else max(2, struct.unpack_from(">H", data, start + 2)[0]))
    return scans


def _png(data: bytes) -> Structure:
    found = Structure("PNG")
    position, chunks, packed, profiles = 8, 0, 0, 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        length = min(length, len(data) - position - 8)  # of a file that is cut short
        chunks += 1
        if kind == b"IHDR" and not found.width:
            found.width, found.height = struct.unpack_from(">II", data, position + 8)
        elif kind == b"IEND":
            break
        elif kind not in (b"IDAT", b"fdAT"):
            found.metadata_bytes += length
            if kind == b"eXIf":
                _require("bytes of Exif", length, _MAX_EXIF_BYTES)
            elif kind in _PNG_TEXTS and data.startswith(b"Raw profile type exif\0", position + 8):
                _require("bytes of Exif", length // 2, _MAX_EXIF_BYTES)  # in hexadecimal
            packed += kind in (b"iCCP", b"zTXt", b"iTXt")
            profiles += kind == b"iCCP"
            found.slow |= kind == b"zTXt" or (kind == b"iTXt" and _is_packed_text(data, position + 8, length))
        _require("chunks", chunks, _MAX_PARTS + len(data) // 1024)
        _require("profiles and texts", packed, _MAX_PACKED)
        position += 12 + length
    found.slow |= profiles > 1  # a megabyte each once unpacked, with the lock held
    return found


def _is_packed_text(data: bytes, start: int, length: int) -> bool:
    """Whether an iTXt chunk says so: behind its keyword and a zero byte (PNG specification, section 11.3.3.4)."""
    end = data.find(b"\0", start, start + length)
    return data[end + 1 : end + 2] == b"\1"


def _webp(data: bytes) -> Structure:
    found = Structure("WEBP")
    position, chunks = 12, 0
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        length = min(length, len(data) - position - 8)
        chunks += 1
        _require("chunks", chunks, _MAX_CHUNKS)
        if not found.width:
            found.width, found.height = _webp_size(kind, data[position + 8 : position + 18])
        if kind in (b"VP8L", b"ALPH"):
            found.slow |= length > _SMALL_LOSSLESS_BYTES
        if kind in (b"ICCP", b"EXIF", b"XMP "):
            found.metadata_bytes += length
        if kind == b"EXIF":
            _require("bytes of Exif", length, _MAX_EXIF_BYTES)
        position += 8 + length + length % 2
    found.buffer_bytes = _WEBP_BUFFER_BYTES * found.pixels
    return found


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Of the canvas, or of the one frame (RFC 9649, sections 2.5 to 2.7)."""
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        [bits] = struct.unpack_from("<I", body, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0


def _gif(data: bytes) -> Structure:
    """Up to the first frame, which may reach over the canvas."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    found = Structure("GIF", width, height)
    position, blocks = 13 + _gif_palette_bytes(flags), 0
    while position < len(data):
        introducer = data[position]
        if introducer == ord(","):
            left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, position + 1)
            found.width, found.height = max(width, left + frame_width), max(height, top + frame_height)
            break
        if introducer == ord("!"):
            for length in _gif_blocks(data, position + 1):
                blocks += 1
                position += 1 + length
                found.metadata_bytes += length
                _require("blocks before its first frame", blocks, _MAX_BLOCKS)
            position += 2  # introducer and label
            continue
        position += 1
        blocks += 1  # Pillow steps over what is neither extension nor frame
        _require("blocks before its first frame", blocks, _MAX_BLOCKS)
    found.buffer_bytes = 4 * found.pixels  # what a frame is disposed to, in RGBA
    return found


def _gif_blocks(data: bytes, label_at: int) -> Iterator[int]:
    """Lengths of an extension's blocks, the empty ones too, as Pillow reads them.

    It reads on behind an empty first block of all but comments, and behind one that follows a NETSCAPE2.0.
    """
    label, position = data[label_at], label_at + 1
    yields_on = label != 0xFE and data[position] == 0
    netscape_at = position + 1 + data[position]
    if label == 0xFF and data.startswith(b"NETSCAPE2.0", position + 1) and data[netscape_at] == 0:
        yields_on = True
    while True:
        length = data[position]
        yield length
        position += 1 + length
        if not length:
            if not yields_on:
                return
            yields_on = False


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes) -> Structure:
    found = Structure("BMP")
    [header_bytes] = struct.unpack_from("<I", data, 14)
    if header_bytes == 12:
        found.width, found.height = struct.unpack_from("<HH", data, 18)
        return found
    width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    found.width, found.height = abs(width), abs(height)
    if compression in (1, 2):
        found.slow, found.buffer_bytes = True, 2 * found.pixels
        _require("pixels in run-length encoding", found.pixels, _MAX_RLE_PIXELS)
        _require("bytes for its pixels", len(data), _RLE_BYTES * found.pixels + _RLE_SPARE_BYTES)
    return found


_READERS = {b"\xff\xd8\xff": _jpeg, b"\x89PNG\r\n\x1a\n": _png, b"RIFF": _webp, b"GIF8": _gif, b"BM": _bmp}


def _require(parts: str, count: int, limit: int) -> None:
    if count > limit:
        raise ImageError(
            "image_too_complex",
            f"The image has more than {limit:,} {parts}. Expected at most that many, as pictures in use have: "
            "save it again as an ordinary JPEG or PNG.",
        )
