"""What the records of a published model say about themselves."""

import dataclasses

from lince.published import Certificate
from lince.records import Interval

CERTIFICATE = Certificate(
    split="test", n=42, float_accuracy=0.82, int8_accuracy=0.81, drop_points=Interval(0.1, 0, 0.3), disagreement=0.01,
    worst_class="dog", worst_class_drop_points=1.0, float_ece=0.02, int8_ece=0.02, calibrated_ece=0.01,
    flatbuffer_bytes=1, latency_us=1.0, machine="m", bound_points=0.5,
)  # fmt: skip


def test_verdict_compares_drop_and_bound():
    """At the bound passes, above it only one image does; --force is said, an interval beyond the bound doubted."""
    at, unsure, above = Interval(0.3, 0.1, 0.5), Interval(0.5, 0, 1), Interval(0.51, 0, 1)
    assert dataclasses.replace(CERTIFICATE, drop_points=at).verdict == "passed"
    doubted = dataclasses.replace(CERTIFICATE, drop_points=unsure)
    assert doubted.verdict == "passed, though 42 images are too few to be sure"
    one_image = dataclasses.replace(CERTIFICATE, drop_points=above)
    assert one_image.verdict == "passed, as one image of 42 more is wrong, too few to know"
    forced = dataclasses.replace(CERTIFICATE, drop_points=above, forced=True)
    assert forced.verdict == "not passed, published with --force"
