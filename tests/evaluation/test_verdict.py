"""The findings follow from the numbers, the most important first, and each says what to do."""

import inspect
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from lince import calibration, metrics
from lince.evaluation import verdict
from lince.evaluation.accuracy import report_from
from lince.language import LANGUAGES, catalogue
from lince.model_file.manifest import Certificate, Comparison, Leakage
from lince.types import Calibration, Interval, Report, Split

CLASSES = ("cat", "dog", "fox")


def answered(*counts: tuple[int, int, int]) -> Report:
    """The report on `(true class, answered class, images)`."""
    labels = np.concatenate([np.full(count, true) for true, _, count in counts]).astype(np.int64)
    answers = np.concatenate([np.full(count, answer) for _, answer, count in counts])
    images = Split(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, CLASSES, tuple(map(str, range(len(labels)))))
    return report_from(calibration.apply(200 * np.eye(3, dtype=np.float32)[answers], Calibration()), images)


def even(right: int, each: int) -> Report:
    """So many images of each class, of which so many are answered rightly, the others as the next class."""
    pairs = [(one, one, right) for one in range(3)] + [(one, (one + 1) % 3, each - right) for one in range(3)]
    return answered(*(pair for pair in pairs if pair[2]))


CERTIFICATE = Certificate(
    comparison=Comparison(
        n=100, float_accuracy=0.9, int8_accuracy=0.78, drop_points=Interval(0.1, 0, 0.3), disagreement=0.01,
        worst_class="dog", worst_class_drop_points=1.0, float_ece=0.02, int8_ece=0.02, calibrated_ece=0.01,
    ),
    split="test", flatbuffer_bytes=1, latency_us=1.0, machine="m", bound_points=0.5,
)  # fmt: skip


def judged(
    test: Report, *, training: float = 0.95, validation: float = 0.9, forced: bool = False, leakage=..., language="en"
):
    """Codes and text of the verdict on a model, which is a good one unless said otherwise."""
    found = verdict.judge(
        verdict.Evidence(
            test=test,
            training_accuracy=metrics.accuracy_interval(round(1000 * training), 1000),
            validation_accuracy=metrics.accuracy_interval(round(100 * validation), 100),
            certificate=replace(CERTIFICATE, forced=forced),
            leakage=Leakage(0, 0, test.accuracy) if leakage is ... else leakage,
        ),
        language=language,
    )
    assert found.findings
    assert all(finding.sentence.endswith(".") for finding in found.findings)
    return [finding.code for finding in found.findings], found.text


GOOD = even(920, 1000)


class TestGood:
    def test_says_it_plainly(self):
        """One sentence, with the figure, its interval and the images behind it."""
        codes, text = judged(GOOD)
        assert ["good"] == codes
        assert text == (
            "It is right for 92.0 % of 3,000 test images (95 % interval 91.0 % to 92.9 %), and no measurement "
            "speaks against using it on pictures like these."
        )

    @pytest.mark.parametrize("training", [0.99, 1.0])
    def test_learned_as_well_as_it_should(self, training):
        """Ten points between training and validation images are what `fast` leaves on CIFAR-10."""
        assert ["good"] == judged(GOOD, training=training)[0]


