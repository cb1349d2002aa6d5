"""CutMix: a rectangle of an image is that of another one, and as much of its target.

Source: Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers", arXiv:1905.04899.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64


@dataclass(frozen=True)
class Mix:
    """What each image of a batch is made of.

    Attributes:
        others: i64[N], the image of the batch that the rectangle is from.
        shares: f32[N], how much of the picture is still its own, 0..1.
    """

    others: Int64[np.ndarray, " n"]
    shares: Float32[np.ndarray, " n"]

    def of(self, rows: Float32[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n ..."]:
        """What belongs to the images, mixed as they are."""
        shares = self.shares.reshape(-1, *(1,) * (rows.ndim - 1))
        mixed: Float32[np.ndarray, "n ..."] = shares * rows + (1 - shares) * rows[self.others]
        return mixed


def cutmix(pixels: Any, probability: float, rng: np.random.Generator) -> tuple[Any, Mix | None]:
    """Puts a rectangle of another image of the batch into some of the images, at its own place.

    Its area is uniform over 0 to all of the picture, its centre over all pixels; what would lie outside is cut off.

    Args:
        pixels: f32[N,H,W,3].
        probability: of each image to be mixed.
        rng: the only source of randomness; nothing is drawn where the probability is 0.

    Returns:
        f32[N,H,W,3], and of what the images are made, None where none can be mixed.
    """
    if probability == 0:
        return pixels, None
    pixels = np.array(pixels)
    n, height, width = pixels.shape[:3]
    others, from_other = rng.permutation(n), _rectangles((n, height, width), rng)
    from_other &= (rng.random(n) < probability)[:, None, None]
    mixed = np.where(from_other[..., None], pixels[others], pixels)
    return mixed, Mix(others, 1 - from_other.mean(axis=(1, 2), dtype=np.float32))


def _rectangles(shape: tuple[int, int, int], rng: np.random.Generator) -> Bool[np.ndarray, "n h w"]:
    n, height, width = shape
    side = np.sqrt(rng.random((n, 1)))  # of the rectangle, in units of the picture's
    inside = []
    for length in (height, width):
        centre, pixel = rng.integers(0, length, (n, 1)), np.arange(length)
        reach = side * length / 2
        inside.append((centre - reach <= pixel) & (pixel < centre + reach))
    return inside[0][:, :, None] & inside[1][:, None, :]
