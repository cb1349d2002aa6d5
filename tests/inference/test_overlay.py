"""The picture of an explanation: its size, its colours and its line."""

import io

import numpy as np
import pytest
from PIL import Image

from lince.inference import overlay
from lince.inference.explanation import Explanation
from lince.types import ImageSpec, Prediction

SIZE = 32


def made(heat: np.ndarray, most: np.ndarray) -> Explanation:
    """An explanation with this map."""
    one = np.ones((1, 2), np.float32)
    prediction = Prediction(one, one, np.array([0]), None, np.array([False]))
    return Explanation(prediction, 0, heat.astype(np.float32), most, 0.9, 0.1, 0.9)


def drawn(heat: np.ndarray, most: np.ndarray, *, level: int = 128) -> np.ndarray:
    """The right half of the picture, i64[H,W,3]: a grey image under its heat map."""
    spec = overlay.panel_spec(ImageSpec(*heat.shape))
    picture = np.full(spec.shape, level, np.uint8)
    whole = np.asarray(Image.open(io.BytesIO(overlay.draw(made(heat, most), picture)))).astype(int)
    gap = overlay._GAP
    return whole[gap : gap + spec.height, 2 * gap + spec.width : 2 * gap + 2 * spec.width]


@pytest.fixture
def heat() -> np.ndarray:
    """Supports the class at the top left, speaks against it at the bottom right, half as much."""
    values = np.zeros((SIZE, SIZE))
    values[:8, :8], values[-8:, -8:] = 2, -1
    return values


NOWHERE = np.zeros((SIZE, SIZE), bool)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 32), (384, 384)), ((28, 28), (392, 392)), ((224, 112), (448, 224)), ((1024, 1024),) * 2],
)
def test_panel_is_a_multiple_of_the_image(size, expected):
    """At least 384 pixels, the model's size several times, and the same cut."""
    spec = overlay.panel_spec(ImageSpec(*size, resize="pad"))
    assert (*expected, "pad") == (spec.height, spec.width, spec.resize)


def test_left_is_the_image(heat):
    """The left half shows the image as it is."""
    picture = np.random.default_rng(0).integers(0, 256, (384, 384, 3), dtype=np.uint8)
    whole = np.asarray(Image.open(io.BytesIO(overlay.draw(made(heat, NOWHERE), picture))))
    gap = overlay._GAP
    np.testing.assert_array_equal(picture, whole[gap : gap + 384, gap : gap + 384])


@pytest.mark.parametrize("level", [0, 128, 255])
def test_colours(heat, level):
    """Orange supports, blue is against, grey is neither, on dark and bright pictures; the strongest is most opaque."""
    picture = drawn(heat, NOWHERE, level=level)
    support, against, neither = picture[48, 48], picture[-48, -48], picture[200, 200]
    assert support[0] > support[2] + 100
    assert against[2] > against[0] + 50
    assert 1 == len(set(neither.tolist()))
    assert np.ptp(support) > np.ptp(against)


def test_no_heat_is_grey():
    """A map of zeros has no colour, and is not divided by zero."""
    picture = drawn(np.zeros((SIZE, SIZE)), NOWHERE)
    assert (0, 1) == (np.ptp(picture, axis=2).max(), len(np.unique(picture)))


def test_line_surrounds_the_area():
    """A white line between black ones runs inside the marked area, also along the image's edge, and nowhere else."""
    most = NOWHERE.copy()
    most[:8, 4:12] = True
    plain, marked = (drawn(np.zeros((SIZE, SIZE)), one) for one in (NOWHERE, most))
    changed = (plain != marked).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (0, 95, 48, 143) == (rows[0], rows[-1], columns[0], columns[-1])
    assert {0, 255} == set(np.unique(marked[changed]))
    assert not changed[20:70, 70:120].any()
