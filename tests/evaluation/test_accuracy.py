"""Evaluation: every image once and in order, numbers by hand, and refusals of what are not logits."""

import numpy as np
import pytest

from lince import calibration, metrics
from lince.errors import LinceError
from lince.evaluation.accuracy import evaluate, outputs, report_from
from lince.types import Calibration, Mistake, Outputs, Split

CLASSES = ("cat", "dog", "fox")
# Five images of cat, cat, dog, dog, fox, of which the second and the fourth are answered wrongly.
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.9, 1e-6, 0.099999], [0.25, 0.25, 0.5]], np.float32
)
ANSWERS = np.log(PROBABILITIES)  # logits that give these probabilities at temperature 1
LABELS = np.array([0, 0, 1, 1, 2])


def split_of(labels: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Split:
    """Images whose first pixel holds their own number, so that a fake network can know which one it sees."""
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return Split(images, labels, classes, tuple(f"{i}.png" for i in range(len(labels))))


def look_up(images: np.ndarray) -> Outputs:
    """Answers from the table by the image's number."""
    return Outputs(ANSWERS[images[:, 0, 0, 0]])


class TestEvaluate:
    def test_matches_values_by_hand(self):
        """Three of five are right; the rest follows from the confusion matrix."""
        report, sets = evaluate(look_up, split_of(LABELS))
        assert (report.n, sets) == (5, None)
        assert metrics.accuracy_interval(3, 5) == report.accuracy
        assert report.confusion == ((1, 1, 0), (1, 1, 0), (0, 0, 1))
        assert pytest.approx((0.5 + 0.5 + 1) / 3) == report.balanced_accuracy
        assert pytest.approx((0.5 + 0.5 + 1) / 3) == report.macro_f1
        expected = -np.log([0.8, 0.2, 0.6, 1e-6, 0.5]).mean()
        assert pytest.approx(expected, rel=1e-6) == report.nll
        assert [score.label for score in report.per_class] == list(CLASSES)

    def test_numbers_are_plain(self):
        """A report goes to JSON as it is: no NumPy number inside."""
        report, _ = evaluate(look_up, split_of(LABELS))
        numbers = [report.n, report.nll, report.ece, report.balanced_accuracy, report.macro_f1, report.accuracy.low]
        numbers += [report.confusion[0][0], report.per_class[0].support, report.per_class[0].f1]
        numbers += [report.mistakes[0].probability]
        assert {type(number) for number in numbers} == {int, float}

    def test_names_the_worst_mistakes_first(self):
        """The surest wrong answer leads, and no more are named than asked for."""
        first = Mistake("3.png", label="dog", predicted="cat", probability=pytest.approx(0.9))
        second = Mistake("1.png", label="cat", predicted="dog", probability=pytest.approx(0.7))
        prediction = calibration.apply(ANSWERS, Calibration())
        assert (first, second) == report_from(prediction, split_of(LABELS)).mistakes
        assert (first,) == report_from(prediction, split_of(LABELS), worst=1).mistakes

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
    def test_does_not_depend_on_the_batch_size(self, batch_size):
        """Every image is answered once, in order, in batches of at most the size asked for."""
        sizes = []

        def predict(images):
            sizes.append(len(images))
            return look_up(images)

        found = outputs(predict, split_of(LABELS), batch_size=batch_size).logits
        np.testing.assert_array_equal(ANSWERS, found)
        assert sum(sizes) == 5
        assert max(sizes) <= batch_size

    def test_reports_progress_after_every_batch(self):
        """Images done, of how many, and the task."""
        seen = []
        outputs(look_up, split_of(LABELS), batch_size=2, progress=lambda *step: seen.append(step))
        assert seen == [(2, 5, "evaluating"), (4, 5, "evaluating"), (5, 5, "evaluating")]

    def test_applies_a_calibration(self):
        """Probabilities are those of the temperature; the answers stay."""
        (plain, _), (warm, sets) = (
            evaluate(look_up, split_of(LABELS), fitted=Calibration(temperature=temperature)) for temperature in (1, 3)
        )
        assert (sets.coverage, sets.abstained) == (None, 0)
        assert plain.confusion == warm.confusion
        expected = metrics.softmax(ANSWERS, 3)
        assert metrics.negative_log_likelihood(expected, LABELS) == warm.nll != plain.nll

    def test_distances_count_for_abstention(self):
        """Each image keeps its own, over several batches: one that is far is withheld, whatever its probability."""
        far = np.array([0, 0, 0, 9, 0], np.float32)

        def predict(images):
            return Outputs(look_up(images).logits, far[images[:, 0, 0, 0]])

        found = outputs(predict, split_of(LABELS), batch_size=2)
        np.testing.assert_array_equal(far, found.distances)
        _, sets = evaluate(predict, split_of(LABELS), fitted=Calibration(abstain_below=0.01, distance_weight=1.0))
        assert (0.2, 0.75) == (sets.abstained, sets.accuracy_when_answering)

    def test_breaks_ties_by_the_lowest_index(self):
        """Equal logits are answered with the first class."""
        report, _ = evaluate(
            lambda images: Outputs(np.full((len(images), 2), np.float32(0.5))), split_of(np.array([0, 1]), ("a", "b"))
        )
        assert report.confusion == ((1, 0), (1, 0))

    @pytest.mark.usefixtures("wrong_arrays")
    def test_takes_other_float_types(self):
        """A network in half precision answers too; its logits become float32."""
        found = outputs(lambda images: Outputs(look_up(images).logits.astype(np.float16)), split_of(LABELS)).logits
        assert np.float32 == found.dtype
        np.testing.assert_allclose(ANSWERS, found, rtol=1e-3)

    def test_agrees_with_a_report_from_answers(self):
        """Measuring kept answers is the same as letting the network answer again."""
        kept = calibration.apply(ANSWERS, Calibration())
        assert evaluate(look_up, split_of(LABELS)) == (report_from(kept, split_of(LABELS)), None)


class TestErrors:
    @pytest.mark.parametrize(
        ("answers", "message"),
        [
            (ANSWERS[:4], r"Received answers of shape \(4, 3\) and type float32\. Expected logits f32\[5,3\]"),
            (ANSWERS[:, :2], r"Received answers of shape \(5, 2\) and type float32\."),
            (ANSWERS[0], r"Received answers of shape \(3,\)"),
            (ANSWERS.astype(np.int64), r"of shape \(5, 3\) and type int64\."),
            (np.where(PROBABILITIES < 1e-5, np.nan, ANSWERS), r"not finite for 1 of 5 images\."),
            (np.where(PROBABILITIES < 0.2, -np.inf, ANSWERS), r"not finite for 4 of 5 images\."),
        ],
    )
    @pytest.mark.usefixtures("wrong_arrays")
    def test_what_are_no_logits_is_refused(self, answers, message):
        """The message says what came instead of what."""
        with pytest.raises(LinceError, match=message):
            evaluate(lambda images: Outputs(answers), split_of(LABELS))

    def test_no_image_is_refused(self):
        """Nothing can be measured without images."""
        with pytest.raises(LinceError, match=r"Received 0 images\. Expected at least 1"):
            evaluate(look_up, split_of(LABELS[:0]))
