"""Encoded bytes to an upright RGB picture of the wanted size, with Pillow.

`lince.images.decode` makes of it the array that everything else uses.
"""

import io

from PIL import AvifImagePlugin, Image, features

from lince.encoded_image import formats, unread_formats
from lince.encoded_image.image_spec import ImageLimits, ImageSpec, ResizeRule
from lince.encoded_image.structure import Structure
from lince.errors import ImageError

_OPTIONAL = {"AVIF": "avif", "TIFF": "libtiff", "WEBP": "webp"}  # the parts of Pillow that some builds lack

# A JPEG's decoder can scale it down itself (by 2, 4 or 8, which is fast); it stays at least so many times the target's
# size, for the exact resampling after it. Difference from a full decode, on 36 synthetic JPEGs (gradients, 1/f noise,
# edges; 257 × 259 to 1921 × 1083; quality 75 and 95) resized to 32 × 32: with 4 up to 5 grey levels, mean of the worst
# 0.78; with 8 up to 3, mean 0.16. 12 megapixels take 21 ms of a Zen 5 core with either, 111 ms with a full decode;
# 3 megapixels 5.4, 6.4 and 19 ms.
_DRAFT_MARGIN = 8

_TURNS = {  # the operation that undoes each EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING_SIDES = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))

# Pixels that are converted and resampled at a time: 4 MB for each intermediate mode, whatever the picture's size.
_STRIP_PIXELS = 1_000_000
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # of a pixel in Pillow; all other modes take 4

_GREY = (128, 128, 128)  # 0 once normalised, as is the zero padding of convolutions

_Box = tuple[float, float, float, float]


def read(data: bytes, spec: ImageSpec, limits: ImageLimits, structure: Structure | None = None) -> Image.Image:
    """Decodes one encoded image to mode RGB, `spec.width` × `spec.height`; see `lince.images.decode`."""
    image, structure = _open(data, limits, structure)
    try:
        drafted = image.draft(None, (spec.width * _DRAFT_MARGIN, spec.height * _DRAFT_MARGIN))
        # A side that the scale does not divide is rounded up: the picture ends inside the last pixel.
        box = drafted[1] if drafted else (0, 0, *image.size)
        pixels = image.width * image.height  # as they will be decoded
        needed = pixels * _MODE_BYTES.get(image.mode, 4) + structure.buffer_bytes
        _require_memory(structure.format, pixels, needed, limits)
        image.load()
        turn = _TURNS.get(structure.orientation)
        size = (spec.height, spec.width) if turn in _SWAPPING_SIDES else (spec.width, spec.height)
        image = _over_white(_resize(image, box, size, rule=spec.resize))
        image = image if turn is None else image.transpose(turn)
    except ImageError:
        raise
    except MemoryError as error:
        message = f"There is not enough memory to decode the {image.format} image. Scale it down."
        raise ImageError("image_too_large", message) from error
    except Exception as error:  # Pillow raises many types on hostile data (struct.error, KeyError, …)
        message = f"The {image.format} image is damaged ({error}). Expected a whole file: save it again."
        raise ImageError("corrupt_image", message) from error
    return _padded(image, (spec.width, spec.height))


def _open(data: bytes, limits: ImageLimits, structure: Structure | None) -> tuple[Image.Image, Structure]:
    """Reads the header, and refuses what is too large or too complex to decode."""
    if not data:
        raise ImageError("empty_image", "Received 0 bytes. Expected the bytes of one image.")
    if len(data) > limits.max_bytes:
        message = f"The image has {len(data):,} bytes. Expected at most {limits.max_bytes:,}: scale it down."
        raise ImageError("image_too_large", message)
    structure = structure or formats.inspect(data)
    if not structure.format:
        raise _no_picture(data)
    _require_decoder(structure.format)
    # Before Pillow opens it, which takes memory for a WebP. The size that Pillow finds is checked again afterwards.
    _require_size(structure.width, structure.height, limits)
    _require_memory(structure.format, structure.pixels, structure.buffer_bytes, limits)
    if structure.damage:
        message = f"The {structure.format} image is damaged: {structure.damage}. Expected a whole file: save it again."
        raise ImageError("corrupt_image", message)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # as in every other format: one core for one picture
    try:
        image = Image.open(io.BytesIO(structure.without_metadata(data)), formats=(structure.format,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"The image declares more than {limits.max_pixels:,} pixels, the limit. Scale it down."
        raise ImageError("image_too_large", message) from error
    except MemoryError as error:
        raise ImageError("image_too_large", "There is not enough memory to open the image. Scale it down.") from error
    except Exception as error:  # Pillow's plugins raise many types on hostile headers (struct.error, SyntaxError, …)
        what = f"The {structure.format} image is damaged, or of a kind that few programs write"
        message = f"{what}: its header cannot be read. Save it again as an ordinary one."
        raise ImageError("corrupt_image", message) from error
    _require_size(image.width, image.height, limits)
    is_known = not structure.slow or structure.format in formats.REWRITTEN
    if image.width * image.height > structure.pixels and is_known:
        raise ImageError("corrupt_image", "The image states two sizes. Expected one: save it again.")
    return image, structure


def _no_picture(data: bytes) -> ImageError:
    """The error for bytes of no format that is read; it names another format where the first bytes are known."""
    expected = f"Expected {', '.join(formats.FORMATS)}."
    if kind := unread_formats.describe(data):
        return ImageError("unsupported_format", f"This is {kind[0]}: {kind[1]}. {expected}")
    text = ", but text" if unread_formats.is_text(data) else ""
    message = f"Received {len(data):,} bytes that are not an image we read{text}. {expected}"
    return ImageError("unsupported_format", message)


def _require_decoder(name: str) -> None:
    if name in _OPTIONAL and not features.check(_OPTIONAL[name]):
        message = f"This is {name}, which the Pillow installed here was built without. Install Pillow's own wheel"
        raise ImageError("unsupported_format", f"{message}, or save the picture as JPEG or PNG.")


def _require_size(width: int, height: int, limits: ImageLimits) -> None:
    pixels = width * height
    if max(width, height) > limits.max_side:
        message = f"The image is {width} × {height} pixels. Expected at most {limits.max_side:,} a side: scale it down."
        raise ImageError("image_too_large", message)
    if pixels > limits.max_pixels:
        size = f"{width} × {height}"
        message = f"The image is {size} = {pixels:,} pixels. Expected at most {limits.max_pixels:,}: scale it down."
        raise ImageError("image_too_large", message)


def _require_memory(name: str, pixels: int, needed: int, limits: ImageLimits) -> None:
    if needed > limits.max_decoder_bytes:
        raise ImageError(
            "image_too_large",
            f"Decoding the {name} image of {pixels:,} pixels takes {needed:,} bytes of memory. "
            f"Expected at most {limits.max_decoder_bytes:,}: scale it down, or save it as an ordinary JPEG.",
        )


def _resize(image: Image.Image, box: _Box, size: tuple[int, int], *, rule: ResizeRule) -> Image.Image:
    """Resizes the whole image, or what the rule cuts out of `box`, to RGB or RGBA of the wanted size.

    By the rule "pad", the result has the image's own shape and the largest size that fits inside the wanted one.
    """
    if image.size == size:
        return _to_8_bit_rgb(image)
    _, _, width, height = box  # it begins at (0, 0)
    if rule == "pad":
        scale = min(size[0] / width, size[1] / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if rule == "crop":
        ratio = size[0] / size[1]
        crop_width, crop_height = min(width, height * ratio), min(height, width / ratio)
        left, top = (width - crop_width) / 2, (height - crop_height) / 2
        box = (left, top, left + crop_width, top + crop_height)
    return _resample(image, box, size)


def _resample(image: Image.Image, box: _Box, size: tuple[int, int]) -> Image.Image:
    """Antialiased bicubic resampling of RGB, or of RGBA with colours weighted by alpha.

    A large picture in another mode is converted in strips of rows, so that there is no full copy of it: first all rows
    are resampled to the wanted width, then all columns. Pillow's own order differs, and so does its rounding at times.
    """
    rows = max(1, _STRIP_PIXELS // image.width)
    if image.height <= rows or (image.mode == "RGB" and not image.has_transparency_data):
        return _to_8_bit_rgb(image).resize(size, Image.Resampling.BICUBIC, box)
    left, top, right, bottom = box
    strips = (image.crop((0, y, image.width, min(y + rows, image.height))) for y in range(0, image.height, rows))
    mode = _weighted_by_alpha(_to_8_bit_rgb(image.crop((0, 0, image.width, 1)))).mode
    narrow = Image.new(mode, (size[0], image.height))
    for index, strip in enumerate(strips):
        strip = _weighted_by_alpha(_to_8_bit_rgb(strip))
        strip = strip.resize((size[0], strip.height), Image.Resampling.BICUBIC, (left, 0, right, strip.height))
        narrow.paste(strip, (0, index * rows))
    shrunk = narrow.resize(size, Image.Resampling.BICUBIC, (0, top, size[0], bottom))
    return shrunk.convert("RGBA") if shrunk.mode == "RGBa" else shrunk


def _to_8_bit_rgb(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent; the same object where the image is that already."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255 instead of taking the high byte
        big_endian = image.mode.endswith("B")
        image = Image.frombytes("L", image.size, image.tobytes(), "raw", "L;16B" if big_endian else "L;16")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _weighted_by_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBa") if image.mode == "RGBA" else image


def _padded(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image in the middle of a grey area of the wanted size. It is upright already: a spare pixel has one side."""
    if image.size == size:
        return image
    area = Image.new("RGB", size, _GREY)
    area.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return area


def _over_white(image: Image.Image) -> Image.Image:
    """RGB, with transparency over white; after resampling, when few pixels are left."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
