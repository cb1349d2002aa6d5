"""A run, opened: a new folder, or an old one again, with its images in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import keras
import msgspec
import numpy as np

from lince import data
from lince.data.sources import cifar10
from lince.data.splits import hold_out
from lince.errors import ResumeError, TrainingError
from lince.model_file import artifact
from lince.networks import models
from lince.progress import Progress
from lince.runs.run_folder import Budget, RunFolder, RunRecord
from lince.text import quantity
from lince.training import backend, loss, recipes
from lince.training.distillation import teacher as teachers
from lince.training.distillation.teacher import TeacherModel
from lince.training.recipe import Recipe
from lince.types import ComputeDtype, Dataset, Split


@dataclass(frozen=True)
class Run:
    """A run folder and what is in memory for it.

    Attributes:
        recipe: with the overrides that a resumed run was given.
        teacher: opened for a new run that has one; a resumed run opens it when it goes on training.
    """

    folder: RunFolder
    record: RunRecord
    recipe: Recipe
    train: Split
    validation: Split
    test: Split
    teacher: TeacherModel | None = None


Splits = Mapping[str, np.ndarray]
"""Index arrays by the name of a split; see `splits.npz` in docs/run-folder.md."""

Plan = Callable[[Run, Splits], tuple[Recipe, Budget]]
"""Chooses the recipe and its length for a time; the run's folder is not there yet."""


def start(
    source: str,
    recipe: Recipe,
    folder: RunFolder,
    *,
    seed: int,
    deterministic: bool,
    strict: bool,
    progress: Progress,
    teacher: TeacherModel | None = None,
    leave_out: str | None = None,
    plan: Plan | None = None,
) -> Run:
    """Reads the dataset, sets the validation split aside and opens the run folder.

    What can be refused without the images is refused before they are read, and the folder is made last.

    Args:
        source: `cifar10`, a folder or a `.zip`.
        recipe: resolved; with a `plan` it only says how images are read.
        folder: a new one.
        seed: of every random choice of the run, 0 to 2³² − 1.
        deterministic: recorded; `backend.prepare` must have been called with the same.
        strict: stop at the first file that cannot be read.
        progress: told of images read.
        teacher: a model file to learn from, opened by `teacher.open_model`.
        leave_out: a folder or .zip to test on, of which no image is to be trained or validated on; see `data.load`.
        plan: chooses the recipe and its length for a time.

    Raises:
        DataError: the dataset cannot be used.
        RecipeError: Keras does not know what the recipe names, or the teacher is not for this run.
        TrainingError: the folder is taken or cannot be written, or the plan finds its time too short.
    """
    folder.require_new()
    loss.compile_model(build(recipe, num_classes=2, precision="float32", seed=seed), recipe.train)
    source = _absolute(source)
    leave_out = _absolute(leave_out) if leave_out else None
    dataset = data.load(source, recipe.spec, seed=seed, strict=strict, leave_out=leave_out, progress=progress)
    kept, held_out = _hold_out(dataset, recipe, seed=seed)
    precision = backend.resolve_precision(recipe.train.precision)
    knows_validation = False
    if teacher is not None:
        left_out_name = Path(leave_out).name if leave_out else None
        same = teachers.HeldOut(seed, left_out_name, recipe.train.validation_fraction)
        teachers.check(teacher, dataset, same)
        knows_validation = teachers.knows_validation(teacher, dataset, same)
    record = RunRecord(
        name=folder.path.name,
        recipe=recipes.to_table(recipe),
        seed=seed,
        source=source,
        fingerprint=dataset.fingerprint,
        classes=dataset.train.classes,
        precision=precision,
        deterministic=deterministic,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=backend.describe(),
        rejected=dataset.rejected,
        reading=dataset.reading,
        warnings=dataset.warnings,
        teacher=str(teacher.path) if teacher else None,
        teacher_version=teacher.version if teacher else None,
        teacher_knows_validation=knows_validation,
        leave_out=leave_out,
    )
    splits = {"train": kept, "validation": held_out, "test": np.asarray(dataset.test_indices, np.int64)}
    if plan is not None:
        recipe, budget = plan(_run(folder, record, recipe, dataset, splits, teacher=teacher), splits)
        record = msgspec.structs.replace(record, recipe=recipes.to_table(recipe), budget=budget)
    folder.create(
        record,
        teacher=artifact.encode(teacher.model) if teacher else None,
        **splits,
    )
    return _run(folder, record, recipe, dataset, splits, teacher=teacher)


def resume(folder: RunFolder, *, overrides: Sequence[str] = (), progress: Progress) -> Run:
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
    return _run(folder, record, recipe, dataset, folder.read_splits())


def build(recipe: Recipe, *, num_classes: int, precision: ComputeDtype, seed: int) -> keras.Model:
    """The network that a recipe describes, with fresh weights; see `models.build`."""
    return models.build(recipe.model, spec=recipe.spec, num_classes=num_classes, precision=precision, seed=seed)


def build_for(run: Run, *, precision: ComputeDtype, folded: bool = False) -> keras.Model:
    """The network of a run, with fresh weights; see `models.build`."""
    return models.build(
        run.recipe.model,
        spec=run.recipe.spec,
        num_classes=len(run.record.classes),
        precision=precision,
        seed=run.record.seed,
        folded=folded,
    )


def _absolute(source: str) -> str:
    return source if source == cifar10.NAME else str(Path(source).resolve())


def _hold_out(dataset: Dataset, recipe: Recipe, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices i64 into the training images: to train on and to validate with."""
    everything, fraction = dataset.train, recipe.train.validation_fraction
    kept, held_out = hold_out(
        everything.images, everything.labels, fraction=fraction, seed=seed, leave_out=dataset.left_out
    )
    if len(kept) == 0 or len(held_out) == 0:
        raise TrainingError(
            f"{quantity(len(everything) - len(dataset.left_out), 'training image')} of {len(everything.classes):,} "
            f"classes leave {len(kept):,} to train on and {len(held_out):,} to validate with. Expected at least one of "
            "each: add images; a class that has three or more different ones gives one to each split."
        )
    return kept, held_out


def _run(
    folder: RunFolder,
    record: RunRecord,
    recipe: Recipe,
    dataset: Dataset,
    splits: Splits,
    *,
    teacher: TeacherModel | None = None,
) -> Run:
    return Run(
        folder=folder,
        record=record,
        recipe=recipe,
        train=dataset.train.take(splits["train"]),
        validation=dataset.train.take(splits["validation"]),
        test=dataset.test.take(np.arange(len(dataset.test))),  # a view of all images would keep them in memory twice
        teacher=teacher,
    )
