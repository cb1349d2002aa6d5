"""Five corruptions of labelled images, in five strengths each, to measure the accuracy that is left.

Source: Hendrycks and Dietterich 2019, ICLR, arXiv:1903.12261, whose CIFAR-10-C has fifteen corruptions. The strengths
here are our own, so figures cannot be compared with those of CIFAR-10-C.
Lengths are in pixels of a picture 32 pixels high, and are scaled to the height of the picture.
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
    # Standard deviation in grey levels of 255, independent for each pixel and channel. The signal-to-noise ratios are
    # 34 to 20 dB: a small sensor from daylight to a dim room. The strongest is that of CIFAR-10-C (0.10 of 1).
    "noise": (5.0, 10.0, 15.0, 20.0, 25.0),
    # σ of a Gaussian, in pixels of a picture 32 high. A wave of 4 pixels, twice the shortest possible, keeps 92, 66,
    # 45, 29 and 17 % of its amplitude. From the third on this is exp(−2π²σ²/16), as for a continuous Gaussian.
    "blur": (0.4, 0.6, 0.8, 1.0, 1.2),
    # Share of the contrast that is left, 0.7 to the power of the strength: as after so many equal layers of mist
    # (Koschmieder's law).
    "contrast": (0.7, 0.49, 0.343, 0.24, 0.168),
    # Quality of a JPEG file with halved chroma. libjpeg's quantization steps grow 1.75 to 2 times from one to the next:
    # 0.4, 0.7, 1.25, 2.5 and 5 times those of the standard's example tables. Quality 50 is left out, because its steps
    # are twice those of 75, most programs' default: every other coefficient of such files lies between two steps
    # (measured on such files with the shipped model: 74.6 % at 50, 77.1 % at 25).
    "jpeg": (80.0, 65.0, 40.0, 20.0, 10.0),
    # Rows of pixels that are left of 32: as seen from 1.14, 1.33, 1.6, 2 and 2.67 times as far away, then enlarged to
    # squares.
    "pixelate": (28.0, 24.0, 20.0, 16.0, 12.0),
}

_REFERENCE_HEIGHT = 32  # of the lengths above, pixels

_Pixels = UInt8[np.ndarray, "n h w 3"]
_Generators = Iterator[np.random.Generator]


def corrupt(images: _Pixels, kind: str, *, strength: int, seed: int, first: int = 0) -> _Pixels:
    """Corrupts images.

    Args:
        images: u8[N,H,W,3], RGB 0..255.
        kind: a key of `AMOUNTS`.
        strength: 1, hardly visible, to 5.
        seed: of the noise; the other kinds are not random. The five strengths share one pattern of noise, scaled.
        first: the number of the first image among all. The noise of an image depends on the seed and on its number,
            not on its batch.

    Returns:
        u8[N,H,W,3], a new array.

    Raises:
        LinceError: there is no such kind or strength.
    """
    if kind not in AMOUNTS or strength not in STRENGTHS:
        received = f"kind={kind!r} and strength={strength!r}"
        raise LinceError(f"Received {received}. Expected one of {', '.join(AMOUNTS)}, and a strength of 1 to 5.")
    generators = (np.random.default_rng((seed, first + index)) for index in range(len(images)))
    return _CORRUPTERS[kind](images, AMOUNTS[kind][strength - 1], generators)


def _noise(images: _Pixels, amount: float, generators: _Generators) -> _Pixels:
    """Gaussian sensor noise, added and then rounded and clipped to 0..255."""
    noise = [next(generators).standard_normal(image.shape, np.float32) for image in images]
    return _to_pixels(images + np.float32(amount) * np.array(noise).reshape(images.shape))


def _blur(images: _Pixels, amount: float, _: _Generators) -> _Pixels:
    """A lens out of focus."""
    return _to_pixels(blurred(images, np.full(len(images), amount * images.shape[1] / _REFERENCE_HEIGHT)))


def blurred(images: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Gaussian blur; the pixels of the border are repeated beyond it.

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
    """Mist of the picture's mean colour."""
    return _to_pixels(faded(images, np.full(len(images), amount)))


def faded(images: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Lowers the contrast about the mean colour of each picture.

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
    """Saved as JPEG and read again. The last bits depend on Pillow's libjpeg."""

    def saved(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=round(amount), subsampling="4:2:0")
        return Image.open(file)

    return _each(images, saved)


def _pixelate(images: _Pixels, amount: float, _: _Generators) -> _Pixels:
    """Each pixel of the small picture is the mean of the pixels that it covers, and is enlarged to a square."""
    height, width = images.shape[1:3]
    small = (max(1, round(width * amount / _REFERENCE_HEIGHT)), max(1, round(height * amount / _REFERENCE_HEIGHT)))
    box, nearest = Image.Resampling.BOX, Image.Resampling.NEAREST
    return _each(images, lambda image: image.resize(small, box).resize((width, height), nearest))


def _each(images: _Pixels, change: Callable[[Image.Image], Image.Image]) -> _Pixels:
    changed = [np.asarray(change(Image.fromarray(image))) for image in images]
    return np.array(changed, np.uint8).reshape(images.shape)  # the shape also holds for 0 images


def _to_pixels(values: np.ndarray) -> _Pixels:
    pixels: _Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


_CORRUPTERS = {"noise": _noise, "blur": _blur, "contrast": _contrast, "jpeg": _jpeg, "pixelate": _pixelate}
