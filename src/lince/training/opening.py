"""A run, opened: a new folder, or an old one again, with its images in memory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np

from lince import data
from lince.data.splitting import hold_out
from lince.errors import RecipeError, ResumeError, TrainingError
from lince.records import Dataset, Split
from lince.run import RunFolder, RunRecord
from lince.training import backend, train
from lince.training import model as models
from lince.training import recipe as recipes
from lince.training.recipe import Recipe

# One part of a path, so that a recipe from elsewhere cannot name a folder outside `runs`.
_NAME = re.compile(r"\w[\w.\- ]*")


@dataclass(frozen=True)
class Run:
    """A run folder and what is in memory for it."""

    folder: RunFolder
    record: RunRecord
    recipe: Recipe
    train: Split
    validation: Split
    test: Split


def start(
    source: str,
    recipe: Recipe,
    folder: RunFolder,
    *,
    seed: int,
    deterministic: bool,
    strict: bool,
    progress: data.Progress,
) -> Run:
    """Reads the dataset, sets the validation split aside and opens the run folder.

    What can be refused is refused before the images are read, and the folder is made last.

    Args:
        source: `cifar10`, a folder or a `.zip`.
        recipe: resolved.
        folder: a new one.
        seed: of every random choice of the run, 0 to 2³² − 1.
        deterministic: recorded; `backend.prepare` must have been called with the same.
        strict: stop at the first file that cannot be read.
        progress: told of images read.

    Raises:
        DataError: the dataset cannot be used. RecipeError: Keras does not know what the recipe names.
        TrainingError: the folder is taken or cannot be written.
    """
    _check_name(folder.path.name)
    folder.require_new()
    train.compile_model(build(recipe, num_classes=2, precision="float32", seed=seed), recipe.train)
    source = source if source == data.cifar10.NAME else str(Path(source).resolve())
    dataset = data.load(source, recipe.spec, seed=seed, strict=strict, progress=progress)
    everything, fraction = dataset.train, recipe.train.validation_fraction
    kept, held_out = hold_out(everything.images, everything.labels, fraction=fraction, seed=seed)
    record = RunRecord(
        name=folder.path.name,
        recipe=recipes.to_table(recipe),
        seed=seed,
        source=source,
        fingerprint=dataset.fingerprint,
        classes=dataset.train.classes,
        precision=backend.resolve_precision(recipe.train.precision),
        deterministic=deterministic,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=backend.describe(),
        rejected=dataset.rejected,
    )
    folder.create(record, train=kept, validation=held_out, test=np.asarray(dataset.test_indices, np.int64))
    return _run(folder, record, recipe, dataset)


def resume(folder: RunFolder, *, overrides: Sequence[str] = (), progress: data.Progress) -> Run:
    """Reopens a run folder with the same images, recipe and splits.

    Args:
        folder: a run's.
        overrides: `key=value` for the recipe's `[quantize]` and `[calibrate]`, which come after training.
        progress: told of images read.

    Raises:
        RecipeError: an override of something else.
        ResumeError: it is not a run folder, or the dataset has changed since.
    """
    record = folder.read_record()
    recipe = recipes.from_table(record.recipe, source=str(folder.record))
    recipe = recipes.override(recipe, overrides, tables=("quantize", "calibrate"))
    dataset = data.load(record.source, recipe.spec, seed=record.seed, progress=progress)
    recorded = tuple(folder.read_splits()["test"].tolist())
    if dataset.fingerprint != record.fingerprint or dataset.test_indices != recorded:
        raise ResumeError(
            f"The images of {record.source!r} are not those of the run (fingerprint {dataset.fingerprint[:12]}, was "
            f"{record.fingerprint[:12]}). Expected the same files, read by the same versions of lince and Pillow "
            f"({folder.record} names them): put them back, or start a new run."
        )
    return _run(folder, record, recipe, dataset)


def build(recipe: Recipe, *, num_classes: int, precision: str, seed: int) -> keras.Model:
    """The network that a recipe describes, with fresh weights; see `model.build`."""
    return models.build(recipe.model, spec=recipe.spec, num_classes=num_classes, precision=precision, seed=seed)


def build_for(run: Run, *, precision: str) -> keras.Model:
    """The network of a run, with fresh weights."""
    return build(run.recipe, num_classes=len(run.record.classes), precision=precision, seed=run.record.seed)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"Received the run's name {name!r}. Expected letters, digits, '.', '-', '_' and spaces: give it by --name."
        )


def _run(folder: RunFolder, record: RunRecord, recipe: Recipe, dataset: Dataset) -> Run:
    splits = folder.read_splits()
    if len(splits["train"]) == 0 or len(splits["validation"]) == 0:
        raise TrainingError(
            f"{len(dataset.train):,} training images leave {len(splits['train'])} to train on and "
            f"{len(splits['validation'])} to validate. Expected at least one each: add images."
        )
    return Run(
        folder=folder,
        record=record,
        recipe=recipe,
        train=dataset.train.take(splits["train"]),
        validation=dataset.train.take(splits["validation"]),
        test=dataset.test,
    )
