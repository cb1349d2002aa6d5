"""Opens a run with its images in memory: a new run, or the folder of an earlier one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import keras
import msgspec
import numpy as np

from lince import data
from lince.data.sources import cifar10
from lince.errors import RecipeError, ResumeError, TrainingError
from lince.model_file import artifact
from lince.networks import models, pretrained
from lince.progress import Progress
from lince.runs.float_model import trained_bytes, trained_model
from lince.runs.run_folder import Budget, RunFolder, RunRecord
from lince.system import memory
from lince.text import quantity
from lince.training import backend, optimizers, recipes
from lince.training.distillation import teacher as teachers
from lince.training.distillation.teacher import Teacher, TeacherModel
from lince.training.history import ENOUGH_VALIDATION_IMAGES
from lince.training.recipe import Recipe
from lince.training.seen_images import HeldOut, Learned
from lince.training.step import initialise_from
from lince.types import ComputeDtype, Dataset, Split

_MAY_BE_TESTED_ON = (
    "has learned from images of the same source, which has changed since or is read at another size. Some of them may "
    "be test images now, so that the accuracy may look better than it is: test on pictures that were not in the source."
)


@dataclass(frozen=True)
class Run:
    """An open run: its folder, and its images in memory.

    Attributes:
        recipe: with the overrides that a resumed run was given.
        groups: i64[N], equal for images of `train` that stay together when they are divided again.
        teacher: open for a new run that has one. A resumed run opens it only for training; see `teacher_of`.
    """

    folder: RunFolder
    record: RunRecord
    recipe: Recipe
    train: Split
    validation: Split
    test: Split
    groups: np.ndarray
    teacher: TeacherModel | None = None


Splits = Mapping[str, np.ndarray]
"""Index arrays by the name of a split; see `splits.npz` in docs/run-folder.md."""

Plan = Callable[[Run, Splits], tuple[Recipe, Budget | None]]
"""Chooses the recipe and its epochs when the images are read. The folder of the run does not exist yet."""


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
    groups: str | None = None,
    plan: Plan | None = None,
) -> Run:
    """Reads the dataset, sets the validation split aside and makes the run folder.

    Checks that need no image come before reading. The folder is made last.

    Args:
        source: `cifar10`, a folder or a `.zip`.
        recipe: the resolved recipe. With a `plan` it only says how images are read.
        folder: a new folder.
        seed: of every random choice of the run, 0 to 2³² − 1.
        deterministic: recorded. `backend.prepare` must have been called with the same value.
        strict: stop at the first file that cannot be read.
        progress: receives the number of images read.
        teacher: a model file to learn from, opened by `teacher.open_model`.
        leave_out: a folder or .zip whose images are not trained or validated on; see `data.load`.
        groups: names images that stay on one side of every split; see `data.load`.
        plan: chooses the recipe and its epochs when the images are read.

    Raises:
        DataError: the dataset cannot be used.
        RecipeError: Keras does not know the optimizer; or the teacher, or the run of `model.weights`, does not suit.
        ResumeError: `model.weights` names a folder that is not a run's.
        TrainingError: the folder holds a run or cannot be written, the run of `model.weights` has no network, or the
            time budget is too short.
    """
    folder.require_new()
    optimizers.create(recipe.train)
    kept, lineage = _beginning(recipe, folder)
    source, leave_out = _absolute(source), _absolute(leave_out) if leave_out else None
    dataset = data.load(
        source, recipe.spec, seed=seed, strict=strict, leave_out=leave_out, groups=groups, progress=progress
    )
    splits, warnings = _hold_out(dataset, recipe, seed=seed)
    left_out = Path(leave_out).name if leave_out else None
    held_out = HeldOut(seed, left_out, recipe.train.validation_fraction, groups)
    if teacher is not None:
        teachers.check(teacher, dataset, held_out)
        kept[folder.teacher] = artifact.encode(teacher.model)
    others = [teacher.learned] if teacher else []
    for number, earlier in enumerate(lineage):
        name = f"The run {recipe.model.pretrained!r}, whose weights training begins with,"
        if number:
            name = f"The run {earlier.name!r}, from which those of model.weights come,"
        others.append(Learned.by_run(earlier, dataset, source=source, name=name))
        others[-1].require_unseen_test(dataset, held_out)
        if earlier.source == source and earlier.fingerprint != dataset.fingerprint and dataset.test_indices:
            warnings = (*warnings, f"{name} {_MAY_BE_TESTED_ON}")
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
        reading=dataset.reading,
        warnings=(*dataset.warnings, *warnings),
        teacher=str(teacher.path) if teacher else None,
        teacher_version=teacher.version if teacher else None,
        knows_validation=any(other.knows_validation(dataset, held_out) for other in others),
        leave_out=leave_out,
        pretrained=pretrained.origin(recipe.model.pretrained) if recipe.model.pretrained else None,
        refits=bool(recipe.model.pretrained) and len(splits["validation"]) < ENOUGH_VALIDATION_IMAGES,
        groups=groups,
    )
    run = _run(folder, record, recipe, dataset, splits, teacher=teacher)
    if plan is not None:
        recipe, budget = plan(run, splits)
        record = msgspec.structs.replace(record, recipe=recipes.to_table(recipe), budget=budget)
        run = replace(run, recipe=recipe, record=record)
    folder.create(record, kept=kept, **splits)
    return run


def resume(folder: RunFolder, *, overrides: Sequence[str] = (), progress: Progress) -> Run:
    """Opens a run folder again, with the same images, recipe and splits.

    Args:
        folder: a run's.
        overrides: `key=value` for the recipe's `[quantize]` and `[calibrate]`, which are used after training.
        progress: receives the number of images read.

    Raises:
        RecipeError: an override of another table.
        ResumeError: the folder is not a run folder, or the dataset has changed.
    """
    record, splits = folder.read_record(), folder.read_splits()
    recipe = recipes.from_table(record.recipe, source=str(folder.record))
    recipe = recipes.override(recipe, overrides, tables=("quantize", "calibrate"))
    earlier = data.EarlierSplit(record.fingerprint, record.groups, splits["test"])
    dataset = data.load(record.source, recipe.spec, seed=record.seed, earlier=earlier, progress=progress)
    if dataset.fingerprint != record.fingerprint:
        raise ResumeError(
            f"The images of {record.source!r} are not those of the run (fingerprint {dataset.fingerprint[:12]}, was "
            f"{record.fingerprint[:12]}). Expected the same files, read by the same versions of lince and Pillow "
            f"({folder.record} names them). Restore them, or start a new run."
        )
    if record.classes != dataset.train.classes:
        raise ResumeError(
            f"{str(folder.record)!r} names other classes than {record.source!r} has. Expected the record as it was "
            "written: restore it, or start a new run."
        )
    return _run(folder, record, recipe, dataset, splits)


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


def begin(run: Run, model: keras.Model) -> None:
    """Sets the weights that a run's network has before its first step, other than random ones.

    Raises:
        TrainingError: the pretrained weights cannot be read.
    """
    if run.recipe.model.pretrained == pretrained.IMAGENET:
        memory.trim()
        pretrained.set_imagenet_weights(model)
    elif run.recipe.model.pretrained:
        pretrained.set_weights_of_run(model, run.folder.beginning, classes=run.record.classes)
    else:
        initialise_from(run.train, model, run.recipe.model, seed=run.record.seed)


def teacher_of(run: Run) -> Teacher | None:
    """The network that the run learns from, or None. A resumed run opens its copy of the teacher; see `reopen`."""
    if run.record.teacher is None:
        return None
    return (run.teacher or teachers.reopen(run.folder, run.record, run.recipe.spec)).predict


def _beginning(recipe: Recipe, folder: RunFolder) -> tuple[dict[Path, bytes], tuple[RunRecord, ...]]:
    """What the folder keeps of the run whose weights training begins with, by path, and what that run has learned from.

    The weights may come from a run that itself began with another's. Of those further ones the records are kept.

    Returns:
        The files, and the records of these runs: first that of `model.weights`, then the one that it began with.

    Raises:
        ResumeError: `model.weights` names a folder that is not a run's. TrainingError: the run has no network yet.
        RecipeError: its network is of another family.
    """
    if recipe.model.pretrained in ("", pretrained.IMAGENET):
        return {}, ()
    earlier, copy = RunFolder(Path(recipe.model.pretrained)), folder.beginning
    record = earlier.read_record()
    theirs, family = record.recipe["model"]["family"], recipes.to_table(recipe)["model"]["family"]
    if theirs != family:
        raise RecipeError(
            f"The run {recipe.model.pretrained!r} of model.weights has a network of family {theirs!r}. Expected one of "
            f"family {family!r}: name another run, or leave out model.weights."
        )
    trained_model(earlier)  # a damaged file is told now, by its own name, and before a folder is made
    kept, lineage = {copy.keras_model: trained_bytes(earlier)}, [record]
    while (earlier := earlier.beginning).record.exists():
        lineage.append(earlier.read_record())
    for one in lineage:
        kept[copy.record] = msgspec.json.encode(one)
        copy = copy.beginning
    return kept, tuple(lineage)


def _absolute(source: str) -> str:
    return source if source == cifar10.NAME else str(Path(source).resolve())


def _hold_out(dataset: Dataset, recipe: Recipe, *, seed: int) -> tuple[Splits, tuple[str, ...]]:
    """The arrays of `splits.npz`, and what groups did to the validation split, a sentence each."""
    everything = dataset.train
    groups = np.arange(len(everything)) if dataset.groups is None else dataset.groups
    fraction = recipe.train.validation_fraction
    kept, held_out = data.hold_out(everything.labels, groups, fraction=fraction, seed=seed, leave_out=dataset.left_out)
    if len(kept) == 0 or len(held_out) == 0:
        raise TrainingError(
            f"{quantity(len(everything) - len(dataset.left_out), 'training image')} of {len(everything.classes):,} "
            f"classes leave {len(kept):,} to train on and {len(held_out):,} to validate with. Expected at least one of "
            "each. Add images: a class with images of three or more groups (copies, look-alikes and those of --groups "
            "are one) gives at least one to each split."
        )
    divided = np.sort(np.concatenate([kept, held_out]))
    warnings = data.split_warnings(
        everything.labels[divided],
        np.searchsorted(divided, held_out),
        classes=everything.classes,
        fraction=fraction,
        purpose="validate",
    )
    test = np.asarray(dataset.test_indices, np.int64)
    return {"train": kept, "validation": held_out, "test": test, "groups": groups}, warnings


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
        test=dataset.test.take(np.arange(len(dataset.test))),  # a copy: a view would keep all images in memory
        groups=splits["groups"][splits["train"]],
        teacher=teacher,
    )
