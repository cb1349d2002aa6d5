"""The model families: one table from a recipe's `[model]` to a Keras model.

Every model here takes f32[N,H,W,3] pixels 0..255, normalises them itself (layer `normalise`), ends in a dense layer
`logits` and a softmax, and so can be quantised, evaluated and served the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from jaxtyping import UInt8
from keras import layers

from lince.errors import RecipeError
from lince.networks import whitening
from lince.networks.batch_norm import BatchNorm
from lince.networks.initializer import PassThrough
from lince.training.recipe import Model, Pooled, ResNet, Vgg
from lince.types import ComputeDtype, ImageSpec, Predict

NORMALISE, STEM, LOGITS = "normalise", "stem", "logits"

# (pixel − 128) / 128: with this scale the int8 network's input is exactly the pixel minus 128, nothing is rounded.
PIXEL_SCALE, PIXEL_OFFSET = 1 / 128, -1.0

# `classic` in float32 on two Zen 5 cores: 1,478 images/s in batches of 100, 1,603 of 500, 1,575 of 2,000. Of 500 images
# of 96 × 96, 64 channels in float32 are 1.2 GB.
_MOST_IMAGES, _MOST_PIXELS = 500, 500 * 96 * 96


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
        Keras model, f32[N,H,W,3] pixels 0..255 → f32[N,K] probabilities. Families that pool globally take any height
        and width while they are not folded.
    """
    keras.utils.set_random_seed(seed)
    family = FAMILIES[type(recipe)]
    blocks = Blocks({"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision], folded=folded)
    pixels = keras.Input(spec.shape if folded or not family.any_size else (None, None, 3), name="pixels")
    hidden = layers.Rescaling(PIXEL_SCALE, PIXEL_OFFSET, name=NORMALISE, dtype="float32")(pixels)
    hidden = family.layers(recipe, hidden, blocks)
    # The last two layers stay in float32: eight bits of mantissa are too few for a cross-entropy.
    initializer = keras.initializers.VarianceScaling(family.logits_variance, seed=seed)
    logits = layers.Dense(num_classes, name=LOGITS, dtype="float32", kernel_initializer=initializer)(hidden)
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(pixels, probabilities, name=type(recipe).__name__.lower())


def images_at_once(spec: ImageSpec) -> int:
    """How many images a float network is to be asked about at once, so that memory stays bounded: at most 500."""
    return max(1, min(_MOST_IMAGES, _MOST_PIXELS // (spec.height * spec.width)))


def float_predict(model: keras.Model) -> Predict:
    """A float Keras model as the `Predict` that `evaluate` takes: its probabilities as trained, no temperature."""
    return lambda images: keras.ops.convert_to_numpy(model.predict_on_batch(images.astype(np.float32)))


def initialise_from(images: UInt8[np.ndarray, "n h w 3"], model: keras.Model, recipe: Model) -> None:
    """Sets the weights that a family takes from training images before it is trained; most take none.

    Args:
        images: u8[N,H,W,3], some of the training split, drawn at random.
        model: with fresh weights.
        recipe: its `[model]` table.
    """
    FAMILIES[type(recipe)].initialise_from(images, model, recipe)


def normalised_to_logits(model: keras.Model) -> keras.Model:
    """The part that is quantised: normalised pixels f32[N,H,W,3] → logits f32[N,K], sharing the weights."""
    return keras.Model(model.get_layer(NORMALISE).output, model.get_layer(LOGITS).output)


def fold(model: keras.Model, into: keras.Model) -> None:
    """Copies a trained model's weights into its folded twin, each batch norm multiplied into its convolution.

    With the moving mean µ and variance σ², (x ∗ w − µ) / √(σ² + ε) + β is x ∗ (w·s) + (β − µ·s), s = 1 / √(σ² + ε). As
    s is positive, max pooling between convolution and batch norm changes nothing in this.

    Args:
        model: trained.
        into: built from the same recipe with `folded`.
    """
    norms = {layer.name: layer for layer in model.layers if isinstance(layer, BatchNorm)}
    for layer in [layer for layer in into.layers if layer.weights]:
        weights, norm = model.get_layer(layer.name).get_weights(), norms.get(_norm_name(layer.name))
        if norm is None:
            layer.set_weights(weights)
        else:
            (kernel,), (scale, shift) = weights, norm.affine()
            layer.set_weights([kernel * scale, shift])


class Blocks:
    """The pieces that families are made of, in one precision, with batch norm or folded."""

    def __init__(self, dtype: str, *, folded: bool):
        self.dtype, self._folded = dtype, folded

    def conv_norm(self, hidden: Any, filters: int, *, name: str, size: int = 3, strides: int = 1, pool: bool = False):
        """Convolution and batch norm without activation; `pool` puts 2×2 max pooling between them."""
        hidden = layers.Conv2D(
            filters, size, strides, padding="same", use_bias=self._folded, name=name, dtype=self.dtype,
            kernel_initializer="zeros" if self._folded else PassThrough(),
        )(hidden)  # fmt: skip
        if pool:
            hidden = layers.MaxPooling2D(dtype=self.dtype, name=f"{name}_pool")(hidden)
        return hidden if self._folded else BatchNorm(name=_norm_name(name), dtype=self.dtype)(hidden)

    def conv_norm_relu(self, hidden: Any, filters: int, **options: Any):
        """As `conv_norm`, then ReLU."""
        return self.relu(self.conv_norm(hidden, filters, **options))

    def add(self, one: Any, other: Any, *, name: str):
        """A shortcut and what it leads around."""
        return layers.Add(name=name, dtype=self.dtype)([one, other])

    def relu(self, hidden: Any):
        return layers.ReLU(dtype=self.dtype)(hidden)

    def global_max(self, hidden: Any):
        """The largest value of each channel; folded as a pooling of that size: the quantiser knows no REDUCE_MAX."""
        if not self._folded:
            return layers.GlobalMaxPooling2D(dtype=self.dtype)(hidden)
        hidden = layers.MaxPooling2D(hidden.shape[1:3], dtype=self.dtype)(hidden)
        return layers.Flatten(dtype=self.dtype)(hidden)


def _norm_name(convolution: str) -> str:
    return f"{convolution}_norm"


def _vgg(recipe: Vgg, hidden: Any, blocks: Blocks) -> Any:
    initializer, dtype = _initializer(recipe.initializer), blocks.dtype
    for block, (channels, rate) in enumerate(zip(recipe.blocks, recipe.block_dropout, strict=True), 1):
        for number, filters in enumerate(channels, 1):
            hidden = layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer=initializer(), dtype=dtype,
                name=f"block{block}_conv{number}",
            )(hidden)  # fmt: skip
        hidden = layers.MaxPooling2D(dtype=dtype, name=f"block{block}_pool")(hidden)
        hidden = layers.Dropout(rate, dtype=dtype, name=f"block{block}_dropout")(hidden)
    hidden = layers.Flatten(dtype=dtype, name="flatten")(hidden)
    for number, units in enumerate(recipe.dense, 1):
        options = {"activation": "relu", "kernel_initializer": initializer(), "dtype": dtype}
        hidden = layers.Dense(units, name=f"dense{number}", **options)(hidden)
        hidden = layers.Dropout(recipe.dense_dropout, dtype=dtype, name=f"dense{number}_dropout")(hidden)
    return hidden


def _pooled(recipe: Pooled, hidden: Any, blocks: Blocks) -> Any:
    stem = layers.Conv2D(recipe.stem, 2, activation="relu", name=STEM, dtype=blocks.dtype)
    hidden = stem(hidden)
    stem.kernel.trainable = False
    for stage, channels in enumerate(recipe.stages, 1):
        for number, filters in enumerate(channels, 1):
            pool = number == 1
            hidden = blocks.conv_norm_relu(hidden, filters, name=f"stage{stage}_conv{number}", pool=pool)
            if pool:
                first = hidden
        if recipe.shortcut and len(channels) > 2:
            hidden = blocks.add(first, hidden, name=f"stage{stage}_add")
    hidden = blocks.global_max(hidden)
    return layers.Dropout(recipe.dropout, dtype=blocks.dtype)(hidden)


def _whiten(images: np.ndarray, model: keras.Model, recipe: Pooled) -> None:
    kernel = whitening.filters(whitening.patch_covariance(images), count=recipe.stem, floor=recipe.stem_floor)
    model.get_layer(STEM).kernel.assign(kernel / PIXEL_SCALE)  # it reads normalised pixels; their offset has no part


def _resnet(recipe: ResNet, hidden: Any, blocks: Blocks) -> Any:
    hidden = blocks.conv_norm_relu(hidden, recipe.stages[0], name="stem_conv")
    for stage, filters in enumerate(recipe.stages, 1):
        for block in range(1, recipe.blocks + 1):
            name = f"stage{stage}_block{block}"
            strides = 2 if stage > 1 and block == 1 else 1
            inner = blocks.conv_norm_relu(hidden, filters, name=f"{name}_conv1", strides=strides)
            inner = blocks.conv_norm(inner, filters, name=f"{name}_conv2")
            if strides > 1:
                hidden = blocks.conv_norm(hidden, filters, name=f"{name}_shortcut", size=1, strides=strides)
            hidden = blocks.relu(blocks.add(hidden, inner, name=f"{name}_add"))
    return layers.GlobalAveragePooling2D(dtype=blocks.dtype)(hidden)


def _initializer(name: str) -> Callable[[], Any]:
    """A factory, since a Keras initialiser object gives every layer the same weights."""
    try:
        keras.initializers.get(name)
    except ValueError as error:
        message = f"Recipe: model.initializer={name!r} is not a Keras initialiser. Use 'he_normal' or 'glorot_uniform'."
        raise RecipeError(message) from error
    return lambda: keras.initializers.get(name)


@dataclass(frozen=True)
class Family:
    """What a family is.

    Attributes:
        layers: recipe, normalised pixels, blocks → what the dense layer reads.
        any_size: whether one network takes images of any size.
        initialise_from: see the function.
        logits_variance: of the logits at the start, in units of the mean square of what the dense layer reads.
    """

    layers: Callable[[Any, Any, Blocks], Any]
    any_size: bool = True
    initialise_from: Callable[[np.ndarray, keras.Model, Any], None] = lambda images, model, recipe: None
    logits_variance: float = 1.0


FAMILIES: dict[type, Family] = {
    Vgg: Family(_vgg, any_size=False),
    # Jordan 2024 (arXiv:2404.00498) divides logits by 9: the largest values of each channel are far from 0.
    Pooled: Family(_pooled, initialise_from=_whiten, logits_variance=1 / 9**2),
    ResNet: Family(_resnet),
}
