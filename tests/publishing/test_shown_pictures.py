"""The pictures that a report shows are those of the run: the right images, reduced, the same at every call."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from lince import pipeline
from lince.evaluation.accuracy import report_from
from lince.progress import silent
from lince.publishing import shown_pictures
from lince.runs import pictures
from lince.runs.run_folder import RunFolder
from lince.training.augmentation.options import Augment
from lince.types import Prediction


@pytest.fixture(scope="module")
def opened(run: RunFolder):
    """The stored run with its images."""
    return pipeline.resume(run, progress=silent)


@pytest.fixture
def prediction(opened) -> Prediction:
    """Answers of which the images 3 and 1 are wrong, 3 with the higher probability."""
    n = len(opened.test)
    probabilities = np.full((n, 3), 0.1, np.float32)
    answers = opened.test.labels.copy()
    answers[[1, 3]] = (answers[[1, 3]] + 1) % 3
    probabilities[np.arange(n), answers] = 0.8
    probabilities[3, answers[3]] = 0.9
    return Prediction(probabilities, probabilities, answers, None, np.zeros(n, bool))


def chosen(run, prediction: Prediction, copies: np.ndarray | None = None) -> pictures.Pictures:
    return shown_pictures.choose(run, prediction, report_from(prediction, run.test), version="1", copies=copies)


def test_mistakes_are_in_the_order_of_the_report(opened, prediction):
    """The same images as the report names, worst first."""
    report = report_from(prediction, opened.test)
    assert [opened.test.names[3], opened.test.names[1]] == [one.name for one in report.mistakes]
    np.testing.assert_array_equal(opened.test.images[[3, 1]], chosen(opened, prediction).mistakes)


def test_examples_are_training_images_of_each_class(opened, prediction):
    """Six of each, under their own labels."""
    found = chosen(opened, prediction)
    assert [6, 6, 6] == np.bincount(found.example_labels).tolist()
    for image, label in zip(found.examples, found.example_labels, strict=True):
        equal = (opened.train.images[:] == image).all(axis=(1, 2, 3))
        assert label in opened.train.labels[equal]


def test_augmented_pictures_are_changed(opened, prediction):
    """Six views of each of four; none, of a recipe that changes nothing."""
    found = chosen(opened, prediction)
    assert (4, 6, 32, 32, 3) == found.augmented.shape
    assert all(
        (view != original).any()
        for original, views in zip(found.originals, found.augmented, strict=True)
        for view in views
    )
    still = replace(opened, recipe=msgspec.structs.replace(opened.recipe, augment=Augment()))
    assert (4, 0, 32, 32, 3) == chosen(still, prediction).augmented.shape


def test_copies_are_shown_with_both_labels(opened, prediction):
    """A copy among the training images, and one among the validation images, which are counted on from these."""
    copies = np.full(len(opened.test), -1)
    copies[[2, 5]] = 7, len(opened.train) + 4
    found = chosen(opened, prediction, copies)
    expected = [
        [opened.test.images[2], opened.train.images[7]],
        [opened.test.images[5], opened.validation.images[4]],
    ]
    np.testing.assert_array_equal(expected, found.copies)
    labels = [[opened.test.labels[2], opened.train.labels[7]], [opened.test.labels[5], opened.validation.labels[4]]]
    np.testing.assert_array_equal(labels, found.copy_labels)
    assert (0, 2, 32, 32, 3) == chosen(opened, prediction).copies.shape


def test_large_pictures_are_reduced(opened, prediction, monkeypatch):
    """To the longer side that is allowed."""
    monkeypatch.setattr(shown_pictures, "_SMALL_SIDE", 16)
    found = chosen(opened, prediction)
    assert (18, 16, 16, 3) == found.examples.shape
    assert (4, 6, 16, 16, 3) == found.augmented.shape


def test_many_classes_have_fewer_examples(opened):
    """One of each of 120 classes at most."""
    labels = np.repeat(np.arange(150), 2)
    images = np.zeros((300, 4, 4, 3), np.uint8)
    split = replace(opened.train, images=images, labels=labels, classes=tuple(map(str, range(150))), sizes=None)
    found = shown_pictures._examples(split, seed=0)
    np.testing.assert_array_equal(np.arange(120), labels[found])


def test_file_gives_back_what_was_written(opened, prediction, tmp_path):
    """Whole, and the same at every call."""
    first, second = (chosen(opened, prediction) for _ in range(2))
    pictures.write(tmp_path / "pictures.npz", first)
    read = pictures.read(tmp_path / "pictures.npz")
    assert "1" == read.version
    for one in (second, read):
        np.testing.assert_array_equal(first.augmented, one.augmented)
        np.testing.assert_array_equal(first.examples, one.examples)
