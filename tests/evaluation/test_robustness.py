"""Accuracy on worse images and answers to out-of-distribution pictures, with networks whose answers are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lince.errors import DataError, LinceError
from lince.evaluation import ood, robustness
from lince.evaluation.accuracy import evaluate
from lince.evaluation.corruptions import AMOUNTS, STRENGTHS, corrupt
from lince.inference.classifier import Classifier
from lince.types import Calibration, ImageSpec, Outputs, Split

SPEC = ImageSpec(8, 8)
FITTED = Calibration(set_threshold=0.3, abstain_below=0.5, n=100)


def brightest(images: np.ndarray) -> Outputs:
    """Logits of three classes whose softmax is the share of each colour in the light. Black is a tie."""
    return Outputs(np.log(images.mean(axis=(1, 2)).astype(np.float32) + 1e-3))


def same(images: np.ndarray) -> Outputs:
    """Logits whose softmax is always 0.4, 0.35, 0.25: unsure, of two classes."""
    return Outputs(np.tile(np.log(np.array([0.4, 0.35, 0.25], np.float32)), (len(images), 1)))


@pytest.fixture
def few_ood_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 generated images of each kind instead of 500."""
    monkeypatch.setattr(robustness, "OOD_IMAGES", 50)


@pytest.fixture(scope="module")
def split() -> Split:
    """300 pictures of 8 × 8, more than a batch, whose colour tells their class, if faintly."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = rng.integers(0, 200, (300, 8, 8, 3), np.uint8)
    images[np.arange(300), :, :, labels] += 20
    return Split(images, labels, ("red", "green", "blue"), tuple(f"{i}.png" for i in range(300)))


class TestCorruptionReport:
    def test_is_what_evaluation_finds(self, split):
        """Clean and corrupted accuracy are those of `evaluate` on such images; means are over what is listed."""
        found = robustness.corruption_report(brightest, split, seed=3)
        assert (300, 3) == (found.n, found.seed)
        assert evaluate(brightest, split)[0].accuracy.value == found.clean_accuracy
        assert [(kind, s) for kind in AMOUNTS for s in STRENGTHS] == [(one.kind, one.strength) for one in found.scores]
        for score in (found.scores[4], found.scores[12]):
            worse = corrupt(split.images, score.kind, strength=score.strength, seed=3)
            expected = evaluate(brightest, Split(worse, split.labels, split.classes, split.names))[0].accuracy.value
            assert (expected, AMOUNTS[score.kind][score.strength - 1]) == (score.accuracy, score.amount)
        assert pytest.approx(np.mean([score.accuracy for score in found.scores])) == found.mean_accuracy

    def test_counts_abstentions(self, split):
        """Below the threshold for every image: all abstain, whatever is done to them."""
        found = robustness.corruption_report(same, split, fitted=FITTED)
        assert {1.0} == {found.clean_abstained, found.mean_abstained, *(score.abstained for score in found.scores)}

    def test_without_a_calibration_nothing_is_said_of_abstention(self, split):
        """A float network has none."""
        found = robustness.corruption_report(brightest, split)
        assert {None} == {found.clean_abstained, found.mean_abstained, *(score.abstained for score in found.scores)}

    def test_reports_progress(self, split):
        """Images answered, of 26 times as many."""
        seen = []
        robustness.corruption_report(brightest, split, progress=lambda done, total, what: seen.append((done, total)))
        assert [(300 * step, 300 * 26) for step in range(1, 27)] == seen

    def test_model_file_keeps_its_own_figures(self, run, dataset):
        """A real model: the clean row is its evaluation, abstentions those of its own predictions."""
        classifier = Classifier.load(run.model)
        fitted = classifier.manifest.calibration
        found = robustness.corruption_report(classifier.outputs, dataset.test, fitted=fitted)
        assert evaluate(classifier.outputs, dataset.test)[0].accuracy.value == found.clean_accuracy
        assert float(classifier.predict(dataset.test.images[:]).abstain.mean()) == found.clean_abstained
        assert found.mean_accuracy <= found.clean_accuracy + 0.1


@pytest.mark.usefixtures("few_ood_images")
class TestOodReport:
    def test_measures_every_kind(self):
        """Each generated kind in order, and their mean; a network that is never sure abstains on all of them."""
        found = robustness.ood_report(same, SPEC, num_classes=3, fitted=FITTED)
        assert ood.KINDS == tuple(score.name for score in found.generated)
        for score in (*found.generated, found.mean):
            assert (1.0, 2.0, 0.0) == (score.abstained, score.mean_set_size, score.sure)
        assert robustness.OOD_IMAGES * len(ood.KINDS) == found.mean.n
        assert () == found.folders

    def test_a_sure_network_is_shown_to_be(self):
        """Probability 1 for the first class, always: never abstains, sets of one class, all above 90 %."""
        sure = np.array([100, 0, 0], np.float32)
        found = robustness.ood_report(
            lambda images: Outputs(np.tile(sure, (len(images), 1))), SPEC, num_classes=3, fitted=FITTED
        )
        assert (0.0, 1.0, 1.0) == (found.mean.abstained, found.mean.mean_set_size, found.mean.sure)

    def test_without_sets_their_size_is_not_said(self):
        """A model that was calibrated on few images abstains or not, and has no sets."""
        found = robustness.ood_report(same, SPEC, num_classes=3, fitted=Calibration(abstain_below=0.5, n=17))
        assert (1.0, None) == (found.mean.abstained, found.mean.mean_set_size)

    def test_without_a_calibration_only_probabilities_count(self):
        """No sets, no abstention."""
        found = robustness.ood_report(brightest, SPEC, num_classes=3).mean
        assert (None, None) == (found.abstained, found.mean_set_size)
        assert 0 <= found.sure <= 1

    def test_folders_are_read_whole(self, tmp_path):
        """Every picture of any size, in folders inside too, more than a batch; what cannot be read is counted."""
        (tmp_path / "holiday" / "inner").mkdir(parents=True)
        for index in range(300):
            red = Image.new("RGB", (9 + index % 3, 12), (255, 0, 0))
            red.save(tmp_path / "holiday" / ("inner" if index % 2 else "") / f"{index}.png")
        (tmp_path / "holiday" / "broken.jpg").write_bytes(b"no picture")
        folder = tmp_path / "holiday"
        found = robustness.ood_report(brightest, SPEC, num_classes=3, fitted=FITTED, folders=[folder])
        [score] = found.folders
        expected = robustness.OodScore(str(folder), 300, sure=1.0, abstained=0.0, mean_set_size=1.0, unread=1)
        assert expected == score
        assert robustness.ood_report(brightest, SPEC, num_classes=3, fitted=FITTED).mean == found.mean

    def test_a_folder_may_be_called_like_a_generated_kind(self, tmp_path, monkeypatch):
        """It is the user's all the same, and the mean is that of the generated ones."""
        monkeypatch.chdir(tmp_path)
        Path("noise").mkdir()
        Image.new("RGB", (8, 8), (0, 255, 0)).save("noise/one.png")
        found = robustness.ood_report(brightest, SPEC, num_classes=3, folders=[Path("noise")])
        assert [("noise", 1)] == [(score.name, score.n) for score in found.folders]
        assert {robustness.OOD_IMAGES} == {score.n for score in found.generated}

    @pytest.mark.parametrize("name", ["nowhere", "empty"])
    def test_folder_without_images_is_refused(self, tmp_path, name):
        """Nothing at the path, or nothing in it."""
        (tmp_path / "empty").mkdir()
        with pytest.raises(
            DataError, match=rf"{name}' has no picture that can be read: .*(No such file|holds no images)"
        ):
            robustness.ood_report(brightest, SPEC, num_classes=3, folders=[Path(tmp_path / name)])

    def test_answers_of_another_shape_are_refused(self):
        """A network of other classes than was said."""
        with pytest.raises(LinceError, match=r"Received answers of shape \(50, 3\).*Expected logits f32\[50,4\]"):
            robustness.ood_report(brightest, SPEC, num_classes=4)
