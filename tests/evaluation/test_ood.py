"""Pictures of nothing: of the right size, the same for a seed, and what their names say."""

import numpy as np
import pytest

from lince.errors import LinceError
from lince.evaluation import ood
from lince.types import ImageSpec


def pictures(kind: str, count: int, *, spec: ImageSpec = ImageSpec(), seed: int = 0) -> np.ndarray:
    """The first few of a kind, u8[N,H,W,3]."""
    return np.stack([ood.draw(kind, index, spec=spec, seed=seed) for index in range(count)])


@pytest.mark.parametrize("kind", ood.KINDS)
class TestDraw:
    @pytest.mark.parametrize("spec", [ImageSpec(), ImageSpec(20, 48), ImageSpec(1, 1)])
    def test_has_the_size_asked_for(self, kind, spec):
        """u8[H,W,3], also where that is a single pixel."""
        found = ood.draw(kind, 0, spec=spec, seed=0)
        assert (np.uint8, spec.shape) == (found.dtype, found.shape)

    def test_is_the_same_for_a_seed(self, kind):
        """The same pixels, and others for another seed."""
        np.testing.assert_array_equal(pictures(kind, 4, seed=5), pictures(kind, 4, seed=5))
        assert (pictures(kind, 4, seed=6) != pictures(kind, 4, seed=5)).any(axis=(1, 2, 3)).all()

    def test_draws_no_picture_twice(self, kind):
        """All differ."""
        assert 50 == len({picture.tobytes() for picture in pictures(kind, 50)})


def changes(kind: str) -> float:
    """How much neighbours in a row differ, grey levels, on average over many pictures."""
    return float(np.abs(np.diff(pictures(kind, 50).astype(float), axis=2)).mean())


def test_kinds_are_what_they_are_called():
    """Noise changes most and flat colours not at all; clouds and gradients are smooth, checks have two colours."""
    assert 0 == changes("flat colours")
    assert changes("flat colours") < changes("gradients") < changes("clouds") < changes("stripes") < changes("noise")
    assert 255 / 3 == pytest.approx(changes("noise"), rel=0.05)  # of two uniform numbers, a third of the range
    for picture in pictures("checks", 20):
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 2


def test_refuses_another_kind():
    """Kinds are listed."""
    with pytest.raises(LinceError, match=r"Received kind='cats'\. Expected one of noise, clouds, "):
        ood.draw("cats", 0, spec=ImageSpec(), seed=0)
