"""Keras models of the network families: from a recipe's `[model]` table to a model, and to its folded copy.

Every model takes f32[N,H,W,3] pixels 0..255, normalises them itself (layer `normalise`), and ends in a dense layer
`logits` and a softmax. So all families are quantized, evaluated and served in the same way.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from lince.networks.batch_norm import BatchNorm
from lince.networks.blocks import Blocks, norm_name
from lince.networks.families import Model
from lince.networks.family import PIXEL_OFFSET, PIXEL_SCALE
from lince.types import ComputeDtype, ImageSpec, Outputs, Predict

NORMALISE, LOGITS = "normalise", "logits"

# `classic` in float32 on two Zen 5 cores: 1,478 images/s in batches of 100, 1,603 of 500, 1,575 of 2,000. Larger images
# fill the cores in smaller batches: `efficientnet_lite` is as fast with 64 images of 128 × 128 as with more. Its widest
# activations of them, 96 channels of 64 × 64 in float32, are 0.1 GB.
_MOST_IMAGES, _MOST_PIXELS = 500, 64 * 128 * 128


def build(
    recipe: Model, *, spec: ImageSpec, num_classes: int, precision: ComputeDtype, seed: int, folded: bool = False
) -> keras.Model:
    """Builds the model that a recipe describes, with fresh weights.

    Args:
        recipe: the `[model]` table.
        spec: height and width of the images.
        num_classes: K, 2 or more.
        precision: `float32` or `bfloat16` (bf16 arithmetic over float32 weights).
        seed: of the weights and of dropout.
        folded: leave out batch norm and give each convolution a bias instead; see `fold`.

    Returns:
        Keras model, f32[N,H,W,3] pixels 0..255 → f32[N,K] probabilities. A family that pools globally takes
        any height and width, unless it is folded.
    """
    keras.utils.set_random_seed(seed)
    dtype = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
    blocks = Blocks(layers, norm=BatchNorm, initializer=PassThrough, dtype=dtype, folded=folded)
    pixels = keras.Input(spec.shape if folded or not recipe.takes_any_size else (None, None, 3), name="pixels")
    hidden = layers.Rescaling(PIXEL_SCALE, PIXEL_OFFSET, name=NORMALISE, dtype="float32")(pixels)
    hidden = recipe.layers(hidden, blocks)
    # The last two layers stay in float32: eight bits of mantissa are too few for a cross-entropy.
    initializer = keras.initializers.VarianceScaling(recipe.logits_variance, seed=seed)
    logits = layers.Dense(num_classes, name=LOGITS, dtype="float32", kernel_initializer=initializer)(hidden)
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(pixels, probabilities, name=type(recipe).__name__.lower())


def images_at_once(spec: ImageSpec) -> int:
    """The largest batch, up to 500 images, for which a float network needs a bounded amount of memory."""
    return max(1, min(_MOST_IMAGES, _MOST_PIXELS // (spec.height * spec.width)))


def float_predict(model: keras.Model) -> Predict:
    """A float Keras model as a `Predict`: pixels in, the logits before its softmax out."""
    to_logits = keras.Model(model.inputs, model.get_layer(LOGITS).output)
    return lambda images: Outputs(keras.ops.convert_to_numpy(to_logits.predict_on_batch(images.astype(np.float32))))


def normalised_to_logits(model: keras.Model) -> keras.Model:
    """The part that is quantized: normalised pixels f32[N,H,W,3] → logits f32[N,K], sharing the weights."""
    return keras.Model(model.get_layer(NORMALISE).output, model.get_layer(LOGITS).output)


def fold(model: keras.Model, into: keras.Model) -> None:
    """Copies a trained model's weights into its folded copy: each batch norm is multiplied into its convolution.

    With the moving mean µ and variance σ², (x ∗ w − µ) / √(σ² + ε) + β is x ∗ (w·s) + (β − µ·s), s = 1 / √(σ² + ε). As
    s is positive, max pooling between convolution and batch norm does not change this.

    Args:
        model: trained.
        into: built from the same recipe with `folded`.
    """
    norms = {layer.name: layer for layer in model.layers if isinstance(layer, BatchNorm)}
    for layer in [layer for layer in into.layers if layer.weights]:
        weights, norm = model.get_layer(layer.name).get_weights(), norms.get(norm_name(layer.name))
        if norm is None:
            layer.set_weights(weights)
        else:
            (kernel,), (scale, shift) = weights, norm.affine()
            layer.set_weights([kernel * scale, shift])


@keras.saving.register_keras_serializable("lince")
class PassThrough(keras.initializers.Initializer):
    """The first filters of a convolution, one for each input channel, pass that channel through. The others are noise.

    A deep network then starts like a shallow one, and gradients pass unchanged. A convolution of size 1, or with fewer
    filters than inputs, gets only noise: uniform within ±1/√n with n inputs of a filter, as in PyTorch.
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
