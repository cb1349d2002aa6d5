"""Warnings, after a validation, that a network learns nothing."""

import numpy as np
from jaxtyping import Float64, Int64

from lince.number_formats import percent
from lince.training import advice
from lince.training.recipe import Train
from lince.training.soft_targets import class_weights
from lince.types import ComputeDtype, EpochRecord

# Validations before a warning. At a high learning rate the first ones may be at chance although the network learns.
_PATIENCE = 3
# Shares of the loss at chance: from the first upwards nothing was learned, below the second something was.
_AT_CHANCE, _LEARNED = 0.99, 0.9


class Stagnation:
    """Compares a run with the same answer for every image.

    Args:
        train: i64[N], labels to train on.
        validation: i64[M], labels of validation images.
        num_classes: K.
        recipe: smoothing and class weights. The mean of a teacher's answers is assumed to be that of the labels.
        precision: the arithmetic in use.
    """

    def __init__(
        self,
        train: Int64[np.ndarray, " n"],
        validation: Int64[np.ndarray, " m"],
        *,
        num_classes: int,
        recipe: Train,
        precision: ComputeDtype = "float32",
    ):
        counts = np.bincount(train, minlength=num_classes)
        share = class_weights(counts, balance=recipe.class_balance) * counts / counts.sum()
        self.loss = _entropy((1 - recipe.label_smoothing) * share + recipe.label_smoothing / num_classes)
        # Halfway between the largest class and all: strongly smoothed targets keep the loss near chance.
        self._much = (1 + counts.max() / counts.sum()) / 2
        held_out = np.bincount(validation) / len(validation)
        self.accuracy, self._val_loss = float(held_out.max()), _entropy(held_out)
        self._repair = f"Train again {advice.steadier_training(recipe, precision=precision)}."

    def warning(self, history: tuple[EpochRecord, ...]) -> str | None:
        """The warning after the last record of a history that is not empty; None when there is nothing new."""
        learned = [record.loss < _LEARNED * self.loss for record in history]
        at_chance = [record.loss >= _AT_CHANCE * self.loss and record.accuracy < self._much for record in history]
        only_training = [
            known and self._is_at_chance_in_validation(record) for known, record in zip(learned, history, strict=True)
        ]
        chance = f"chance ({self.loss:.2f})"
        lasting = history[-1].epoch - (history[-1 - _PATIENCE].epoch if len(history) > _PATIENCE else 0)
        if _begins_to_last(at_chance) and not any(learned):
            return f"The training loss has been at {chance} for {lasting} epochs: nothing is learned. {self._repair}"
        is_back = [
            any(learned[:number]) and at_chance[number] and not _is_rising(history, number)
            for number in range(len(history))
        ]
        if is_back[-1] and not any(is_back[-2:-1]):
            return f"The training loss had fallen and is back at {chance}: training diverged. {self._repair}"
        if _begins_to_last(only_training):
            return (
                f"For {lasting} epochs no more than {percent(self.accuracy, 0)} of the validation images were right, "
                "the largest class's share, although the training loss fell. There are too few training images, the "
                "labels do not match the images, or the network's activations are too large. In the last case: "
                f"{self._repair[0].lower()}{self._repair[1:]}"
            )
        return None

    def _is_at_chance_in_validation(self, record: EpochRecord) -> bool:
        """Also compares the loss: where one class is nearly all, it falls long before accuracy rises."""
        return record.val_accuracy <= self.accuracy < 1 and record.val_loss >= _AT_CHANCE * self._val_loss


def _is_rising(history: tuple[EpochRecord, ...], number: int) -> bool:
    """Whether the learning rate still rises. Fine-tuning then leaves its head, and a small epoch is a step or two."""
    return number > 0 and history[number].learning_rate > history[number - 1].learning_rate


def _entropy(shares: Float64[np.ndarray, " k"]) -> float:
    """The cross-entropy of answering these shares to every image, in nats."""
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _begins_to_last(signs: list[bool]) -> bool:
    """Whether a sign has lasted for exactly `_PATIENCE` validations, so that the warning comes once."""
    before, last = signs[:-_PATIENCE], signs[-_PATIENCE:]
    return len(last) == _PATIENCE and all(last) and not any(before[-1:])
