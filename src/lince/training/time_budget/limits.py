"""A time budget and the recipes that it may use. `recipe_choice.py` chooses one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lince.errors import RecipeError
from lince.training import recipes
from lince.training.recipe import Recipe

# Recipes, the cheapest first, each with the number of epochs from which it is better than the one before. They share
# image size and validation share, so that the images are read and split once.
CANDIDATES = (("fast", 0), ("default", 16))

# Keys that the time budget decides, and a teacher's cache, whose time cannot be predicted.
_GIVEN_BY_THE_TIME = ("train.epochs", "train.validate_every", "train.teacher_cached")


@dataclass(frozen=True)
class Limit:
    """A time budget: `seconds` since `began`, a reading of `time.perf_counter()`, and its recipes.

    Attributes:
        candidates: recipes, the cheapest first, each with the smallest number of epochs for which it is worth using.
        keeps_batches: the user has named the recipe or the batch size.
    """

    seconds: float
    began: float
    candidates: tuple[tuple[Recipe, int], ...]
    keeps_batches: bool = False

    def left(self) -> float:
        return self.began + self.seconds - time.perf_counter()


def limit(seconds: float, *, began: float, recipe: str | None, overrides: Sequence[str] = ()) -> Limit:
    """A time budget for a recipe (name or path), or for any of `CANDIDATES` if None, with overrides `key=value`.

    Raises:
        RecipeError: see `recipes.load`; or an override sets what the time budget decides.
    """
    changed = {override.partition("=")[0].strip(): override for override in overrides}
    for key in _GIVEN_BY_THE_TIME:
        if key in changed:
            raise RecipeError(
                f"Received --set {changed[key]} with a time budget, which decides it. Expected one of them: "
                "leave out --set, or --time-budget."
            )
    candidates, options = ((recipe, 0),) if recipe else CANDIDATES, (*overrides, "train.teacher_cached=false")
    loaded = tuple((recipes.load(name, options), epochs) for name, epochs in candidates)
    return Limit(seconds, began, loaded, keeps_batches=recipe is not None or "train.batch_size" in changed)
