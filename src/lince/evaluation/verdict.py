"""The verdict on a published model in plain words: findings from the measurements, the most important first.

code                      means
not_above_one_class       right no more often than one class alone would be; published with `--force`
not_shown_above_one_class too few test images to show that it is better than that
quantization_loss         lost too much to quantization; published with `--force`
test_images_in_training   images in both splits have raised its accuracy
overfitted                right far more often about training images than about others
often_wrong               wrong more often than right
class_missed              never right about a class
few_test_images           too few to say how good it is
good                      none of these
some_test_images_in_training, leakage_not_searched    remarks, beside others
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lince import metrics
from lince.model_file.manifest import Certificate, Finding, Leakage, Verdict
from lince.number_formats import percent
from lince.text import listed, quantity
from lince.types import ClassScore, Interval, Report

# Training images that tell whether a network has learned them by heart: their accuracy to within 3 points.
TRAINING_IMAGES = 1000

_MOST_FINDINGS = 3

# Accuracy on training images above that on validation images, at the lower end of the interval. Networks that have
# learned CIFAR-10 as they should are up to 10 points apart (`fast`, JPEG files); 20 images a class leave 50 and more.
_OVERFITTED_POINTS = 15

# Width of the accuracy's interval: ±5 points, beyond which a good model and a poor one cannot be told apart.
_WIDE_POINTS = 10

# Points by which copies have raised the accuracy: as much as quantization may cost. The 85 among the 10,000 of CIFAR-10
# cannot raise it by as much as twice that.
_RAISED_POINTS = 0.5

# As many test images as there are, times so many: few users can add more than that.
_MANY_TIMES = 10

# Of a class with as many test images and no right answer, fewer than half of all images are recognised: the upper end
# of Wilson's interval is 49 %, and with three it is 56 %.
_ENOUGH_OF_A_CLASS = 4


@dataclass(frozen=True)
class Evidence:
    """What was measured of a model file, and, in the certificate, of its float network.

    Attributes:
        test: its answers to the test images.
        training_accuracy: on training images as they are; a sample will do.
        validation_accuracy: on images that it has not learned from.
        leakage: None when it was not looked for.
    """

    test: Report
    training_accuracy: Interval
    validation_accuracy: Interval
    certificate: Certificate
    leakage: Leakage | None


def judge(evidence: Evidence) -> Verdict:
    """The most important findings, three at most.

    Args:
        evidence: of a model that is published.
    """
    faults = list(_faults(evidence))
    remarks = list(_remarks(evidence))
    first = (faults or [_good(evidence.test)])[: _MOST_FINDINGS - len(remarks)]
    return Verdict((*first, *remarks))


def is_above_one_class(report: Report) -> bool:
    """Whether a model is right more often than one that always names the largest class of the same images."""
    return _right(report) > largest_class(report)[1]


def largest_class(report: Report) -> tuple[str, int]:
    """The class with the most images, and how many these are."""
    largest = max(report.per_class, key=lambda score: score.support)
    return largest.label, largest.support


def against_one_class(report: Report) -> str:
    """Both figures, as the beginning of a sentence."""
    label, support = largest_class(report)
    return (
        f"right for {_right(report):,} of {quantity(report.n, 'test image')} "
        f"({_share(report.accuracy.value, report.n)}, {_interval(report)}){_only_answer(report)}, and always naming "
        f"{label!r} would be right for {support:,} ({_share(support / report.n, report.n)})"
    )


def _only_answer(report: Report) -> str:
    """Says so when all answers are one class."""
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
            f"Do not use it: it is {against_one_class(report)}; it was published with --force, to be looked into.",
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
    if metrics.points(_gap(evidence)).low > _OVERFITTED_POINTS:
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
    """A further remedy, where classes that are missed have fewer images than others."""
    is_rare = any(2 * score.support < largest_class(report)[1] for score in missed)
    return ", or with --set train.class_balance=1" if is_rare else ""


def _remarks(evidence: Evidence) -> Iterator[Finding]:
    report, leakage = evidence.test, evidence.leakage
    if leakage is None:
        yield Finding(
            "leakage_not_searched",
            "Whether test images are among the training images was not looked for, as there are many: "
            "lince data check does.",
        )
    elif _leaked_images(leakage) and not _has_raised(report, leakage):
        yield Finding("some_test_images_in_training", _leaked(report, leakage))


def _good(report: Report) -> Finding:
    return Finding(
        "good",
        f"It is right for {_share(report.accuracy.value, report.n)} of {quantity(report.n, 'test image')} "
        f"({_interval(report)}), and nothing that was measured stands against using it on pictures like these.",
    )


def _not_shown_above_one_class(report: Report) -> Finding:
    needed = _images_to_show(report.accuracy.value, largest_class(report)[1] / report.n)
    todo = "add test images" if needed <= _MANY_TIMES * report.n else "train longer, or on more images"
    return Finding(
        "not_shown_above_one_class",
        f"It is {against_one_class(report)}: too few test images to show that it is better than chance; with this "
        f"accuracy it takes about {needed:,}, so {todo}.",
    )


def _few_test_images(report: Report) -> Iterator[Finding]:
    if 100 * (report.accuracy.high - report.accuracy.low) > _WIDE_POINTS:
        yield Finding(
            "few_test_images",
            f"Too few test images to say how good it is: {_right(report):,} right of {report.n:,} can be "
            f"{_share(report.accuracy.low)} to {_share(report.accuracy.high)} of all such pictures; test "
            f"about {math.ceil(_images_to_know(report.accuracy.value) / 10) * 10} to know it to within "
            f"{_WIDE_POINTS // 2} points.",
        )


def _leaked(report: Report, leakage: Leakage) -> str:
    counts = (leakage.identical, "is identical to", "are identical to"), (leakage.look_alike, "looks like", "look like")
    parts = " and ".join(f"{count:,} {one if count == 1 else several}" for count, one, several in counts if count)
    what = "a training image" if _leaked_images(leakage) == 1 else "training images"
    without, others = leakage.accuracy_without, report.n - _leaked_images(leakage)
    rest = (
        f"it is right for {_share(without.value, others)} of the {others:,} others ({_range(without, others)}), "
        "which is what to expect of new pictures"
        if without
        else "nothing is known of new pictures"
    )
    return f"Of {quantity(report.n, 'test image')} {parts} {what} (lince data check lists them): {rest}."


def _leaked_images(leakage: Leakage) -> int:
    return leakage.identical + leakage.look_alike


def _has_raised(report: Report, leakage: Leakage) -> bool:
    """Whether the accuracy is shown to be higher for the images that are in another split, and by as much as counts."""
    without, leaked = leakage.accuracy_without, _leaked_images(leakage)
    if without is None:
        return True
    right = _right(report) - round(without.value * (report.n - leaked))
    raised = report.accuracy.value - without.value
    is_shown = leaked > 0 and metrics.difference(metrics.accuracy_interval(right, leaked), without).low > 0
    return is_shown and 100 * raised > _RAISED_POINTS


def _gap(evidence: Evidence) -> Interval:
    return metrics.difference(evidence.training_accuracy, evidence.validation_accuracy)


def _right(report: Report) -> int:
    return sum(row[label] for label, row in enumerate(report.confusion))


def _images_to_know(share: float) -> int:
    """The fewest images with which an accuracy has an interval that is not wide."""
    n = 1
    while 100 * _width(share, n) > _WIDE_POINTS:  # at most 381, for one half
        n += 1
    return n


def _width(share: float, n: int) -> float:
    interval = metrics.accuracy_interval(round(share * n), n)
    return interval.high - interval.low


def _images_to_show(share: float, other: float) -> int:
    """The fewest images with which an interval around a share ends above another one, lower than it.

    Source: Wilson's lower end is above `other` when n (share − other)² > z² other (1 − other).
    """
    return math.floor(metrics.Z95**2 * other * (1 - other) / (share - other) ** 2) + 1


def _interval(report: Report) -> str:
    return _range(report.accuracy, report.n)


def _range(share: Interval, n: int) -> str:
    return f"95 % interval {_share(share.low, n)} to {_share(share.high, n)}"


def _share(share: float, n: int = 0) -> str:
    """In per cent, with a digit more where there are a thousand images."""
    return percent(share, digits=int(n >= 1000))