class TestOneClass:
    @pytest.mark.parametrize("right", [0, 1, 10])
    def test_not_above_the_largest_class(self, right):
        """A third of three even classes is what naming one of them gives."""
        report = even(right, 30)
        assert not verdict.is_above_one_class(report)
        codes, text = judged(report, training=0.3, validation=0.3)
        assert "not_above_one_class" == codes[0]
        assert text.startswith("Do not use it: it is right for ")
        assert "published with --force" in text

    def test_share_is_that_of_the_test_images(self):
        """Of uneven classes the largest one's: 90 % is nothing where 90 of 100 images are cats."""
        report = answered((0, 0, 88), (0, 1, 2), (1, 1, 2), (1, 0, 6), (2, 0, 2))
        assert ("cat", 90) == verdict.largest_class(report)
        assert not verdict.is_above_one_class(report)
        assert verdict.is_above_one_class(answered((0, 0, 89), (0, 1, 1), (1, 1, 5), (1, 0, 3), (2, 0, 2)))

    def test_always_the_same_answer(self):
        """It is named: whoever reads of 90 % must see why they are worth nothing."""
        report = answered((0, 0, 90), (1, 0, 8), (2, 0, 2))
        assert not verdict.is_above_one_class(report)
        text = verdict.against_one_class(report)
        assert "right for 90 of 100 test images (90 %, 95 % interval 83 % to 94 %), as it names 'cat' for every" in text
        assert "always naming 'cat' would be right for 90 (90 %)" in text

    def test_a_rare_class_always(self):
        """It is the largest class's share that counts, not the one that is answered."""
        text = verdict.against_one_class(answered((0, 2, 6), (1, 2, 3), (2, 2, 1)))
        assert "as it names 'fox' for every image, and always naming 'cat' would be right for 6 (60 %)" in text

    def test_one_more_image_than_the_class_has(self):
        """Above is above; what cannot be shown with so few images is said in the words of the issue."""
        report = even(11, 30)
        assert verdict.is_above_one_class(report)
        codes, text = judged(report, training=0.5, validation=0.4)
        assert "not_shown_above_one_class" == codes[0]
        assert "too few test images to show that it is better than chance" in text
        assert "few_test_images" not in codes

    def test_one_test_image_a_class(self):
        """Two right of two classes are not better than chance; three of three are, and that is all that is known."""
        codes, text = judged(answered((0, 0, 1), (1, 1, 1)))
        assert ["not_shown_above_one_class"] == codes
        assert "with this accuracy it takes about 4, so add test images" in text
        codes, text = judged(even(1, 1))
        assert ["few_test_images"] == codes
        assert "3 right of 3 means that it is right for 44 % to 100 % of all such pictures; test about 40" in text

    @pytest.mark.parametrize("share", [0.4, 0.6, 0.9, 1.0])
    def test_images_to_show(self, share):
        """With as many images as it says, Wilson's interval ends above; with fewer by a tenth it does not."""
        needed = verdict._images_to_show(share, 1 / 3)
        more = math.ceil(needed / 5) * 5  # of which the share is a whole number of images
        assert metrics.accuracy_interval(round(share * more), more).low > 1 / 3
        fewer = (needed - 1) // 5 * 5
        assert fewer == 0 or metrics.accuracy_interval(round(share * fewer), fewer).low <= 1 / 3

    def test_images_that_nobody_can_add(self):
        """501 of 1,000 beside one half: hundreds of thousands of images, so that it is the network that must change."""
        text = judged(answered((0, 0, 500), (1, 1, 1), (1, 0, 499)), training=0.6, validation=0.55)[1]
        assert "with this accuracy it takes about 960,000, so train longer, or on more images" in text


