"""Calibration: what it promises on data that keeps its assumptions, and what it does at the edges."""

import math

import numpy as np
import pytest

from lince import calibration, metrics
from lince.errors import LinceError
from lince.types import Calibration

FOUR = np.log(np.array([[8, 1, 1], [1, 7, 2], [2, 2, 6], [5, 4, 1]], np.float32))  # odds of ten


def draw(seed: int, n: int, *, temperature: float = 1.0, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from softmax(logits / temperature): a network whose right temperature is known."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2.5 * temperature, size=(n, k)).astype(np.float32)
    noise = generator.gumbel(size=(n, k))  # argmax(logit + Gumbel noise) is a draw from the softmax
    return logits, (logits / temperature + noise).argmax(axis=1)


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.4, 1.0, 1.7, 5.0])
    def test_recovers_a_known_temperature(self, temperature):
        """Labels drawn at a temperature give it back, within sampling noise."""
        logits, labels = draw(0, 20_000, temperature=temperature)
        assert pytest.approx(temperature, rel=0.03) == calibration.fit(logits, labels).temperature

    def test_matches_value_by_hand(self):
        """Margin ln 3, three of four right: likelihood and prior are both highest at temperature 1, where p(top) = 3/4;
        of doubled logits thousands want temperature 2."""
        logits = np.tile(np.array([[math.log(3), 0]], np.float32), (4, 1))
        labels = np.array([0, 0, 0, 1])
        assert pytest.approx(1.0, abs=1e-6) == calibration.fit(logits, labels).temperature
        many = calibration.fit(np.tile(2 * logits, (5000, 1)), np.tile(labels, 5000))
        assert pytest.approx(2.0, abs=1e-3) == many.temperature

    def test_few_images_match_value_by_hand(self):
        """n right answers with margin m: the prior's pull 2 · (1 − T) is what they give, n · m / (1 + exp(m / T))."""
        for n in (1, 17):
            found = calibration.fit(np.tile(np.array([[2, 0]], np.float32), (n, 1)), np.zeros(n, np.int64)).temperature
            assert pytest.approx(n * 2 / (1 + math.exp(2 / found)), rel=1e-6) == 2 * (1 - found)

    def test_no_other_temperature_is_more_probable(self):
        """The fitted temperature is the maximum of likelihood times prior along the whole range."""
        logits, labels = draw(1, 50, temperature=2.0)

        def unlikely(temperature: float) -> float:
            likelihood = 50 * metrics.negative_log_likelihood(metrics.softmax(logits, temperature), labels)
            return likelihood + 2 * (1 / temperature + math.log(temperature))

        best = calibration.fit(logits, labels).temperature
        assert unlikely(best) <= min(unlikely(temperature) for temperature in np.geomspace(0.05, 20, 200))

    def test_scales_with_the_logits_of_many_images(self):
        """Three times the logits are calibrated by three times the temperature: the probabilities are the same."""
        logits, labels = draw(2, 5000)
        once, thrice = calibration.fit(logits, labels), calibration.fit(3 * logits, labels)
        assert pytest.approx(3 * once.temperature, rel=2e-3) == thrice.temperature
        assert pytest.approx(once.set_threshold, rel=1e-2) == thrice.set_threshold

    @pytest.mark.parametrize(("right", "low", "high"), [(True, 0.3, 1), (False, 1, 10)])
    def test_few_images_do_not_make_it_extreme(self, right, low, high):
        """17 images that are all right, or all wrong, have no likeliest temperature; the prior gives one."""
        generator = np.random.default_rng(0)
        labels = generator.integers(0, 3, 17)
        logits = generator.normal(0, 0.3, (17, 3)).astype(np.float32)
        logits[np.arange(17), labels] += 2
        found = calibration.fit(logits, labels if right else (labels + 1) % 3).temperature
        assert low < found < high

    def test_more_images_move_it_further(self):
        """All right with one margin: the more, the surer."""
        one = np.array([[2, 0, 0]], np.float32)
        found = [calibration.fit(np.tile(one, (n, 1)), np.zeros(n, np.int64)).temperature for n in (1, 10, 100, 10_000)]
        assert 1 > found[0] > found[1] > found[2] > found[3]

    def test_is_found_for_huge_logits(self):
        """The largest float32: no overflow, no warning."""
        logits = np.array([[3e38, -3e38], [0, 3]], np.float32)
        assert 1 <= calibration.fit(logits, np.array([1, 0])).temperature <= 1000

    def test_is_one_when_logits_say_nothing(self):
        """Equal logits are as likely at any temperature: nothing is changed."""
        assert calibration.fit(np.full((5, 3), 7, np.float32), np.array([0, 1, 2, 0, 1])).temperature == 1.0


