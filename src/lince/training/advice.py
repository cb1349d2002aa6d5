"""Recipe settings that suit a number of images, or that a message advises for the next training."""

from lince.training.recipe import Train
from lince.types import ComputeDtype

# With few images an epoch has _STEPS_PER_EPOCH steps. A batch smaller than _SMALLEST_BATCH harms batch norm.
_STEPS_PER_EPOCH, _SMALLEST_BATCH = 8, 16


def steadier_training(recipe: Train, *, precision: ComputeDtype) -> str:
    """Settings to train with after a training that diverged.

    Args:
        recipe: the `[train]` table in use.
        precision: the arithmetic in use.
    """
    exact = ", or with --set train.precision=float32" if precision == "bfloat16" else ""
    return f"with a train.learning_rate below {recipe.learning_rate:g}{exact}"


def longer_training(recipe: Train, *, times: int) -> str:
    """Options for `times` as many epochs, with the same number of validations."""
    return f"--set train.epochs={times * recipe.epochs} --set train.validate_every={times * recipe.validate_every}"


def suited_batch(recipe: Train, images: int) -> int:
    """The recipe's batch size, or a smaller one for few training images."""
    return min(recipe.batch_size, max(_SMALLEST_BATCH, images // _STEPS_PER_EPOCH))
