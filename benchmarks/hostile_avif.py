"""AVIFs that are cheap to send and costly to decode."""

import io
import struct
from functools import cache

from PIL import Image


@cache
def plain(width: int, height: int, mode: str = "RGB", subsampling: str = "4:2:0") -> bytes:
    """One colour."""
    file = io.BytesIO()
    Image.new(mode, (width, height), 77).save(file, "AVIF", speed=10, subsampling=subsampling, max_threads=1)
    return file.getvalue()


def lying(width: int, height: int) -> bytes:
    """The boxes state 64 × 64 pixels, and the frame has many more."""
    return plain(width, height).replace(struct.pack(">II", width, height), struct.pack(">II", 64, 64))


def film(side: int, frames: int) -> bytes:
    """Many frames, of which only the first is needed."""
    pictures = [Image.new("RGB", (side, side), (index, 0, 0)) for index in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, "AVIF", save_all=True, append_images=pictures[1:], speed=10, max_threads=1)
    return file.getvalue()


def repeated(width: int, height: int, count: int) -> bytes:
    """The frame of an item, repeated many times inside the item."""
    data = plain(width, height)
    start = data.index(b"mdat") + 4
    frame = data[start:]
    place = data.index(b"iloc")
    where = data.index(struct.pack(">I", len(frame)), place)
    grown = data[:where] + struct.pack(">I", len(frame) * count) + data[where + 4 : start - 8]
    return grown + struct.pack(">I4s", 8 + len(frame) * count, b"mdat") + frame * count


def boxes(size: int) -> bytes:
    """Boxes of an unknown type, before the picture's."""
    data = plain(8, 8)
    end = struct.unpack_from(">I", data)[0]
    return data[:end] + struct.pack(">I4s", 8, b"free") * (size // 8) + data[end:]


def exif(block: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "AVIF", exif=b"Exif\0\0" + block, max_threads=1)
    return file.getvalue()
