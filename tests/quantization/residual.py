"""A network with a shortcut, of the shape that every family has: `normalise` first, `logits` and a softmax last."""

import keras
from keras import layers

from lince.networks.family import PIXEL_OFFSET, PIXEL_SCALE
from lince.networks.models import LOGITS, NORMALISE


def build(*, size: int = 16, classes: int = 3, seed: int = 0) -> keras.Model:
    """Three convolutions, an addition, global pooling, a dense layer."""
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((size, size, 3), name="pixels")
    hidden = layers.Rescaling(PIXEL_SCALE, PIXEL_OFFSET, name=NORMALISE)(pixels)
    first = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(hidden)
    inner = layers.Conv2D(8, 3, padding="same", activation="relu", name="inner_1")(first)
    inner = layers.Conv2D(8, 3, padding="same", name="inner_2")(inner)
    hidden = layers.ReLU(name="after")(layers.Add(name="shortcut")([first, inner]))
    hidden = layers.GlobalAveragePooling2D(name="pool")(hidden)
    logits = layers.Dense(classes, name=LOGITS)(hidden)
    return keras.Model(pixels, layers.Softmax(name="probabilities")(logits))
