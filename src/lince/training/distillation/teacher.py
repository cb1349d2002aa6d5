"""A trained model file as the teacher of another network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from lince.data.class_names import composed
from lince.errors import RecipeError, ResumeError
from lince.inference.classifier import Classifier
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder, RunRecord
from lince.system import machine, quiet
from lince.text import brief
from lince.training.seen_images import HeldOut, Learned
from lince.types import Dataset, ImageSpec

Teacher = Callable[[UInt8[np.ndarray, "n h w 3"]], Float32[np.ndarray, "n k"]]
"""A trained network: pixels in, logits out."""


@dataclass(frozen=True)
class TeacherModel:
    """An open model file that teaches. It was read once, and its golden images were checked.

    Attributes:
        path: of the file, absolute.
        model: content of the file.
        predict: the int8 network on all cores, as it is served. It takes a third of the float network's time.
    """

    path: Path
    model: artifact.Artifact
    predict: Teacher

    @property
    def version(self) -> str:
        return self.model.manifest.version

    @property
    def learned(self) -> Learned:
        """What its manifest says of its training."""
        return Learned(f"The teacher {str(self.path)!r}", self.model.manifest.training)


def open_model(path: Path, spec: ImageSpec) -> TeacherModel:
    """Opens a model file as the teacher for images of this size.

    Args:
        path: of the file; see `artifact.locate`.
        spec: the run's images.

    Raises:
        RecipeError: the model is for images of another size. ModelFileError: it is not a model file, or it does not
            reproduce its golden images, so that its other answers would be wrong, too.
    """
    model = artifact.read(path)
    with quiet.captured_stderr():
        Classifier.verified(model, name=str(path))
    theirs = model.manifest.image
    if theirs != spec:
        raise RecipeError(
            f"The teacher {str(path)!r} was trained for {_size(theirs)}. Expected those of the run, {_size(spec)}: "
            "train a teacher with a recipe of that size and fit, or name another."
        )
    network = Network(model.flatbuffer, copies=machine.cores())
    return TeacherModel(path.resolve(), model, lambda images: network.dequantize(network.run(images)))


def reopen(folder: RunFolder, record: RunRecord, spec: ImageSpec) -> TeacherModel:
    """Opens the run folder's copy of the teacher, for a resumed run.

    Args:
        folder, record: of the run, which has a teacher.
        spec: the run's images.

    Raises:
        ResumeError: the copy is missing. RecipeError: it is not the teacher with which the run started.
        ModelFileError: it is damaged.
    """
    if not folder.teacher.exists():
        raise ResumeError(
            f"{str(folder.path)!r} has no copy of the run's teacher. Expected {folder.teacher}: copy the model file of "
            f"version {record.teacher_version} there (it was {record.teacher})."
        )
    found = open_model(folder.teacher, spec)
    if found.version != record.teacher_version:
        raise RecipeError(
            f"The teacher {str(folder.teacher)!r} is of version {found.version}. Expected the version with "
            f"which the run started, {record.teacher_version}: restore it, or start a new run."
        )
    return found


def check(teacher: TeacherModel, dataset: Dataset, held_out: HeldOut) -> None:
    """Refuses a teacher of other classes, and one that has learned from the run's test images.

    Args:
        teacher: opened.
        dataset, held_out: of the run; see `seen_images`.

    Raises:
        RecipeError: see above.
    """
    known, classes = teacher.model.manifest.classes, dataset.train.classes
    if tuple(map(composed, known)) != classes:
        raise RecipeError(
            f"{teacher.learned.name} was trained for {len(known)} classes ({brief(known, unlike=classes)}). Expected "
            f"those of the run, {len(classes)} ({brief(classes, unlike=known)}): train a teacher on this data, or name "
            "another."
        )
    teacher.learned.require_unseen_test(dataset, held_out)


def _size(image: ImageSpec) -> str:
    return f"images of {image.width} × {image.height} pixels ({image.resize})"
