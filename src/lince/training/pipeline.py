"""The whole path, from a dataset to a model file. Read this first.

    start     read the images, set the validation split aside, open the run folder      run.json, splits.npz
    train     fit the network, keep the best weights                         checkpoint.npz, history.csv, model.keras
    publish   quantise, calibrate, certify                               model.tflite, report.json, answers.npz

Each stage reads what the one before it wrote, so each can be repeated alone: `resume` reopens a run folder.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
from rich.console import Console

from lince import artifact, calibration, data, evaluate, golden, metrics
from lince.artifact import Artifact
from lince.classifier import Classifier, Network
from lince.data.splitting import stratified_split
from lince.errors import ResumeError, TrainingError
from lince.files import write_atomically
from lince.golden import Golden
from lince.records import (
    Calibration,
    Comparison,
    Dataset,
    EpochRecord,
    Manifest,
    Predict,
    RunReport,
    Split,
)
from lince.run import RunFolder, RunRecord
from lince.training import backend, certify, checkpoint, train
from lince.training import model as models
from lince.training import recipe as recipes
from lince.training.card import write_card
from lince.training.display import LineDisplay, LiveDisplay, TensorBoardDisplay
from lince.training.quantize import quantize
from lince.training.recipe import Recipe
from lince.training.train import Display

Say = Callable[[str], None]

# Batches of the float model when it is evaluated: larger ones are no faster here.
_FLOAT_BATCH = 500


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

    Args:
        source: `cifar10`, a folder or a `.zip`.
        recipe: resolved.
        folder: a new one.
        seed: of every random choice of the run.
        deterministic: recorded; `backend.prepare` must have been called with the same.
        strict: stop at the first file that cannot be read.
        progress: told of images read.

    Raises:
        DataError: the dataset cannot be used. TrainingError: the folder is taken or cannot be written.
    """
    source = source if source == "cifar10" else str(Path(source).resolve())
    dataset = _load(source, recipe, seed=seed, strict=strict, progress=progress)
    kept, held_out = stratified_split(dataset.train.labels, fraction=recipe.train.validation_fraction, seed=seed)
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


def resume(folder: RunFolder, *, progress: data.Progress) -> Run:
    """Reopens a run folder with the same images, recipe and splits.

    Raises:
        ResumeError: it is not a run folder, or the dataset has changed since.
    """
    record = folder.read_record()
    recipe = recipes.from_table(record.recipe, source=str(folder.record))
    dataset = _load(record.source, recipe, seed=record.seed, strict=False, progress=progress)
    if dataset.fingerprint != record.fingerprint:
        raise ResumeError(
            f"The images of {record.source!r} have changed since the run began (fingerprint "
            f"{dataset.fingerprint[:12]}, was {record.fingerprint[:12]}). Expected the same images: "
            "put them back, or start a new run."
        )
    return _run(folder, record, recipe, dataset)


def train_model(run: Run, display: Display, *, resume: bool = False) -> None:
    """Fits the network and writes `model.keras` with the best weights, whichever way training ends.

    Raises:
        TrainingError: see `train.fit`. KeyboardInterrupt: passed on, after the best weights were written.
    """
    try:
        state = train.fit(
            _build(run, run.record.precision),
            train=run.train,
            validation=run.validation,
            recipe=run.recipe.train,
            augmentation=run.recipe.augment,
            seed=run.record.seed,
            checkpoint_path=run.folder.checkpoint,
            display=_Recorder(display, run.folder),
            resume=resume,
        )
    except BaseException:
        with suppress(TrainingError):  # what ended training is what the user must hear of: a full disk fails twice
            _write_best(run)
        raise
    _write_best(run)
    run.folder.write_history(state.history)


@contextmanager
def watch(console: Console, run: Run, *, tensorboard: bool) -> Iterator[Display]:
    """A display that suits the console: redrawn on a terminal, line by line elsewhere; TensorBoard on request."""
    epochs = run.recipe.train.epochs
    with LiveDisplay(console, epochs=epochs) if console.is_terminal else LineDisplay(console, epochs=epochs) as display:
        yield TensorBoardDisplay(display, run.folder.tensorboard) if tensorboard else display