class TestUniformShare:
    @pytest.mark.parametrize("n", [1, 2, 17, 50, 2300])
    @pytest.mark.parametrize("k", [2, 3, 100])
    def test_claims_no_more_than_so_many_images_show(self, n, k):
        """All right, and as sure as float32 can be: (n + ½) / (n + 1), and as much for each other class."""
        logits = np.zeros((n, k), np.float32)
        logits[:, 1] = 500
        answers = calibration.apply(logits, calibration.fit(logits, np.ones(n, np.int64)))
        most = (n + 0.5) / (n + 1)
        np.testing.assert_allclose(answers.probabilities[:, 1], most, rtol=1e-6)
        np.testing.assert_allclose(answers.probabilities[:, 0], (1 - most) / (k - 1), rtol=1e-4)
        np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1, rtol=1e-5)

    def test_keeps_the_order_of_classes(self):
        """The classes by probability are the classes by logit, but for what float32 cannot tell apart."""
        logits, labels = draw(9, 300, k=10)
        answers = calibration.apply(logits, calibration.fit(logits[:5], labels[:5]))
        ordered = np.take_along_axis(answers.probabilities, (-logits).argsort(axis=1), axis=1)
        assert (np.diff(ordered, axis=1) <= 0).all()
        np.testing.assert_array_equal(answers.probabilities.argmax(axis=1), answers.indices)

    def test_leaves_what_claims_less(self):
        """As much as an image needs, and none where the least probable class has its share."""
        modest, sure = np.log(np.array([[0.5, 0.3, 0.2], [0.98, 0.019, 0.001]], np.float32))
        answers = calibration.apply(np.stack([modest, sure]), Calibration(n=49, uniform_share=0.015))
        np.testing.assert_array_equal(answers.probabilities[0], metrics.softmax(modest[None])[0])
        assert pytest.approx(0.005, rel=1e-6) == answers.probabilities[1, 2]
        assert pytest.approx(1, rel=1e-6) == answers.probabilities[1].sum()

    def test_is_nothing_in_files_that_do_not_name_it(self):
        """A calibration without the field answers as it always did, to the bit."""
        found = calibration.apply(FOUR, Calibration(temperature=0.66, set_threshold=0.2, n=2300)).probabilities
        np.testing.assert_array_equal(metrics.softmax(FOUR, 0.66), found)

    def test_single_class_is_certain(self):
        """There is nothing to share with."""
        assert calibration.fit(np.zeros((3, 1), np.float32), np.zeros(3, np.int64)).uniform_share == 0


