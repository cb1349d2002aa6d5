"""The lines that `lince train` prints about a run: the choice of its recipe, its data, and what the model is worth."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from lince.cli.console import print_text, say
from lince.number_formats import file_size, microseconds, percent
from lince.text import quantity

if TYPE_CHECKING:  # imported late, inside the functions: the command line starts in a fifth of a second
    from lince.model_file.manifest import RunReport
    from lince.runs.run_folder import Budget, RunFolder
    from lince.training.recipe import Recipe
    from lince.training.recommendation import Recommendation
    from lince.training.session import Run

# Enough to see what is wrong. The run folder lists all.
_REJECTED_SHOWN = 5

# The user is told above this ratio of the largest class to the smallest. With two such classes, a network that always
# names the larger one is right for two thirds of the images.
_UNEVEN = 2

_MANY_IMAGES = 1000  # from so many on, an accuracy is shown with a decimal, as the verdict does

_FITTED = {
    "crop": "Each image is cut to its centre square and resized to",
    "pad": "Each image is scaled to fit into the middle of a grey square of",
    "stretch": "Each image is stretched, as a whole, to",
}


def say_choice(found: Recommendation, *, source: str, overrides: Sequence[str], seconds: float | None) -> None:
    """Prints which recipe was chosen, why, and the command for the other one."""
    again = ["lince", "train", source, *found.other.options, *(f"--set={override}" for override in overrides)]
    again += [] if seconds is None else [f"--time-budget={seconds:g}s"]
    say(f"Recipe: {found.chosen.name}, because {found.why}. The alternative: {shlex.join(again)}")


def show_result(report: RunReport, folder: RunFolder) -> None:
    """Prints the verdict on a published model, its accuracy, where it is, and what can be done next."""
    certificate, n = report.certificate, report.int8.n
    accuracy, digits = report.int8.accuracy, 1 if n >= _MANY_IMAGES else 0
    low, high = percent(accuracy.low, digits), percent(accuracy.high, digits)
    print_text(f"Verdict: {report.verdict.text}")
    print_text(
        f"Accuracy: {percent(accuracy.value, digits)} of {quantity(n, 'test image')}, 95 % interval {low} to {high}; "
        f"before quantization {percent(certificate.comparison.float_accuracy, digits)}."
    )
    say(
        f"Model: {folder.model}, {file_size(certificate.flatbuffer_bytes)}, "
        f"{microseconds(certificate.latency_us)} an image on one thread."
    )
    say(f"Report: {folder.page}")
    name = shlex.quote(str(folder.path))
    say(
        f"Next: lince predict {name} PICTURE                 classify pictures, or a folder of them\n"
        f"      lince serve {name}                           answer over HTTP, with a page to try it\n"
        f"      lince evaluate {name} OTHER --split all      measure it on other labelled pictures"
    )


def say_start(run: Run) -> None:
    """Prints what an open run holds, what may be wrong with it, and which files were left out."""
    for line in (*_data(run), *_warnings(run), *_length(run), *_balance(run), *_rejected(run)):
        say(line)


def _data(run: Run) -> Iterator[str]:
    from lince.data.aspect_ratios import Proportions, measure

    record, recipe = run.record, run.recipe
    reading = f"Folders: {record.reading} " if record.reading else ""
    yield (
        f"{run.folder.path}: {len(run.train):,} images to train on, {len(run.validation):,} to validate, "
        f"{len(run.test):,} to test, {len(record.classes)} classes; {record.precision}. "
        f"{reading}{_FITTED[recipe.fit]} {recipe.image_size} × {recipe.image_size}."
    )
    shapes = measure(run.train.sizes) if run.train.sizes is not None else Proportions()
    if recipe.fit == "crop" and shapes.suggested != "crop":
        yield f"{shapes.not_square:,} of {quantity(shapes.n, 'picture')} are not square; {shapes.advice}."


def _warnings(run: Run) -> Iterator[str]:
    yield from (f"Warning: {warning}" for warning in run.record.warnings)
    if run.record.teacher:
        yield f"Teacher: {run.record.teacher}, version {run.record.teacher_version}."
    if run.record.knows_validation:
        yield (
            "The teacher, or the run of model.weights, has learned from some of the validation images, so judge this "
            "run by its test images. To hold out the same images, use its --seed, --leave-out and "
            "train.validation_fraction."
        )


def _length(run: Run) -> Iterator[str]:
    from lince.training.advice import longer_training, suited_batch
    from lince.training.time_budget.recipe_choice import LEAST_STEPS

    options = run.recipe.train
    steps = options.epochs * options.steps_per_epoch(len(run.train))
    if run.record.budget is not None:
        yield _budget(run.recipe, run.record.budget)
    elif steps < LEAST_STEPS and not run.recipe.model.pretrained:
        longer = longer_training(options, times=20)
        yield (
            f"{quantity(len(run.train), 'image')} give only {quantity(steps, 'training step')}: try --time-budget 5m, "
            f"or {longer} --set train.batch_size={suited_batch(options, len(run.train))}."
        )


def _budget(recipe: Recipe, budget: Budget) -> str:
    if not budget.step_seconds:
        whole = timedelta(seconds=round(budget.seconds))
        return f"Time: {whole} in all. The pretrained network's head comes first, and fine-tuning in the rest."
    times = {"in all": budget.seconds, "to train": budget.training_seconds, "to publish": budget.publishing_seconds}
    parts = ", ".join(f"{timedelta(seconds=round(seconds))} {what}" for what, seconds in times.items())
    short = f"; too short for {', '.join(budget.rejected)}" if budget.rejected else ""
    epochs = recipe.train.epochs
    often = f"about {epochs:,} epochs" if epochs > 1 else "about one epoch, as far as the time allows,"
    return f"Time: {parts}. Recipe {recipe.name}, {often} in batches of {recipe.train.batch_size:,}{short}."


def _balance(run: Run) -> Iterator[str]:
    counts = Counter(run.train.labels.tolist())
    per_class = [counts[label] for label in range(len(run.train.classes))]
    if max(per_class) > _UNEVEN * min(per_class) and run.recipe.train.class_balance == 0:
        yield (
            f"Classes are uneven, {min(per_class):,} to {max(per_class):,} images to train on, and all images have the "
            "same weight. A run with --set train.class_balance=1 gives images of rare classes more weight."
        )


def _rejected(run: Run) -> Iterator[str]:
    rejected = run.record.rejected
    yield from (f"Left out: {one.path}: {one.reason}" for one in rejected[:_REJECTED_SHOWN])
    if rejected:
        yield f"Left out {quantity(len(rejected), 'file')} in all: see {run.folder.record}."
