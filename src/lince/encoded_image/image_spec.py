"""The size that a network takes, and the limits on encoded images."""

from dataclasses import dataclass
from typing import Literal

ResizeRule = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True)
class ImageSpec:
    """The images that a network takes.

    Attributes:
        height, width: pixels.
        resize: what happens to other sizes. `"crop"` cuts the largest centred rectangle of the right shape and scales
            it. `"pad"` scales the whole picture and fills the rest at two sides with grey. `"stretch"` scales the
            whole picture to the size, whatever its shape.
    """

    height: int = 32
    width: int = 32
    resize: ResizeRule = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, 3)


@dataclass(frozen=True)
class ImageLimits:
    """Limits that are checked before an image is decoded.

    Attributes:
        max_bytes: of one encoded image. 10 MiB is enough for a phone's JPEG of 24 megapixels.
        max_pixels: width × height as the header declares them. 50 MP decode to 200 MB in Pillow.
        max_side: pixels of the width, and of the height. Pillow keeps a pointer for each row.
        max_decoder_bytes: the decoder's highest memory use, the picture included. A WebP needs 16 bytes a pixel, an
            AVIF 13 (22 with transparency), a progressive JPEG up to 12, all others 1 to 5. A compressed TIFF needs one
            strip more. The default is enough for a WebP of 37 MP, an AVIF of 46, and most other pictures of 50 MP.
    """

    max_bytes: int = 10 * 2**20
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    max_decoder_bytes: int = 600_000_000
