"""Accepts or refuses a quantized network: certificate, gate and verdict, from its answers and the float network's."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from lince import data, metrics
from lince.data.overlap import LeakedImages
from lince.errors import GateError
from lince.evaluation import accuracy, verdict
from lince.inference import interpreter
from lince.model_file.manifest import Arithmetic, Attempt, Certificate, Leakage, Verdict
from lince.publishing import advice
from lince.quantization import certificate as certify
from lince.quantization import fallback
from lince.quantization.comparison import compare
from lince.text import quantity
from lince.training.session import Run
from lince.types import Calibration, Interval, Prediction, Report


@dataclass(frozen=True)
class Answers:
    """The answers of both networks to the validation and the test images.

    Attributes:
        validation_float, validation_quantized: logits f32[N,K] of the validation images.
        held_out, held_out_labels: logits f32[H,K] of images that the network, or one like it, was not trained on, and
            their labels i64[H]. `fitted` comes from these.
        test_float: logits f32[M,K] of the float network for the test images.
        prediction: of the model file on the test images, calibrated by `fitted`.
        fitted: the model file's calibration.
    """

    validation_float: Float32[np.ndarray, "n k"]
    validation_quantized: Float32[np.ndarray, "n k"]
    held_out: Float32[np.ndarray, "h k"]
    held_out_labels: Int64[np.ndarray, " h"]
    test_float: Float32[np.ndarray, "m k"]
    prediction: Prediction
    fitted: Calibration


@dataclass(frozen=True)
class Judgement:
    """The judgement of a model that may be published.

    Attributes:
        test: the report on its answers to the test images.
        copies: `LeakedImages.copies`; None where they were not searched for.
    """

    test: Report
    training_accuracy: Interval
    validation_accuracy: Interval
    certificate: Certificate
    leakage: Leakage | None
    copies: Int64[np.ndarray, " m"] | None
    verdict: Verdict


def judge(
    run: Run,
    flatbuffer: bytes,
    answers: Answers,
    *,
    arithmetic: Arithmetic,
    is_fallback: bool,
    force: bool,
    say: Callable[[str], None],
) -> Judgement:
    """Accepts or refuses a quantized network, and gives its certificate and verdict.

    Args:
        run: open.
        flatbuffer: the quantized network.
        answers: of both networks.
        arithmetic: of the quantized network.
        is_fallback: `fallback.choose` has chosen the arithmetic.
        force: publish what would be refused; the verdict says so.
        say: receives a sentence about each step.

    Raises:
        GateError: it lost too much, or is no better than always naming the largest class.
    """
    test = accuracy.report_from(answers.prediction, run.test)
    learned = _training_accuracy(flatbuffer, run)
    validated = _accuracy(answers.held_out, answers.held_out_labels)
    after_loss = _after_loss(run, answers, test, is_fallback=is_fallback)
    certificate = certify.certify(
        compare(
            answers.test_float,
            answers.prediction.logits,
            fitted=answers.fitted,
            labels=run.test.labels,
            classes=run.test.classes,
        ),
        flatbuffer,
        run.test.images[:1],
        max_drop_points=run.recipe.quantize.max_drop_points,
        force=force,
        advice=after_loss,
        arithmetic=arithmetic,
    )
    after_chance = _after_chance(run, certificate, test, learned, after_loss=after_loss)
    certify.require_above_one_class(test, force=force, advice=after_chance)
    say("Looking for test images among the training images …")
    found_copies = data.leaked(run.test, train=run.train, validation=run.validation)
    leakage = _leakage(found_copies, run, answers.prediction) if found_copies else None
    found = verdict.judge_in_all_languages(
        verdict.Evidence(
            test=test,
            training_accuracy=learned,
            validation_accuracy=validated,
            certificate=certificate,
            leakage=leakage,
        )
    )
    copies = found_copies.copies if found_copies else None
    return Judgement(test, learned, validated, certificate, leakage, copies, found)


def require_chosen(attempts: tuple[Attempt, ...], run: Run) -> Arithmetic:
    """The arithmetic of the chosen attempt of a fallback.

    Args:
        attempts: from `fallback.choose`.
        run: open.

    Raises:
        GateError: none was chosen, because all lose too much.
    """
    for attempt in attempts:
        if attempt.is_chosen:
            return attempt.arithmetic
    options, labels = run.recipe.quantize, run.validation.labels
    best = fallback.least_loss(attempts)
    raise GateError(
        f"All networks that were tried lose more than {options.max_drop_points} points on "
        f"{quantity(best.n, 'validation image')}: {'; '.join(map(fallback.describe, attempts))}. "
        f"{certify.expected(options.max_drop_points)} "
        + advice.after_fallback(
            best.drop_points.value,
            folder=run.folder.path,
            is_above_one_class=best.accuracy > np.bincount(labels).max() / len(labels),
        )
    )


def _training_accuracy(flatbuffer: bytes, run: Run) -> Interval:
    """Measured on training images as they are; the history's accuracy is of augmented images."""
    images = run.train.take(data.sample(run.train, verdict.TRAINING_IMAGES, seed=run.record.seed))
    return _accuracy(interpreter.logits(flatbuffer, images.images), images.labels)


def _accuracy(answers: np.ndarray, labels: np.ndarray) -> Interval:
    return metrics.accuracy_interval(int((answers.argmax(axis=1) == labels).sum()), len(labels))


def _after_loss(run: Run, answers: Answers, test: Report, *, is_fallback: bool) -> str:
    options, labels = run.recipe.quantize, run.validation.labels
    exact_right, right = (
        one.argmax(axis=1) == labels for one in (answers.validation_float, answers.validation_quantized)
    )
    drop = metrics.points(metrics.paired_difference(exact_right, right))
    float_right = int((answers.test_float.argmax(axis=1) == run.test.labels).sum())
    lost = 100 * (float_right / test.n - test.accuracy.value)
    return advice.after_loss(
        lost,
        options,
        folder=run.folder.path,
        num_train=len(run.train),
        is_fallback=is_fallback,
        fallback_can_help=not fallback.is_acceptable(drop, n=len(labels), max_drop_points=options.max_drop_points),
        is_above_one_class=verdict.is_above_one_class(test),
    )


def _after_chance(run: Run, certificate: Certificate, test: Report, learned: Interval, *, after_loss: str) -> str:
    chance = verdict.largest_class(test)[1] / test.n
    return advice.after_chance(
        run.recipe,
        folder=run.folder.path,
        source=run.record.source,
        training_accuracy=learned.value,
        chance=chance,
        loss=after_loss if certificate.comparison.float_accuracy > chance else None,
        is_timed=run.record.budget is not None,
    )


def _leakage(found: LeakedImages, run: Run, prediction: Prediction) -> Leakage:
    others = ~(found.identical | found.look_alike)
    right = prediction.indices == run.test.labels
    without = metrics.accuracy_interval(int(right[others].sum()), int(others.sum())) if others.any() else None
    return Leakage(int(found.identical.sum()), int(found.look_alike.sum()), accuracy_without=without)
