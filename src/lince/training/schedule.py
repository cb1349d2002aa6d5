"""How much of a training is done, from 0 to 1, by epochs or by the clock, and the learning rate that follows."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float64

from lince.runs.run_folder import Budget
from lince.training.recipe import Train

# The share of a training in which `warm_cosine` rises. Adam's first steps have full size whatever the gradient.
_WARM = 0.1


class Schedule(Protocol):
    """Says how much of a training is done. The learning rate, the phases and the end follow from it."""

    def progress(self, *, epochs: float, seconds: float) -> float:
        """The share that is done, 0 to 1, after these epochs (with fractions) and seconds."""

    def total(self) -> str:
        """The total number of epochs, as text."""


@dataclass(frozen=True)
class ByEpochs:
    """A fixed number of epochs."""

    epochs: int

    def progress(self, *, epochs: float, seconds: float) -> float:
        return min(1.0, epochs / self.epochs)

    def total(self) -> str:
        return str(self.epochs)


class UpTo:
    """A number of epochs, or a number of seconds where these are over earlier.

    The learning rate falls to 0 in either case. It is for a training whose steps were not timed before.

    Args:
        epochs: the length of the training where the time is enough.
        seconds: 0 ends the training before its first step.
    """

    def __init__(self, epochs: int, seconds: float):
        self._epochs, self._seconds = ByEpochs(epochs), seconds

    def progress(self, *, epochs: float, seconds: float) -> float:
        by_time = seconds / self._seconds if self._seconds else 1.0
        return min(1.0, max(by_time, self._epochs.progress(epochs=epochs, seconds=seconds)))

    def total(self) -> str:
        return self._epochs.total()


class BySeconds:
    """A fixed number of seconds. A machine that slows down takes fewer steps, and the learning rate still falls to 0.

    Phases are shares of the steps, so progress is faster in a phase with short steps. If recent steps took longer than
    in the rehearsal, publishing is expected to take longer, too, and training ends earlier.

    Args:
        budget: how the time is divided.
        recipe: gives the phases, and the expected number of epochs.
    """

    def __init__(self, budget: Budget, recipe: Train):
        self._budget, self._epochs = budget, recipe.epochs
        self._ends, self._times = np.cumsum(spans(recipe)), np.cumsum(spans(recipe) * budget.step_seconds)
        self._expected = self._actual = budget.publishing_seconds
        self._progress, self._last = 0.0, (math.inf, 0.0)

    def progress(self, *, epochs: float, seconds: float) -> float:
        (before, since), self._last = self._last, (epochs, seconds)
        if epochs > before:  # one step was taken since the last call
            self._observe(seconds - since)
        end = self._budget.training_seconds + self._budget.publishing_seconds * (1 - self._actual / self._expected)
        time = self._times[-1] * seconds / max(end, 1e-9)
        self._progress = max(self._progress, float(np.interp(time, [0, *self._times], [0, *self._ends])))
        return self._progress

    def total(self) -> str:
        return f"~{self._epochs}"

    def _observe(self, seconds: float) -> None:
        """Updates running sums of expected and actual seconds; their window is about the duration of publishing."""
        expected = self._budget.step_seconds[np.searchsorted(self._ends[:-1], self._progress, side="right")]
        kept = math.exp(-expected / self._budget.publishing_seconds)
        self._expected, self._actual = kept * self._expected + expected, kept * self._actual + seconds


def of(recipe: Train, budget: Budget | None) -> Schedule:
    """The schedule of a run: by the epochs of its recipe, or by seconds with a time budget."""
    if budget is None:
        return ByEpochs(recipe.epochs)
    return BySeconds(budget, recipe) if budget.step_seconds else UpTo(recipe.epochs, budget.training_seconds)


def learning_rate(recipe: Train, *, progress: float) -> float:
    """The learning rate of the recipe's schedule.

    Args:
        recipe: the `[train]` table.
        progress: the share of the training that is done, 0 to 1.

    Returns:
        The learning rate.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    shape = {
        "constant": 1.0,
        "linear": 1 - progress,
        "cosine": cosine,
        "warm_cosine": cosine * min(1.0, progress / _WARM),
    }
    return recipe.learning_rate * shape[recipe.schedule]


def spans(recipe: Train) -> Float64[np.ndarray, " p"]:
    """The share of all steps of each phase, the phase at full size last; f64[P]."""
    return np.diff([0.0, *(phase.until for phase in recipe.phases), 1.0])
