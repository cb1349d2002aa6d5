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
from dataclasses import dataclass, replace

from lince import metrics
from lince.language import LANGUAGES, Language, number, text
from lince.model_file.manifest import Certificate, Finding, Leakage, Verdict
from lince.number_formats import percent
from lince.types import ClassScore, Interval, Report

# Training images to measure overfitting on: their accuracy is known to within 3 points.
TRAINING_IMAGES = 1000

_MOST_FINDINGS = 3
_NAMES = 5  # classes that a sentence lists

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


def judge(evidence: Evidence, *, language: Language = "en") -> Verdict:
    """The most important findings about a model, three at most; their sentences are in that language."""
    say = _Sentences(language)
    faults = list(_faults(evidence, say))
    remarks = list(_remarks(evidence, say))
    first = (faults or [_good(evidence.test, say)])[: _MOST_FINDINGS - len(remarks)]
    return Verdict((*first, *remarks))


def judge_in_all_languages(evidence: Evidence) -> Verdict:
    """As `judge` in English, with the sentences in the other languages beside each: for the model file."""
    found = judge(evidence)
    others = {language: judge(evidence, language=language) for language in LANGUAGES if language != "en"}
    return Verdict(
        tuple(
            replace(one, translations={language: other.findings[place].sentence for language, other in others.items()})
            for place, one in enumerate(found.findings)
        )
    )


def is_above_one_class(report: Report) -> bool:
    """Whether a model is better than always naming the largest class of the same images."""
    return _right(report) > largest_class(report)[1]


def largest_class(report: Report) -> tuple[str, int]:
    """The class with the most images, and their number."""
    largest = max(report.per_class, key=lambda score: score.support)
    return largest.label, largest.support


def against_one_class(report: Report, *, language: Language = "en") -> str:
    """The model's right answers beside those of always naming one class, as part of a sentence."""
    say = _Sentences(language)
    label, support = largest_class(report)
    return say(
        "against_one_class",
        right=say.number(_right(report)),
        images=say("test_images", count=report.n),
        accuracy=say.share(report.accuracy.value, report.n),
        interval=say.interval(report.accuracy, report.n),
        only=_only_answer(report, say),
        label=repr(label),
        support=say.number(support),
        share=say.share(support / report.n, report.n),
    )


class _Sentences:
    """The sentences of a language, with its numbers."""

    def __init__(self, language: Language):
        self.language = language

    def __call__(self, key: str, **values: object) -> str:
        return text(self.language, f"verdict.{key}", **values)

    def number(self, value: float) -> str:
        """A whole number."""
        return number(self.language, f"{value:,.0f}")

    def share(self, share: float, n: int = 0) -> str:
        """In per cent, with one more digit from 1,000 images on."""
        return number(self.language, percent(share, digits=int(n >= 1000)))

    def interval(self, share: Interval, n: int) -> str:
        return self("interval", low=self.share(share.low, n), high=self.share(share.high, n))

    def names(self, names: list[str]) -> str:
        """The first few names, quoted, and the number of the others."""
        shown = ", ".join(map(repr, names[:_NAMES]))
        return shown if len(names) <= _NAMES else self("and_more", names=shown, others=self.number(len(names) - _NAMES))


def _only_answer(report: Report, say: _Sentences) -> str:
    """A remark, when all answers are one class."""
    answered = [sum(column) for column in zip(*report.confusion, strict=True)]
    only = [score.label for score, count in zip(report.per_class, answered, strict=True) if count == report.n]
    return say("only_answer", label=repr(only[0])) if only else ""


