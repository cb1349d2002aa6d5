"""Bytes to pixels: the only preprocessing outside the network's graph.

Training data, evaluation, folder prediction and every HTTP protocol call `decode`, so the same bytes give the
same pixels everywhere.
"""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image

from lince.errors import ImageError
from lince.records import ImageLimits, ImageSpec, ResizeRule

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
_JPEG_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp")  # browsers save all of these
EXTENSIONS = frozenset({*_JPEG_EXTENSIONS, ".png", ".webp", ".bmp", ".gif"})

# How many times the target a JPEG stays at least when the decoder itself scales it down (by 2, 4 or 8, cheaply) before
# the careful resampling. Against a full decode, on 36 synthetic JPEGs (gradients, 1/f noise, edges; 257 × 259 to
# 1921 × 1083; quality 75 and 95) brought to 32 × 32: at 4 up to 5 grey levels, mean of the worst 0.78; at 8 up to 3,
# 0.16. 12 megapixels take 21 ms of a Zen 5 core at either, 111 ms decoded whole; 3 megapixels 5.4, 6.4 and 19 ms.
_DRAFT_MARGIN = 8

_TURNS = {  # what undoes each EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING_SIDES = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))

_Box = tuple[float, float, float, float]


def decode(data: bytes, spec: ImageSpec, limits: ImageLimits = ImageLimits()) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes one encoded image into the pixels a network wants.

    The first frame is taken; 16-bit samples keep their high byte; every colour mode becomes RGB; another size is
    resampled (antialiased bicubic, weighted by alpha) as `spec.resize` says; then, on the few pixels that are left,
    transparency is laid over white and the EXIF orientation applied.

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
        drafted = image.draft(None, (spec.width * _DRAFT_MARGIN, spec.height * _DRAFT_MARGIN))
        # A side that the scale does not divide is rounded up: the picture ends inside of the last pixel.
        box = drafted[1] if drafted else (0, 0, *image.size)
        image.load()
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
        image = _to_8_bit_rgb(image)
    except Exception as error:  # and many types on hostile bodies (struct.error, DecompressionBombError, KeyError, …)
        message = f"The {image.format} image is damaged ({error}). Expected a whole file: save it again."
        raise ImageError("corrupt_image", message) from error
    size = (spec.height, spec.width) if turn in _SWAPPING_SIDES else (spec.width, spec.height)
    image = _over_white(_resize(image, box, size, rule=spec.resize))
    return np.asarray(image if turn is None else image.transpose(turn))


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


def _to_8_bit_rgb(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent; the very same object where it is that already."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _resize(image: Image.Image, box: _Box, size: tuple[int, int], *, rule: ResizeRule) -> Image.Image:
    """Resamples `box` of the image, which begins at (0, 0); Pillow weights the colours of RGBA by alpha meanwhile."""
    if image.size == size:
        return image
    _, _, width, height = box
    if rule == "crop":
        ratio = size[0] / size[1]
        crop_width, crop_height = min(width, height * ratio), min(height, width / ratio)
        left, top = (width - crop_width) / 2, (height - crop_height) / 2
        box = (left, top, left + crop_width, top + crop_height)
    return image.resize(size, Image.Resampling.BICUBIC, box)


def _over_white(image: Image.Image) -> Image.Image:
    """After the resampling, not before: a 25-megapixel RGBA picture would be held four times, 100 MB each."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