class TestOtherFaults:
    def test_nearly_all_are_not_all(self):
        """999 of 1,000 training images are not 100 %."""
        assert "right for > 99 % of its training images" in judged(even(52, 100), training=0.999, validation=0.52)[1]

    def test_overfitted(self):
        """99 % of training images and 52 % of others: all three figures, and what to do."""
        codes, text = judged(even(520, 1000), training=0.99, validation=0.52)
        assert ["overfitted"] == codes
        assert "right for 99 % of its training images, but for 52 % of validation and 52 % of test images; add" in text

    def test_few_validation_images_show_no_overfitting(self):
        """Where the interval of the gap includes little, nothing is claimed."""
        few = verdict.judge(
            verdict.Evidence(GOOD, Interval(1, 0.99, 1), metrics.accuracy_interval(15, 20), CERTIFICATE,
                             Leakage(0, 0, GOOD.accuracy))
        )  # fmt: skip
        assert ["good"] == [finding.code for finding in few.findings]

    def test_often_wrong(self):
        """Neither at chance nor overfitted, and still nothing to rely on."""
        codes, text = judged(even(420, 1000), training=0.44, validation=0.42)
        assert ["often_wrong"] == codes
        assert "right for 42 % of test images, and for 44 % of its training images; train longer" in text

    def test_a_class_that_is_missed(self):
        """A good accuracy may hide it where classes are uneven."""
        codes, text = judged(answered((0, 0, 900), (1, 1, 90), (2, 0, 10)))
        assert ["class_missed"] == codes
        expected = "right for no test image of 'fox'; train longer, or on more images of it, or with --set train.class"
        assert expected in text

    def test_a_class_that_is_missed_and_not_rare(self):
        """Weights of the classes would change nothing where they are even."""
        codes, text = judged(answered((0, 0, 300), (1, 1, 300), (2, 0, 300)))
        assert ["class_missed"] == codes
        assert text.endswith("right for no test image of 'fox'; train longer, or on more images of it.")

    def test_a_class_of_three_images_may_be_missed(self):
        """So few say nothing."""
        assert ["good"] == judged(answered((0, 0, 900), (1, 1, 97), (2, 0, 3)))[0]

    def test_few_test_images(self):
        """The interval, and how many images make it narrow enough."""
        codes, text = judged(even(9, 10))
        assert ["few_test_images"] == codes
        assert (
            "27 right of 30 means that it is right for 74 % to 97 % of all such pictures; test about 150 to know it to "
            "within 5 points" in text
        )

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
    def test_images_to_know(self, share):
        """So many give an interval that is not called wide; of 381 at most."""
        needed = verdict._images_to_know(share)
        assert 35 <= needed <= 381
        interval = metrics.accuracy_interval(round(share * needed), needed)
        assert 100 * (interval.high - interval.low) <= 10

    def test_forced(self):
        """A model that lost too much, and was published all the same, is not called good."""
        codes, text = judged(GOOD, forced=True)
        assert ["quantization_loss"] == codes
        assert "published with --force" in text


def leaked(report: Report, *, identical: int = 0, look_alike: int = 0, right: int) -> Leakage:
    """So many of the test images are in another split, and so many of these were answered rightly."""
    correct = sum(row[label] for label, row in enumerate(report.confusion))
    others = metrics.accuracy_interval(correct - right, report.n - identical - look_alike)
    return Leakage(identical, look_alike, others)


class TestLeakage:
    def test_few_are_a_remark(self):
        """85 of 10,000, as in CIFAR-10, change nothing worth a warning, and are told."""
        codes, text = judged(GOOD, leakage=leaked(GOOD, look_alike=25, right=25))
        assert ["good", "some_test_images_in_training"] == codes
        assert "Of 3,000 test images 25 look like training images" in text
        assert "it is right for 91.9 % of the 2,975 others (95 % interval " in text

    def test_many_have_raised_the_accuracy(self):
        """It is a finding of its own, with what remains without them."""
        codes, text = judged(GOOD, leakage=leaked(GOOD, identical=600, look_alike=40, right=640))
        assert ["test_images_in_training"] == codes
        assert "600 are identical to and 40 look like training images" in text
        assert (
            "it is right for 89.8 % of the 2,360 others (95 % interval 88.5 % to 91.0 %), which is the accuracy to"
            in text
        )
        assert "lince data check" in text

    def test_few_images_do_not_show_it(self):
        """11 of 100 digits look alike and are all right, as 83 of the other 89 are: that is a remark."""
        report = answered((0, 0, 34), (1, 1, 30), (2, 2, 30), (2, 0, 6))
        codes, text = judged(report, leakage=leaked(report, look_alike=11, right=11))
        assert ["good", "some_test_images_in_training"] == codes
        assert "it is right for 93 % of the 89 others (95 % interval 86 % to 97 %)" in text

    def test_one(self):
        """In the singular, of one kind or of each."""
        report = even(30, 30)
        text = judged(report, leakage=leaked(report, look_alike=1, right=1))[1]
        assert "Of 90 test images 1 looks like a training image (" in text
        text = judged(report, leakage=leaked(report, identical=1, look_alike=2, right=3))[1]
        assert "Of 90 test images 1 is identical to and 2 look like training images (" in text

    def test_is_told_beside_three_faults(self):
        """The third place is kept for it."""
        report = even(4, 10)
        codes, _ = judged(
            report, training=1.0, validation=0.4, forced=True, leakage=leaked(report, identical=3, right=1)
        )
        assert ["not_shown_above_one_class", "quantization_loss", "some_test_images_in_training"] == codes

    def test_all(self):
        """Then the accuracy says nothing."""
        codes, text = judged(even(10, 10), leakage=Leakage(30, 0, None))
        assert "test_images_in_training" == codes[0]
        assert "the accuracy on new pictures is unknown" in text

    def test_not_looked_for(self):
        """That is said, too."""
        codes, text = judged(GOOD, leakage=None)
        assert ["good", "leakage_not_searched"] == codes
        assert "were not searched for test images" in text