class TestSets:
    @pytest.mark.parametrize("coverage", [0.8, 0.95])
    def test_cover_new_images_as_promised(self, coverage):
        """Over 200 draws of 400 held-out and 1,000 new images, mean coverage is nominal and not much more.

        Beyond nominal it may be 1/(n+1), and the top class that is always added. The mean's own noise is 0.1 points.
        """
        covered = []
        for seed in range(200):
            logits, labels = draw(seed, 1400, temperature=1.5)
            fitted = calibration.fit(logits[:400], labels[:400], coverage=coverage)
            answers = calibration.apply(logits[400:], fitted)
            covered.append(calibration.set_report(answers, labels[400:], fitted).coverage.value)
        assert coverage - 0.003 <= np.mean(covered) <= coverage + 0.01

    def test_threshold_matches_rank_by_hand(self):
        """n = 4 and 60 %: ceil(5 · 0.6) = 3 true classes must reach the threshold, the third highest."""
        logits = FOUR
        labels = np.array([0, 1, 2, 1])
        fitted = calibration.fit(logits, labels, coverage=0.6)
        true = calibration.apply(logits, fitted).probabilities[np.arange(4), labels]
        assert float(np.sort(true)[1]) == fitted.set_threshold

    @pytest.mark.parametrize(("coverage", "least"), [(0.95, 19), (0.9, 9), (0.8, 4), (0.99, 99), (0.5, 1)])
    def test_are_none_when_too_few_images(self, coverage, least):
        """18 images cannot promise 95 %, 19 can; what cannot be promised is not named, and the reason is said."""
        logits, labels = draw(3, least)
        assert calibration.images_for_sets(coverage) == least
        enough = calibration.fit(logits, labels, coverage=coverage)
        assert enough.set_threshold > 0
        assert ("never answers" in calibration.what_is_missing(enough)) == (least < 19)
        assert "No prediction sets" not in calibration.what_is_missing(enough)
        if least > 1:
            few = calibration.fit(logits[1:], labels[1:], coverage=coverage)
            assert few.set_threshold is None
            assert calibration.apply(logits, few).sets is None
            expected = f"{least - 1} validation images, {100 * coverage:g} % needs {least}."
            never = " The model never answers “I don't know”." * (least <= 19)
            assert calibration.what_is_missing(few) == f"No prediction sets: {expected}{never}"

    def test_reason_is_said_of_any_file(self):
        """A network that was never calibrated, and shares that no images reach but a file may name."""
        assert calibration.what_is_missing(Calibration()).startswith(
            "No prediction sets: the model was never calibrated."
        )
        for coverage in (0.0, 1.0):
            assert "needs more than there are" in calibration.what_is_missing(Calibration(coverage=coverage, n=5))

    def test_are_small_as_soon_as_they_can_be(self):
        """19 images of a network that is mostly right: far fewer classes than all."""
        logits, labels = draw(11, 2000, temperature=0.3, k=10)
        sizes = []
        for start in range(0, 1900, 19):
            fitted = calibration.fit(logits[start : start + 19], labels[start : start + 19])
            sizes.append(calibration.apply(logits[1900:], fitted).sets.sum(axis=1).mean())
        assert np.mean(sizes) < 8

    @pytest.mark.parametrize(("n", "coverage", "rank"), [(99, 0.95, 95), (19, 0.95, 19), (99, 0.07, 7), (99, 0.29, 29)])
    def test_rank_is_not_moved_by_binary_fractions(self, n, coverage, rank):
        """0.07 · 100 is 7.000000000000001 in floating point, and still the seventh."""
        logits, labels = draw(4, n)
        fitted = calibration.fit(logits, labels, coverage=coverage)
        true = calibration.apply(logits, fitted).probabilities[np.arange(n), labels]
        assert rank == (true >= np.float32(fitted.set_threshold)).sum()

    def test_grow_with_coverage(self):
        """Every set at a higher coverage holds the set at a lower one."""
        logits, labels = draw(5, 500)
        low, high = (calibration.apply(logits, calibration.fit(logits, labels, coverage=c)) for c in (0.8, 0.95))
        assert (high.sets >= low.sets).all()
        assert high.sets.sum() > low.sets.sum()

    def test_always_hold_the_top_class(self):
        """A threshold that no class reaches leaves the top class."""
        answers = calibration.apply(FOUR, Calibration(set_threshold=1.0))
        np.testing.assert_array_equal(np.eye(3, dtype=bool)[[0, 1, 2, 0]], answers.sets)

    def test_hold_all_classes_that_tie(self):
        """int8 logits tie often: classes with the same logit are in or out together, also at the threshold itself."""
        generator = np.random.default_rng(6)
        logits = (generator.integers(-8, 8, (300, 6)) * np.float32(0.25)).astype(np.float32)
        labels = logits.argmax(axis=1)
        labels[::4] = generator.integers(0, 6, 75)
        answers = calibration.apply(logits, calibration.fit(logits, labels, coverage=0.9))
        tied = logits[:, :, None] == logits[:, None, :]
        in_together = answers.sets[:, :, None] == answers.sets[:, None, :]
        # only the top class itself may be in without its equals: it is always added
        top = np.eye(6, dtype=bool)[answers.indices]
        assert (in_together | ~tied | top[:, :, None] | top[:, None, :]).all()
        assert answers.sets[np.arange(300), labels].mean() >= 0.9


