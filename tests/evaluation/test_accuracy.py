"""Evaluation: every image once and in order, numbers by hand, and a clear no to what are no probabilities."""

import numpy as np
import pytest

from lince import calibration, metrics
from lince.errors import LinceError
from lince.evaluation.accuracy import evaluate, paired_certificate_numbers, probabilities, report_from
from lince.model_file.manifest import Certificate
from lince.types import Calibration, Interval, Mistake, Split

CLASSES = ("cat", "dog", "fox")
# Five images of cat, cat, dog, dog, fox, of which the second and the fourth are answered wrongly.
ANSWERS = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.9, 0, 0.1], [0.25, 0.25, 0.5]], np.float32)
LABELS = np.array([0, 0, 1, 1, 2])


def split_of(labels: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Split:
    """Images whose first pixel holds their own number, so that a fake network can know which one it sees."""
    images = np.zeros((len(labels), 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return Split(images, labels, classes, tuple(f"{i}.png" for i in range(len(labels))))


def look_up(images: np.ndarray) -> np.ndarray:
    """Answers from the table by the image's number."""
    return ANSWERS[images[:, 0, 0, 0]]


class TestEvaluate:
    def test_matches_values_by_hand(self):
        """Three of five are right; the rest follows from the confusion matrix."""
        report = evaluate(look_up, split_of(LABELS))
        assert report.n == 5
        assert metrics.accuracy_interval(3, 5) == report.accuracy
        assert report.confusion == ((1, 1, 0), (1, 1, 0), (0, 0, 1))
        assert pytest.approx((0.5 + 0.5 + 1) / 3) == report.balanced_accuracy
        assert pytest.approx((0.5 + 0.5 + 1) / 3) == report.macro_f1
        expected = -np.log([0.8, 0.2, 0.6, 1.1754943508222875e-38, 0.5]).mean()
        assert pytest.approx(expected, rel=1e-6) == report.nll
        assert [score.label for score in report.per_class] == list(CLASSES)

    def test_numbers_are_plain(self):
        """A report goes to JSON as it is: no NumPy number inside."""
        report = evaluate(look_up, split_of(LABELS))
        numbers = [report.n, report.nll, report.ece, report.balanced_accuracy, report.macro_f1, report.accuracy.low]
        numbers += [report.confusion[0][0], report.per_class[0].support, report.per_class[0].f1]
        numbers += [report.mistakes[0].probability]
        assert {type(number) for number in numbers} == {int, float}

    def test_names_the_worst_mistakes_first(self):
        """The surest wrong answer leads, and no more are named than asked for."""
        first = Mistake("3.png", label="dog", predicted="cat", probability=pytest.approx(0.9))
        second = Mistake("1.png", label="cat", predicted="dog", probability=pytest.approx(0.7))
        assert (first, second) == evaluate(look_up, split_of(LABELS)).mistakes
        assert (first,) == evaluate(look_up, split_of(LABELS), worst=1).mistakes

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
    def test_does_not_depend_on_the_batch_size(self, batch_size):
        """Every image is answered once, in order, in batches of at most the size asked for."""
        sizes = []

        def predict(images):
            sizes.append(len(images))
            return look_up(images)

        found = probabilities(predict, split_of(LABELS), batch_size=batch_size)
        np.testing.assert_array_equal(ANSWERS, found)
        assert sum(sizes) == 5
        assert max(sizes) <= batch_size

    def test_reports_progress_after_every_batch(self):
        """Images done, of how many."""
        seen = []
        evaluate(look_up, split_of(LABELS), batch_size=2, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(2, 5), (4, 5), (5, 5)]

    def test_breaks_ties_by_the_lowest_index(self):
        """Equal probabilities are answered with the first class, as the network's argmax is."""
        report = evaluate(lambda images: np.full((len(images), 2), 0.5), split_of(np.array([0, 1]), ("a", "b")))
        assert report.confusion == ((1, 0), (1, 0))

    def test_takes_other_float_types(self):
        """A network in half precision answers too; its rows sum to 1 within its own rounding."""
        found = probabilities(lambda images: look_up(images).astype(np.float16), split_of(LABELS))
        assert np.float32 == found.dtype
        np.testing.assert_allclose(ANSWERS, found, atol=1e-3)

    def test_agrees_with_a_report_from_answers(self):
        """Measuring kept answers is the same as letting the network answer again."""
        assert evaluate(look_up, split_of(LABELS)) == report_from(ANSWERS, split_of(LABELS))


class TestErrors:
    @pytest.mark.parametrize(
        ("answers", "message"),
        [
            (ANSWERS[:4], r"Received answers of shape \(4, 3\) and type float32\. Expected probabilities f32\[5,3\]"),
            (ANSWERS[:, :2], r"Received answers of shape \(5, 2\) and type float32\."),
            (ANSWERS[0], r"Received answers of shape \(3,\)"),
            ((ANSWERS > 0.5).astype(np.int64), r"of shape \(5, 3\) and type int64\."),
            (np.where(ANSWERS == 0, np.nan, ANSWERS), r"not finite for 1 of 5 images\."),
            (ANSWERS * 3, r"Received values 0\.\.2\.7, rows that sum to 3\.\.3\. .*Logits need a softmax first"),
            (ANSWERS - [[0.2, -0.2, 0]], r"Received values -0\.1\d*\.\..*rows that sum to 1\.\.1\."),
        ],
    )
    def test_what_is_no_probability_is_refused(self, answers, message):
        """The message says what came instead of what."""
        with pytest.raises(LinceError, match=message):
            evaluate(lambda images: answers, split_of(LABELS))

    def test_no_image_is_refused(self):
        """Nothing can be said about nothing."""
        with pytest.raises(LinceError, match=r"Received a split without images\. Expected at least 1"):
            evaluate(look_up, split_of(LABELS[:0]))
        with pytest.raises(LinceError, match=r"Received 0 images\. Expected at least 1"):
            report_from(ANSWERS[:0], split_of(LABELS[:0]))

    def test_no_batch_is_refused(self):
        """A batch size of 0 would never end."""
        with pytest.raises(LinceError, match=r"Received batch_size=0\. Expected at least 1"):
            evaluate(look_up, split_of(LABELS), batch_size=0)

    def test_answers_to_other_images_are_refused(self):
        """Kept answers must be of this split."""
        with pytest.raises(LinceError, match=r"Received answers of shape \(5, 3\).*Expected probabilities f32\[4,3\]"):
            report_from(ANSWERS, split_of(LABELS[:4]))


class TestPairedNumbers:
    def numbers(self, int8: np.ndarray, **changed):
        arguments = {"calibrated_probabilities": int8, "labels": LABELS, "classes": CLASSES} | changed
        return paired_certificate_numbers(ANSWERS, int8, **arguments)

    def test_match_values_by_hand(self):
        """int8 loses the third image (dog answered as fox), and nothing else changes: 60 % against 40 %."""
        int8 = ANSWERS.copy()
        int8[2] = [0.1, 0.3, 0.6]
        found = self.numbers(int8)
        assert (found.n, found.float_accuracy, found.int8_accuracy, found.disagreement) == (5, 0.6, 0.4, 0.2)
        assert (found.worst_class, found.worst_class_drop_points) == ("dog", 50.0)
        interval = metrics.paired_difference(np.array([1, 0, 1, 0, 1], bool), np.array([1, 0, 0, 0, 1], bool))
        assert Interval(100 * interval.value, 100 * interval.low, 100 * interval.high) == found.drop_points
        assert pytest.approx(20) == found.drop_points.value

    def test_same_answers_have_no_drop(self):
        """A network against itself."""
        found = self.numbers(ANSWERS)
        assert (found.drop_points.value, found.disagreement, found.worst_class_drop_points) == (0, 0, 0)
        assert found.drop_points.low < 0 < found.drop_points.high

    def test_errors_are_of_each_network(self):
        """Float, int8, and int8 at its temperature: three calibration errors."""
        generator = np.random.default_rng(0)
        logits = generator.normal(scale=4, size=(400, 3)).astype(np.float32)
        labels = (logits / 3 + generator.gumbel(size=(400, 3))).argmax(axis=1)  # drawn at temperature 3: overconfident
        fitted = calibration.fit(logits, labels)
        calibrated = calibration.apply(logits, fitted).probabilities
        raw = calibration.apply(logits, Calibration()).probabilities
        found = paired_certificate_numbers(
            raw, raw, calibrated_probabilities=calibrated, labels=labels, classes=CLASSES
        )
        assert metrics.expected_calibration_error(raw, labels) == found.float_ece == found.int8_ece
        assert metrics.expected_calibration_error(calibrated, labels) == found.calibrated_ece < found.int8_ece

    def test_fill_a_certificate(self):
        """Together with size, latency and bound they are all that a certificate holds."""
        found = self.numbers(ANSWERS)
        rest = {"split": "test", "flatbuffer_bytes": 1, "latency_us": 1.0, "machine": "m", "bound_points": 0.5}
        certificate = Certificate(**vars(found), **rest)
        assert (found.drop_points, False) == (certificate.drop_points, certificate.forced)

    def test_answers_to_other_images_are_refused(self):
        """Pairs need the same images, for all three."""
        with pytest.raises(LinceError, match=r"Received answers of shape \(4, 3\)"):
            self.numbers(ANSWERS[:4])
        with pytest.raises(LinceError, match=r"Received answers of shape \(3, 3\)"):
            self.numbers(ANSWERS, calibrated_probabilities=ANSWERS[:3])
