"""A network that learns in few epochs: a stem computed from the training images, stages, global max pooling.

Source: Jordan 2024, arXiv:2404.00498.
"""

from typing import Annotated, Any, ClassVar

import numpy as np
from jaxtyping import UInt8
from msgspec import Meta

from lince.networks import whitening
from lince.networks.blocks import Blocks, Tensor
from lince.networks.family import PIXEL_SCALE, Family, products
from lince.schema import Counts

STEM = "stem"


class Pooled(Family, frozen=True, kw_only=True):
    """A whitening stem, stages of 3×3 convolutions with batch norm and ReLU, global max pooling: quick to train.

    Attributes:
        stem: filters of the 2×2 stem, an even number: the leading principal directions of 2×2 patches of the training
            images, scaled to equal variance, and their negatives. Of the stem only the biases are trained.
        stem_floor: added to the variance of each direction before it is scaled, in units of the variance of a pixel's
            value. The smaller it is, the more the stem amplifies detail that the training images hardly have.
        stages: channels of each convolution, a list per stage. 2×2 max pooling follows the first convolution of each.
        shortcut: add the output of a stage's first convolution to that of its last, in stages of three or more.
    """

    # Jordan 2024 divides logits by 9: the largest values of each channel are far from 0.
    logits_variance: ClassVar[float] = 1 / 9**2

    stem: Annotated[int, Meta(ge=2, le=24, multiple_of=2)] = 24
    stem_floor: Annotated[float, Meta(gt=0)] = 0.01
    stages: Annotated[tuple[Counts, ...], Meta(min_length=1)]
    shortcut: bool = False

    def __post_init__(self) -> None:
        for number, channels in enumerate(self.stages, 1):
            if self._has_shortcut(channels) and channels[0] != channels[-1]:
                raise ValueError(
                    f"model.stages: stage {number} begins with {channels[0]} channels and ends with {channels[-1]}. "
                    "Expected equal numbers, which a shortcut can add: make them equal, or set model.shortcut to false"
                )

    @property
    def smallest_image(self) -> int:
        """The pooling of each stage halves the image. The stem removes one pixel."""
        return (1 << len(self.stages)) + 1

    def kernel_sizes(self, image_size: int) -> list[int]:
        channels = [self.stem, *(filters for stage in self.stages for filters in stage)]
        return [2 * 2 * 3 * self.stem, *(3 * 3 * count for count in products(channels))]

    def layers(self, hidden: Tensor, blocks: Blocks) -> Tensor:
        hidden = blocks.fixed_conv_relu(hidden, self.stem, name=STEM)
        for stage, channels in enumerate(self.stages, 1):
            first = None
            for number, filters in enumerate(channels, 1):
                pool = number == 1
                hidden = blocks.conv_norm_relu(hidden, filters, name=f"stage{stage}_conv{number}", pool=pool)
                first = hidden if pool else first
            if self._has_shortcut(channels):
                hidden = blocks.add(first, hidden, name=f"stage{stage}_add")
        return blocks.global_max(hidden)

    def initialise_from(self, images: UInt8[np.ndarray, "n h w 3"], model: Any) -> None:
        """Sets the stem's filters."""
        kernel = whitening.filters(whitening.patch_covariance(images), count=self.stem, floor=self.stem_floor)
        # The stem reads normalised pixels. Their offset does not change a covariance.
        model.get_layer(STEM).kernel.assign(kernel / PIXEL_SCALE)

    def _has_shortcut(self, channels: Counts) -> bool:
        return self.shortcut and len(channels) > 2