def publish(run: Run, *, name: str | None = None, force: bool = False, say: Say) -> RunReport:
    """Quantises the trained network, calibrates its answers, certifies it and writes the model file.

    Args:
        run: with a `model.keras`.
        name: of the model; the run's when None.
        force: publish although int8 loses more than the bound.
        say: told what is being done.

    Raises:
        QuantizationError: an operation is left in float, or (GateError) int8 lost too much; nothing is written then.
    """
    model = trained_model(run.folder)
    options = run.recipe.quantize
    chosen = _sample(run.train, options.calibration_images, seed=run.record.seed)
    say(f"Quantising to int8 with the activation ranges of {len(chosen):,} training images …")
    flatbuffer = quantize(model, run.train.images[chosen])
    network = Network(flatbuffer, threads=os.cpu_count() or 1)

    say(f"Calibrating on {len(run.validation):,} validation images …")
    validation_logits = network.dequantize(network.run(run.validation.images))
    fitted = calibration.fit(
        validation_logits,
        run.validation.labels,
        coverage=run.recipe.calibrate.coverage,
        abstain=run.recipe.calibrate.abstain,
    )
    say(f"Comparing float and int8 on {len(run.test):,} test images …")
    answers = _Answers(
        float_probabilities=evaluate.probabilities(float_predict(model), run.test, batch_size=_FLOAT_BATCH),
        logits=network.dequantize(network.run(run.test.images)),
    )
    certificate = certify.certify(
        _compare(answers, fitted, run.test), flatbuffer, run.test.images[:1],
        max_drop_points=options.max_drop_points, force=force,
    )  # fmt: skip
    manifest = artifact.describe(
        name=name or run.record.name,
        flatbuffer=flatbuffer,
        created=datetime.now(UTC),
        classes=run.record.classes,
        image=run.recipe.spec,
        calibration=fitted,
        certificate=certificate,
        training=_training_record(run, chosen),
    )
    report = _report(manifest, answers, run, metrics.softmax(validation_logits))
    _write(run.folder, manifest, flatbuffer, report)
    _write_answers(run.folder, answers, fitted, run.test)
    return report


def trained_model(folder: RunFolder) -> keras.Model:
    """The float model of a run, with its best weights.

    Raises:
        TrainingError: the run has none yet, or its file is damaged.
    """
    try:
        return keras.models.load_model(folder.keras_model, compile=False, safe_mode=True)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{str(folder.keras_model)!r} cannot be read ({error}). Expected the model of a run that finished an "
            f"epoch: train it by lince train --resume {folder.path}."
        ) from error


def float_predict(model: keras.Model) -> Predict:
    """A float Keras model as the `Predict` that `evaluate` takes: its probabilities as trained, no temperature."""
    return lambda images: keras.ops.convert_to_numpy(model.predict_on_batch(images.astype(np.float32)))


@dataclass(frozen=True)
class _Answers:
    """On the test images: f32[N,K] probabilities of the float model, f32[N,K] logits of the int8 network."""

    float_probabilities: np.ndarray
    logits: np.ndarray


class _Recorder:
    """Keeps `history.csv` true while passing on to a display."""

    def __init__(self, display: Display, folder: RunFolder):
        self.batch = display.batch
        self._display, self._folder = display, folder

    def epoch(self, record: EpochRecord, *, best: bool) -> None:
        earlier = [row for row in self._folder.read_history() if row.epoch < record.epoch]
        self._folder.write_history((*earlier, record))
        self._display.epoch(record, best=best)


def _load(source: str, recipe: Recipe, *, seed: int, strict: bool, progress: data.Progress) -> Dataset:
    return data.load(source, recipe.spec, seed=seed, strict=strict, progress=progress)


