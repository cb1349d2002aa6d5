"""CutMix: a rectangle of an image comes from another image, and the same share of its target.

Source: Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers", arXiv:1905.04899.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64


@dataclass(frozen=True)
class Mix:
    """Of which images each image of a batch is made.

    Attributes:
        others: i64[N], the image of the batch from which the rectangle comes.
        shares: f32[N], the share of the picture that is its own, 0..1.
    """

    others: Int64[np.ndarray, " n"]
    shares: Float32[np.ndarray, " n"]

    def of(self, rows: Float32[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n ..."]:
        """Values of the images, such as targets, mixed by the same shares."""
        shares = self.shares.reshape(-1, *(1,) * (rows.ndim - 1))
        mixed: Float32[np.ndarray, "n ..."] = shares * rows + (1 - shares) * rows[self.others]
        return mixed


def cutmix(pixels: Any, probability: float, rng: np.random.Generator) -> tuple[Any, Mix | None]:
    """Copies a rectangle of another image of the batch into some of the images, at the same place.

    Its area is uniform from 0 to the whole picture, its centre uniform over all pixels. It is cut at the edge.

    Args:
        pixels: f32[N,H,W,3].
        probability: of each image to be mixed.
        rng: the only source of randomness. Nothing is drawn if the probability is 0.

    Returns:
        f32[N,H,W,3], and how the images are mixed; None if the probability is 0.
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
    side = np.sqrt(rng.random((n, 1)))  # of the rectangle, in units of the picture's side
    inside = []
    for length in (height, width):
        centre, pixel = rng.integers(0, length, (n, 1)), np.arange(length)
        reach = side * length / 2
        inside.append((centre - reach <= pixel) & (pixel < centre + reach))
    return inside[0][:, :, None] & inside[1][:, None, :]
