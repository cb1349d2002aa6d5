"""What training minimises, and what it shows of it."""

from typing import Any

import keras
import numpy as np
from jaxtyping import Float32, Int64
from keras import ops

from lince.training import optimizers
from lince.training.recipe import Train
from lince.types import ComputeDtype


def compile_model(model: keras.Model, recipe: Train) -> None:
    """Gives a model the recipe's optimiser, the cross-entropy and accuracy; see `labelled` for what they read.

    Raises:
        RecipeError: Keras knows no such optimiser.
    """
    # XLA is slow at convolutions on CPUs: 72 images/s with JAX against TensorFlow's 428. JAX has nothing else.
    jit_compile = keras.backend.backend() == "jax"
    accuracy = keras.metrics.MeanMetricWrapper(_accuracy, name="accuracy")
    optimizer = optimizers.create(recipe, precision=precision_of(model))
    model.compile(optimizer, _cross_entropy, metrics=[accuracy], jit_compile=jit_compile)


def precision_of(model: keras.Model) -> ComputeDtype:
    """What a network computes in; some of its layers are in float32 always."""
    return "bfloat16" if any(layer.compute_dtype == "bfloat16" for layer in model.layers) else "float32"


def labelled(labels: Int64[np.ndarray, " n"], targets: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, "n 1+k"]:
    """Labels beside targets, f32[N,1+K]: the loss reads the targets, which a teacher may move, accuracy the labels.

    Args:
        labels: i64[N].
        targets: f32[N,K], rows that add up to the weight of the image.
    """
    return np.column_stack([labels.astype(np.float32), targets])


def _cross_entropy(rows: Any, probabilities: Any) -> Any:
    # Keras takes the logits from before the softmax, and TensorFlow's gradient for them is that of targets which add up
    # to 1: of others it is softmax - targets, where softmax x sum - targets would be right.
    targets = rows[:, 1:]
    weights = ops.sum(targets, axis=1)
    return weights * keras.losses.categorical_crossentropy(targets / weights[:, None], probabilities)


def _accuracy(rows: Any, probabilities: Any) -> Any:
    return keras.metrics.sparse_categorical_accuracy(rows[:, 0], probabilities)
