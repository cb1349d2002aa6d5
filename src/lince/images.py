"""Encoded bytes to pixels: the only preprocessing outside the network's graph.

Training data, evaluation, folder prediction and every HTTP protocol call `decode`, so that the same bytes give the same
pixels everywhere.
"""

import numpy as np
from jaxtyping import UInt8

from lince.encoded_image import Structure, decoding, formats
from lince.types import ImageLimits, ImageSpec

FORMATS = formats.FORMATS
_JPEG_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp")  # browsers save all of these
EXTENSIONS = frozenset({*_JPEG_EXTENSIONS, ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})


def decode(
    data: bytes, spec: ImageSpec, limits: ImageLimits = ImageLimits(), structure: Structure | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes one encoded image into the pixels that a network takes.

    The first frame is taken. 16-bit samples keep their high byte, and every colour mode becomes RGB. Another size is
    resampled (antialiased bicubic, weighted by alpha) by the rule `spec.resize`. Then, on the small picture,
    transparency is laid over white and the EXIF orientation is applied.

    Args:
        data: one encoded image: JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF.
        spec: height, width and resize rule.
        limits: bounds on bytes, declared pixels and the decoder's memory, checked before decoding.
        structure: of this image, where `encoded_image.inspect` has read it already.

    Returns:
        u8[H,W,3], RGB, 0..255.

    Raises:
        ImageError: with `code` `empty_image`, `unsupported_format`, `corrupt_image`, `image_too_large` or
            `image_too_complex`.
    """
    return np.asarray(decoding.read(data, spec, limits, structure))
