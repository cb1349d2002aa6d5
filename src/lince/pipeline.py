"""The stages of a run, from a dataset to a model file. Read this module first.

    stage              what it does                                          files that it writes into the run folder
    start              reads the images and sets the validation split aside  run.json, splits.npz, teacher.tflite,
                                                                             beginning/
    fit_head           fits the last layer of a pretrained network          features.npy, head.npz
    train_model        fits a network to the training images                 checkpoint.npz, history.csv
    refit              fits it again, to validation images too, if few       refit.npz, held_out.npz
    write_float_model  folds batch norm into the weights that are kept       model.keras
    publish            quantizes, calibrates and certifies the network       answers.npz, report.json, model.tflite

Each stage reads the files of the stage before it, so it can be repeated alone: `resume` opens a run folder again.
The command line runs these stages in `cli/run_commands.py`, the notebook in `notebooks/training.py`.
"""

from contextlib import suppress

from lince.errors import ResumeError, TrainingError
from lince.networks import models
from lince.networks.models import float_predict
from lince.progress import Progress
from lince.publishing.options import PublishOptions, PublishRequest
from lince.publishing.publish import publish
from lince.runs.float_model import save_trained, trained_model
from lince.runs.run_folder import RunFolder
from lince.training import checkpoint, loop, schedule
from lince.training import refit as refits
from lince.training.display import Display, RecordingDisplay, watch
from lince.training.session import Run, begin, build_for, resume, start, teacher_of
from lince.training.transfer import features
from lince.training.transfer import head as heads

__all__ = [
    "PublishOptions",
    "PublishRequest",
    "Run",
    "RunFolder",
    "fit_head",
    "float_predict",
    "publish",
    "refit",
    "resume",
    "start",
    "train_model",
    "trained_model",
    "watch",
    "write_float_model",
]


def fit_head(run: Run, progress: Progress) -> None:
    """Fits the last layer of a pretrained network to the features of the training images, and writes `head.npz`.

    `features.npy` has the features of the training images, then of the validation images. Other networks have no such
    layer. Features and a head that a run has are kept.

    Args:
        run: an open run.
        progress: receives the number of images whose features are computed.

    Raises:
        TrainingError: the weights cannot be read, or a file cannot be written.
    """
    if not run.recipe.model.pretrained or run.folder.head.exists():
        return
    model = build_for(run, precision=run.record.precision)
    begin(run, model)
    mirrored = run.recipe.augment.horizontal_flip != "none"
    images = (run.train.images, run.validation.images)
    stored = features.stored(run.folder.features, model, images, mirrored=mirrored, progress=progress)
    training = stored.first(len(run.train))
    fitted = heads.fit(
        training, run.train.labels, num_classes=len(run.record.classes), seed=run.record.seed, groups=run.groups
    )
    heads.save(run.folder.head, fitted)


def train_model(run: Run, display: Display, *, resume: bool = False) -> None:
    """Fits the network and writes `model.keras` with the weights to keep, also when training is interrupted.

    Args:
        run: an open run.
        display: receives every step and validation; see `watch`.
        resume: continue from the run's checkpoint, if it has one.

    Raises:
        TrainingError: the run has trained epochs, and `resume` is off.
        TrainingError, ResumeError: see `loop.fit`. KeyboardInterrupt: passed on after the weights are written.
    """
    if not resume and run.folder.checkpoint.exists():
        raise TrainingError(
            f"{str(run.folder.path)!r} has trained epochs. Expected resume=True to continue with them, or a new run."
        )
    model = build_for(run, precision=run.record.precision)
    begin(run, model)
    head = heads.read(run.folder.head) if run.recipe.model.pretrained else None
    try:
        loop.fit(
            model,
            train=run.train,
            validation=run.validation,
            recipe=run.recipe.train,
            augmentation=run.recipe.augment,
            seed=run.record.seed,
            checkpoint_path=run.folder.checkpoint,
            display=RecordingDisplay(display, run),
            schedule=schedule.of(run.recipe.train, run.record.budget),
            teacher=teacher_of(run),
            head=head,
            resume=resume,
        )
    except BaseException:
        with suppress(Exception):  # the user must see the error that ended training, not a second one
            write_float_model(run)
        raise
    write_float_model(run)


def refit(run: Run, progress: Progress, *, resume: bool = False) -> None:
    """Trains the network of a run with few images again, on its validation images too; see `training/refit.py`.

    Args:
        run: trained.
        progress: receives the number of images and epochs.
        resume: continue an interrupted refit, if there is one.

    Raises:
        TrainingError, ResumeError: see `loop.fit`.
    """
    refits.refit(run, progress, resume=resume)
    write_float_model(run)


def write_float_model(run: Run) -> None:
    """Writes `model.keras` and `history.csv` from the checkpoints. Without a checkpoint it does nothing.

    A killed run has a checkpoint that may be newer than both files.

    Raises:
        TrainingError: the files cannot be written. ResumeError: the checkpoint is damaged.
    """
    try:
        state = checkpoint.read(run.folder.checkpoint)
    except ResumeError as error:
        if not run.folder.keras_model.exists():
            raise
        raise ResumeError(
            f"{error} {run.folder.keras_model.name} exists. To publish it, move the checkpoint to another folder, then "
            f"use lince quantize {run.folder.path}."
        ) from error
    if state is None:
        return
    trained = build_for(run, precision="float32")
    weights = checkpoint.read(run.folder.trained) or state
    trained.set_weights(weights.kept_weights)
    folded = build_for(run, precision="float32", folded=True)
    models.fold(trained, folded)
    try:
        save_trained(folded, run.folder)
        run.folder.write_history(state.history)
    except OSError as error:
        raise TrainingError(
            f"{str(run.folder.keras_model)!r} could not be written ({error.strerror}). The checkpoint is intact: "
            f"free disk space, then continue with lince train --resume {run.folder.path}."
        ) from error