def _faults(evidence: Evidence, say: _Sentences) -> Iterator[Finding]:
    report, certificate, leakage = evidence.test, evidence.certificate, evidence.leakage
    compared = certificate.comparison
    is_above = is_above_one_class(report)
    against = against_one_class(report, language=say.language)
    training, accuracy = say.share(evidence.training_accuracy.value), say.share(report.accuracy.value)
    if not is_above:
        yield Finding("not_above_one_class", say("not_above_one_class", against=against))
    elif report.accuracy.low <= largest_class(report)[1] / report.n:
        yield _not_shown_above_one_class(report, say, against=against)
    if certificate.forced:
        cost, before = number(say.language, f"{compared.drop_points.value:.1f}"), say.share(compared.float_accuracy)
        after = say.share(compared.int8_accuracy)
        yield Finding("quantization_loss", say("quantization_loss", points=cost, before=before, after=after))
    if leakage and _has_raised(report, leakage):
        yield Finding("test_images_in_training", _leaked(report, leakage, say))
    gap = metrics.difference(evidence.training_accuracy, evidence.validation_accuracy)
    if 100 * gap.low > _OVERFITTED_POINTS:
        validation = say.share(evidence.validation_accuracy.value)
        sentence = say("overfitted", training=training, validation=validation, accuracy=accuracy)
        yield Finding("overfitted", sentence)
    elif is_above and report.accuracy.value < 0.5:
        yield Finding("often_wrong", say("often_wrong", training=training, accuracy=accuracy))
    missed = [score for score in report.per_class if score.support >= _ENOUGH_OF_A_CLASS and score.recall == 0]
    if is_above and missed:
        key = "class_missed.one" if len(missed) == 1 else "class_missed.other"
        names, balanced = say.names([score.label for score in missed]), _balanced(report, missed, say)
        yield Finding("class_missed", say(key, names=names, balanced=balanced))
    if is_above and report.accuracy.low > largest_class(report)[1] / report.n:
        yield from _few_test_images(report, say)


def _balanced(report: Report, missed: list[ClassScore], say: _Sentences) -> str:
    """A further repair, where the missed classes have fewer images than others."""
    is_rare = any(2 * score.support < largest_class(report)[1] for score in missed)
    return say("balanced") if is_rare else ""


def _remarks(evidence: Evidence, say: _Sentences) -> Iterator[Finding]:
    report, leakage = evidence.test, evidence.leakage
    if leakage is None:
        yield Finding("leakage_not_searched", say("leakage_not_searched"))
    elif _leaked_images(leakage) and not _has_raised(report, leakage):
        yield Finding("some_test_images_in_training", _leaked(report, leakage, say))


def _good(report: Report, say: _Sentences) -> Finding:
    accuracy, interval = say.share(report.accuracy.value, report.n), say.interval(report.accuracy, report.n)
    images = say("test_images", count=report.n)
    return Finding("good", say("good", accuracy=accuracy, images=images, interval=interval))


def _not_shown_above_one_class(report: Report, say: _Sentences, *, against: str) -> Finding:
    needed = _images_to_show(report.accuracy.value, largest_class(report)[1] / report.n)
    todo = say("add_test_images" if needed <= _MANY_TIMES * report.n else "train_longer")
    about = say.number(float(f"{needed:.2g}"))
    sentence = say("not_shown_above_one_class", against=against, needed=about, todo=todo)
    return Finding("not_shown_above_one_class", sentence)


def _few_test_images(report: Report, say: _Sentences) -> Iterator[Finding]:
    if 100 * (report.accuracy.high - report.accuracy.low) > _WIDE_POINTS:
        needed = math.ceil(_images_to_know(report.accuracy.value) / 10) * 10
        yield Finding(
            "few_test_images",
            say(
                "few_test_images",
                right=say.number(_right(report)),
                n=say.number(report.n),
                low=say.share(report.accuracy.low),
                high=say.share(report.accuracy.high),
                needed=say.number(needed),
                points=_WIDE_POINTS // 2,
            ),
        )


def _leaked(report: Report, leakage: Leakage, say: _Sentences) -> str:
    counts = {"identical": leakage.identical, "look_alike": leakage.look_alike}
    parts = say("and").join(say(key, count=count) for key, count in counts.items() if count)
    what = say("training_image.one" if _leaked_images(leakage) == 1 else "training_image.other")
    without, others = leakage.accuracy_without, report.n - _leaked_images(leakage)
    rest = say("accuracy_unknown")
    if without:
        share, interval = say.share(without.value, others), say.interval(without, others)
        rest = say("accuracy_without", share=share, others=say.number(others), interval=interval)
    return say("leaked", images=say("test_images", count=report.n), parts=parts, what=what, rest=rest)


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
