"""A time that a training is given, and the recipes it may be spent on; `recipe_choice.py` chooses."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lince.errors import RecipeError
from lince.training import recipes
from lince.training.recipe import Recipe


@dataclass(frozen=True)
class Candidate:
    """A recipe that may be chosen.

    Attributes:
        recipe: the name of one that ships.
        epochs: fewer of them are not worth it: the candidate before this one does better in the same time. 0 asks for
            `LEAST_STEPS` of `step_timing.py` only, also where not all images are seen in them.
    """

    recipe: str
    epochs: int


# The cheapest first; all of one image size and one validation share, so that the images are read and split once. `fast`
# is meant for 11 epochs; `default` takes about twice as long for each, and is meant for 46.
CANDIDATES = (Candidate("fast", epochs=0), Candidate("default", epochs=16))

_GIVEN_BY_THE_TIME = ("train.epochs", "train.validate_every")


@dataclass(frozen=True)
class Limit:
    """A time, and what it may be spent on.

    Attributes:
        seconds: from the start of the program to the published model.
        began: `time.perf_counter()` at the start.
        candidates: recipes, cheapest first, each with the least epochs that it is worth taking for.
        is_fixed: the user has named the recipe: it is taken as it is, but for its length.
        keeps_batches: the user has said how large batches are.
    """

    seconds: float
    began: float
    candidates: tuple[tuple[Recipe, int], ...]
    is_fixed: bool
    keeps_batches: bool = False

    @property
    def recipe(self) -> Recipe:
        """The cheapest candidate; all have its image size and validation share."""
        return self.candidates[0][0]

    def left(self) -> float:
        """Seconds."""
        return self.began + self.seconds - time.perf_counter()


def limit(seconds: float, *, began: float, recipe: str | None, overrides: Sequence[str] = ()) -> Limit:
    """What a time may be spent on.

    Args:
        seconds, began: see `Limit`.
        recipe: name or path, or None for any of `CANDIDATES`.
        overrides: `key=value`, for each candidate.

    A teacher is asked in each step, whatever a recipe says: to fill a cache would take a share of the time that is not
    known beforehand, and pays only where images are shown often.

    Raises:
        RecipeError: see `recipes.load`; or an override says how long to train, or asks for a cache.
    """
    changed = {override.partition("=")[0].strip(): override for override in overrides}
    for key in _GIVEN_BY_THE_TIME:
        if key in changed:
            raise RecipeError(
                f"Received --set {changed[key]} beside a time budget, from which it follows. Expected one of them: "
                "leave out --set, or --time-budget."
            )
    if "train.teacher_cached" in changed:
        raise RecipeError(
            f"Received --set {changed['train.teacher_cached']} beside a time budget, with which a teacher is asked in "
            "each step. Expected one of them: leave out --set, or --time-budget."
        )
    candidates = [Candidate(recipe, epochs=0)] if recipe else CANDIDATES
    asking = (*overrides, "train.teacher_cached=false")
    loaded = tuple((recipes.load(one.recipe, asking), one.epochs) for one in candidates)
    keeps_batches = "train.batch_size" in changed
    return Limit(seconds, began, loaded, is_fixed=recipe is not None, keeps_batches=keeps_batches)
