"""The whole path, from a dataset to a model file. Read this first.

    start         read the images, set the validation split aside, open the run folder    run.json, splits.npz
    train_model   fit the network, keep the weights that the recipe asks for   checkpoint.npz, history.csv, model.keras
    publish       quantize, calibrate, certify                                 answers.npz, report.json, model.tflite

Each stage reads what the one before it wrote, so each can be repeated alone: `resume` reopens a run folder.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from lince.errors import ResumeError, TrainingError
from lince.model_file.manifest import RunReport
from lince.networks import models
from lince.networks.models import float_predict
from lince.progress import Progress
from lince.publishing.options import PublishOptions, PublishRequest
from lince.publishing.publish import publish
from lince.runs.float_model import save_trained, trained_model
from lince.runs.run_folder import RunFolder
from lince.training import checkpoint, loop, schedule
from lince.training.checkpoint import Checkpoint
from lince.training.display import LineDisplay, LiveDisplay, TensorBoardDisplay
from lince.training.distillation import teacher
from lince.training.session import Run, build_for, resume, start
from lince.training.stagnation import Stagnation
from lince.training.step import initialise_from
from lince.types import EpochRecord, Predict

__all__ = [
    "PublishOptions",
    "PublishRequest",
    "Run",
    "RunFolder",
    "float_predict",
    "publish",
    "publish_folder",
    "resume",
    "settle",
    "start",
    "train_model",
    "trained_model",
    "watch",
]


def train_model(run: Run, display: LineDisplay | TensorBoardDisplay, *, resume: bool = False) -> None:
    """Fits the network and writes `model.keras` with the weights to keep, whichever way training ends.

    Args:
        run: open.
        display: told of every step and validation; see `watch`.
        resume: go on from the run's checkpoint, if it has one.

    Raises:
        TrainingError: the run was trained already, and `resume` is off.
        TrainingError, ResumeError: see `loop.fit`. KeyboardInterrupt: passed on, after the weights were written.
    """
    if not resume and run.folder.checkpoint.exists():
        raise TrainingError(
            f"{str(run.folder.path)!r} has epochs that are trained already. Expected resume=True, to go on with them, "
            "or a new run."
        )
    model = build_for(run, precision=run.record.precision)
    initialise_from(run.train, model, run.recipe.model, seed=run.record.seed)
    try:
        loop.fit(
            model,
            train=run.train,
            validation=run.validation,
            recipe=run.recipe.train,
            augmentation=run.recipe.augment,
            seed=run.record.seed,
            checkpoint_path=run.folder.checkpoint,
            display=_Recorder(display, run),
            schedule=schedule.of(run.recipe.train, run.record.budget),
            teacher=_teacher(run),
            resume=resume,
        )
    except BaseException:
        with suppress(Exception):  # what ended training is what the user must hear of: a full disk fails twice
            settle(run)
        raise
    settle(run)


def settle(run: Run) -> None:
    """Brings `model.keras` and `history.csv` up to date with the checkpoint; does nothing before the first epoch.

    A run that was killed has written its checkpoint, and nothing else, when it ended.

    Raises:
        TrainingError: the files cannot be written. ResumeError: the checkpoint is damaged.
    """
    try:
        state = checkpoint.read(run.folder.checkpoint)
    except ResumeError as error:
        if not run.folder.keras_model.exists():
            raise
        raise ResumeError(
            f"{error} Or, since {run.folder.keras_model.name} is there, publish that: put the checkpoint away, then "
            f"lince quantize {run.folder.path}."
        ) from error
    if state is None:
        return
    trained = build_for(run, precision="float32")
    trained.set_weights(state.kept_weights)
    model = build_for(run, precision="float32", folded=True)
    models.fold(trained, model)
    try:
        save_trained(model, run.folder)
        run.folder.write_history(state.history)
    except OSError as error:
        raise TrainingError(
            f"{str(run.folder.keras_model)!r} could not be written ({error.strerror}). The checkpoint is intact: "
            f"make room, then go on with lince train --resume {run.folder.path}."
        ) from error


@contextmanager
def watch(console: Console, run: Run, *, tensorboard: bool) -> Iterator[LineDisplay | TensorBoardDisplay]:
    """A display that suits the console: redrawn on a terminal, line by line elsewhere; TensorBoard on request."""
    kind = LiveDisplay if console.is_terminal else LineDisplay
    with kind(console, epochs=schedule.of(run.recipe.train, run.record.budget).total()) as display:
        yield TensorBoardDisplay(display, run.folder.tensorboard) if tensorboard else display


def _teacher(run: Run) -> Predict | None:
    """What the run's teacher answers; a resumed run opens its copy."""
    if run.record.teacher is None:
        return None
    return (run.teacher or teacher.reopen(run.folder, run.record, run.recipe.spec)).predict


def publish_folder(request: PublishRequest, *, progress: Progress, say: Callable[[str], None]) -> RunReport:
    """Opens a run folder again, and publishes its network.

    Args:
        request: which one, and how.
        progress: told of images read.
        say: told what is being done.

    Raises:
        RecipeError, ResumeError: as `resume`. TrainingError: as `settle`. QuantizationError: as `publish`.
    """
    run = resume(RunFolder(Path(request.run)), overrides=request.overrides, progress=progress)
    settle(run)
    return publish(run, request.options, say=say)


class _Recorder:
    """Writes `history.csv` and looks for signs of trouble after every validation, and passes all on to a display."""

    def __init__(self, display: LineDisplay | TensorBoardDisplay, run: Run):
        self.step = display.step
        self._display, self._folder = display, run.folder
        self._stagnation = Stagnation(
            run.train.labels,
            run.validation.labels,
            num_classes=len(run.record.classes),
            recipe=run.recipe.train,
            precision=run.record.precision,
        )
        state: Checkpoint | None = checkpoint.read(run.folder.checkpoint)
        self._history = state.history if state else ()

    def epoch(self, record: EpochRecord, *, best: bool) -> None:
        self._history = (*self._history, record)
        self._folder.write_history(self._history)
        self._display.epoch(record, best=best, warning=self._stagnation.warning(self._history))
