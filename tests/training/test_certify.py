"""The gate: a model that lost too much is not published, or says so."""

from dataclasses import replace

import numpy as np
import pytest

from lince.errors import GateError
from lince.published import Certificate, Comparison
from lince.records import Interval
from lince.training.certify import certify

IMAGE = np.zeros((1, 32, 32, 3), np.uint8)


def comparison(drop_points: float) -> Comparison:
    """1,000 images on which int8 answers so many points worse."""
    return Comparison(
        n=1000,
        float_accuracy=0.9,
        int8_accuracy=0.9 - drop_points / 100,
        drop_points=Interval(drop_points, drop_points - 0.3, drop_points + 0.3),
        disagreement=0.02,
        worst_class="disc",
        worst_class_drop_points=2 * drop_points,
        float_ece=0.05,
        int8_ece=0.06,
        calibrated_ece=0.01,
    )


class TestCertify:
    @pytest.mark.parametrize("drop", [-1.0, 0.0, 0.5])
    def test_within_the_bound(self, int8, drop):
        """A drop of up to the bound passes; the certificate repeats what was compared, and adds what was measured."""
        found = certify(comparison(drop), int8, IMAGE, max_drop_points=0.5, force=False)
        for name, value in vars(comparison(drop)).items():
            assert value == getattr(found, name)
        assert ("test", len(int8), 0.5, False) == (
            found.split,
            found.flatbuffer_bytes,
            found.bound_points,
            found.forced,
        )
        assert 0 < found.latency_us < 1e6
        assert "cores" in found.machine

    def test_above_the_bound(self, int8):
        """One sentence: how much was lost, of how many images, what the bound is, and what can be done."""
        with pytest.raises(
            GateError,
            match=r"int8 answers 0\.75 points worse than float \(90\.00% → 89\.25%, n = 1,000\)\. Expected a drop "
            r"of at most 0\.5 points, or one image\. .*quantize\.calibration_images.*--force",
        ):
            certify(comparison(0.75), int8, IMAGE, max_drop_points=0.5, force=False)

    @pytest.mark.parametrize(
        ("n", "lost", "refused"), [(35, 1, False), (35, 2, True), (199, 1, False), (1000, 5, False), (1000, 6, True)]
    )
    def test_one_image_is_not_enough_to_refuse(self, int8, n, lost, refused):
        """Few images cannot show half a point: one that falls the other way is let through, and that is all."""
        drop = 100 * lost / n
        few = replace(comparison(drop), n=n)
        if refused:
            with pytest.raises(GateError, match=r"or one image\."):
                certify(few, int8, IMAGE, max_drop_points=0.5, force=False)
        else:
            assert not certify(few, int8, IMAGE, max_drop_points=0.5, force=False).forced

    def test_forced(self, int8):
        """With `force` it is published, and the certificate says so for ever."""
        found = certify(comparison(0.75), int8, IMAGE, max_drop_points=0.5, force=True)
        assert found.forced
        assert 0.75 == found.drop_points.value

    def test_force_that_was_not_needed(self, int8):
        """`force` on a model within the bound leaves no stain."""
        assert not certify(comparison(0.2), int8, IMAGE, max_drop_points=0.5, force=True).forced

    def test_is_a_record(self, int8):
        """The certificate is plain data that can be changed into another."""
        found = certify(comparison(0.0), int8, IMAGE, max_drop_points=0.5, force=False)
        assert isinstance(replace(found, split="validation"), Certificate)
