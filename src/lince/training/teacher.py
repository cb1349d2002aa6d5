"""A trained model file as the teacher of another network."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lince import artifact, machine, native
from lince.classifier import Network
from lince.errors import RecipeError
from lince.records import ImageSpec
from lince.training.opening import Run
from lince.training.targets import Teacher


def load(run: Run) -> Teacher:
    """Opens the run's teacher: its network as it is served, in int8, which takes a third of the time of float.

    Raises:
        RecipeError: it was trained for other classes or images, or is another than the run began with.
        ModelFileError: it is not a model file.
    """
    read = artifact.read(artifact.locate(run.record.teacher))
    if read.manifest.version != run.record.teacher_version:
        raise RecipeError(
            f"The teacher {run.record.teacher!r} is of version {read.manifest.version}. Expected the one that the run "
            f"began with, {run.record.teacher_version}: put it back, or start a new run."
        )
    theirs, ours = read.manifest.classes, run.record.classes
    if theirs != ours:
        raise _refused(run, f"{len(theirs)} classes ({_brief(theirs)})", f"{len(ours)} ({_brief(ours)})")
    if read.manifest.image != run.recipe.spec:
        raise _refused(run, _size(read.manifest.image), _size(run.recipe.spec))
    return _Parallel(read.flatbuffer, workers=machine.cores())


def _refused(run: Run, theirs: str, ours: str) -> RecipeError:
    return RecipeError(
        f"The teacher {run.record.teacher!r} was trained for {theirs}. Expected those of the run, {ours}: "
        "train a teacher on this data, or name another."
    )


def _brief(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:5]) + (", …" if len(classes) > 5 else "")


def _size(image: ImageSpec) -> str:
    return f"images of {image.width} × {image.height} pixels ({image.resize})"


class _Parallel:
    """Copies of a network, each on a thread of its own, since each takes one image at a time."""

    def __init__(self, flatbuffer: bytes, *, workers: int):
        with native.hushed():
            self._networks = [Network(flatbuffer) for _ in range(workers)]
        self._pool = ThreadPoolExecutor(workers)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """u8[N,H,W,3] → f32[N,K] logits."""
        parts = np.array_split(images, len(self._networks))
        answers = self._pool.map(lambda network, part: network.dequantize(network.run(part)), self._networks, parts)
        return np.concatenate(list(answers))
