"""How convolutions start."""

from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable("lince")
class PassThrough(keras.initializers.Initializer):
    """As many filters as there are inputs pass one input each through; the others are noise.

    The start of a deep network is then a shallow one, through which gradients pass unchanged. Convolutions with fewer
    filters than inputs, or of size 1, are all noise: uniform within ±1/√n, n the inputs of a filter, as PyTorch's are.
    Source: Jordan 2024, arXiv:2404.00498 (after Zagoruyko & Komodakis 2017, arXiv:1706.00388).
    """

    def __call__(self, shape: tuple[int, int, int, int], dtype: Any = None) -> Any:
        """f32[h,w,in,out]."""
        height, width, inputs, outputs = shape
        noise = keras.initializers.VarianceScaling(1 / 3, distribution="uniform")(shape, dtype)
        if height == width == 1 or outputs < inputs:
            return noise
        kernel = keras.ops.convert_to_numpy(noise).copy()
        kernel[:, :, :, :inputs] = 0
        kernel[height // 2, width // 2, :, :inputs] = np.eye(inputs)
        return keras.ops.convert_to_tensor(kernel, dtype)
