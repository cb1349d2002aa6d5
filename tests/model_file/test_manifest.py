"""What the records of a published model say about themselves."""

from dataclasses import replace

from lince.model_file.manifest import Certificate, Comparison, Finding, Verdict
from lince.types import Interval

CERTIFICATE = Certificate(
    comparison=Comparison(
        n=42, float_accuracy=0.82, int8_accuracy=0.81, drop_points=Interval(0.1, 0, 0.3), disagreement=0.01,
        worst_class="dog", worst_class_drop_points=1.0, float_ece=0.02, int8_ece=0.02, calibrated_ece=0.01,
    ),
    split="test", flatbuffer_bytes=1, latency_us=1.0, machine="m", bound_points=0.5,
)  # fmt: skip


def test_verdict_compares_drop_and_bound():
    """An interval up to the bound passes, one that reaches beyond it shows nothing; --force is said."""
    within, beyond = Interval(0.3, 0.1, 0.5), Interval(0.3, 0.1, 0.51)
    passed, unknown = (
        replace(CERTIFICATE, comparison=replace(CERTIFICATE.comparison, drop_points=drop)) for drop in (within, beyond)
    )
    assert passed.verdict == "passed"
    assert unknown.verdict == "not shown to be within the bound, for which 42 images are too few"
    assert replace(unknown, forced=True).verdict == "not passed, published with --force"


def test_text_of_a_verdict():
    """The sentences, one after the other."""
    assert Verdict((Finding("good", "It is good."), Finding("x", "But."))).text == "It is good. But."
