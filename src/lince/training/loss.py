"""The loss that training minimizes, and the accuracy that it shows."""

from typing import Any

import keras
import numpy as np
from jaxtyping import Float32, Int64
from keras import ops

from lince.training import optimizers
from lince.training.recipe import Train
from lince.types import ComputeDtype


def compile_model(model: keras.Model, recipe: Train) -> None:
    """Compiles a model with the recipe's optimizer, the cross-entropy and accuracy; see `labelled` for their input.

    Raises:
        RecipeError: Keras knows no such optimizer.
    """
    # On CPUs, XLA is slow at convolutions: 72 images/s with JAX, 428 with TensorFlow. JAX needs XLA.
    jit_compile = keras.backend.backend() == "jax"
    accuracy = keras.metrics.MeanMetricWrapper(_accuracy, name="accuracy")
    optimizer = optimizers.create(recipe, precision=precision_of(model))
    model.compile(optimizer, _cross_entropy, metrics=[accuracy], jit_compile=jit_compile)


def precision_of(model: keras.Model) -> ComputeDtype:
    """The data type in which a network computes. Some of its layers always use float32."""
    return "bfloat16" if any(layer.compute_dtype == "bfloat16" for layer in model.layers) else "float32"


def labelled(labels: Int64[np.ndarray, " n"], targets: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, "n 1+k"]:
    """Labels beside targets, f32[N,1+K]. The loss reads the targets, which a teacher may change; accuracy the labels.

    Args:
        labels: i64[N].
        targets: f32[N,K], rows that add up to the weight of the image.
    """
    return np.column_stack([labels.astype(np.float32), targets])


def _cross_entropy(rows: Any, probabilities: Any) -> Any:
    # Keras uses the logits before the softmax. TensorFlow's gradient for them is right only for targets with sum 1: it
    # is softmax - targets, where sum x softmax - targets would be right. So targets are normalized here.
    targets = rows[:, 1:]
    weights = ops.sum(targets, axis=1)
    return weights * keras.losses.categorical_crossentropy(targets / weights[:, None], probabilities)


def _accuracy(rows: Any, probabilities: Any) -> Any:
    return keras.metrics.sparse_categorical_accuracy(rows[:, 0], probabilities)
