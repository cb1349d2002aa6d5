"""A linear head: multinomial logistic regression on the features of a pretrained network.

Fine-tuning begins with a second head, of a strong penalty. A head that is sure of its training images leaves no errors
from which the features could learn. Its accuracy before fine-tuning does not matter (docs/experiments.md).
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from lince.errors import ResumeError, TrainingError
from lince.system.files import DAMAGED_NPZ, open_regular, reason_of, write_atomically
from lince.training.transfer import cross_validation
from lince.training.transfer.regression import Features, Regression, log_softmax

# The penalty of the head that fine-tuning begins with.
_UNSURE = 3.0


@dataclass(frozen=True)
class Head:
    """A dense layer, and how it was chosen.

    Attributes:
        kernel: f32[D,K].
        bias: f32[K].
        unsure_kernel, unsure_bias: of the layer that fine-tuning begins with.
        strength: the weight of the penalty; see `Regression.path`.
        loss, accuracy: of the first view of the images that it was fitted to.
    """

    kernel: Float32[np.ndarray, "d k"]
    bias: Float32[np.ndarray, " k"]
    unsure_kernel: Float32[np.ndarray, "d k"]
    unsure_bias: Float32[np.ndarray, " k"]
    strength: float
    loss: float
    accuracy: float


def fit(
    features: Features,
    labels: Int64[np.ndarray, " n"],
    *,
    num_classes: int,
    strength: float | None = None,
    seed: int,
    groups: Int64[np.ndarray, " n"] | None = None,
) -> Head:
    """Fits a head to the features of training images.

    Args:
        features: f16[N,V,D] of N images in V views; the first view is the image as it is.
        labels: i64[N].
        num_classes: K.
        strength: the weight of the penalty; None chooses it by cross-validation.
        seed, groups: of the folds; see `cross_validation.folds`.

    Raises:
        TrainingError: a feature is not a finite number.
    """
    if strength is None:
        strength = cross_validation.choose_strength(features, labels, num_classes=num_classes, seed=seed, groups=groups)
    everything = np.ones((len(labels), 1), bool)
    regression = Regression(features, labels, subsets=everything, num_classes=num_classes)
    unsure, layers = regression.path([_UNSURE, strength])
    logits = np.concatenate([layers.logits(block[:, 0])[:, 0] for _, block in regression.blocks()])
    loss = -log_softmax(logits)[np.arange(len(labels)), labels].mean()
    accuracy = (logits.argmax(axis=1) == labels).mean()
    return Head(
        kernel=layers.kernel[:, 0],
        bias=layers.bias[0],
        unsure_kernel=unsure.kernel[:, 0],
        unsure_bias=unsure.bias[0],
        strength=strength,
        loss=float(loss),
        accuracy=float(accuracy),
    )


def save(path: Path, head: Head) -> None:
    """Writes a head; raises TrainingError when it cannot be written."""
    file = io.BytesIO()
    np.savez(file, **vars(head))
    try:
        write_atomically(path, file.getvalue())
    except OSError as error:
        raise TrainingError(
            f"The head {str(path)!r} could not be written ({error.strerror}). Free disk space, then continue with "
            f"lince train --resume {path.parent}."
        ) from error


def read(path: Path) -> Head:
    """Reads a head; raises ResumeError when the file is missing or damaged."""
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            layers = {name: arrays[name] for name in ("kernel", "bias", "unsure_kernel", "unsure_bias")}
            strength, loss, accuracy = (float(arrays[name]) for name in ("strength", "loss", "accuracy"))
            return Head(**layers, strength=strength, loss=loss, accuracy=accuracy)
    except (*DAMAGED_NPZ, KeyError) as error:
        raise ResumeError(f"{str(path)!r} cannot be read ({reason_of(error)}). Start a new run.") from error
