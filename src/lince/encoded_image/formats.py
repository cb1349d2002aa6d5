"""What an encoded image is made of, read from its segments, chunks and blocks; nothing is decoded.

A file of a few kilobytes can cost its decoder minutes: a thousand scans, a hundred thousand comments. `inspect` counts
such parts at the speed of `bytes.find`, refuses what no camera or program writes, and says what decoding will meet.
Metadata is only counted: no decoder sees it, so that what is broken there costs neither the pixels nor time.
"""

import struct

from lince.encoded_image import avif, bmp, gif, jpeg, png, tiff, webp
from lince.encoded_image.structure import Structure
from lince.errors import ImageError

REWRITTEN = frozenset({"TIFF", "AVIF"})
"""Formats of which a decoder sees nothing that was not understood here."""


def inspect(data: bytes) -> Structure:
    """Reads the structure of one encoded image.

    Args:
        data: an encoded image; damaged, cut short or none at all.

    Returns:
        As much as is to be found. What is damaged is for the decoder to say, where it looks.

    Raises:
        ImageError: `image_too_complex`: more parts than any picture in use has. Of TIFF and AVIF, whose decoders are to
            see nothing that was not understood: `corrupt_image` and `unsupported_format`, too.
    """
    name = _format(data)
    if not name:
        return Structure()
    try:
        return _READERS[name](data)
    except (struct.error, IndexError, OverflowError) as error:  # the last of an offset in 64 bits
        if name in REWRITTEN:
            message = f"The {name} image is damaged: its header cannot be read. Save it again."
            raise ImageError("corrupt_image", message) from error
        return Structure(name, slow=True)


def _format(data: bytes) -> str:
    """The name of a format that we read, by the first bytes; empty for others."""
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
    "GIF": gif.read,
    "BMP": bmp.read,
    "TIFF": tiff.read,
    "AVIF": avif.read,
}
