"""The format and the structure of an encoded image, read from its segments, chunks and blocks without decoding it.

A file of a few kilobytes can keep its decoder busy for minutes: a thousand scans, a hundred thousand comments.
`inspect` counts such parts at the speed of `bytes.find`, and refuses what no camera or program writes. Metadata is
only counted and never reaches a decoder, so that broken metadata costs neither the pixels nor time.

A new format needs a module like `gif.py`, its first bytes and its reader here, its suffixes in `images.EXTENSIONS`, and
its type in the page's `accept`. `unread_formats.py` names the formats that are refused.
"""

import struct

from lince.encoded_image import avif, bmp, gif, jpeg, png, tiff, webp
from lince.encoded_image.structure import Structure
from lince.errors import ImageError

REWRITTEN = frozenset({"TIFF", "AVIF"})
"""Formats whose decoder only sees what was understood here."""


def inspect(data: bytes) -> Structure:
    """Reads the structure of bytes that may be damaged, truncated or no image; most damage is left for the decoder.

    Raises:
        ImageError: `image_too_complex`: more parts than any picture in use has. Also `corrupt_image` and
            `unsupported_format` for TIFF and AVIF, whose decoders only see what was understood here.
    """
    name = _format(data)
    if not name:
        return Structure()
    try:
        return _READERS[name](data)
    except (struct.error, IndexError, OverflowError) as error:  # OverflowError: an offset of 64 bits
        if name in REWRITTEN:
            message = f"The {name} image is damaged: its header cannot be read. Save it again."
            raise ImageError("corrupt_image", message) from error
        return Structure(name, slow=True)


def _format(data: bytes) -> str:
    """The name of a format that is read, by the first bytes; empty for others."""
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    return "AVIF" if avif.is_avif(data) else ""


_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_MAGIC |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")
_READERS = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "WEBP": webp.read,
    "BMP": bmp.read,
    "GIF": gif.read,
    "TIFF": tiff.read,
    "AVIF": avif.read,
}
FORMATS = tuple(_READERS)
