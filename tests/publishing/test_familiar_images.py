"""Familiar images: what the Gaussian of a model file is of, and that no image is measured by its own copies."""

from pathlib import Path

import numpy as np
import pytest

from lince import familiarity
from lince.evaluation import corruptions
from lince.inference import interpreter
from lince.publishing import familiar_images
from lince.quantization import flatbuffer


@pytest.fixture(scope="module")
def shifts():
    """What stands for a network: the channels' means, so that corruptions move a picture's features a little."""
    return lambda images: np.asarray(images[:]).reshape(len(images), -1, 3).mean(axis=1, dtype=np.float32)


class TestOfTraining:
    def test_training_images_are_nearer_than_pictures_of_nothing(self, int8, splits):
        """Every one of them, than noise of the same size."""
        known = familiar_images.of_training(int8, splits[0], seed=0)
        noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
        near, far = (known.distances(interpreter.features(int8, pictures)) for pictures in (splits[0].images, noise))
        assert near.max() < far.min()

    def test_weakly_corrupted_pictures_are_nearer_than_without_copies(self, int8, splits):
        """New pictures that are hardly changed, compared with a Gaussian of the images as they are."""
        known = familiar_images.of_training(int8, splits[0], seed=0)
        alone = familiarity.fit(interpreter.features(int8, splits[0].images))
        changed = [corruptions.corrupt(splits[1].images[:], kind, strength=1, seed=1) for kind in corruptions.AMOUNTS]
        features = interpreter.features(int8, np.concatenate(changed))
        assert known.distances(features).mean() < 0.9 * alone.distances(features).mean()

    def test_many_images_are_sampled(self, int8, splits, monkeypatch):
        """Features of 21 of 60 images are computed, 7 of each class, the same at every call."""
        monkeypatch.setattr(familiarity, "IMAGES", 20)
        calls = []
        measure = interpreter.logits_and_features
        monkeypatch.setattr(
            interpreter, "logits_and_features", lambda network, images: calls.append(images) or measure(network, images)
        )
        first, second = (familiar_images.of_training(int8, splits[0], seed=0) for _ in range(2))
        assert [21, 5, 4, 4, 4, 4] * 2 == [len(images) for images in calls]
        np.testing.assert_array_equal(first.whitening, second.whitening)

    @pytest.mark.parametrize("count", [1, 2])
    def test_very_few_images(self, int8, splits, count):
        """There are fewer copies than kinds of corruption then."""
        known = familiar_images.of_training(int8, splits[0].take(np.arange(count)), seed=0)
        assert np.isfinite(known.whitening).all()

    def test_a_network_without_features_knows_nothing(self, int8, splits, monkeypatch):
        """Its model file has no such member."""
        monkeypatch.setattr(flatbuffer, "features_name", lambda network: None)
        assert familiar_images.of_training(int8, splits[0], seed=0) is None


class TestCrossFitted:
    def test_a_copy_is_in_the_fold_of_its_image(self):
        """One image is far away, as is its copy. If another fold's image has that copy, it is nearer."""
        images = np.random.default_rng(0).gamma(9, size=(40, 4)).astype(np.float32)
        images[0] = (0, 0, 0, 9)
        own, other = images.copy(), images.copy()
        other[1] = images[0]
        folds = np.arange(40) % 2
        found, leaked = (familiar_images._Measured(images, copies).cross_fitted(folds)[0] for copies in (own, other))
        assert found > 1.5 * leaked

    def test_each_is_measured_by_the_other_folds(self, shifts, splits):
        """Pictures are further from a Gaussian that was fitted without them."""
        measured = familiar_images._measure(shifts, splits[0].images[:10], seed=0)
        own = measured.gaussian().distances(measured.images)
        assert own.mean() < measured.cross_fitted(np.arange(10) % 5).mean()

    def test_copies_are_in_the_order_of_their_images(self, shifts, splits):
        """A copy is nearest to its own image: all corruptions but a loss of contrast keep the mean colour."""
        measured = familiar_images._measure(shifts, splits[0].images[:5], seed=0)
        gaps = np.square(measured.copies[:, None] - measured.images[None]).sum(axis=2)
        kept = [index for index, kind in enumerate(corruptions.AMOUNTS) if kind != "contrast"]
        np.testing.assert_array_equal(kept, gaps.argmin(axis=1)[kept])


def test_features_of_the_float_network_are_those_of_the_file(int8, trained_model, splits, tmp_path: Path):
    """The layer has the name of the second output; what int8 rounds hardly turns the vector."""
    name = flatbuffer.features_name(int8)
    exact = familiar_images._of_keras(trained_model, name, batch=7)(splits[0].images)
    found = interpreter.features(int8, splits[0].images)
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(found, axis=1)
    assert ((exact * found).sum(axis=1) / lengths).min() > 0.99
