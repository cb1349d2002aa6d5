"""The verdict on a published model in plain words: findings from the measurements, the most important first.

code                      means
not_above_one_class       no better than always naming one class; published with `--force`
not_shown_above_one_class too few test images to show that it is better than that
quantization_loss         quantization lost too much; published with `--force`
test_images_in_training   images in both splits raised the accuracy
overfitted                far more accurate on training images than on others
often_wrong               wrong more often than right
class_missed              no image of a class was recognised
few_test_images           too few test images for a useful interval
good                      none of these
some_test_images_in_training, leakage_not_searched    remarks, beside other findings
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lince import metrics
from lince.model_file.manifest import Certificate, Finding, Leakage, Verdict
from lince.number_formats import percent
from lince.text import listed, quantity
from lince.types import ClassScore, Interval, Report

# Training images to measure overfitting on: their accuracy is known to within 3 points.
TRAINING_IMAGES = 1000

_MOST_FINDINGS = 3

# Training accuracy minus validation accuracy, at the lower end of the interval. Networks that were trained well on
# CIFAR-10 have a gap of up to 10 points (`fast`, JPEG files); with 20 images a class it is 50 and more.
_OVERFITTED_POINTS = 15

# Width of the accuracy's interval: beyond ±5 points, a good and a poor model cannot be distinguished.
_WIDE_POINTS = 10

# Points by which copies raised the accuracy: the default bound on the loss of quantization. CIFAR-10 has 85 copies in
# 10,000 test images, which can raise it by 0.85 points at most.
_RAISED_POINTS = 0.5

_MANY_TIMES = 10  # few users can multiply their test images by more

# With so many test images of a class and no right answer, its recall is below one half: the upper end of Wilson's
# interval is 49 %, and with three images 56 %.
_ENOUGH_OF_A_CLASS = 4


@dataclass(frozen=True)
class Evidence:
    """The measurements of a model file; those of its float network are in the certificate.

    Attributes:
        test: of its answers to the test images.
        training_accuracy: on a sample of the training images, without augmentation.
        validation_accuracy: on the validation images.
        leakage: None when it was not searched for.
    """

    test: Report
    training_accuracy: Interval
    validation_accuracy: Interval
    certificate: Certificate
    leakage: Leakage | None


def judge(evidence: Evidence) -> Verdict:
    """The most important findings about a model, three at most."""
    faults = list(_faults(evidence))
    remarks = list(_remarks(evidence))
    first = (faults or [_good(evidence.test)])[: _MOST_FINDINGS - len(remarks)]
    return Verdict((*first, *remarks))


def is_above_one_class(report: Report) -> bool:
    """Whether a model is better than always naming the largest class of the same images."""
    return _right(report) > largest_class(report)[1]


def largest_class(report: Report) -> tuple[str, int]:
    """The class with the most images, and their number."""
    largest = max(report.per_class, key=lambda score: score.support)
    return largest.label, largest.support


def against_one_class(report: Report) -> str:
    """The model's right answers beside those of always naming one class, as part of a sentence."""
    label, support = largest_class(report)
    return (
        f"right for {_right(report):,} of {quantity(report.n, 'test image')} "
        f"({_share(report.accuracy.value, report.n)}, {_interval(report.accuracy, report.n)})"
        f"{_only_answer(report)}, and always naming "
        f"{label!r} would be right for {support:,} ({_share(support / report.n, report.n)})"
    )


def _only_answer(report: Report) -> str:
    """A remark, when all answers are one class."""
    answered = [sum(column) for column in zip(*report.confusion, strict=True)]
    only = [score.label for score, count in zip(report.per_class, answered, strict=True) if count == report.n]
    return f", as it names {only[0]!r} for every image" if only else ""


def _faults(evidence: Evidence) -> Iterator[Finding]:
    report, certificate, leakage = evidence.test, evidence.certificate, evidence.leakage
    compared = certificate.comparison
    is_above = is_above_one_class(report)
    if not is_above:
        yield Finding(
            "not_above_one_class",
            f"Do not use it: it is {against_one_class(report)}; it was published with --force, for inspection.",
        )
    elif report.accuracy.low <= largest_class(report)[1] / report.n:
        yield _not_shown_above_one_class(report)
    if certificate.forced:
        yield Finding(
            "quantization_loss",
            f"Quantization cost {compared.drop_points.value:.1f} points ({_share(compared.float_accuracy)} to "
            f"{_share(compared.int8_accuracy)}), and it was published with --force: lince quantize --fallback may "
            "lose less.",
        )
    if leakage and _has_raised(report, leakage):
        yield Finding("test_images_in_training", _leaked(report, leakage))
    gap = metrics.difference(evidence.training_accuracy, evidence.validation_accuracy)
    if 100 * gap.low > _OVERFITTED_POINTS:
        yield Finding(
            "overfitted",
            f"Overfitted: it is right for {_share(evidence.training_accuracy.value)} of its training images, but for "
            f"{_share(evidence.validation_accuracy.value)} of validation and {_share(report.accuracy.value)} of test "
            "images; add training images, or stronger augmentation.",
        )
    elif is_above and report.accuracy.value < 0.5:
        yield Finding(
            "often_wrong",
            f"It is wrong more often than right: right for {_share(report.accuracy.value)} of test images, and for "
            f"{_share(evidence.training_accuracy.value)} of its training images; train longer, or on more images.",
        )
    missed = [score for score in report.per_class if score.support >= _ENOUGH_OF_A_CLASS and score.recall == 0]
    if is_above and missed:
        yield Finding(
            "class_missed",
            f"It was right for no test image of {listed([score.label for score in missed])}; train longer, or on more "
            f"images of {'it' if len(missed) == 1 else 'them'}{_balanced(report, missed)}.",
        )
    if is_above and report.accuracy.low > largest_class(report)[1] / report.n:
        yield from _few_test_images(report)


