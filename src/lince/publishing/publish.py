"""From a trained network to a model file: quantize, calibrate, certify, write it."""

import io
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from lince import calibration, data, drift, familiarity
from lince.data.splits import digest
from lince.evaluation import accuracy
from lince.familiarity import Familiarity
from lince.inference import interpreter
from lince.inference.interpreter import Network
from lince.model_file import artifact, golden_images
from lince.model_file.artifact import Artifact
from lince.model_file.golden_images import Golden
from lince.model_file.manifest import Arithmetic, Attempt, ClassCounts, CurvePoint, Manifest, RunReport, Sensitivity
from lince.networks import models
from lince.networks.models import float_predict
from lince.publishing import acceptance, familiar_images, shown_pictures
from lince.publishing.acceptance import Answers, Judgement
from lince.publishing.model_card import write_card
from lince.publishing.options import PublishOptions
from lince.publishing.reproduction import require_reproduced
from lince.quantization import activation_ranges, layer_sensitivity
from lince.quantization import fallback as fallbacks
from lince.quantization.comparison import compare_calibrated
from lince.quantization.export import FloatNetwork, export
from lince.quantization.quantizer import quantize
from lince.runs import pictures
from lince.runs.float_model import trained_model
from lince.system import memory
from lince.system.files import write_atomically
from lince.text import quantity
from lince.training import backend, recipes
from lince.training.history import kept_record
from lince.training.session import Run
from lince.types import Calibration, Images, Outputs, Split

Say = Callable[[str], None]

_CURVE_POINTS = 1000  # more than a curve can show
_COVERAGE_SPREAD_POINTS = 2  # a larger spread is reported to the user


def publish(run: Run, options: PublishOptions = PublishOptions(), *, say: Say) -> RunReport:
    """Quantizes the trained network, calibrates its answers, certifies it and writes the model file.

    Args:
        run: with a `model.keras`.
        options: how to publish it.
        say: receives a sentence about each step.

    Raises:
        QuantizationError: an operation is left in float. GateError: see `acceptance.judge`; no model is written.
        TrainingError: there is no trained network, or its answers differ from those that it gave during training.
    """
    memory.trim()
    model, batch = trained_model(run.folder), models.images_at_once(run.recipe.spec)
    predict = float_predict(model)
    validation_float = accuracy.outputs(predict, run.validation, batch_size=batch).logits
    require_reproduced(run, validation_float)
    float_network = export(model)
    chosen = data.sample(run.train, run.recipe.quantize.calibration_images, seed=run.record.seed)
    say(f"Quantizing to int8 with the activation ranges of {quantity(len(chosen), 'training image')} …")
    quantized = _quantize_by_recipe(float_network, run, chosen, fallback=options.fallback, say=say)

    refitted = run.folder.read_held_out()
    seen = data.join(run.train, run.validation) if refitted else run.train
    known = familiar_images.of_training(quantized.flatbuffer, seen, seed=run.record.seed)
    validation = _outputs(quantized.flatbuffer, run.validation.images, known)
    held_out, labels, distances = validation.logits, run.validation.labels, validation.distances
    if refitted:
        held_out, labels = refitted
        distances = familiar_images.held_out_distances(quantized.flatbuffer, run, count=len(labels))
    by = "other networks, which had not learned from them" if refitted else "a network that has not learned from them"
    say(f"Calibrating probabilities with the answers to {quantity(len(labels), 'image')} by {by} …")
    fitted = _fit(held_out, labels, run, distances=distances)
    float_fitted = _fit(held_out if refitted else validation_float, labels, run)
    _warn_of_few(fitted, run, say)
    say(f"Comparing with the float network on {quantity(len(run.test), 'test image')} …")
    test = _outputs(quantized.flatbuffer, run.test.images, known)
    answers = Answers(
        validation_float=validation_float,
        validation_quantized=validation.logits,
        held_out=held_out,
        held_out_labels=labels,
        test_float=accuracy.outputs(predict, run.test, batch_size=batch).logits,
        prediction=calibration.apply(test.logits, fitted, distances=test.distances),
        fitted=fitted,
    )
    judgement = acceptance.judge(
        run,
        quantized.flatbuffer,
        answers,
        arithmetic=quantized.arithmetic,
        is_fallback=options.fallback,
        force=options.force,
        say=say,
    )
    manifest = artifact.describe(
        name=options.name or run.record.name,
        flatbuffer=quantized.flatbuffer,
        created=datetime.now(UTC),
        classes=run.record.classes,
        image=run.recipe.spec,
        calibration=fitted,
        certificate=judgement.certificate,
        arithmetic=quantized.arithmetic,
        verdict=judgement.verdict,
        pretrained=run.record.pretrained,
        drift_reference=drift.reference(
            run.validation.images, validation.logits.argmax(axis=1), num_classes=len(run.record.classes)
        ),
        curves=_curves(run),
        training=_training_record(run, chosen),
    )
    report = _report(manifest, answers, quantized, run, float_fitted=float_fitted, judgement=judgement)
    shown = shown_pictures.choose(run, answers.prediction, report.int8, version=report.version, copies=judgement.copies)
    pictures.write(run.folder.pictures, shown)
    _write(run, manifest, quantized.flatbuffer, report, answers, known, about=options.about)
    return report