class TestAbstention:
    def test_share_of_new_images_is_at_most_the_asked(self):
        """As many abstentions as asked for, within 3 × 0.11 points, the noise of 200 draws of 400 held-out images."""
        shares = []
        for seed in range(200):
            logits, labels = draw(seed, 1400)
            fitted = calibration.fit(logits[:400], labels[:400], abstain=0.1)
            shares.append(calibration.apply(logits[400:], fitted).abstain.mean())
        assert 0.0967 <= np.mean(shares) <= 0.1033

    def test_threshold_matches_rank_by_hand(self):
        """n = 24 and 8 %: floor(25 · 0.08) = 2, the second lowest top probability; one image is below it."""
        logits, labels = draw(12, 24)
        fitted = calibration.fit(logits, labels, abstain=0.08)
        answers = calibration.apply(logits, fitted)
        assert float(np.sort(answers.probabilities.max(axis=1))[1]) == fitted.abstain_below
        assert answers.abstain.sum() == 1

    def test_never_when_asked_not_to_or_too_few_images(self):
        """A share of 0, or 18 images for 5 %, means always to answer."""
        logits, labels = draw(7, 100)
        assert calibration.fit(logits, labels, abstain=0).abstain_below == 0
        assert calibration.fit(logits[:18], labels[:18]).abstain_below == 0

    @pytest.mark.parametrize("n", [20, 40])
    def test_few_images_with_distances_have_a_threshold(self, n):
        """Distances that hardly differ weigh much and make all scores small: the margin below the highest shrinks."""
        logits, labels = draw(3, n)
        distances = np.random.default_rng(0).normal(1, 0.05, n).astype(np.float32)
        fitted = calibration.fit(logits, labels, distances=distances)
        assert fitted.abstain_below > 0
        assert calibration.apply(logits, fitted, distances=distances).abstain.sum() <= 0.05 * (n + 1)

    def test_rather_answers_on_ties(self):
        """When most images share one top probability, none of them is below the threshold."""
        logits = np.tile(np.array([[2, 0, 0]], np.float32), (50, 1))
        labels = np.zeros(50, np.int64)
        labels[:10] = 1
        fitted = calibration.fit(logits, labels, abstain=0.5)
        assert not calibration.apply(logits, fitted).abstain.any()

    @pytest.mark.parametrize("margin", [0.0, 3.0, 500.0])
    @pytest.mark.parametrize("n", [19, 50, 2300])
    def test_never_what_is_as_sure_as_nearly_all(self, n, margin):
        """n images with one top probability: another that is a hair less sure is answered, as rounding alone may tell
        them apart."""
        logits = np.zeros((n, 3), np.float32)
        logits[:, 0] = margin
        fitted = calibration.fit(logits, np.zeros(n, np.int64))
        near = logits * np.float32(0.9999) + np.array([0, 1e-5, 0], np.float32)
        assert not calibration.apply(logits, fitted).abstain.any()
        assert not calibration.apply(near, fitted).abstain.any()

    def test_what_is_printed_as_nearly_certain_is_answered(self):
        """However many images are surer still."""
        logits = np.zeros((100_000, 2), np.float32)
        logits[:, 0] = 30
        logits[:3000, 0] = 8
        answers = calibration.apply(logits, calibration.fit(logits, np.zeros(100_000, np.int64)))
        assert not answers.abstain[answers.probabilities.max(axis=1) > 0.9995].any()


