"""What is minimised is what was meant, gradients too, and accuracy is measured by the labels."""

import keras
import numpy as np
import pytest

from lince.networks import models
from lince.networks.pooled import Pooled
from lince.training import loss as objective
from lince.training.recipe import Train
from lince.types import ImageSpec

LABELS = np.arange(6) % 3
WEIGHTS = np.array([0.2, 1, 3, 1, 2, 0.5], np.float32)
SOFT = np.eye(3, dtype=np.float32)[LABELS] * 0.8 + 0.2 / 3


def stepped(targets: np.ndarray, *, labels: np.ndarray = LABELS) -> tuple[np.ndarray, dict, np.ndarray, np.ndarray]:
    """One step of SGD at rate 1 on a dense layer: its kernel's gradient, what Keras shows, inputs, probabilities."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((4,))
    model = keras.Model(pixels, keras.layers.Softmax()(keras.layers.Dense(3)(pixels)))
    objective.compile_model(model, Train(epochs=1, batch_size=6, learning_rate=1.0, optimizer="sgd"))
    inputs = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    probabilities = keras.ops.convert_to_numpy(model(inputs))
    before = model.get_weights()[0]
    shown = model.train_on_batch(inputs, objective.labelled(labels, targets), return_dict=True)
    return before - model.get_weights()[0], shown, inputs, probabilities


@pytest.mark.parametrize("weights", [np.ones(6, np.float32), WEIGHTS], ids=["alike", "weighted"])
def test_gradient_is_that_of_the_cross_entropy(weights):
    """Of an image that weighs w it is w (softmax - target), also where targets do not add up to 1."""
    gradient, shown, inputs, probabilities = stepped(SOFT * weights[:, None])
    expected = inputs.T @ ((probabilities - SOFT) * weights[:, None]) / 6
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    loss = -(weights[:, None] * SOFT * np.log(probabilities)).sum(axis=1).mean()
    assert loss == pytest.approx(float(shown["loss"]), rel=1e-5)


def test_accuracy_is_by_labels():
    """Targets that name another class leave it as it is."""
    _, shown, _, probabilities = stepped(np.eye(3, dtype=np.float32)[(LABELS + 1) % 3])
    assert (probabilities.argmax(axis=1) == LABELS).mean() == pytest.approx(float(shown["accuracy"]))


def test_labelled_puts_labels_first():
    """Rows are f32[N,1+K]: the label, then what the teacher says."""
    rows = objective.labelled(LABELS, SOFT)
    assert ((6, 4), np.float32) == (rows.shape, rows.dtype)
    np.testing.assert_array_equal(LABELS, rows[:, 0])
    np.testing.assert_array_equal(SOFT, rows[:, 1:])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_muon_computes_as_the_network_does(precision):
    """bfloat16 only where the network has it: elsewhere it would be emulated."""
    model = models.build(Pooled(stem=12, stages=((8,),)), spec=ImageSpec(), num_classes=3, precision=precision, seed=0)
    objective.compile_model(model, Train(epochs=1, batch_size=6, learning_rate=0.1, optimizer="muon"))
    assert precision == model.optimizer.precision