@dataclass(frozen=True)
class _QuantizedNetwork:
    """The network to publish, and the measurements that led to it."""

    flatbuffer: bytes
    arithmetic: Arithmetic
    sensitivity: Sensitivity
    attempts: tuple[Attempt, ...]


def _quantize_by_recipe(
    network: FloatNetwork, run: Run, chosen: np.ndarray, *, fallback: bool, say: Say
) -> _QuantizedNetwork:
    seed = run.record.seed
    ranges = activation_ranges.measure(network, run.train.images[chosen])
    count = min(layer_sensitivity.IMAGES, models.images_at_once(run.recipe.spec))  # a bounded number of pixels
    images = run.validation.images[data.sample(run.validation, count, seed=seed)]
    say(f"Measuring what each of {len(network.layers)} layers costs in int8, on {quantity(len(images), 'image')} …")
    sensitivity = layer_sensitivity.measure(network, ranges, images)
    arithmetic = Arithmetic()
    attempts: tuple[Attempt, ...] = ()
    if fallback:
        attempts = fallbacks.choose(
            network,
            ranges,
            sensitivity=sensitivity,
            images=run.validation.take(data.sample(run.validation, fallbacks.IMAGES, seed=seed)),
            max_drop_points=run.recipe.quantize.max_drop_points,
            say=say,
        )
        arithmetic = acceptance.require_chosen(attempts, run)
    return _QuantizedNetwork(quantize(network, ranges, arithmetic), arithmetic, sensitivity, attempts)


def _outputs(flatbuffer: bytes, images: Images, known: Familiarity | None) -> Outputs:
    logits, features = interpreter.logits_and_features(flatbuffer, images)
    return Outputs(logits, familiarity.distances(known, features))


def _fit(logits: np.ndarray, labels: np.ndarray, run: Run, *, distances: np.ndarray | None = None) -> Calibration:
    options = run.recipe.calibrate
    return calibration.fit(logits, labels, coverage=options.coverage, abstain=options.abstain, distances=distances)


def _warn_of_few(fitted: Calibration, run: Run, say: Say) -> None:
    missing = calibration.what_is_missing(fitted)
    if fitted.set_threshold is None:
        most = 100 * fitted.n // (fitted.n + 1) / 100
        needed = 1.2 * calibration.images_for_sets(fitted.coverage)  # with a margin: each class is rounded
        share = math.ceil(100 * needed / (len(run.train) + fitted.n)) / 100
        again = shlex.join(["lince", "quantize", str(run.folder.path), "--set", f"calibrate.coverage={most}"])
        more = f" hold out more in a new training (--set train.validation_fraction={share:g})," if share < 0.5 else ""
        say(f"{missing} Add images,{more} or lower the coverage: {again}")
        return
    if missing:
        say(missing)
    spread = calibration.coverage_spread_points(fitted)
    if spread > _COVERAGE_SPREAD_POINTS:
        few = quantity(fitted.n, "image")
        exact = f"the coverage of the prediction sets is only exact to {spread:.0f} points"
        say(f"With {few} to calibrate with, {exact}: add images.")