class TestApply:
    def test_answers_with_the_lowest_index_on_a_tie(self):
        """Equal logits are answered with the first of them, at any temperature."""
        logits = np.array([[1, 3, 3], [2, 2, 2]], np.float32)
        assert calibration.apply(logits, Calibration(temperature=3.3)).indices.tolist() == [1, 0]

    def test_never_calibrated_promises_nothing_and_always_answers(self):
        """The default calibration: temperature 1, no sets, no abstention."""
        answers = calibration.apply(FOUR, Calibration())
        np.testing.assert_allclose(np.exp(FOUR) / 10, answers.probabilities, rtol=1e-6)
        assert answers.sets is None
        assert not answers.abstain.any()

    def test_types_and_shapes_are_the_record_s(self):
        """f32, i64 and bool, also for no image at all."""
        for logits in (FOUR, FOUR[:0]):
            answers = calibration.apply(logits, Calibration(set_threshold=0.1))
            arrays = (answers.logits, answers.probabilities, answers.indices, answers.sets, answers.abstain)
            assert [array.dtype.name for array in arrays] == ["float32", "float32", "int64", "bool", "bool"]
            n = len(logits)
            assert [(n, 3), (n, 3), (n,), (n, 3), (n,)] == [array.shape for array in arrays]

    def test_does_not_depend_on_the_batch(self):
        """One by one or all together: the same bits."""
        logits, labels = draw(8, 200)
        fitted = calibration.fit(logits, labels)
        together = calibration.apply(logits, fitted)
        alone = [calibration.apply(row[None], fitted) for row in logits]
        np.testing.assert_array_equal(together.probabilities, np.concatenate([one.probabilities for one in alone]))
        np.testing.assert_array_equal(together.sets, np.concatenate([one.sets for one in alone]))

    def test_at_a_threshold_counts(self):
        """A probability that equals a threshold is in the set, or enough to answer; one below is not."""
        logits = np.log(np.array([[0.4, 0.35, 0.25]], np.float32))
        top, second, _ = map(float, calibration.apply(logits, Calibration()).probabilities[0])
        above = [float(np.nextafter(np.float32(one), np.float32(1))) for one in (top, second)]
        at, beyond = (
            calibration.apply(logits, Calibration(set_threshold=in_set, abstain_below=enough, n=1))
            for enough, in_set in ((top, second), above)
        )
        assert ([[True, True, False]], [False]) == (at.sets.tolist(), at.abstain.tolist())
        assert ([[True, False, False]], [True]) == (beyond.sets.tolist(), beyond.abstain.tolist())

    def test_the_answer_is_in_its_set(self):
        """Whatever its probability."""
        answers = calibration.apply(np.zeros((1, 3), np.float32), Calibration(set_threshold=0.9, n=1))
        assert [[True, False, False]] == answers.sets.tolist()


class TestDistances:
    LOGITS = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32))

    def test_far_pictures_need_a_higher_probability(self):
        """The same answer is given for a near picture and withheld for a far one: 0.9 · exp(−0.5 · 2) is below 0.5."""
        fitted = Calibration(abstain_below=0.5, distance_weight=0.5)
        found = calibration.apply(self.LOGITS[[0, 0]], fitted, distances=np.array([1, 2], np.float32))
        assert [False, True] == found.abstain.tolist()
        np.testing.assert_array_equal(found.probabilities[0], found.probabilities[1])

    def test_both_terms_have_the_same_spread(self):
        """The weight is the quotient of the standard deviations of −log(probability) and of the distance."""
        rng = np.random.default_rng(0)
        logits, distances = rng.normal(size=(400, 3)).astype(np.float32), rng.gamma(9, size=400).astype(np.float32)
        fitted = calibration.fit(logits, rng.integers(0, 3, 400), distances=distances)
        top = calibration.apply(logits, fitted, distances=distances).probabilities.max(axis=1)
        assert pytest.approx(np.log(top).std() / distances.std(), rel=1e-4) == fitted.distance_weight

    @pytest.mark.parametrize("n", [19, 100, 1000])
    def test_withholds_at_most_the_share_asked_for(self, n):
        """Of the images that it was fitted on, and on average of new ones like them."""
        rng, shares = np.random.default_rng(n), []
        for _ in range(200):
            logits = 3 * rng.normal(size=(2 * n, 3)).astype(np.float32)
            distances = rng.gamma(4, 0.25, size=2 * n).astype(np.float32)
            fitted = calibration.fit(logits[:n], logits[:n].argmax(axis=1), abstain=0.1, distances=distances[:n])
            found = calibration.apply(logits, fitted, distances=distances).abstain
            assert found[:n].sum() <= 0.1 * (n + 1) - 1
            shares.append(found[n:].mean())
        assert np.mean(shares) < 0.1 + 3 * np.std(shares) / np.sqrt(len(shares))

    def test_too_few_images_never_abstain(self):
        """No threshold can be promised, so distances get no weight, and are not needed to answer."""
        fitted = calibration.fit(self.LOGITS, np.zeros(4, np.int64), distances=np.arange(4, dtype=np.float32))
        assert (0, 0) == (fitted.abstain_below, fitted.distance_weight)
        assert not calibration.apply(self.LOGITS, fitted).abstain.any()

    def test_equal_distances_have_no_weight(self):
        """They say nothing of a picture: the calibration is the one without them."""
        logits = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
        labels = np.zeros(100, np.int64)
        equal = calibration.fit(logits, labels, distances=np.ones(100, np.float32))
        assert calibration.fit(logits, labels) == equal

    def test_answers_and_sets_do_not_depend_on_distances(self):
        """They decide what is withheld, nothing else."""
        fitted = Calibration(set_threshold=0.25, abstain_below=0.5, distance_weight=1.0)
        near, far = (
            calibration.apply(self.LOGITS, fitted, distances=np.full(4, distance, np.float32)) for distance in (0, 9)
        )
        np.testing.assert_array_equal(near.sets, far.sets)
        np.testing.assert_array_equal(near.indices, far.indices)

    def test_the_largest_numbers_of_a_file_withhold_the_answer(self):
        """A weight and a distance at the reader's bounds overflow nothing."""
        fitted = Calibration(abstain_below=0.5, distance_weight=999_999.0)
        assert calibration.apply(self.LOGITS, fitted, distances=np.full(4, 3e38, np.float32)).abstain.all()

    def test_missing_distances_are_refused(self):
        """A calibration that weighs them cannot be applied without."""
        with pytest.raises(LinceError, match=r"logits alone .*distance_weight=0\.5\. Expected distances as well"):
            calibration.apply(self.LOGITS, Calibration(abstain_below=0.5, distance_weight=0.5))

    def test_what_is_not_a_number_is_refused(self):
        """A damaged file shows itself."""
        distances = np.array([1, np.nan, np.inf, 1], np.float32)
        with pytest.raises(LinceError, match="distances that are not finite for 2 of 4 images"):
            calibration.apply(self.LOGITS, Calibration(), distances=distances)


