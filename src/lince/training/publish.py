"""From a trained network to a model file: quantise, calibrate, certify, write."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import keras
import msgspec
import numpy as np

from lince import artifact, calibration, evaluate, golden, machine, metrics, native
from lince.artifact import Artifact
from lince.classifier import Network
from lince.data.splitting import stratified_split
from lince.errors import TrainingError
from lince.files import write_atomically
from lince.golden import Golden
from lince.records import Certificate, Manifest, Predict, Prediction, RunReport, Split
from lince.run import RunFolder
from lince.training import certify
from lince.training import recipe as recipes
from lince.training.card import write_card
from lince.training.opening import Run
from lince.training.quantize import quantize

Say = Callable[[str], None]

# Two standard deviations of the coverage that n calibration images can promise (it follows a beta distribution, Vovk
# 2012, arXiv:1209.2673); 2 points need about 500 images at 95 %.
_COVERAGE_SPREAD_POINTS = 2

# `classic` in float32 on two Zen 5 cores: 1,478 images/s in batches of 100, 1,603 of 500, 1,575 of 2,000.
_FLOAT_BATCH = 500


def publish(run: Run, *, name: str | None = None, force: bool = False, say: Say) -> RunReport:
    """Quantises the trained network, calibrates its answers, certifies it and writes the model file.

    Args:
        run: with a `model.keras`.
        name: of the model; the run's when None.
        force: publish although int8 loses more than the bound.
        say: told what is being done.

    Raises:
        QuantizationError: an operation is left in float, or (GateError) int8 lost too much; nothing is written then.
        TrainingError: there is no trained network yet.
    """
    model = trained_model(run.folder)
    chosen = _sample(run.train, run.recipe.quantize.calibration_images, seed=run.record.seed)
    say(f"Quantising to int8 with the activation ranges of {len(chosen):,} training images …")
    flatbuffer = quantize(model, run.train.images[chosen])
    with native.hushed():
        network = Network(flatbuffer, threads=machine.cores())

    say(f"Calibrating on {len(run.validation):,} validation images …")
    options = run.recipe.calibrate
    validation_logits = network.dequantize(network.run(run.validation.images))
    fitted = calibration.fit(
        validation_logits, run.validation.labels, coverage=options.coverage, abstain=options.abstain
    )
    spread = 200 * (fitted.coverage * (1 - fitted.coverage) / (fitted.n + 2)) ** 0.5
    if spread > _COVERAGE_SPREAD_POINTS:
        say(
            f"{fitted.n:,} validation images promise the sets' coverage to within {spread:.0f} points only: add images."
        )
    say(f"Comparing float and int8 on {len(run.test):,} test images …")
    answers = _Answers(
        float_probabilities=evaluate.probabilities(float_predict(model), run.test, batch_size=_FLOAT_BATCH),
        int8_probabilities=metrics.softmax(logits := network.dequantize(network.run(run.test.images))),
        prediction=calibration.apply(logits, fitted),
    )
    certificate = _certify(answers, flatbuffer, run, force=force)
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
    _write(run, manifest, flatbuffer, report, answers)
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
    """On the test images: f32[N,K] of the float model and of the int8 network, and what the model file answers."""

    float_probabilities: np.ndarray
    int8_probabilities: np.ndarray
    prediction: Prediction


def _sample(split: Split, count: int, *, seed: int) -> np.ndarray:
    """Indices of about `count` images, the same share of every class; all of them when there are no more."""
    if count >= len(split):
        return np.arange(len(split))
    return stratified_split(split.labels, fraction=count / len(split), seed=seed)[1]


def _certify(answers: _Answers, flatbuffer: bytes, run: Run, *, force: bool) -> Certificate:
    comparison = evaluate.paired_certificate_numbers(
        answers.float_probabilities,
        answers.int8_probabilities,
        calibrated_probabilities=answers.prediction.probabilities,
        labels=run.test.labels,
        classes=run.test.classes,
    )
    return certify.certify(
        comparison,
        flatbuffer,
        run.test.images[:1],
        max_drop_points=run.recipe.quantize.max_drop_points,
        force=force,
    )


def _report(manifest: Manifest, answers: _Answers, run: Run, validation_probabilities: np.ndarray) -> RunReport:
    return RunReport(
        name=manifest.name,
        version=manifest.version,
        classes=manifest.classes,
        float32=evaluate.report_from(answers.float_probabilities, run.test),
        int8=evaluate.report_from(answers.prediction.probabilities, run.test),
        sets=calibration.set_report(answers.prediction, run.test.labels, manifest.calibration),
        validation_accuracy=evaluate.report_from(validation_probabilities, run.validation).accuracy,
        calibration=manifest.calibration,
        certificate=manifest.certificate,
    )


def _training_record(run: Run, calibration_images: np.ndarray) -> dict[str, Any]:
    """What the manifest says of how the model came to be; indices are into the source's training images."""
    record = run.record
    return {
        "recipe": recipes.to_table(run.recipe),
        "seed": record.seed,
        "fingerprint": record.fingerprint,
        "precision": record.precision,
        "deterministic": record.deterministic,
        "epochs": len(run.folder.read_history()),
        "images": {"train": len(run.train), "validation": len(run.validation), "test": len(run.test)},
        "calibration_indices": run.folder.read_splits()["train"][calibration_images].tolist(),
        **record.environment,
    }


def _write(run: Run, manifest: Manifest, flatbuffer: bytes, report: RunReport, answers: _Answers) -> None:
    """The model file last: while it is the old one, its report may be the new one, which names its version."""
    images = golden.draw_images(manifest.image, seed=0)
    model = Artifact(
        flatbuffer, manifest, Golden(images, Network(flatbuffer).run(images)), write_card(manifest, report)
    )
    encoded = artifact.encode(model)
    artifact.decode(encoded)  # what a reader would refuse is refused here, with the old file still in its place
    arrays = io.BytesIO()
    np.savez_compressed(arrays, probabilities=answers.prediction.probabilities, labels=run.test.labels)
    write_atomically(run.folder.answers, arrays.getvalue())
    write_atomically(run.folder.report, msgspec.json.format(msgspec.json.encode(report), indent=2))
    write_atomically(run.folder.model, encoded)
