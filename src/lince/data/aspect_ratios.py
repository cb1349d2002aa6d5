"""Aspect ratios of the original pictures, and what a crop to the centre square would cut off."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt16

from lince.number_formats import percent
from lince.types import ResizeRule

# Shares of a picture's area that the crop cuts off. Up to the first (20 of 400 pixels) a picture counts as square. A
# mean below the second is usual where networks for photographs are trained.
_SQUARE, _LITTLE = 0.05, 0.1
_ALIKE = 1.25  # the widest aspect ratio over the narrowest, up to which `stretch` distorts all pictures about equally


@dataclass(frozen=True)
class Proportions:
    """The aspect ratios of a source, and what they mean for `--fit`.

    Attributes:
        n: pictures whose size is known.
        not_square: pictures of which a crop to the centre square cuts off more than a twentieth.
        cut_mean, cut_most: share of a picture's area that the crop cuts off: the mean and the largest.
        narrowest, widest: width over height.
        suggested: a `--fit` to consider: `crop` where it cuts off little, `stretch` where all pictures have about the
            same shape, `pad` otherwise.
    """

    n: int = 0
    not_square: int = 0
    cut_mean: float = 0.0
    cut_most: float = 0.0
    narrowest: float = 1.0
    widest: float = 1.0
    suggested: ResizeRule = "crop"

    @property
    def advice(self) -> str:
        """What a crop cuts off, and which `--fit` to consider where that is much; the end of a sentence."""
        mean, most = percent(self.cut_mean, 0), percent(self.cut_most, 0)
        cost = f"a crop to the centre cuts off {mean} of a picture on average, {most} at most"
        if self.suggested == "crop":
            return cost
        return f"{cost}: where that holds what matters, train with --fit {self.suggested}"


def measure(sizes: UInt16[np.ndarray, "n 2"]) -> Proportions:
    """Measures the aspect ratios of pictures by `sizes`, u16[N,2]: width and height once upright, 0 where not known."""
    known = sizes[sizes.min(axis=1, initial=1) > 0].astype(float)
    if len(known) == 0:
        return Proportions()
    shapes, cut = known[:, 0] / known[:, 1], 1 - known.min(axis=1) / known.max(axis=1)
    suggested: ResizeRule = "pad" if shapes.max() > _ALIKE * shapes.min() else "stretch"
    return Proportions(
        n=len(known),
        not_square=int((cut > _SQUARE).sum()),
        cut_mean=round(float(cut.mean()), 4),
        cut_most=round(float(cut.max()), 4),
        narrowest=round(float(shapes.min()), 4),
        widest=round(float(shapes.max()), 4),
        suggested="crop" if cut.mean() < _LITTLE else suggested,
    )
