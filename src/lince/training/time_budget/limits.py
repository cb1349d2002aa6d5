"""A time that a training is given, and the recipes it may be spent on; `recipe_choice.py` chooses."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lince.errors import RecipeError
from lince.training import recipes
from lince.training.recipe import Recipe

# Recipes, the cheapest first, each with the epochs from which on it does better than the one before. All have one image
# size and one validation share, so that the images are read and split once.
CANDIDATES = (("fast", 0), ("default", 16))

# What follows from the time; and a teacher's cache, which would take a share of it that cannot be predicted.
_GIVEN_BY_THE_TIME = ("train.epochs", "train.validate_every", "train.teacher_cached")


@dataclass(frozen=True)
class Limit:
    """A time in seconds since `began`, a reading of `time.perf_counter()`, and what it may be spent on.

    Attributes:
        candidates: recipes, the cheapest first, each with the least epochs that it is worth taking for.
        keeps_batches: the user has named the recipe or the batch size.
    """

    seconds: float
    began: float
    candidates: tuple[tuple[Recipe, int], ...]
    keeps_batches: bool = False

    def left(self) -> float:
        return self.began + self.seconds - time.perf_counter()


def limit(seconds: float, *, began: float, recipe: str | None, overrides: Sequence[str] = ()) -> Limit:
    """A time for a recipe (name or path), or for any of `CANDIDATES` when None, each with the overrides `key=value`.

    Raises:
        RecipeError: see `recipes.load`; or an override says what follows from the time.
    """
    changed = {override.partition("=")[0].strip(): override for override in overrides}
    for key in _GIVEN_BY_THE_TIME:
        if key in changed:
            raise RecipeError(
                f"Received --set {changed[key]} beside a time budget, from which it follows. Expected one of them: "
                "leave out --set, or --time-budget."
            )
    candidates, options = ((recipe, 0),) if recipe else CANDIDATES, (*overrides, "train.teacher_cached=false")
    loaded = tuple((recipes.load(name, options), epochs) for name, epochs in candidates)
    return Limit(seconds, began, loaded, keeps_batches=recipe is not None or "train.batch_size" in changed)
