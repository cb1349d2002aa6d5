"""The model family: one table from a recipe's `[model]` to a Keras model.

Every model here takes f32[N,H,W,3] pixels 0..255, normalises them itself (layer `normalise`), ends in a dense layer
`logits` and a softmax, and so can be quantised, evaluated and served the same way.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from lince.errors import RecipeError
from lince.records import ImageSpec
from lince.training.recipe import Vgg

NORMALISE, LOGITS = "normalise", "logits"

# (pixel − 128) / 128: with this scale the int8 network's input is exactly the pixel minus 128, nothing is rounded.
PIXEL_SCALE, PIXEL_OFFSET = 1 / 128, -1.0


def build(recipe: Vgg, *, spec: ImageSpec, num_classes: int, precision: str, seed: int) -> keras.Model:
    """Builds the model that a recipe describes, with fresh weights.

    Args:
        recipe: the `[model]` table.
        spec: height and width of the images.
        num_classes: K, 2 or more.
        precision: `float32` or `bfloat16` (bf16 arithmetic over float32 weights).
        seed: of the weights and of dropout.

    Returns:
        Keras model, f32[N,H,W,3] pixels 0..255 → f32[N,K] probabilities.
    """
    keras.utils.set_random_seed(seed)
    dtype = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
    pixels = keras.Input(spec.shape, name="pixels")
    hidden = layers.Rescaling(PIXEL_SCALE, PIXEL_OFFSET, name=NORMALISE, dtype="float32")(pixels)
    hidden = FAMILIES[type(recipe)](recipe, hidden, dtype)
    # The last two layers stay in float32: eight bits of mantissa are too few for a cross-entropy.
    logits = layers.Dense(num_classes, name=LOGITS, dtype="float32")(hidden)
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(pixels, probabilities, name=type(recipe).__name__.lower())


def normalised_to_logits(model: keras.Model) -> keras.Model:
    """The part that is quantised: normalised pixels f32[N,H,W,3] → logits f32[N,K], sharing the weights."""
    return keras.Model(model.get_layer(NORMALISE).output, model.get_layer(LOGITS).output)


def _vgg(recipe: Vgg, hidden: Any, dtype: str) -> Any:
    initializer = _initializer(recipe.initializer)
    for channels, rate in zip(recipe.blocks, recipe.block_dropout, strict=True):
        for filters in channels:
            hidden = layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer=initializer(), dtype=dtype
            )(hidden)
        hidden = layers.MaxPooling2D(dtype=dtype)(hidden)
        hidden = layers.Dropout(rate, dtype=dtype)(hidden)
    hidden = layers.Flatten(dtype=dtype)(hidden)
    for units in recipe.dense:
        hidden = layers.Dense(units, activation="relu", kernel_initializer=initializer(), dtype=dtype)(hidden)
        hidden = layers.Dropout(recipe.dense_dropout, dtype=dtype)(hidden)
    return hidden


def _initializer(name: str) -> Callable[[], Any]:
    """A factory, since a Keras initialiser object gives every layer the same weights."""
    try:
        keras.initializers.get(name)
    except ValueError as error:
        message = f"Recipe: model.initializer={name!r} is not a Keras initialiser. Use 'he_normal' or 'glorot_uniform'."
        raise RecipeError(message) from error
    return lambda: keras.initializers.get(name)


FAMILIES: dict[type, Callable[[Any, Any, str], Any]] = {Vgg: _vgg}
