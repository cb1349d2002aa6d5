"""Warnings during training: at chance from the beginning, back at chance, and learning that validation does not see."""

from dataclasses import replace

import numpy as np
import pytest

from lince.training import recipes
from lince.training.recipe import Train
from lince.training.stagnation import Stagnation
from lince.types import EpochRecord


def stagnation(
    labels=(0, 1) * 10, validation=(0, 1, 1), *, num_classes: int = 2, precision: str = "bfloat16", **changes: object
) -> Stagnation:
    recipe = Train(**{"epochs": 9, "batch_size": 8, "learning_rate": 0.1} | changes)
    return Stagnation(
        np.array(labels), np.array(validation), num_classes=num_classes, recipe=recipe, precision=precision
    )


def record(
    number: int, *, loss: float, accuracy: float = 0.5, val_loss: float = 0.7, val_accuracy: float = 0.5
) -> EpochRecord:
    return EpochRecord(number, loss, accuracy, val_loss, val_accuracy, 0.1, 100.0, 1.0, 0)


def warnings(*epochs: float | tuple[float, float], watch: Stagnation) -> list[str]:
    """A letter for each epoch, `.` when nothing is said: (L)asting, (D)iverged, (V)alidation."""
    pairs = [epoch if isinstance(epoch, tuple) else (epoch, 1.0) for epoch in epochs]
    history, said = (), []
    for number, (loss, val_accuracy) in enumerate(pairs, 1):
        history += (record(number, loss=loss, val_accuracy=val_accuracy),)
        sentence = watch.warning(history) or "."
        for beginning, letter in (
            ("The training loss has been at chance (0.69) for 3 epochs", "L"),
            ("The training loss had fallen and is back at chance", "D"),
            ("For 3 epochs no more than 67 % of the validation images", "V"),
        ):
            sentence = letter if sentence.startswith(beginning) else sentence
        said.append(sentence)
    return "".join(said)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ((0.69, 0.70, 0.69, 0.69, 0.69), "..L.."),
        ((0.69, 0.69, 0.60, 0.69, 0.69, 0.69), "...D.."),
        ((0.69, 0.69, 0.65, 0.69, 0.69), "....."),
        ((5.00, 0.50, 0.70, 0.40, 0.80), "..D.D"),
        ((0.68, 0.66, 0.64, 0.60), "...."),
        (((0.6, 0.5), (0.5, 0.6), (0.4, 2 / 3), (0.3, 0.5), (0.2, 1.0)), "..V.."),
        (((0.6, 0.5), (0.5, 0.7), (0.4, 0.5), (0.3, 0.5)), "...."),
    ],
)
def test_what_is_said_after_each_epoch(epochs, expected):
    """Each trouble is told once, when it has lasted; a loss that falls slowly is none."""
    assert expected == warnings(*epochs, watch=stagnation())


def test_a_head_that_fine_tuning_leaves_is_no_divergence():
    """While the learning rate rises the loss may be at chance for a few steps; if it stays there, it is told then."""
    losses, rates = (0.3, 0.7, 0.7, 0.7), (0.0, 1e-4, 2e-4, 2e-4)
    history = tuple(
        replace(record(number, loss=loss), learning_rate=rate)
        for number, (loss, rate) in enumerate(zip(losses, rates, strict=True))
    )
    said = [stagnation().warning(history[:count]) for count in range(1, 5)]
    assert [None] * 3 == said[:3]
    assert said[3].startswith("The training loss had fallen and is back at chance")


def test_says_how_many_epochs_it_lasted():
    """Validated every 20 epochs, it is told after the third validation, and counts epochs."""
    sentence = stagnation().warning(tuple(record(20 * n, loss=0.7) for n in (1, 2, 3)))
    assert sentence.startswith("The training loss has been at chance (0.69) for 60 epochs")


def test_repairs_are_keys_of_a_recipe():
    """Both settings that the sentence names can be set, as it writes them."""
    sentence = stagnation().warning(tuple(record(n, loss=0.7) for n in (1, 2, 3)))
    assert sentence.endswith("Train again with a train.learning_rate below 0.1, or with --set train.precision=float32.")
    changed = recipes.load("fast", overrides=["train.learning_rate=0.05", "train.precision=float32"])
    assert (0.05, "float32") == (changed.train.learning_rate, changed.train.precision)


def test_float32_is_not_advised_to_those_who_have_it():
    """It would change nothing."""
    sentence = stagnation(precision="float32").warning(tuple(record(n, loss=0.7) for n in (1, 2, 3)))
    assert sentence.endswith("nothing is learned. Train again with a train.learning_rate below 0.1.")


@pytest.mark.parametrize(
    ("watch", "epochs"),
    [
        (stagnation(validation=(1, 1)), {"loss": 0.4, "val_loss": 0.1, "val_accuracy": 1.0}),
        (stagnation((0,) * 19 + (1,), (0,) * 19 + (1,)), {"loss": 0.1, "val_loss": 0.15, "val_accuracy": 0.95}),
        (stagnation(label_smoothing=0.95), {"loss": 0.6925, "accuracy": 0.99, "val_accuracy": 1.0}),
        (stagnation(teacher_weight=1.0, teacher_temperature=9.0), {"loss": 0.69, "accuracy": 0.99}),
    ],
    ids=["one class in validation", "95 to 5", "smoothed", "soft teacher"],
)
def test_no_false_alarm(watch, epochs):
    """Where the largest class is nearly all, or targets say hardly more than chance, learning looks like chance."""
    history = tuple(record(n, **epochs) for n in (1, 2, 3))
    assert [None] * 3 == [watch.warning(history[:n]) for n in (1, 2, 3)]


def test_labels_may_be_the_cause():
    """Noise is memorized: large activations are only one of three causes."""
    history = tuple(record(n, loss=0.3, val_accuracy=0.6) for n in (1, 2, 3))
    assert "labels do not match the images, or the network's activations are too large" in stagnation().warning(history)


@pytest.mark.parametrize(
    ("labels", "changes", "expected"),
    [
        ((0, 1, 2, 3), {}, np.log(4)),
        ((0, 0, 0, 1), {}, 0.75 * np.log(4 / 3) + 0.25 * np.log(4)),
        ((0, 0, 0, 1), {"label_smoothing": 1.0}, np.log(4)),
        ((0, 0, 0, 1), {"class_balance": 1.0}, np.log(2)),
    ],
)
def test_loss_at_chance(labels, changes, expected):
    """The entropy of the mean target, as labels are smoothed and classes weighed."""
    assert stagnation(labels, num_classes=4, **changes).loss == pytest.approx(expected)
