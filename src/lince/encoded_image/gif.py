"""GIF: the blocks before its first frame. Of the extensions only those that state the transparency are kept."""

import struct
from collections.abc import Iterator

from lince.encoded_image.structure import Structure, require

# Blocks of at most 255 bytes before the first frame, read one by one in Python; one more for each 64 bytes of the
# file, for long comments.
_MAX_BLOCKS, _BYTES_PER_BLOCK = 4_096, 64
_MAX_CONTROLS = 100  # the decoder sees them; pictures in use have one
_GRAPHIC_CONTROL, _CONTROL_BYTES = 0xF9, 4


def read(data: bytes) -> Structure:
    """The structure of a GIF up to its first frame, which may be larger than the canvas."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    found = Structure("GIF", width, height)
    palette_bytes = 3 << (flags & 7) + 1 if flags & 0x80 else 0
    position, blocks, controls, most = 13 + palette_bytes, 0, 0, _MAX_BLOCKS + len(data) // _BYTES_PER_BLOCK
    while position < len(data):
        start, introducer = position, data[position]
        if introducer == ord(","):
            left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, position + 1)
            found.width, found.height = max(width, left + frame_width), max(height, top + frame_height)
            break
        position += 1  # also over a byte that is neither extension nor frame
        is_needed = False
        if introducer == ord("!"):
            is_needed = data[position] == _GRAPHIC_CONTROL and data[position + 1] >= _CONTROL_BYTES
            position += 1
            for length in _blocks(data, position):
                blocks += 1
                position += 1 + length
                require("blocks before its first frame", blocks, most)
        blocks += 1
        require("blocks before its first frame", blocks, most)
        if not is_needed:
            found.drop(start, position)
        controls += is_needed
        require("controls before its first frame", controls, _MAX_CONTROLS)
    found.buffer_bytes = 4 * found.pixels  # the background of a frame, in RGBA
    return found


def _blocks(data: bytes, position: int) -> Iterator[int]:
    """Lengths of an extension's blocks, with the empty one that ends them."""
    length = -1
    while length:
        length = data[position]
        position += 1 + length
        yield length
