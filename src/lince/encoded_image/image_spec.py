"""What images must look like: the size that a network wants, and the bounds on what may arrive.

Imports nothing, so that the process that decodes for the service stays small (`serving/decoder.py`).
"""

from dataclasses import dataclass
from typing import Literal

ResizeRule = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True)
class ImageSpec:
    """What a network wants to see.

    Attributes:
        height, width: pixels.
        resize: what happens to other sizes; `"crop"` cuts the largest centred rectangle of the right shape and
            scales it, `"pad"` scales the whole picture and fills what is left at two sides with grey, `"stretch"`
            scales the whole picture and ignores its shape.
    """

    height: int = 32
    width: int = 32
    resize: ResizeRule = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, 3)


@dataclass(frozen=True)
class ImageLimits:
    """Bounds checked before anything is decoded.

    Attributes:
        max_bytes: of one encoded image. 10 MiB holds a 24-megapixel JPEG of a phone.
        max_pixels: width × height as the header declares them. 50 MP decode to 200 MB in Pillow.
        max_side: pixels of the width, and of the height. Pillow keeps a pointer for each row.
        max_decoder_bytes: what the decoder will hold at its highest, the picture included. A WebP needs 16 bytes a
            pixel, an AVIF 13 (22 with transparency), a progressive JPEG up to 12, all others 1 to 5, and a packed TIFF
            one strip more. This is room for a WebP of 37 MP, an AVIF of 46, and for most other pictures of 50 MP.
    """

    max_bytes: int = 10 * 2**20
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    max_decoder_bytes: int = 600_000_000