def _report(
    manifest: Manifest,
    answers: Answers,
    quantized: _QuantizedNetwork,
    run: Run,
    *,
    float_fitted: Calibration,
    judgement: Judgement,
) -> RunReport:
    calibrated = compare_calibrated(
        calibration.apply(answers.test_float, float_fitted),
        answers.prediction,
        float_fitted=float_fitted,
        fitted=manifest.calibration,
        images=run.test,
    )
    return RunReport(
        name=manifest.name,
        version=manifest.version,
        classes=manifest.classes,
        float32=accuracy.report_from(calibration.apply(answers.test_float, Calibration()), run.test),
        int8=judgement.test,
        sets=calibrated.int8.sets,
        validation_accuracy=judgement.validation_accuracy,
        calibration=manifest.calibration,
        certificate=judgement.certificate,
        arithmetic=quantized.arithmetic,
        sensitivity=quantized.sensitivity,
        calibrated=calibrated,
        fallback=quantized.attempts,
        training_accuracy=judgement.training_accuracy,
        leakage=judgement.leakage,
        verdict=judgement.verdict,
        class_counts=ClassCounts(*(_counts(split) for split in (run.train, run.validation))),
    )


def _counts(split: Split) -> tuple[int, ...]:
    return tuple(np.bincount(split.labels, minlength=len(split.classes)).tolist())


def _curves(run: Run) -> tuple[CurvePoint, ...]:
    validations = run.folder.read_history()
    if not validations:
        return ()
    kept = kept_record(validations, run.recipe.train)
    step = math.ceil(len(validations) / _CURVE_POINTS)
    return tuple(
        CurvePoint(
            epoch=one.epoch,
            loss=_rounded(one.loss),
            accuracy=_rounded(one.accuracy),
            val_loss=_rounded(one.val_loss),
            val_accuracy=_rounded(one.val_accuracy),
            is_kept=one is kept,
        )
        for number, one in enumerate(validations)
        if math.isfinite(one.val_loss)  # JSON has no infinity
        and (one is kept or number % step == 0)
    )


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")  # finer than any curve shows


def _training_record(run: Run, calibration_images: np.ndarray) -> dict[str, Any]:
    """The `training` part of the manifest; indices are into the source's training images."""
    record, splits = run.record, run.folder.read_splits()
    return {
        "recipe": recipes.to_table(run.recipe),
        "seed": record.seed,
        "fingerprint": record.fingerprint,
        "precision": record.precision,
        "deterministic": record.deterministic,
        "epochs": max((record.epoch for record in run.folder.read_history()), default=0),
        "teacher": record.teacher_version,
        "knows_validation": record.knows_validation,
        "leave_out": record.left_out_name,
        "refitted": run.folder.held_out.exists(),
        "groups": record.groups,
        "drawn_test_sha256": digest(splits["test"]) if len(splits["test"]) else None,
        "images": {"train": len(run.train), "validation": len(run.validation), "test": len(run.test)},
        "calibration_indices": splits["train"][calibration_images].tolist(),
        **record.environment,
        "published_with": backend.describe()["versions"],
    }


def _write(
    run: Run,
    manifest: Manifest,
    flatbuffer: bytes,
    report: RunReport,
    answers: Answers,
    known: Familiarity | None,
    *,
    about: str | None,
) -> None:
    """Writes the model file last: a new report beside an old model file names the version that it is of."""
    images = golden_images.draw_images(manifest.image, seed=0)
    golden = Golden(images, Network(flatbuffer).run(images))
    model = Artifact(flatbuffer, manifest, golden, write_card(manifest, report, about=about), known)
    encoded = artifact.encode(model)
    artifact.decode(encoded)  # raises what a reader would raise, before the old file is replaced
    arrays = io.BytesIO()
    np.savez_compressed(arrays, probabilities=answers.prediction.probabilities, labels=run.test.labels)
    write_atomically(run.folder.answers, arrays.getvalue())
    write_atomically(run.folder.report, msgspec.json.format(msgspec.json.encode(report), indent=2))
    write_atomically(run.folder.model, encoded)
