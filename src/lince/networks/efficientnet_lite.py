"""EfficientNet-Lite0: a network for int8, with weights that were trained on ImageNet.

It is EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6 (Liu 2020,
"Higher accuracy on vision models with EfficientNet-Lite"). Each batch norm is folded into its convolution, also while
the network is trained: it trains 1.4 times as fast as with batch norms that keep the statistics of ImageNet.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

from msgspec import Meta

from lince.networks.blocks import Blocks, Tensor
from lince.networks.family import Family


class Block(NamedTuple):
    """An inverted residual block (Sandler et al. 2018, arXiv:1801.04381): expand, filter each channel, project.

    Attributes:
        name: of its layers, with a suffix each.
        inputs, filters: channels that it reads and writes.
        expansion: channels inside, in units of `inputs`. With 1 there is no layer that expands.
        size: height and width of the depthwise filters.
        strides: of the depthwise convolution.
    """

    name: str
    inputs: int
    filters: int
    expansion: int
    size: int
    strides: int

    @property
    def has_shortcut(self) -> bool:
        return self.strides == 1 and self.inputs == self.filters


STEM, TOP = 32, 1280

# Expansion, channels, size of the filters, strides of the first block, number of blocks: table 1 of Tan & Le 2019.
_STAGES = (
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 2),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 2, 3),
    (6, 112, 5, 1, 3),
    (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
)


class EfficientNetLite(Family, frozen=True, kw_only=True, tag="efficientnet_lite"):
    """EfficientNet-Lite0, whose weights begin as those of ImageNet.

    Attributes:
        weights: where the weights come from: `imagenet`, or the folder of a run whose network is of this family.
        frozen: the first blocks, and the stem, whose weights stay as they are. They are the slowest to train, and
            what they compute suits other pictures, too.
    """

    has_batch_norm: ClassVar[bool] = False

    weights: Annotated[str, Meta(min_length=1)] = "imagenet"
    frozen: Annotated[int, Meta(ge=0, le=16)] = 5

    @property
    def pretrained(self) -> str:
        return self.weights

    @property
    def smallest_image(self) -> int:
        """Two pixels a side are left for the last blocks. On one, LiteRT's converter replaces their convolutions."""
        return 64

    def kernel_sizes(self, image_size: int) -> list[int]:
        sizes = [3 * 3 * 3 * STEM]
        for block in blocks_of():
            inside = block.inputs * block.expansion
            sizes += [block.inputs * inside] if block.expansion > 1 else []
            sizes += [block.size**2 * inside, inside * block.filters]
        return [*sizes, block.filters * TOP]

    def layers(self, hidden: Tensor, blocks: Blocks) -> Tensor:
        stem = blocks.conv(hidden, STEM, name="stem", size=3, strides=2, trainable=not self.frozen)
        hidden = blocks.relu6(stem)
        for number, block in enumerate(blocks_of(), 1):
            hidden = _inverted_residual(hidden, block, blocks, trainable=number > self.frozen)
        return blocks.global_average(blocks.relu6(blocks.conv(hidden, TOP, name="top")))


def blocks_of() -> Iterator[Block]:
    """The sixteen blocks, in their order."""
    inputs = STEM
    for stage, (expansion, filters, size, strides, count) in enumerate(_STAGES, 1):
        for number in range(1, count + 1):
            yield Block(f"stage{stage}_block{number}", inputs, filters, expansion, size, strides if number == 1 else 1)
            inputs = filters


def _inverted_residual(hidden: Tensor, block: Block, blocks: Blocks, *, trainable: bool) -> Tensor:
    inner, inside = hidden, block.inputs * block.expansion
    if block.expansion > 1:
        inner = blocks.relu6(blocks.conv(inner, inside, name=f"{block.name}_expand", trainable=trainable))
    size, strides = block.size, block.strides
    inner = blocks.relu6(
        blocks.depthwise_conv(inner, name=f"{block.name}_depthwise", size=size, strides=strides, trainable=trainable)
    )
    inner = blocks.conv(inner, block.filters, name=f"{block.name}_project", trainable=trainable)
    return blocks.add(hidden, inner, name=f"{block.name}_add") if block.has_shortcut else inner
