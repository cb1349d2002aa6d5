"""Out-of-distribution pictures, drawn from a seed: noise, clouds, stripes, checks, gradients, flat colours, polygons.

They measure how often a model answers "I don't know" when a picture shows none of its classes. A softmax network gives
its classes probabilities of sum 1 for every picture. Far from the training images, a ReLU network can even be most
confident. Abstention catches some of these pictures. A model that abstains on all of them may still be confident of a
photograph of something else. Only folders of such photographs can show that.
Source: Nguyen, Yosinski, Clune 2015, arXiv:1412.1897; Hendrycks, Gimpel 2017, arXiv:1610.02136; Hein, Andriushchenko,
Bitterwolf 2019, arXiv:1812.05720.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from lince.errors import LinceError
from lince.types import ImageSpec

_Plane = Float[np.ndarray, "h w"]


def draw(kind: str, index: int, *, spec: ImageSpec, seed: int) -> UInt8[np.ndarray, "h w 3"]:
    """Draws a picture of one kind; the same index and seed give the same pixels.

    Args:
        kind: one of `KINDS`.
        index: the number of the picture, from 0.
        spec: height and width, pixels.
        seed: of the drawing.

    Returns:
        u8[H,W,3], RGB 0..255.

    Raises:
        LinceError: there is no such kind.
    """
    if kind not in _PAINTERS:
        raise LinceError(f"Received kind={kind!r}. Expected one of {', '.join(KINDS)}.")
    rng = np.random.default_rng((seed, KINDS.index(kind), index))
    painted = _PAINTERS[kind](spec.height, spec.width, rng)
    pixels: UInt8[np.ndarray, "h w 3"] = np.clip(np.rint(painted), 0, 255).astype(np.uint8)
    return pixels


def _noise(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Every pixel and channel is independent."""
    return rng.uniform(0, 255, (height, width, 3))


def _clouds(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise at several scales, each twice as fine and half as strong as the one before (Perlin noise)."""
    plane = np.zeros((height, width))
    for octave in range(1, 5):  # grids of 2, 4, 8 and 16 cells: at 32 pixels the finest are 2 pixels wide
        grid = rng.normal(size=(2**octave, 2**octave)).astype(np.float32)
        smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        plane += np.asarray(smooth) / 2**octave
    return _blend(_stretched(plane), rng)


def _stripes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """2 to 10 waves, at any angle, with soft or hard edges."""
    wave = np.sin(2 * np.pi * rng.uniform(2, 10) * _ramp(height, width, rng) + rng.uniform(0, 2 * np.pi))
    return _blend(np.clip(wave * rng.choice((1, 4)) / 2 + 0.5, 0, 1), rng)


def _checks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """An upright chessboard of 2 to 8 fields a side."""
    y, x = _coordinates(height, width)
    fields = rng.uniform(2, 8)
    shift_x, shift_y = rng.uniform(0, 2, 2)
    return _blend((np.floor(x * fields + shift_x) + np.floor(y * fields + shift_y)) % 2, rng)


def _gradient(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A gradient from one colour to another, at any angle."""
    return _blend(_stretched(_ramp(height, width, rng)), rng)


def _flat(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One colour, as of a covered lens or a wall."""
    return np.broadcast_to(rng.uniform(0, 255, 3), (height, width, 3))


def _polygons(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """1 to 4 polygons of 3 to 6 corners on a background, drawn at four times the size for smooth edges."""
    canvas = Image.new("RGB", (4 * width, 4 * height), _colour(rng))
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(1, 5)):
        corners = rng.uniform(0, 1, (rng.integers(3, 7), 2)) * canvas.size
        pen.polygon([(float(x), float(y)) for x, y in corners], fill=_colour(rng))
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _blend(mask: _Plane, rng: np.random.Generator) -> np.ndarray:
    """Two random colours, mixed by a mask of 0..1."""
    first, second = rng.uniform(0, 255, (2, 3))
    mixed: np.ndarray = mask[..., None] * first + (1 - mask[..., None]) * second
    return mixed


def _ramp(height: int, width: int, rng: np.random.Generator) -> _Plane:
    """A plane that rises by 1 over the longer side, at any angle."""
    y, x = _coordinates(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    ramp: _Plane = x * np.cos(angle) + y * np.sin(angle)
    return ramp


def _coordinates(height: int, width: int) -> np.ndarray:
    """y and x of every pixel, 0..1 along the longer side."""
    return np.mgrid[0:height, 0:width] / max(height, width)


def _stretched(plane: _Plane) -> _Plane:
    """Scaled to 0..1; a constant plane becomes 0."""
    stretched: _Plane = (plane - plane.min()) / max(np.ptp(plane), np.finfo(float).tiny)
    return stretched


_PAINTERS = {
    "noise": _noise,
    "clouds": _clouds,
    "stripes": _stripes,
    "checks": _checks,
    "gradients": _gradient,
    "flat colours": _flat,
    "polygons": _polygons,
}

KINDS = tuple(_PAINTERS)
