"""One small evaluated model for the tests of the reports."""

from dataclasses import replace

import numpy as np
import pytest

from lince import calibration, metrics
from lince.evaluation.accuracy import report_from
from lince.model_file.manifest import (
    Arithmetic,
    CalibratedAnswers,
    CalibrationComparison,
    Certificate,
    Comparison,
    Divergence,
    Finding,
    LayerCost,
    RunReport,
    Sensitivity,
    Verdict,
)
from lince.types import Calibration, EpochRecord, Interval, Report, SetReport, Split

COST = Divergence(kl=2e-3, logit_error=0.015, disagreement=0.01)
CLASSES = ("cat", "dog [brown]", "fox & <b>cub</b>")


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities f32[300,3], and labels that follow the top class in four of five."""
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    logits = generator.normal(size=(300, 3)).astype(np.float32)
    logits[np.arange(300), labels] += 2
    return metrics.softmax(logits), labels


@pytest.fixture
def report(answers) -> Report:
    probabilities, labels = answers
    names = tuple(f"test/{CLASSES[label]}/{i}.png" for i, label in enumerate(labels))
    images = Split(np.zeros((300, 1, 1, 3), np.uint8), labels, CLASSES, names)
    return report_from(calibration.apply(np.log(probabilities), Calibration()), images, worst=4)


@pytest.fixture
def history() -> tuple[EpochRecord, ...]:
    """Five epochs, of which the third has the lowest validation loss and the fourth the highest accuracy."""
    losses, accuracies = (1.2, 0.9, 0.7, 0.8, 0.95), (0.5, 0.6, 0.7, 0.72, 0.71)
    return tuple(
        EpochRecord(
            epoch,
            loss=2 / epoch,
            accuracy=0.15 * epoch,
            val_loss=loss,
            val_accuracy=accuracy,
            learning_rate=1e-3,
            images_per_second=700.0,
            seconds=60.0,
        )
        for epoch, loss, accuracy in zip(range(1, 6), losses, accuracies, strict=True)
    )


@pytest.fixture
def certificate() -> Certificate:
    return Certificate(
        comparison=Comparison(
            n=10_000,
            float_accuracy=0.8157,
            int8_accuracy=0.8145,
            drop_points=Interval(0.12, -0.03, 0.27),
            disagreement=0.0076,
            worst_class=CLASSES[1],
            worst_class_drop_points=1.02,
            float_ece=0.0248,
            int8_ece=0.0243,
            calibrated_ece=0.0077,
        ),
        split="test",
        flatbuffer_bytes=1_284_352,
        latency_us=412.3,
        machine="Zen 4 [2 cores]",
        bound_points=0.5,
    )


@pytest.fixture
def sets() -> SetReport:
    return SetReport(
        0.95, Interval(0.9537, 0.9494, 0.9576), mean_size=1.82, abstained=0.049, accuracy_when_answering=0.83
    )


@pytest.fixture
def sensitivity() -> Sensitivity:
    """Fourteen layers, one of them with a name that rich and HTML would both misread."""
    names = ["a [b] <i>", *(f"conv{number}" for number in range(13))]
    costs = tuple(
        LayerCost(name, "CONV_2D", 1000, replace(COST, kl=1e-3 / (1 + place))) for place, name in enumerate(names)
    )
    return Sensitivity(256, costs, COST)


@pytest.fixture
def calibrated(sets) -> CalibrationComparison:
    """Hardly different."""
    before = CalibratedAnswers(1.4, 0.49, 0.0175, sets)
    after = replace(before, ece=0.0151, sets=replace(sets, mean_size=1.9))
    return CalibrationComparison(before, after, Interval(0.02, -0.1, 0.14), 0.08)


@pytest.fixture
def published(report, certificate, sets, sensitivity, calibrated) -> RunReport:
    return RunReport(
        name="parts",
        version="0123456789ab",
        classes=CLASSES,
        float32=report,
        int8=report,
        sets=sets,
        validation_accuracy=report.accuracy,
        calibration=Calibration(temperature=1.2345, set_threshold=0.0625, abstain_below=0.5, n=9600),
        certificate=certificate,
        arithmetic=Arithmetic(),
        sensitivity=sensitivity,
        calibrated=calibrated,
        fallback=(),
        training_accuracy=report.accuracy,
        leakage=None,
        verdict=Verdict((Finding("good", "It is good."),)),
    )
