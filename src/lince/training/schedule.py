"""How much of a training is done, from 0 to 1, by epochs or by the clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lince.errors import TrainingError
from lince.runs.run_folder import Budget
from lince.training.recipe import Train


class Schedule(Protocol):
    """Says how much of a training is done: the learning rate, the phases and the end follow from it."""

    def progress(self, *, epochs: float, seconds: float) -> float:
        """The share that is done, 0 to 1, after so many epochs (parts of one count) and seconds."""

    def total(self) -> str:
        """How many epochs there will be, in words."""


@dataclass(frozen=True)
class ByEpochs:
    """So many epochs, however long they take."""

    epochs: int

    def progress(self, *, epochs: float, seconds: float) -> float:
        return min(1.0, epochs / self.epochs)

    def total(self) -> str:
        return str(self.epochs)


@dataclass(frozen=True)
class BySeconds:
    """So many seconds, in which a machine that slows down takes fewer steps; the step size falls to 0 all the same.

    Phases are shares of the steps, and those of small images are quick: the clock runs faster through them.

    Attributes:
        seconds: of the whole training, with validation and checkpoints.
        epochs: about how many that will be.
        ends: for each phase the share of the steps at which it ends; the last is 1.
        costs: for each phase what a step of it costs, in any one unit.
    """

    seconds: float
    epochs: int
    ends: tuple[float, ...] = (1.0,)
    costs: tuple[float, ...] = (1.0,)

    def progress(self, *, epochs: float, seconds: float) -> float:
        cost = np.cumsum([0.0, *spans(self.ends) * self.costs])
        return float(np.interp(seconds / self.seconds, cost / cost[-1], [0.0, *self.ends]))

    def total(self) -> str:
        return f"~{self.epochs}"


def of(recipe: Train, budget: Budget | None) -> Schedule:
    """The schedule of a run: by its recipe's epochs, or by the clock when it was given a time.

    Raises:
        TrainingError: the time leaves nothing for training.
    """
    if budget is None:
        return ByEpochs(recipe.epochs)
    if budget.training_seconds <= 0:  # by this clock a training would never be done
        raise TrainingError(
            f"Received a time budget of {budget.seconds:.0f} s, {budget.training_seconds:.1f} s of it for training. "
            "Expected more than 0 s for training: start a new run with a longer --time-budget."
        )
    return BySeconds(budget.training_seconds, recipe.epochs, ends(recipe), budget.step_seconds)


def ends(recipe: Train) -> tuple[float, ...]:
    """For each phase, full size the last, the share of all steps at which it ends."""
    return (*(phase.until for phase in recipe.phases), 1.0)


def spans(ends: Sequence[float]) -> np.ndarray:
    """f64[P]: for each phase its share of all steps."""
    return np.diff(ends, prepend=0.0)
