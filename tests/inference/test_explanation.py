"""Explanations: exact effects of known networks, what they do not depend on, and places in words."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

import synthetic
from lince import calibration
from lince.errors import LinceError
from lince.inference import explanation
from lince.inference.classifier import Classifier
from lince.inference.explanation import Explanation, explain, sentences
from lince.model_file import artifact
from lince.types import Calibration, Prediction

SIZE = 32
CELL = SIZE // 8


class Known:
    """A classifier of two classes whose log-odds are a known function of the brightness of the 8 × 8 cells."""

    def __init__(self, log_odds, *, temperature: float = 1.0, classes=("yes", "no")):
        self._log_odds = log_odds
        self.classes = classes
        self.manifest = self
        self.calibration = Calibration(temperature=temperature)

    def logits(self, images):
        odds = np.array([self._log_odds(brightness(image)) for image in images], np.float32)
        return np.stack([odds, *[np.zeros_like(odds)] * (len(self.classes) - 1)], axis=1)

    def predict(self, images):
        return calibration.apply(self.logits(images), self.calibration)


def brightness(image: np.ndarray) -> np.ndarray:
    """Mean of each cell, f64[8,8]."""
    return image.reshape(8, CELL, 8, CELL, 3).mean(axis=(1, 3, 4)) / 255


def blurred(image: np.ndarray) -> np.ndarray:
    """The picture that is seen where places are hidden."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(SIZE / 8)))


def per_cell(heat: np.ndarray) -> np.ndarray:
    """f32[8,8] of a heat map; all pixels of a cell have the same value."""
    cells = heat.reshape(8, CELL, 8, CELL)
    np.testing.assert_array_equal(cells, np.broadcast_to(cells[:, :1, :, :1], cells.shape))
    return cells[:, 0, :, 0]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A picture of independent pixels."""
    return np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier(run) -> Classifier:
    """The model file of the tests' run."""
    return Classifier.load(run.model)