class TestSetReport:
    def test_matches_values_by_hand(self):
        """Sets {0}, {1,2}, {2}, {0,1} for labels 0, 1, 0, 1: three cover, 1.5 classes; the last image abstains."""
        fitted = Calibration(coverage=0.9, set_threshold=0.15, abstain_below=0.55)
        answers = calibration.apply(np.log(np.array([[8, 1, 1], [1, 7, 2], [1, 1, 8], [5, 4, 1]], np.float32)), fitted)
        report = calibration.set_report(answers, np.array([0, 1, 0, 1]), fitted)
        assert (
            report.target_coverage,
            report.coverage.value,
            report.mean_size,
            report.abstained,
        ) == (0.9, 0.75, 1.5, 0.25)
        assert pytest.approx(2 / 3) == report.accuracy_when_answering
        assert metrics.accuracy_interval(3, 4) == report.coverage

    def test_accuracy_is_zero_when_nothing_is_answered(self):
        """All abstained: no NaN."""
        fitted = Calibration(abstain_below=1.0)
        report = calibration.set_report(calibration.apply(FOUR, fitted), np.zeros(4, np.int64), fitted)
        assert (report.abstained, report.accuracy_when_answering) == (1.0, 0.0)

    def test_without_sets_nothing_is_said_of_them(self):
        """Abstention is measured all the same."""
        fitted = Calibration(abstain_below=0.55, n=17)
        report = calibration.set_report(calibration.apply(FOUR, fitted), np.array([0, 1, 2, 1]), fitted)
        assert (report.coverage, report.mean_size, report.abstained) == (None, None, 0.25)


class TestErrors:
    def test_what_is_not_a_number_is_refused(self):
        """NaN or infinity in any logit is counted by image."""
        broken = FOUR.copy()
        broken[1], broken[3, 0] = np.nan, np.inf
        with pytest.raises(LinceError, match=r"not finite for 2 of 4 images.*training diverged"):
            calibration.fit(broken, np.array([0, 1, 2, 0]))
        with pytest.raises(LinceError, match="not finite for 2 of 4 images"):
            calibration.apply(broken, Calibration())