def _balanced(report: Report, missed: list[ClassScore]) -> str:
    """A further repair, where the missed classes have fewer images than others."""
    is_rare = any(2 * score.support < largest_class(report)[1] for score in missed)
    return ", or with --set train.class_balance=1" if is_rare else ""


def _remarks(evidence: Evidence) -> Iterator[Finding]:
    report, leakage = evidence.test, evidence.leakage
    if leakage is None:
        yield Finding(
            "leakage_not_searched",
            "The training images were not searched for test images, because there are too many: lince data check does "
            "it.",
        )
    elif _leaked_images(leakage) and not _has_raised(report, leakage):
        yield Finding("some_test_images_in_training", _leaked(report, leakage))


def _good(report: Report) -> Finding:
    return Finding(
        "good",
        f"It is right for {_share(report.accuracy.value, report.n)} of {quantity(report.n, 'test image')} "
        f"({_interval(report.accuracy, report.n)}), and no measurement speaks against using it on pictures like these.",
    )


def _not_shown_above_one_class(report: Report) -> Finding:
    needed = _images_to_show(report.accuracy.value, largest_class(report)[1] / report.n)
    todo = "add test images" if needed <= _MANY_TIMES * report.n else "train longer, or on more images"
    return Finding(
        "not_shown_above_one_class",
        f"It is {against_one_class(report)}: too few test images to show that it is better than chance; with this "
        f"accuracy it takes about {float(f'{needed:.2g}'):,.0f}, so {todo}.",
    )


def _few_test_images(report: Report) -> Iterator[Finding]:
    if 100 * (report.accuracy.high - report.accuracy.low) > _WIDE_POINTS:
        needed = math.ceil(_images_to_know(report.accuracy.value) / 10) * 10
        yield Finding(
            "few_test_images",
            f"Too few test images to say how good it is: {_right(report):,} right of {report.n:,} means that it is "
            f"right for {_share(report.accuracy.low)} to {_share(report.accuracy.high)} of all such pictures; test "
            f"about {needed} to know it to within {_WIDE_POINTS // 2} points.",
        )


def _leaked(report: Report, leakage: Leakage) -> str:
    counts = (leakage.identical, "is identical to", "are identical to"), (leakage.look_alike, "looks like", "look like")
    parts = " and ".join(f"{count:,} {one if count == 1 else several}" for count, one, several in counts if count)
    what = "a training image" if _leaked_images(leakage) == 1 else "training images"
    without, others = leakage.accuracy_without, report.n - _leaked_images(leakage)
    rest = (
        f"it is right for {_share(without.value, others)} of the {others:,} others ({_interval(without, others)}), "
        "which is the accuracy to expect on new pictures"
        if without
        else "the accuracy on new pictures is unknown"
    )
    return f"Of {quantity(report.n, 'test image')} {parts} {what} (lince data check lists them): {rest}."


def _leaked_images(leakage: Leakage) -> int:
    return leakage.identical + leakage.look_alike


def _has_raised(report: Report, leakage: Leakage) -> bool:
    """Whether leaked images are answered better, with 95 % confidence, and raised the accuracy above the bound."""
    without, leaked = leakage.accuracy_without, _leaked_images(leakage)
    if without is None:
        return True
    right = _right(report) - round(without.value * (report.n - leaked))
    raised = report.accuracy.value - without.value
    is_shown = leaked > 0 and metrics.difference(metrics.accuracy_interval(right, leaked), without).low > 0
    return is_shown and 100 * raised > _RAISED_POINTS


def _right(report: Report) -> int:
    return sum(row[label] for label, row in enumerate(report.confusion))


def _images_to_know(share: float) -> int:
    """The fewest images with which an accuracy has an interval that is not wide; at most 381, for one half."""
    n, width = 0, math.inf
    while 100 * width > _WIDE_POINTS:
        n += 1
        interval = metrics.accuracy_interval(round(share * n), n)
        width = interval.high - interval.low
    return n


def _images_to_show(share: float, other: float) -> int:
    """The fewest images with which the interval around `share` lies above `other`.

    Source: Wilson's lower end is above `other` when n (share − other)² > z² other (1 − other).
    """
    return math.floor(metrics.Z95**2 * other * (1 - other) / (share - other) ** 2) + 1


def _interval(share: Interval, n: int) -> str:
    return f"95 % interval {_share(share.low, n)} to {_share(share.high, n)}"


def _share(share: float, n: int = 0) -> str:
    """In per cent, with one more digit from 1,000 images on."""
    return percent(share, digits=int(n >= 1000))
