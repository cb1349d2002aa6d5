"""Each corruption does what its strength says, and the same every time."""

import io

import numpy as np
import pytest
from PIL import Image

import synthetic
from lince.errors import LinceError
from lince.evaluation.corruptions import AMOUNTS, STRENGTHS, corrupt

KINDS = tuple(AMOUNTS)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Twelve drawn pictures."""
    return synthetic.batch(12, seed=0)[0]


def grey(value: int, *, count: int = 4, size: int = 64) -> np.ndarray:
    return np.full((count, size, size, 3), value, np.uint8)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    @pytest.mark.parametrize("strength", STRENGTHS)
    def test_keeps_shape_and_type(self, images, kind, strength):
        """u8[N,H,W,3] in, the same out, and the given images are left alone."""
        before = images.copy()
        found = corrupt(images, kind, strength=strength, seed=0)
        assert (np.uint8, images.shape) == (found.dtype, found.shape)
        np.testing.assert_array_equal(before, images)

    def test_grows_with_strength(self, images, kind):
        """Each strength is further from the picture than the one before."""
        distances = [np.abs(corrupt(images, kind, strength=s, seed=0) - images.astype(float)).mean() for s in STRENGTHS]
        assert sorted(distances) == distances
        assert distances[0] > 0

    def test_does_not_depend_on_the_batch(self, images, kind):
        """Whole, or in two parts that say where they begin: the same pixels."""
        whole = corrupt(images, kind, strength=3, seed=7)
        parts = [corrupt(images[a:b], kind, strength=3, seed=7, first=a) for a, b in ((0, 5), (5, 12))]
        np.testing.assert_array_equal(whole, np.concatenate(parts))

    @pytest.mark.parametrize("shape", [(0, 32, 32, 3), (2, 1, 1, 3), (2, 48, 20, 3)])
    def test_takes_any_size(self, kind, shape):
        """No images, one pixel, no square."""
        assert shape == corrupt(np.zeros(shape, np.uint8), kind, strength=5, seed=0).shape

    def test_leaves_flat_grey_grey(self, kind):
        """On average nothing becomes lighter or darker."""
        assert 128 == pytest.approx(corrupt(grey(128), kind, strength=5, seed=0).mean(), abs=0.5)


class TestAmounts:
    @pytest.mark.parametrize("strength", STRENGTHS)
    def test_noise_has_its_standard_deviation(self, strength):
        """Grey levels of 255, on a grey that leaves room to both sides."""
        found = corrupt(grey(128), "noise", strength=strength, seed=0)
        assert pytest.approx(AMOUNTS["noise"][strength - 1], rel=0.02) == found.std()

    def test_noise_depends_on_the_seed(self, images):
        """Another seed, another pattern."""
        first, second = (corrupt(images, "noise", strength=1, seed=seed) for seed in (0, 1))
        assert (first != second).mean() > 0.5

    @pytest.mark.parametrize(("strength", "share"), [(1, 0.92), (2, 0.66), (3, 0.45), (4, 0.29), (5, 0.17)])
    def test_blur_leaves_what_a_gaussian_leaves(self, strength, share):
        """Of a wave 4 pixels long, the share that the comment names."""
        wave = 128 + 100 * np.sin(2 * np.pi * (np.arange(32) + 0.5) / 4)
        image = np.broadcast_to(np.rint(wave)[None, None, :, None], (1, 32, 32, 3)).astype(np.uint8)
        found = corrupt(image, "blur", strength=strength, seed=0)[:, :, 8:24]
        assert share == pytest.approx(found.std() / image[:, :, 8:24].std(), abs=0.015)

    def test_blur_grows_with_the_picture(self):
        """A wave twice as long in a picture twice as large loses as much."""
        left = []
        for size in (32, 64):
            wave = 128 + 100 * np.sin(2 * np.pi * (np.arange(size) + 0.5) / (size / 8))
            image = np.broadcast_to(np.rint(wave)[None, None, :, None], (1, size, size, 3)).astype(np.uint8)
            inner = slice(size // 4, -size // 4)
            left.append(corrupt(image, "blur", strength=3, seed=0)[:, :, inner].std() / image[:, :, inner].std())
        assert left[0] == pytest.approx(left[1], abs=0.01)

    def test_contrast_shrinks_towards_the_mean(self):
        """Black and white halves, at 0.49 of the contrast: 127.5 ± 62.5, rounded."""
        image = np.zeros((1, 2, 2, 3), np.uint8)
        image[:, 0] = 255
        assert {65, 190} == set(corrupt(image, "contrast", strength=2, seed=0).ravel().tolist())

    def test_jpeg_is_that_of_the_quality(self, images):
        """The pixels are those of a file that Pillow itself saves."""
        file = io.BytesIO()
        Image.fromarray(images[0]).save(file, "JPEG", quality=40, subsampling="4:2:0")
        np.testing.assert_array_equal(np.asarray(Image.open(file)), corrupt(images, "jpeg", strength=3, seed=0)[0])

    def test_pixelate_leaves_so_many_rows(self):
        """At strength 4, 16 of 32: squares of 2 × 2, each the mean of what it covers."""
        image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
        found = corrupt(image, "pixelate", strength=4, seed=0)
        means = image.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
        # Pillow rounds twice, once for each direction.
        np.testing.assert_allclose(means.repeat(2, 0).repeat(2, 1)[None], found, atol=1)


@pytest.mark.parametrize(("kind", "strength"), [("snow", 1), ("noise", 0), ("noise", 6)])
def test_refuses_what_there_is_not(images, kind, strength):
    """Kinds and strengths are listed."""
    with pytest.raises(LinceError, match=rf"Received kind='{kind}' and strength={strength}\. Expected one of noise, "):
        corrupt(images, kind, strength=strength, seed=0)
