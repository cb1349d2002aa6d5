"""Bytes to pixels: the only preprocessing outside the network's graph.

Training data, evaluation, folder prediction and every HTTP protocol call `decode`, so the same bytes give the
same pixels everywhere.
"""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from lince.errors import ImageError
from lince.records import ImageLimits, ImageSpec

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif"})

# How much larger than the target a JPEG may be left by the decoder's own (fast, blocky) scaling before the
# careful resampling: at 4 the two together differ from a full decode by less than the resampling's rounding.
_DRAFT_MARGIN = 4


def decode(data: bytes, spec: ImageSpec, limits: ImageLimits = ImageLimits()) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes one encoded image into the pixels a network wants.

    The first frame is taken; the EXIF orientation applied; transparency laid over white; 16-bit samples keep their
    high byte; every colour mode becomes RGB; another size is resampled (antialiased bicubic) by `spec.resize`.

    Args:
        data: one encoded image: JPEG, PNG, WebP, BMP or GIF.
        spec: height, width and resize rule.
        limits: bounds on bytes and declared pixels, checked before decoding.

    Returns:
        u8[H,W,3], RGB, 0..255.

    Raises:
        ImageError: with `code` `empty_image`, `unsupported_format`, `corrupt_image` or `image_too_large`.
    """
    image = _open(data, limits)
    try:
        image.draft(None, (spec.width * _DRAFT_MARGIN, spec.height * _DRAFT_MARGIN))
        image = _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # and many types on hostile bodies (struct.error, DecompressionBombError, KeyError, …)
        message = f"The {image.format} image is damaged ({error}). Expected a whole file: save it again."
        raise ImageError("corrupt_image", message) from error
    return np.asarray(_resize(image, spec))


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    """Reads the header only, and refuses what is too large to decode."""
    if not data:
        raise ImageError("empty_image", "Received 0 bytes. Expected the bytes of one image.")
    if len(data) > limits.max_bytes:
        message = f"The image has {len(data):,} bytes. Expected at most {limits.max_bytes:,}: scale it down."
        raise ImageError("image_too_large", message)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"The image declares more than {limits.max_pixels:,} pixels, the limit. Scale it down."
        raise ImageError("image_too_large", message) from error
    except Exception as error:  # Pillow's plugins raise many types on hostile headers (struct.error, SyntaxError, …)
        message = f"Received {len(data):,} bytes that are not an image we read. Expected {', '.join(FORMATS)}."
        raise ImageError("unsupported_format", message) from error
    pixels = image.width * image.height
    if pixels > limits.max_pixels:
        size = f"{image.width} × {image.height}"
        message = f"The image is {size} = {pixels:,} pixels. Expected at most {limits.max_pixels:,}: scale it down."
        raise ImageError("image_too_large", message)
    if pixels == 0:
        message = f"The image is {image.width} × {image.height} pixels. Expected at least 1 × 1."
        raise ImageError("corrupt_image", message)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _resize(image: Image.Image, spec: ImageSpec) -> Image.Image:
    size = (spec.width, spec.height)
    if image.size == size:
        return image
    if spec.resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    return image.resize(size, Image.Resampling.BICUBIC)
