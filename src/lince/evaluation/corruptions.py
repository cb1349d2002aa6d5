"""Five corruptions of labelled images, in five strengths each, to measure the accuracy that is left.

Source: the idea is that of Hendrycks and Dietterich 2019, ICLR, arXiv:1903.12261, whose CIFAR-10-C has fifteen ways.
The strengths here are our own, in terms of what happens to light, lens and file, so that figures do not compare
with those of CIFAR-10-C.
Lengths are in pixels of a picture 32 high and grow with the picture: the same blur hides the same in a larger one.
"""

import io
import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lince.errors import LinceError

STRENGTHS = (1, 2, 3, 4, 5)

AMOUNTS = {
    # Standard deviation in grey levels of 255, each pixel and channel on its own: 34, 28, 25, 22 and 20 dB between
    # signal and noise, a small sensor from daylight to a dim room. The strongest is that of CIFAR-10-C (0.10 of 1).
    "noise": (5.0, 10.0, 15.0, 20.0, 25.0),
    # σ of a Gaussian, in pixels of a picture 32 high. Of a wave 4 pixels long, twice as long as the finest that pixels
    # can hold, 92, 66, 45, 29 and 17 % are left; from the third on that is exp(−2π²σ²/16), as of a Gaussian that is not
    # taken at whole pixels.
    "blur": (0.4, 0.6, 0.8, 1.0, 1.2),
    # Share of the contrast that is left, 0.7 to the power of the strength: light that has passed through so many equal
    # layers of mist, which each take as much of what there is (Koschmieder's law).
    "contrast": (0.7, 0.49, 0.343, 0.24, 0.168),
    # Quality of a JPEG file with halved chroma. libjpeg's rounding steps grow 1.75 to 2 times from each to the next:
    # 0.4, 0.7, 1.25, 2.5 and 5 times those of the standard's example tables. Quality 50 is left out: its steps are just
    # twice those of 75, most programs' default, so that in files saved like that every other coefficient falls halfway
    # between two steps (measured on such files, the model that ships: 74.6 % at 50, 77.1 % at 25).
    "jpeg": (80.0, 65.0, 40.0, 20.0, 10.0),
    # Rows of pixels that are left of 32: the picture taken from 1.14, 1.33, 1.6, 2 and 2.67 times as far away, and
    # enlarged again in squares.
    "pixelate": (28.0, 24.0, 20.0, 16.0, 12.0),
}

_REFERENCE_HEIGHT = 32  # of the lengths above, pixels

_Pixels = UInt8[np.ndarray, "n h w 3"]
_Generators = Iterator[np.random.Generator]


def corrupt(images: _Pixels, kind: str, *, strength: int, seed: int, first: int = 0) -> _Pixels:
    """Makes images worse.

    Args:
        images: u8[N,H,W,3], RGB 0..255.
        kind: a key of `AMOUNTS`.
        strength: 1, hardly seen, to 5.
        seed: of the noise; the other kinds are not random. The five strengths share one pattern of noise, scaled.
        first: number of the first image within all of them: what an image gets depends on the seed and its number, not
            on the batch that it comes in.

    Returns:
        u8[N,H,W,3], new ones.

    Raises:
        LinceError: there is no such kind or strength.
    """
    if kind not in AMOUNTS or strength not in STRENGTHS:
        received = f"kind={kind!r} and strength={strength!r}"
        raise LinceError(f"Received {received}. Expected one of {', '.join(AMOUNTS)}, and a strength of 1 to 5.")
    generators = (np.random.default_rng((seed, first + index)) for index in range(len(images)))
    return _CORRUPTERS[kind](images, AMOUNTS[kind][strength - 1], generators)


def _noise(images: _Pixels, amount: float, generators: _Generators) -> _Pixels:
    """Sensor noise as it reaches the file: added, rounded, cut at black and white."""
    noise = [next(generators).standard_normal(image.shape, np.float32) for image in images]
    return _to_pixels(images + np.float32(amount) * np.array(noise).reshape(images.shape))


def _blur(images: _Pixels, amount: float, _: _Generators) -> _Pixels:
    """A lens out of focus."""
    return _to_pixels(blurred(images, np.full(len(images), amount * images.shape[1] / _REFERENCE_HEIGHT)))


def blurred(images: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Gaussian blur; beyond its border a picture goes on as it ends.

    Args:
        images: u8 or f32[N,H,W,3].
        sigmas: f64[N], of each image, pixels, above 0.

    Returns:
        f32[N,H,W,3]
    """
    reach = math.ceil(3 * max(sigmas, default=0))  # 0.3 % of a Gaussian lie further out
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1)[:, None] / sigmas) ** 2)
    weights = (weights / weights.sum(axis=0)).astype(np.float32)
    values = images.astype(np.float32)
    for axis in (1, 2):
        margins = [(reach, reach) if one == axis else (0, 0) for one in range(4)]
        padded, length = np.pad(values, margins, "edge"), images.shape[axis]
        shifted = (padded.take(range(start, start + length), axis) for start in range(len(weights)))
        values = sum(weight[:, None, None, None] * part for weight, part in zip(weights, shifted, strict=True))
    return values


def _contrast(images: _Pixels, amount: float, _: _Generators) -> _Pixels:
    """Mist of the picture's own mean colour."""
    return _to_pixels(faded(images, np.full(len(images), amount)))


def faded(images: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Contrast lowered, about the mean colour of each picture.

    Args:
        images: u8 or f32[N,H,W,3].
        shares: f64[N], of the contrast that each image keeps.

    Returns:
        f32[N,H,W,3]
    """
    means = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    changed: np.ndarray = means + shares.astype(np.float32)[:, None, None, None] * (images - means)
    return changed


def _jpeg(images: _Pixels, amount: float, _: _Generators) -> _Pixels:
    """Saved as JPEG and read again. Pillow's libjpeg decides on the last bit."""
    return _each(images, lambda image: Image.open(_jpeg_file(image, round(amount))))


def _jpeg_file(image: Image.Image, quality: int) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file


def _pixelate(images: _Pixels, amount: float, _: _Generators) -> _Pixels:
    """Each pixel of the small picture is the mean of what it covers, and becomes a square."""
    height, width = images.shape[1:3]
    small = (max(1, round(width * amount / _REFERENCE_HEIGHT)), max(1, round(height * amount / _REFERENCE_HEIGHT)))
    box, nearest = Image.Resampling.BOX, Image.Resampling.NEAREST
    return _each(images, lambda image: image.resize(small, box).resize((width, height), nearest))


def _each(images: _Pixels, change: Callable[[Image.Image], Image.Image]) -> _Pixels:
    changed = [np.asarray(change(Image.fromarray(image))) for image in images]
    return np.array(changed, np.uint8).reshape(images.shape)  # the shape of no images is that of no images


def _to_pixels(values: np.ndarray) -> _Pixels:
    pixels: _Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


_CORRUPTERS = {"noise": _noise, "blur": _blur, "contrast": _contrast, "jpeg": _jpeg, "pixelate": _pixelate}
