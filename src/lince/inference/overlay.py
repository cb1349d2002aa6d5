"""The picture of an explanation: the image, and beside it the same in grey under the heat map, with a scale.

The scale runs from blue (against the class) through nothing to vermilion (for it). Both are from the palette of Okabe
and Ito, which people with any kind of colour blindness can tell apart. Source: Wong 2011, Nat. Methods 8:441.
A line surrounds the quarter that supports the class most, so that it can also be seen in print without colour.
"""

import io
import math

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageDraw, ImageFilter

from lince.inference.explanation import Explanation
from lince.types import ImageSpec

_FOR = (213, 94, 0)
_AGAINST = (0, 114, 178)
_OPACITY = 0.75  # of the strongest place: the picture stays visible under it
_GREYS = (40, 225)  # black and white of the grey picture; both colours must be seen on either

_PANEL_PIXELS = 384  # of the longer side, at least
_GAP = 12
_LINE = 3  # pixels, of the surrounding line, white inside black
_BAR = (160, 14)  # of the scale, pixels


def panel_spec(spec: ImageSpec) -> ImageSpec:
    """The size in which the image is shown: a whole multiple of the model's, and cut in the same way."""
    times = math.ceil(_PANEL_PIXELS / max(spec.height, spec.width))
    return ImageSpec(spec.height * times, spec.width * times, spec.resize)


def draw(explanation: Explanation, image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Draws an explanation.

    Args:
        explanation: of the image.
        image: u8[H,W,3], RGB, decoded to `panel_spec` of the model's images.

    Returns:
        A PNG file.
    """
    height, width, _ = image.shape
    times = height // explanation.heat.shape[0]
    heat, most = (np.kron(one, np.ones((times, times), one.dtype)) for one in (explanation.heat, explanation.most))
    canvas = Image.new("RGB", (2 * width + 3 * _GAP, height + 3 * _GAP + _BAR[1]), "white")
    canvas.paste(Image.fromarray(image), (_GAP, _GAP))
    canvas.paste(Image.fromarray(_surrounded(_coloured(image, heat), most)), (width + 2 * _GAP, _GAP))
    _draw_scale(canvas, middle=(width + 2 * _GAP + width // 2, height + 2 * _GAP + _BAR[1] // 2))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _coloured(image: UInt8[np.ndarray, "h w 3"], heat: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image in grey under the colours of the heat map, whose strongest place is the most opaque."""
    black, white = _GREYS
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32) / 255 * (white - black) + black
    colour = np.where(heat[..., None] > 0, np.array(_FOR, np.float32), np.array(_AGAINST, np.float32))
    strength = np.abs(heat) / max(np.abs(heat).max(), np.finfo(np.float32).tiny)
    opacity = _OPACITY * strength[..., None]
    mixed: UInt8[np.ndarray, "h w 3"] = np.rint(grey[..., None] * (1 - opacity) + colour * opacity).astype(np.uint8)
    return mixed


def _surrounded(image: UInt8[np.ndarray, "h w 3"], area: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image with a white line, inside a black one, along the inner edge of an area."""
    black = area & ~_shrunk(area, 2 * _LINE)
    white = _shrunk(area, _LINE // 2) & ~_shrunk(area, _LINE // 2 + _LINE)
    return np.where(white[..., None], np.uint8(255), np.where(black[..., None], np.uint8(0), image))


def _shrunk(area: Bool[np.ndarray, "h w"], by: int) -> Bool[np.ndarray, "h w"]:
    """The area without the pixels that are near its edge; the image's own edge counts as one."""
    padded = Image.fromarray(np.pad(area, by).astype(np.uint8) * 255)
    shrunk: Bool[np.ndarray, "h w"] = np.asarray(padded.filter(ImageFilter.MinFilter(2 * by + 1)))[by:-by, by:-by] > 0
    return shrunk


def _draw_scale(canvas: Image.Image, *, middle: tuple[int, int]) -> None:
    """A bar from blue to vermilion, with a minus sign before it and a plus sign behind it: no font is needed."""
    width, height = _BAR
    grey = np.full((height, width, 3), sum(_GREYS) // 2, np.uint8)
    bar = _coloured(grey, np.tile(np.linspace(-1, 1, width, dtype=np.float32), (height, 1)))
    left, top = middle[0] - width // 2, middle[1] - height // 2
    canvas.paste(Image.fromarray(bar), (left, top))
    pen = ImageDraw.Draw(canvas)
    arm = height // 2 - 1
    for x, signs in ((left - _GAP - arm, "-"), (left + width + _GAP + arm, "+")):
        pen.line([(x - arm, middle[1]), (x + arm, middle[1])], "black", _LINE)
        if signs == "+":
            pen.line([(x, middle[1] - arm), (x, middle[1] + arm)], "black", _LINE)
