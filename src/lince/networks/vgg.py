"""The textbook network: convolutions, max pooling, dropout, dense layers.

Source: Simonyan & Zisserman 2014, arXiv:1409.1556.
"""

from typing import ClassVar

from lince.networks.blocks import Blocks, Tensor
from lince.networks.family import Family, products
from lince.schema import Count, Share
from lince.text import quantity


class Vgg(Family, frozen=True, kw_only=True):
    """Blocks of 3×3 convolutions with ReLU, each followed by max pooling and dropout; then dense layers.

    Attributes:
        blocks: channels of each convolution, a list per block.
        block_dropout: dropout rate after each block.
        dense: units of the hidden dense layers.
        dense_dropout: dropout rate after each hidden dense layer.
    """

    takes_any_size: ClassVar[bool] = False
    has_batch_norm: ClassVar[bool] = False

    blocks: tuple[tuple[Count, ...], ...]
    block_dropout: tuple[Share, ...]
    dense: tuple[Count, ...]
    dense_dropout: Share

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.block_dropout):
            raise ValueError(
                f"model.block_dropout has {quantity(len(self.block_dropout), 'rate')} for "
                f"{quantity(len(self.blocks), 'block')}. Expected one rate per block"
            )

    @property
    def smallest_image(self) -> int:
        """The pooling of each block halves the image."""
        return 1 << len(self.blocks)

    def kernel_sizes(self, image_size: int) -> list[int]:
        channels = [3, *(filters for block in self.blocks for filters in block)]
        side = image_size >> len(self.blocks)
        return [3 * 3 * count for count in products(channels)] + products([side * side * channels[-1], *self.dense])

    def layers(self, hidden: Tensor, blocks: Blocks) -> Tensor:
        for block, (channels, rate) in enumerate(zip(self.blocks, self.block_dropout, strict=True), 1):
            for number, filters in enumerate(channels, 1):
                hidden = blocks.conv_relu(hidden, filters, name=f"block{block}_conv{number}")
            hidden = blocks.max_pool(hidden, name=f"block{block}_pool")
            hidden = blocks.dropout(hidden, rate, name=f"block{block}_dropout")
        hidden = blocks.flatten(hidden)
        for number, units in enumerate(self.dense, 1):
            hidden = blocks.dense_relu(hidden, units, name=f"dense{number}")
            hidden = blocks.dropout(hidden, self.dense_dropout, name=f"dense{number}_dropout")
        return hidden
