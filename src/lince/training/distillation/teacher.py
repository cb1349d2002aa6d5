"""A trained model file as the teacher of another network."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from lince.data.class_names import composed
from lince.errors import RecipeError, ResumeError
from lince.inference.classifier import Classifier
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.model_file.manifest import Manifest
from lince.runs.run_folder import RunFolder, RunRecord
from lince.system import machine, quiet
from lince.text import brief
from lince.types import ImageSpec

Teacher = Callable[[UInt8[np.ndarray, "n h w 3"]], Float32[np.ndarray, "n k"]]
"""A trained network: pixels in, logits out."""


def load(folder: RunFolder, record: RunRecord, spec: ImageSpec) -> Teacher:
    """Opens the copy of its teacher that a run keeps: as it is served, in int8, which takes a third of float's time.

    Args:
        folder, record: of the run, which has a teacher.
        spec: the run's images.

    Raises:
        ResumeError: it is not there. RecipeError: it is another than the run began with. ModelFileError: it is damaged.
    """
    if not folder.teacher.exists():
        raise ResumeError(
            f"{str(folder.path)!r} has no copy of the run's teacher. Expected {folder.teacher}: put the model file of "
            f"version {record.teacher_version} there, once {record.teacher}."
        )
    found = read(folder.teacher, spec)
    if found.manifest.version != record.teacher_version:
        raise RecipeError(
            f"The teacher {str(folder.teacher)!r} is of version {found.manifest.version}. Expected the one that the "
            f"run began with, {record.teacher_version}: put it back, or start a new run."
        )
    return in_int8(found)


def read(path: Path, spec: ImageSpec) -> artifact.Artifact:
    """Reads a model file that is to teach on images of this size.

    Raises:
        RecipeError: it is for others. ModelFileError: it is no model file, or does not give its golden images' answers.
    """
    with quiet.captured_stderr():
        Classifier.load(path)  # runs the golden images: where they come out wrong, so would every answer
    found = artifact.read(path)
    theirs = found.manifest.image
    if theirs != spec:
        raise RecipeError(
            f"The teacher {str(path)!r} was trained for {_size(theirs)}. Expected those of the run, {_size(spec)}: "
            "train a teacher by a recipe of that size and fit, or name another."
        )
    return found


def check(manifest: Manifest, record: RunRecord, *, test_is_drawn: bool) -> None:
    """Refuses a teacher of other classes, and one that knows images which the run is to be judged by.

    Args:
        manifest: the teacher's.
        record: of the run.
        test_is_drawn: whether the run's test split is drawn from the source, by its seed.

    Raises:
        RecipeError: see above.
    """
    theirs, name = manifest.training, f"The teacher {record.teacher!r}"
    if tuple(map(composed, manifest.classes)) != record.classes:
        known, wanted = manifest.classes, record.classes
        raise RecipeError(
            f"{name} was trained for {len(known)} classes ({brief(known, unlike=wanted)}). Expected those of the run, "
            f"{len(wanted)} ({brief(wanted, unlike=known)}): train a teacher on this data, or name another."
        )
    if theirs.get("fingerprint") != record.fingerprint:
        return  # of other data, or of this and more: what it knows cannot be told from here
    if test_is_drawn and "seed" not in theirs:
        raise RecipeError(
            f"{name} does not say with which --seed it was trained: it may have learned from images of the run's test "
            "split. Name one that lince train wrote, or give the data a test split of its own."
        )
    if test_is_drawn and theirs["seed"] != record.seed:
        raise RecipeError(
            f"{name} was trained with --seed {theirs['seed']}, the run has {record.seed}: the teacher has learned "
            "from images of the run's test split. Give both the same seed."
        )
    if record.leave_out and theirs.get("leave_out") != record.left_out_name:
        raise RecipeError(
            f"{name} was trained without --leave-out {record.left_out_name}, which the run leaves out: it would pass "
            "on what it has learned from those images. Train it with the same --leave-out, or name another."
        )


def knows_validation(manifest: Manifest, record: RunRecord) -> bool:
    """Whether a teacher has learned from images of the run's validation split, as far as its manifest tells.

    It has when both were trained on the same dataset and did not hold out the same images of it.
    """
    theirs, mine = manifest.training, record.recipe["train"]["validation_fraction"]
    if theirs.get("fingerprint") != record.fingerprint:
        return False
    fraction = _at(theirs, "recipe", "train", "validation_fraction")
    return (theirs.get("seed"), fraction, theirs.get("leave_out")) != (record.seed, mine, record.left_out_name)


def in_int8(model: artifact.Artifact) -> Teacher:
    """The network of a model file, on all cores."""
    return _Parallel(model.flatbuffer, workers=machine.cores())


def _at(table: Any, *keys: str) -> Any:
    """What lies at these keys of a manifest's free-form part; None where it is of another form."""
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _size(image: ImageSpec) -> str:
    return f"images of {image.width} × {image.height} pixels ({image.resize})"


class _Parallel:
    """Copies of a network, each on a thread of its own, since each takes one image at a time."""

    def __init__(self, flatbuffer: bytes, *, workers: int):
        with quiet.captured_stderr():
            self._networks = [Network(flatbuffer) for _ in range(workers)]
        self._pool = ThreadPoolExecutor(workers)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """u8[N,H,W,3] → f32[N,K] logits."""
        parts = np.array_split(images, len(self._networks))
        answers = self._pool.map(lambda network, part: network.dequantize(network.run(part)), self._networks, parts)
        return np.concatenate(list(answers))