def test_three_at_most_the_most_important_first():
    """A model with every fault is told three of them."""
    codes, _ = judged(even(4, 10), training=1.0, validation=0.4, forced=True)
    assert ["not_shown_above_one_class", "quantization_loss", "overfitted"] == codes


def test_two_classes_uneven():
    """K = 2, 60 to 40: 59 right of 100 are not above, 61 not shown to be, 80 are."""

    def two(right: int) -> Report:
        return answered((0, 0, right - 20), (0, 1, 80 - right), (1, 1, 20), (1, 0, 20))

    assert [False, False, True, True] == [verdict.is_above_one_class(two(n)) for n in (59, 60, 61, 79)]


class TestLanguage:
    @pytest.mark.parametrize(
        ("evidence", "said"),
        [
            ({"test": GOOD}, "O modelo acerta 92,0% de 3.000 imagens de teste (intervalo de 95%: 91,0% a 92,9%)"),
            ({"test": even(10, 100)}, "Não use este modelo: ele acerta 30 de 300 imagens de teste (10%"),
            ({"test": even(45, 100), "training": 0.5, "validation": 0.45}, "O modelo erra mais do que acerta"),
            ({"test": even(60, 100), "validation": 0.6}, "Sobreajuste (overfitting): o modelo acerta 95% das imagens"),
            ({"test": even(7, 9)}, "Há poucas imagens de teste para dizer o quanto o modelo é bom: 21 acertos em 27"),
            ({"test": GOOD, "leakage": None}, "Não se procuraram imagens de teste entre as de treino"),
            ({"test": GOOD, "leakage": Leakage(1, 2, GOOD.accuracy)}, "1 se repete e 2 têm outra quase igual entre"),
        ],
    )
    def test_portuguese(self, evidence, said):
        """The same findings, in Portuguese and with its numbers."""
        assert said in judged(**evidence, language="pt")[1]
        assert judged(**evidence)[0] == judged(**evidence, language="pt")[0]

    def test_all_languages_in_the_model_file(self):
        """Each finding has its sentence in every language; a file without translations is read in English."""
        evidence = verdict.Evidence(
            test=even(45, 100),
            training_accuracy=Interval(0.5, 0.4, 0.6),
            validation_accuracy=Interval(0.45, 0.4, 0.5),
            certificate=CERTIFICATE,
            leakage=None,
        )
        found = verdict.judge_in_all_languages(evidence)
        for language in LANGUAGES:
            assert verdict.judge(evidence, language=language).text == found.text_in(language)
        assert found.text == verdict.judge(evidence).text_in("pt")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_names_every_finding(language):
    """It shows the sentence of the model file under a heading of its own."""
    codes = set(re.findall(r'Finding\(\s*"(\w+)"', inspect.getsource(verdict)))
    assert {"good", "overfitted"} < codes
    assert {
        key.removeprefix("page.verdict.") for key in catalogue(language) if key.startswith("page.verdict.")
    } == codes
