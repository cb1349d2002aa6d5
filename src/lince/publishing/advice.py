"""What a user can do after publishing was refused.

Every command that is named can work for this run, or the sentence names the condition.
"""

import math
import shlex
from pathlib import Path

from lince.number_formats import percent
from lince.quantization.options import Quantize
from lince.training.advice import longer_training
from lince.training.recipe import Recipe

# The advice is to read ranges from this many times as many training images.
_MORE_CALIBRATION = 5


def after_loss(
    drop_points: float,
    options: Quantize,
    *,
    folder: Path,
    num_train: int,
    is_fallback: bool,
    fallback_can_help: bool,
    is_above_one_class: bool,
) -> str:
    """What to do when a quantized network lost too much on test images.

    Args:
        drop_points: the accuracy lost, percentage points.
        options: the run's `[quantize]` table.
        folder: the run's.
        num_train: number of images from which ranges can be read.
        is_fallback: the fallback was tried.
        fallback_can_help: int8 loses too much on validation images as well, so the fallback would change something.
        is_above_one_class: the network is better than always naming the largest class, so accepting the loss is enough.
    """
    ways = []
    if fallback_can_help and not is_fallback:
        ways.append(
            f"{_quantize(folder, '--fallback')} keeps the most sensitive layers in float (int8 loses too much on "
            "validation images, too)"
        )
    if num_train > options.calibration_images:
        more = min(num_train, _MORE_CALIBRATION * options.calibration_images)
        flags = ["--fallback"] if is_fallback else []
        command = _quantize(folder, *flags, f"--set=quantize.calibration_images={more}")
        ways.append(f"{command} reads the activation ranges from more training images, which may lose less")
    if is_above_one_class and not is_fallback:
        ways.append(f"{_quantize(folder, _bound(drop_points))} accepts the loss")
    without = ", int8 throughout" if is_fallback else ""
    ways.append(f"{_quantize(folder, '--force')} publishes it{without}, whatever is lost")
    return _kept(ways)


def after_fallback(drop_points: float, *, folder: Path, is_above_one_class: bool) -> str:
    """What to do when every network that the fallback tried lost too much on validation images.

    Args:
        drop_points: the accuracy that the best of them lost, percentage points.
        folder: the run's.
        is_above_one_class: the best of them is better than always naming the largest class.
    """
    ways = []
    if is_above_one_class:
        ways.append(
            f"{_quantize(folder, '--fallback', _bound(drop_points))} accepts the loss, if test images lose no more"
        )
    ways.append(f"{_quantize(folder, '--force')} publishes int8 throughout, whatever is lost")
    return _kept(ways)


def after_chance(
    recipe: Recipe,
    *,
    folder: Path,
    source: str,
    training_accuracy: float,
    chance: float,
    loss: str | None,
    is_timed: bool,
) -> str:
    """What to do when a network is no better than always naming the largest class.

    Args:
        recipe: the run's.
        folder: the run's.
        source: the run's images, as `lince data check` takes them.
        training_accuracy: of the network on training images, 0..1.
        chance: accuracy of always naming the largest class, on test images, 0..1.
        loss: the advice of `after_loss`, where the float network is better than chance; else None.
        is_timed: the network was trained with a time budget.
    """
    if loss is not None:
        return f"The float network is better than that: int8 has lost it. {loss}"
    kept = _kept([f"{_quantize(folder, '--force')} publishes it all the same"])
    if chance == 1:
        return (
            "All test images are of one class, so no network can be better. Add test images of the other "
            f"classes. {kept}"
        )
    learned = f"It is right for {percent(training_accuracy, 0)} of its training images"
    if training_accuracy > (1 + chance) / 2:
        check = shlex.join(["lince", "data", "check", source])
        return f"{learned}, so it has memorized them. Add images, and look for wrong labels with {check}. {kept}"
    longer = "a longer --time-budget" if is_timed else longer_training(recipe.train, times=10)
    return (
        f"{learned}, so it has not learned them well. Train again with {longer}. If that was tried, lower "
        f"train.learning_rate (it was {recipe.train.learning_rate:g}). {kept}"
    )


def _kept(ways: list[str]) -> str:
    return f"The network is kept: {'; '.join(ways)}."


def _bound(drop_points: float) -> str:
    """The drop rounded up to whole points, as the option that sets the bound."""
    return f"--set=quantize.max_drop_points={max(0, math.ceil(drop_points))}"


def _quantize(folder: Path, *arguments: str) -> str:
    return shlex.join(["lince", "quantize", str(folder), *arguments])
