"""Pictures of nothing: of the right size, the same for a seed, and what their names say."""

import numpy as np
import pytest

from lince import foreign
from lince.errors import LinceError
from lince.records import ImageSpec


@pytest.mark.parametrize("kind", foreign.KINDS)
class TestDraw:
    @pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(20, 48), ImageSpec(1, 1)])
    def test_has_the_size_asked_for(self, kind, spec):
        """u8[N,H,W,3], also where that is a single pixel."""
        found = foreign.draw(kind, 3, spec=spec, seed=0)
        assert (np.uint8, (3, *spec.shape)) == (found.dtype, found.shape)

    def test_is_the_same_for_a_seed(self, kind):
        """The same pixels; more of them begin with the same, and another seed gives others."""
        few, many = (foreign.draw(kind, count, spec=ImageSpec(), seed=5) for count in (4, 9))
        np.testing.assert_array_equal(few, many[:4])
        assert (foreign.draw(kind, 4, spec=ImageSpec(), seed=6) != few).any(axis=(1, 2, 3)).all()

    def test_draws_no_picture_twice(self, kind):
        """All differ."""
        found = foreign.draw(kind, 50, spec=ImageSpec(), seed=0)
        assert 50 == len({picture.tobytes() for picture in found})


def changes(kind: str) -> float:
    """How much neighbours in a row differ, grey levels, on average over many pictures."""
    return float(np.abs(np.diff(foreign.draw(kind, 50, spec=ImageSpec(), seed=0).astype(float), axis=2)).mean())


def test_kinds_are_what_they_are_called():
    """Noise changes most and flat colours not at all; clouds and gradients are smooth, checks have two colours."""
    assert 0 == changes("flat colours")
    assert changes("flat colours") < changes("gradients") < changes("clouds") < changes("stripes") < changes("noise")
    assert 255 / 3 == pytest.approx(changes("noise"), rel=0.05)  # of two uniform numbers, a third of the range
    for picture in foreign.draw("checks", 20, spec=ImageSpec(), seed=0):
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 2


def test_refuses_another_kind():
    """Kinds are listed."""
    with pytest.raises(LinceError, match=r"Received kind='cats'\. Expected one of noise, clouds, "):
        foreign.draw("cats", 1, spec=ImageSpec(), seed=0)
