"""What an encoded image is made of, read from its segments, chunks and blocks; nothing is decoded.

A file of a few kilobytes can cost its decoder minutes: a thousand scans, a hundred thousand comments. `inspect` counts
such parts at the speed of `bytes.find`, refuses what no camera or program writes, and says what decoding will meet.
Metadata is only counted: no decoder sees it, so that what is broken there costs neither the pixels nor time.
"""

import struct

from lince.encoded_image import bmp, gif, jpeg, png, webp
from lince.encoded_image.structure import Structure

__all__ = ["Structure", "inspect"]


def inspect(data: bytes) -> Structure:
    """Reads the structure of one encoded image.

    Args:
        data: an encoded image; damaged, cut short or none at all.

    Returns:
        As much as is to be found. What is damaged is for the decoder to say.

    Raises:
        ImageError: `image_too_complex`: more parts than any picture in use has.
    """
    name = _format(data)
    if not name:
        return Structure()
    try:
        return _READERS[name](data)
    except (struct.error, IndexError):
        return Structure(name, slow=True)


def _format(data: bytes) -> str:
    """The name of a format that we read, by the first bytes; empty for others."""
    if data.startswith(b"RIFF"):
        return "WEBP" if data[8:12] == b"WEBP" else ""
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "")


_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_READERS = {"JPEG": jpeg.read, "PNG": png.read, "WEBP": webp.read, "GIF": gif.read, "BMP": bmp.read}