class TestEffects:
    def test_additive_network(self, image):
        """Where each cell adds a share to the log-odds, the heat is what it adds beyond its blurred copy."""
        weights = np.random.default_rng(0).normal(size=(8, 8))
        found = explain(Known(lambda cells: float((weights * cells).sum())), image, 0)
        expected = weights * (brightness(image) - brightness(blurred(image)))
        np.testing.assert_allclose(expected, per_cell(found.heat), atol=1e-5)

    def test_temperature(self, image):
        """The log-odds are the calibrated ones: twice the temperature is half of the heat."""

        def log_odds(cells):
            return float(cells[2, 3] * 4)

        warm, cold = (explain(Known(log_odds, temperature=one), image, 0).heat for one in (2.0, 1.0))
        np.testing.assert_allclose(2 * warm, cold, rtol=1e-5)

    def test_interaction_of_two_cells(self, image):
        """What two cells do only together is shared by these two, and no other cell gets any of it."""
        whole, hidden = brightness(image), brightness(blurred(image))
        found = explain(Known(lambda cells: float(9 * cells[1, 2] * cells[6, 5])), image, 0)
        expected = np.zeros((8, 8))
        for one, other in (((1, 2), (6, 5)), ((6, 5), (1, 2))):
            expected[one] = 9 * (whole[one] - hidden[one]) * (whole[other] + hidden[other]) / 2
        np.testing.assert_allclose(expected, per_cell(found.heat), atol=1e-5)

    def test_two_classes_are_opposite(self, image):
        """With two classes, what supports one speaks against the other as much."""
        known = Known(lambda cells: float(5 * cells[0, 0] - cells[7, 7]))
        np.testing.assert_allclose(explain(known, image, 0).heat, -explain(known, image, 1).heat, atol=1e-6)

    def test_quarters(self, image):
        """The marked quarter has the highest heat. The probabilities are those without it, and without the lowest."""
        weights = np.random.default_rng(1).normal(size=(8, 8)) * 9
        known = Known(lambda cells: float((weights * cells).sum()))
        found = explain(known, image, 0)
        assert SIZE * SIZE // 4 == found.most.sum()
        assert found.heat[found.most].min() > found.heat[~found.most].max()
        least = found.heat <= np.sort(found.heat, axis=None)[SIZE * SIZE // 4 - 1]
        for expected, area in ((found.without_most, found.most), (found.without_least, least)):
            changed = np.where(area[..., None], blurred(image), image)
            assert known.predict(changed[None]).probabilities[0, 0] == np.float32(expected)
        assert found.without_most < found.probability < found.without_least


class TestDesign:
    @pytest.mark.parametrize("count", [1, 2, 3, 35, 63, 64])
    def test_balanced(self, count):
        """Each cell is hidden half of the time, and each pair of cells together a quarter of the time."""
        hidden = explanation._design(count).astype(int)
        together = hidden.T @ hidden / len(hidden)
        np.testing.assert_array_equal(np.where(np.eye(count), 0.5, 0.25), together)

    @pytest.mark.parametrize(
        ("height", "width", "cells"), [(32, 32, 64), (50, 37, 64), (8, 8, 64), (5, 40, 40), (1, 1, 1)]
    )
    def test_grid(self, height, width, cells):
        """Every cell has pixels, and sides differ by one pixel at most where the size is no multiple of the grid."""
        found = explanation._grid(height, width)
        counts = np.bincount(found.ravel())
        assert (cells, height * width) == (len(counts), counts.sum())
        sides = [np.unique(np.bincount(line)[np.bincount(line) > 0]) for line in (found[0], found[:, 0])]
        assert all(np.ptp(side) <= 1 for side in sides)

    @pytest.mark.parametrize(("height", "width"), [(32, 32), (50, 37), (224, 224), (5, 40), (1, 1)])
    def test_grid_of_an_explanation(self, height, width):
        """The grid has the value of each cell, in the order in which the cells are numbered."""
        cells = explanation._grid(height, width)
        found = Explanation(None, 0, cells.astype(np.float32), cells > 0, 0.5, 0.5, 0.5)
        np.testing.assert_array_equal(np.arange(cells.max() + 1), found.grid.ravel())
        assert (min(8, height), min(8, width)) == found.grid.shape


class TestModelFile:
    def test_explains_the_answer(self, classifier):
        """Without a class, the answer is explained; the answer is that of the classifier."""
        image = synthetic.batch(1, seed=5)[0][0]
        found, expected = explain(classifier, image), classifier.predict(image[None])
        np.testing.assert_array_equal(expected.logits, found.prediction.logits)
        assert int(expected.indices[0]) == found.index
        assert expected.probabilities[0, found.index] == np.float32(found.probability)
        assert ((SIZE, SIZE), np.float32) == (found.heat.shape, found.heat.dtype)

    def test_of_a_model_that_weighs_distances(self):
        """Only the picture itself has one; the partly hidden copies have probabilities."""
        known = Classifier.load(artifact.locate("cifar10"))
        picture = np.random.default_rng(0).integers(0, 256, known.image_spec.shape, np.uint8)
        assert known.manifest.calibration.distance_weight > 0
        assert explain(known, picture).prediction.abstain.all()

    def test_is_repeatable(self, classifier):
        """The same pixels give the same heat map to the bit."""
        image = synthetic.batch(1, seed=5)[0][0]
        np.testing.assert_array_equal(explain(classifier, image).heat, explain(classifier, image).heat)

    def test_can_be_ended(self, classifier):
        """What is raised before a copy ends the work: of the 130 copies, 5 went through the network."""
        seen = []

        def fifth_is_the_last() -> None:
            seen.append(1)
            if len(seen) > 5:
                raise TimeoutError

        image = synthetic.batch(1, seed=5)[0][0]
        with pytest.raises(TimeoutError):
            explain(classifier, image, before_copy=fifth_is_the_last)
        explain(classifier, image, before_copy=lambda: seen.append(1))
        assert 6 + 130 == len(seen)

    def test_finds_what_matters(self, classifier):
        """Without the quarter that is marked, answers are less probable than without the opposite quarter."""
        images, _ = synthetic.batch(12, seed=8)
        found = [explain(classifier, image) for image in images]
        assert all(one.without_most <= one.without_least for one in found)
        most, least = (np.mean([getattr(one, name) for one in found]) for name in ("without_most", "without_least"))
        assert most + 0.01 < least

    def test_no_places_in_one_colour(self, classifier):
        """A picture of one colour looks the same when parts of it are blurred: the heat is 0, and the words say so."""
        found = explain(classifier, np.full((SIZE, SIZE, 3), 90, np.uint8))
        assert not found.heat.any()
        assert sentences(found, classifier.classes).startswith("There is nothing to explain: hiding any part")

    @pytest.mark.parametrize("index", [-1, 3])
    def test_no_such_class(self, classifier, index):
        """An index beyond the classes is refused."""
        with pytest.raises(LinceError, match=rf"^Received class_index={index}\. Expected 0 <= class_index < 3\.$"):
            explain(classifier, np.zeros((SIZE, SIZE, 3), np.uint8), index)

    def test_one_class(self, image):
        """Log-odds need two classes."""
        with pytest.raises(LinceError, match=r"^The model has one class, 'yes'\. Expected two or more"):
            explain(Known(lambda _: 0.0, classes=("yes",)), image)

    def test_pixels_of_another_size(self, classifier):
        """The classifier refuses them with its own sentence."""
        with pytest.raises(LinceError, match=r"Expected uint8\[N,32,32,3\]"):
            explain(classifier, np.zeros((SIZE, SIZE + 1, 3), np.uint8))


class TestSentences:
    def made(self, **evidence: float) -> Explanation:
        """An explanation of the first of two classes, with evidence at rows and columns of the 8 × 8 cells."""
        cells = np.zeros((8, 8), np.float32)
        for place, value in evidence.items():
            cells[int(place[1]), int(place[2])] = value
        heat = np.kron(cells, np.ones((CELL, CELL), np.float32))
        one = np.array([[0.9, 0.1]], np.float32)
        prediction = Prediction(one, one, np.array([0]), None, np.array([False]))
        return Explanation(prediction, 0, heat, heat != 0, 0.931, 0.12, 0.94)

    @pytest.mark.parametrize(
        ("evidence", "expected"),
        [
            ({"_00": 1}, "at the top left"),
            ({"_22": 1, "_55": 1}, "in the middle"),
            ({"_74": 2, "_33": 3}, "in the middle"),
            ({"_74": 3, "_33": 3}, "in the middle and at the bottom"),
            ({"_40": 1, "_47": 1, "_07": -5}, "at the left and at the right"),
            ({"_03": 1, "_06": 1, "_70": 1, "_77": -9}, "at the top and at the top right"),
            ({"_33": 3, "_34": -2, "_43": -2, "_07": 1}, "at the top right"),
        ],
        ids=str,
    )
    def test_places(self, evidence, expected):
        """The fewest places with more than half of the evidence; what speaks against the class does not count."""
        found = sentences(self.made(**evidence), ("cat", "dog"))
        assert found.startswith(f"The evidence for 'cat' is mostly {expected}. Without")

    def test_everywhere(self):
        """Evidence of which three places have no more than half is spread."""
        spread = dict.fromkeys(("_00", "_03", "_07", "_30", "_33", "_37", "_70", "_73", "_77"), 1.0)
        assert "is spread over the picture." in sentences(self.made(**spread), ("cat", "dog"))

    def test_numbers(self):
        """The probability, without the most and without the least important quarter."""
        assert sentences(self.made(_00=1), ("cat", "dog")).endswith(
            "Without the quarter of the picture that supports it most, its probability is 12.0% instead of 93.1%; "
            "without the quarter that supports it least, 94.0%."
        )

    def test_of_another_class(self):
        """The label is that of the class that is explained."""
        assert "The evidence for 'dog'" in sentences(replace(self.made(_00=1), index=1), ("cat", "dog"))
