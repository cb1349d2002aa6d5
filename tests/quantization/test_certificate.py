"""The gate: a model that is shown to lose too much, or is no better than one class, is not published, or says so."""

from dataclasses import replace

import numpy as np
import pytest

from lince import calibration, metrics
from lince.errors import GateError
from lince.evaluation.accuracy import report_from
from lince.model_file.manifest import Certificate, Comparison
from lince.quantization.certificate import certify, is_refused, require_above_one_class
from lince.types import Calibration, Split

IMAGE = np.zeros((1, 32, 32, 3), np.uint8)


def comparison(n: int, *, lost: int, gained: int = 0) -> Comparison:
    """n images, of which int8 loses some that float had right, and gains others."""
    exact, quantized = np.ones(n, bool), np.ones(n, bool)
    quantized[:lost] = exact[n - gained :] = False
    return Comparison(
        n=n,
        float_accuracy=float(exact.mean()),
        int8_accuracy=float(quantized.mean()),
        drop_points=metrics.points(metrics.paired_difference(exact, quantized)),
        disagreement=(lost + gained) / n,
        worst_class="disc",
        worst_class_drop_points=1.0,
        float_ece=0.05,
        int8_ece=0.06,
        calibrated_ece=0.01,
    )


def certified(found: Comparison, int8: bytes, *, force: bool = False, bound: float = 0.5) -> Certificate:
    return certify(found, int8, IMAGE, max_drop_points=bound, force=force, advice="Do this.")


class TestCertify:
    @pytest.mark.parametrize("lost", [0, 5])
    def test_within_the_bound(self, int8, lost):
        """The certificate contains what was compared, and adds what was measured."""
        compared = comparison(10_000, lost=lost)
        found = certified(compared, int8)
        assert compared == found.comparison
        assert ("test", len(int8), 0.5, False, "passed") == (
            found.split,
            found.flatbuffer_bytes,
            found.bound_points,
            found.forced,
            found.verdict,
        )
        assert 0 < found.latency_us < 1e6
        assert "cores" in found.machine

    def test_above_the_bound(self, int8):
        """How much was lost, of how many images, what the interval shows, what is expected, and what can be done."""
        with pytest.raises(
            GateError,
            match=r"int8 answers 6\.00 points worse than float \(100\.00 % → 94\.00 %, n = 100, 95 % interval 0\.\d\d "
            r"to 1\d\.\d\d\)\. Expected a drop that is not shown to exceed 0\.5 points, and that is at most 5 points "
            r"or 3 images\. Do this\.",
        ):
            certified(comparison(100, lost=6), int8)

    @pytest.mark.parametrize(
        ("n", "lost", "gained", "refused", "words"),
        [
            (100, 2, 0, False, "not shown to be within the bound, for which 100 images are too few"),
            (1000, 30, 24, False, "not shown to be within the bound, for which 1,000 images are too few"),
            (35, 3, 0, False, "not shown"),  # 8.6 points, three images
            (35, 4, 0, True, ""),
            (80, 4, 0, False, "not shown"),  # 5 points, not more
            (100, 15, 10, False, "not shown"),
            (100, 16, 10, True, ""),  # 6 points, though the interval begins below 0
            (10_000, 60, 40, False, "passed"),
            (10_000, 110, 40, False, "not shown"),  # 0.7 points, 0.46 to 0.94
            (10_000, 130, 40, True, ""),  # 0.9 points, 0.64 to 1.16
            (3, 3, 0, False, "not shown"),
            (4, 4, 0, True, ""),
        ],
    )
    def test_what_is_shown_and_what_is_seen(self, int8, n, lost, gained, refused, words):
        """Refused is a loss that the interval shows, or a large one; otherwise the certificate says what it knows."""
        compared = comparison(n, lost=lost, gained=gained)
        assert refused == is_refused(compared.drop_points, n=n, max_drop_points=0.5)
        if not refused:
            assert certified(compared, int8).verdict.startswith(words)

    @pytest.mark.parametrize(("lost", "refused"), [(8, False), (11, True)])
    def test_a_bound_above_five_points(self, lost, refused):
        """Who allows 10 points is not refused at 8."""
        drop = comparison(100, lost=lost).drop_points
        assert refused == is_refused(drop, n=100, max_drop_points=10)

    def test_a_bound_of_zero(self):
        """Is a bound: what is not shown to lose anything passes, and one lost image shows nothing."""
        assert not is_refused(comparison(10_000, lost=1).drop_points, n=10_000, max_drop_points=0)
        assert is_refused(comparison(10_000, lost=20).drop_points, n=10_000, max_drop_points=0)

    def test_better_than_float(self):
        """Is never refused."""
        assert not is_refused(comparison(1000, lost=10, gained=30).drop_points, n=1000, max_drop_points=0)

    def test_forced(self, int8):
        """With `force` it is published, and the certificate says so for ever."""
        found = certified(comparison(1000, lost=75), int8, force=True)
        assert found.forced
        assert "not passed, published with --force" == found.verdict

    def test_force_that_was_not_needed(self, int8):
        """`force` on a model within the bound leaves no stain."""
        assert not certified(comparison(1000, lost=2), int8, force=True).forced

    def test_is_a_record(self, int8):
        """The certificate is plain data that can be changed into another."""
        assert isinstance(replace(certified(comparison(1000, lost=0), int8), split="validation"), Certificate)


class TestRequireAboveOneClass:
    def test_refused(self):
        """Both figures with their images, what was expected, and what can be done."""
        labels = np.repeat([0, 1], [60, 40])
        images = Split(np.zeros((100, 1, 1, 3), np.uint8), labels, ("cat", "dog"), tuple(map(str, range(100))))
        report = report_from(calibration.apply(np.eye(2, dtype=np.float32)[np.zeros(100, int)], Calibration()), images)
        with pytest.raises(
            GateError,
            match=r"The network is right for 60 of 100 test images \(60 %, .*\), as it names 'cat' for every image, "
            r"and always naming 'cat' would be right for 60 \(60 %\)\. Expected more right answers than that\. Do this",
        ):
            require_above_one_class(report, force=False, advice="Do this.")
        require_above_one_class(report, force=True, advice="")
