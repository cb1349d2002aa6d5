"""The layers of which families are built, in one precision, with batch norm or with batch norm folded."""

from collections import Counter
from typing import Any

Tensor = Any
"""A symbolic tensor of Keras, which has no types."""


class Blocks:
    """Makes the layers of one network.

    Keras is an argument: families do not import it, so a recipe can be read without it. Every layer gets a name that
    follows from the network alone. Keras would count the layers of the process. Names are in the model file, and its
    bytes would depend on how many networks the process had built before.

    Args:
        layers: the module `keras.layers`.
        norm: class of the batch norm layer.
        initializer: class of the initialiser of kernels that a batch norm follows.
        dtype: a Keras dtype policy.
        folded: leave out batch norm and give each convolution a bias instead; see `models.fold`.
    """

    def __init__(self, layers: Any, *, norm: Any, initializer: Any, dtype: str, folded: bool):
        self._layers, self._norm, self._initializer = layers, norm, initializer
        self._dtype, self._folded = dtype, folded
        self._count: Counter[str] = Counter()

    def conv_relu(self, hidden: Tensor, filters: int, *, name: str) -> Tensor:
        """3×3 convolution with bias, initialised for the ReLU that follows (He et al. 2015, arXiv:1502.01852)."""
        convolution = self._layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", dtype=self._dtype, name=name
        )
        return convolution(hidden)

    def conv(
        self, hidden: Tensor, filters: int, *, name: str, size: int = 1, strides: int = 1, trainable: bool = True
    ) -> Tensor:
        """Convolution with bias, without activation."""
        convolution = self._layers.Conv2D(
            filters, size, strides, padding="same", kernel_initializer="he_normal", dtype=self._dtype, name=name,
            trainable=trainable,
        )  # fmt: skip
        return convolution(hidden)

    def depthwise_conv(self, hidden: Tensor, *, name: str, size: int, strides: int, trainable: bool = True) -> Tensor:
        """Convolution of each channel by itself, with bias, without activation."""
        convolution = self._layers.DepthwiseConv2D(
            size, strides, padding="same", depthwise_initializer="he_normal", dtype=self._dtype, name=name,
            trainable=trainable,
        )  # fmt: skip
        return convolution(hidden)

    def relu6(self, hidden: Tensor) -> Tensor:
        """ReLU up to 6."""
        return self._layers.ReLU(6.0, dtype=self._dtype, name=self._numbered("relu"))(hidden)

    def fixed_conv_relu(self, hidden: Tensor, filters: int, *, name: str) -> Tensor:
        """2×2 convolution without padding, and ReLU; its bias is trained, its kernel is not."""
        convolution = self._layers.Conv2D(filters, 2, activation="relu", dtype=self._dtype, name=name)
        hidden = convolution(hidden)
        convolution.kernel.trainable = False
        return hidden

    def conv_norm(
        self, hidden: Tensor, filters: int, *, name: str, size: int = 3, strides: int = 1, pool: bool = False
    ) -> Tensor:
        """Convolution and batch norm without activation; `pool` puts 2×2 max pooling between them."""
        convolution = self._layers.Conv2D(
            filters, size, strides, padding="same", use_bias=self._folded, name=name, dtype=self._dtype,
            kernel_initializer="zeros" if self._folded else self._initializer(),
        )  # fmt: skip
        hidden = convolution(hidden)
        if pool:
            hidden = self.max_pool(hidden, name=f"{name}_pool")
        return hidden if self._folded else self._norm(name=norm_name(name), dtype=self._dtype)(hidden)

    def conv_norm_relu(
        self, hidden: Tensor, filters: int, *, name: str, strides: int = 1, pool: bool = False
    ) -> Tensor:
        """As `conv_norm`, then ReLU."""
        return self.relu(self.conv_norm(hidden, filters, name=name, strides=strides, pool=pool))

    def dense_relu(self, hidden: Tensor, units: int, *, name: str) -> Tensor:
        """Dense layer and ReLU, initialised as `conv_relu` is."""
        dense = self._layers.Dense(
            units, activation="relu", kernel_initializer="he_normal", dtype=self._dtype, name=name
        )
        return dense(hidden)

    def relu(self, hidden: Tensor) -> Tensor:
        return self._layers.ReLU(dtype=self._dtype, name=self._numbered("relu"))(hidden)

    def add(self, shortcut: Tensor, hidden: Tensor, *, name: str) -> Tensor:
        """The sum of a shortcut and of the layers that it bypasses."""
        return self._layers.Add(name=name, dtype=self._dtype)([shortcut, hidden])

    def dropout(self, hidden: Tensor, rate: float, *, name: str) -> Tensor:
        return self._layers.Dropout(rate, dtype=self._dtype, name=name)(hidden)

    def max_pool(self, hidden: Tensor, *, name: str) -> Tensor:
        """The largest value of each 2×2 square."""
        return self._layers.MaxPooling2D(dtype=self._dtype, name=name)(hidden)

    def global_max(self, hidden: Tensor) -> Tensor:
        """The largest value of each channel. Folded, it is max pooling: the quantizer has no REDUCE_MAX."""
        name = self._numbered("global_max")
        if not self._folded:
            return self._layers.GlobalMaxPooling2D(dtype=self._dtype, name=name)(hidden)
        return self.flatten(self._layers.MaxPooling2D(hidden.shape[1:3], dtype=self._dtype, name=name)(hidden))

    def global_average(self, hidden: Tensor) -> Tensor:
        """The mean of each channel."""
        return self._layers.GlobalAveragePooling2D(dtype=self._dtype, name=self._numbered("global_average"))(hidden)

    def flatten(self, hidden: Tensor) -> Tensor:
        return self._layers.Flatten(dtype=self._dtype, name=self._numbered("flatten"))(hidden)

    def _numbered(self, kind: str) -> str:
        """The name of the next layer of a kind in this network: `relu_1`, then `relu_2`."""
        self._count[kind] += 1
        return f"{kind}_{self._count[kind]}"


def norm_name(convolution: str) -> str:
    """The name of the batch norm that follows this convolution."""
    return f"{convolution}_norm"
