"""The base class of a network family: a table of sizes that builds its layers. `families.py` lists the families."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8
from msgspec import Struct

from lince.networks.blocks import Blocks, Tensor

# (pixel − 128) / 128. With this scale the int8 input is exactly the pixel minus 128, without rounding.
PIXEL_SCALE, PIXEL_OFFSET = 1 / 128, -1.0


class Family(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="family", tag=str.lower):
    """A recipe's `[model]` table. Its `family` is the class's name in lower case.

    No family imports Keras, so that a recipe can be read without it: layers come from `blocks`.

    Attributes:
        takes_any_size: whether one network takes images of any size while it is trained.
        has_batch_norm: whether a batch norm follows each convolution that is trained.
        logits_variance: of the logits before the first step, in units of the mean square of what the last layer reads.
    """

    takes_any_size: ClassVar[bool] = True
    has_batch_norm: ClassVar[bool] = True
    logits_variance: ClassVar[float] = 1.0

    @property
    def pretrained(self) -> str:
        """Where the weights come from before the first step; empty for a family that begins with random ones."""
        return ""

    @property
    def smallest_image(self) -> int:
        """The smallest height and width of an image, pixels, for which the last layer has an input."""
        raise NotImplementedError

    def kernel_sizes(self, image_size: int) -> list[int]:
        """The number of kernel weights of each layer but the last, for images of this height and width, pixels."""
        raise NotImplementedError

    def layers(self, hidden: Tensor, blocks: Blocks) -> Tensor:
        """Every layer but the last: normalised pixels f32[N,H,W,3] → features [N,F]."""
        raise NotImplementedError

    def initialise_from(self, images: UInt8[np.ndarray, "n h w 3"], model: Any) -> None:
        """Sets the weights that come from training images; most families have none.

        Args:
            images: u8[N,H,W,3].
            model: Keras model of this family with fresh weights.
        """


def products(sizes: Iterable[int]) -> list[int]:
    """Each size times the next: the weights of dense layers between layers of these sizes."""
    return [one * following for one, following in pairwise(sizes)]
