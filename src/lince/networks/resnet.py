"""Residual networks (He et al. 2015, arXiv:1512.03385), among them ResNet-8 of MLPerf Tiny."""

from typing import Annotated

from msgspec import Meta

from lince.networks.blocks import Blocks, Tensor
from lince.networks.family import Family
from lince.schema import Counts


class ResNet(Family, frozen=True, kw_only=True):
    """Stages of basic blocks, two 3×3 convolutions with batch norm beside a shortcut (He et al. 2015); average pooling.

    Attributes:
        stages: channels of each stage. The first convolution of every stage but the first halves height and width.
        blocks: basic blocks in each stage; ResNet-1202 of He et al. has 200.
    """

    stages: Counts
    blocks: Annotated[int, Meta(ge=1, le=200)] = 1

    @property
    def smallest_image(self) -> int:
        """Any size: convolutions with stride 2 round up."""
        return 1

    def kernel_sizes(self, image_size: int) -> list[int]:
        inputs, counts = self.stages[0], [3 * 3 * 3 * self.stages[0]]
        for number, filters in enumerate(self.stages):
            shortcut = [inputs * filters] if number else []
            counts += [3 * 3 * inputs * filters, *shortcut, *[3 * 3 * filters * filters] * (2 * self.blocks - 1)]
            inputs = filters
        return counts

    def layers(self, hidden: Tensor, blocks: Blocks) -> Tensor:
        hidden = blocks.conv_norm_relu(hidden, self.stages[0], name="stem_conv")
        for stage, filters in enumerate(self.stages, 1):
            for block in range(1, self.blocks + 1):
                strides = 2 if stage > 1 and block == 1 else 1
                hidden = _basic_block(hidden, filters, blocks, strides=strides, name=f"stage{stage}_block{block}")
        return blocks.global_average(hidden)


def _basic_block(hidden: Tensor, filters: int, blocks: Blocks, *, strides: int, name: str) -> Tensor:
    inner = blocks.conv_norm_relu(hidden, filters, name=f"{name}_conv1", strides=strides)
    inner = blocks.conv_norm(inner, filters, name=f"{name}_conv2")
    if strides > 1:
        hidden = blocks.conv_norm(hidden, filters, name=f"{name}_shortcut", size=1, strides=strides)
    return blocks.relu(blocks.add(hidden, inner, name=f"{name}_add"))
