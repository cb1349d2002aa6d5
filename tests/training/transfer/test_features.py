"""Features of images: what the network computes before its last layer, once, and in a file."""

import numpy as np
import pytest
from tests.networks.small import SMALL, build, draw

from lince.networks.models import LOGITS
from lince.networks.pooled import Pooled
from lince.training.transfer import feature_file, features


@pytest.fixture(scope="module")
def model():
    return build(SMALL[Pooled])


@pytest.fixture
def computed(model, tmp_path, monkeypatch):
    """Calls `stored` on these images, four at a time; gives the features and what the progress received."""
    monkeypatch.setattr(features, "images_at_once", lambda spec: 4)

    def call(*images: np.ndarray, mirrored: bool = True):
        calls: list[tuple[int, int]] = []

        def progress(done: int, total: int, what: str) -> None:
            calls.append((done, total))

        found = features.stored(tmp_path / "features.npy", model, images, mirrored=mirrored, progress=progress)
        return found, calls

    return call


def test_views_are_the_image_and_its_mirror_image(model, computed):
    """The last layer turns the features of each view into the network's own answer to that view."""
    images = draw(7)
    found, calls = computed(images[:5], images[5:])
    assert [(4, 7), (5, 7), (7, 7)] == calls
    kernel, bias = model.get_layer(LOGITS).get_weights()
    for view, pixels in enumerate((images, images[:, :, ::-1])):
        logits = found[:][:, view].astype(np.float32) @ kernel + bias
        answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(model.predict_on_batch(pixels.astype(np.float32)), answers, atol=2e-3)
    assert (7, 1, found.shape[2]) == computed(images, mirrored=False)[0].shape


def test_file_is_read_again(computed):
    """A finished file is not computed a second time; one of other images or views, or a damaged one, is replaced."""
    images = draw(6)
    first, _ = computed(images)
    again, calls = computed(images)
    assert [] == calls
    assert np.array_equal(first[:], again[:])
    assert computed(images[:5])[1]
    assert computed(images[:5], mirrored=False)[1]


def test_damaged_file_is_computed_again(computed, tmp_path):
    """The new file has the same features."""
    images, path = draw(6), tmp_path / "features.npy"
    expected = computed(images)[0][:]
    path.write_bytes(path.read_bytes()[:-2])
    assert np.array_equal(expected, computed(images)[0][:])
    assert np.array_equal(expected, feature_file.read(path)[:])