def _run(folder: RunFolder, record: RunRecord, recipe: Recipe, dataset: Dataset) -> Run:
    splits = folder.read_splits()
    return Run(
        folder=folder,
        record=record,
        recipe=recipe,
        train=dataset.train.take(splits["train"]),
        validation=dataset.train.take(splits["validation"]),
        test=dataset.test,
    )


def _build(run: Run, precision: str) -> keras.Model:
    return models.build(
        run.recipe.model,
        spec=run.recipe.spec,
        num_classes=len(run.record.classes),
        precision=precision,
        seed=run.record.seed,
    )


def _write_best(run: Run) -> None:
    """`model.keras` with the best weights of the checkpoint, as a float32 model; nothing before the first epoch."""
    best = checkpoint.read_best(run.folder.checkpoint)
    if best is None:
        return
    model = _build(run, "float32")
    model.set_weights(best)
    temporary = run.folder.path / ".model.tmp.keras"
    try:
        model.save(temporary)
        write_atomically(run.folder.keras_model, temporary.read_bytes())
    except OSError as error:
        raise TrainingError(
            f"{str(run.folder.keras_model)!r} could not be written ({error.strerror}). The checkpoint is intact: "
            f"make room, then go on with lince train --resume {run.folder.path}."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _sample(split: Split, count: int, *, seed: int) -> np.ndarray:
    """Indices of about `count` images, the same share of every class; all of them when there are no more."""
    if count >= len(split):
        return np.arange(len(split))
    return stratified_split(split.labels, fraction=count / len(split), seed=seed)[1]


def _compare(answers: _Answers, fitted: Calibration, test: Split) -> Comparison:
    return evaluate.paired_certificate_numbers(
        answers.float_probabilities,
        metrics.softmax(answers.logits),
        calibrated_probabilities=calibration.apply(answers.logits, fitted).probabilities,
        labels=test.labels,
        classes=test.classes,
    )


def _report(manifest: Manifest, answers: _Answers, run: Run, validation_probabilities: np.ndarray) -> RunReport:
    prediction = calibration.apply(answers.logits, manifest.calibration)
    validation = evaluate.report_from(validation_probabilities, run.validation)
    return RunReport(
        name=manifest.name,
        version=manifest.version,
        classes=manifest.classes,
        float32=evaluate.report_from(answers.float_probabilities, run.test),
        int8=evaluate.report_from(prediction.probabilities, run.test),
        sets=calibration.set_report(prediction, run.test.labels, manifest.calibration),
        validation_accuracy=validation.accuracy,
        calibration=manifest.calibration,
        certificate=manifest.certificate,
    )


def _training_record(run: Run, calibration_images: np.ndarray) -> dict[str, Any]:
    """What the manifest says of how the model came to be; indices are into the source's training images."""
    record = run.record
    return {
        "recipe": record.recipe,
        "seed": record.seed,
        "fingerprint": record.fingerprint,
        "precision": record.precision,
        "deterministic": record.deterministic,
        "epochs": len(run.folder.read_history()),
        "images": {"train": len(run.train), "validation": len(run.validation), "test": len(run.test)},
        "calibration_indices": run.folder.read_splits()["train"][calibration_images].tolist(),
        **record.environment,
    }


def _write(folder: RunFolder, manifest: Manifest, flatbuffer: bytes, report: RunReport) -> None:
    images = golden.draw_images(manifest.image, seed=0)
    logits = Network(flatbuffer).run(images)
    artifact.write(folder.model, Artifact(flatbuffer, manifest, Golden(images, logits), write_card(manifest, report)))
    Classifier.load(folder.model)  # what was written can be read, runs, and reproduces its golden images
    write_atomically(folder.report, msgspec.json.format(msgspec.json.encode(report), indent=2))


def _write_answers(folder: RunFolder, answers: _Answers, fitted: Calibration, test: Split) -> None:
    """`answers.npz`: the model file's probabilities on the test images, for plots and questions of one's own."""
    file = io.BytesIO()
    probabilities = calibration.apply(answers.logits, fitted).probabilities
    np.savez_compressed(file, probabilities=probabilities, labels=test.labels)
    write_atomically(folder.answers, file.getvalue())
