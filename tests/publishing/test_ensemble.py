"""Several trained networks as one: it answers with the mean of their logits, and is a run like any other."""

import shutil
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
from rich.console import Console

import synthetic
from lince import pipeline
from lince.errors import DataError, RecipeError, ResumeError, TrainingError
from lince.evaluation import accuracy
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.networks import models
from lince.networks.models import normalised_to_logits
from lince.progress import silent
from lince.publishing import ensemble
from lince.quantization import flatbuffer_inference, quantizer
from lince.reporting.run_report import write_run_report
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.training.session import build_for
from lince.types import ImageSpec

POOLED = "model={family='pooled', stem=6, stages=[[8, 12, 8], [16]], shortcut=true}"


def train(source: Path, recipe, folder: Path, *, seed: int = 0, leave_out: str | None = None, **changes: object):
    """A run of the tests' recipe with another `[train]` table, trained."""
    recipe = msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, **changes))
    run = pipeline.start(
        str(source), recipe, RunFolder(folder), seed=seed, deterministic=False, strict=False, progress=silent,
        leave_out=leave_out,
    )  # fmt: skip
    with pipeline.watch(Console(quiet=True), run, tensorboard=False) as display:
        pipeline.train_model(run, display)
    return run


@pytest.fixture(scope="module")
def other(images_folder, recipe, tmp_path_factory) -> RunFolder:
    """A replicate of the tests' run."""
    return train(images_folder, recipe, tmp_path_factory.mktemp("runs") / "other", replicate=1).folder


@pytest.fixture(scope="module")
def combined(run: RunFolder, other: RunFolder, tmp_path_factory) -> RunFolder:
    """Both, combined and published."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "both")
    ensemble.combine([run, other], folder)
    pipeline.publish(pipeline.resume(folder, progress=silent), say=lambda text: None)
    return folder


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Of pixels u8[N,H,W,3]."""
    return keras.ops.convert_to_numpy(normalised_to_logits(model)((images.astype(np.float32) - 128) / 128))


class TestReplicate:
    def test_holds_out_the_same_images(self, run, other):
        """Only then is what one of them holds out new to the other."""
        for name, indices in run.read_splits().items():
            np.testing.assert_array_equal(indices, other.read_splits()[name])

    def test_is_another_training(self, run, other):
        """Other weights to begin with, and so another order; the first replicate is the run as it always was."""
        first, second = (pipeline.resume(folder, progress=silent) for folder in (run, other))
        assert first.record.seed == second.record.seed == first.training_seed != second.training_seed
        begun = [build_for(one, precision="float32").get_weights() for one in (first, second, first)]
        drawn = [index for index, weights in enumerate(begun[0]) if weights.any()]
        assert drawn
        for index in drawn:
            assert not np.array_equal(begun[0][index], begun[1][index])
            np.testing.assert_array_equal(begun[0][index], begun[2][index])


class TestMerge:
    @pytest.mark.parametrize("family", ["model={family='resnet', stages=[8, 16]}", POOLED])
    def test_families(self, family, recipe_file):
        """Shortcuts, pooling and strides go through; the int8 network of three answers as its float one does."""
        table = recipes.load(recipe_file, [family]).model
        options = {"spec": ImageSpec(), "num_classes": 3, "precision": "float32", "folded": True}
        networks = [models.build(table, seed=seed, **options) for seed in range(3)]
        rng = np.random.default_rng(0)
        for network in networks:  # folded kernels begin as zeros
            network.set_weights([rng.normal(0, 0.1, weights.shape) for weights in network.get_weights()])
        images, _ = synthetic.batch(40, seed=5)
        expected = np.mean([logits(network, images) for network in networks], axis=0)
        merged = ensemble.merge(networks)
        np.testing.assert_allclose(logits(merged, images), expected, atol=1e-4)
        found = flatbuffer_inference.logits(quantizer.quantize(merged, images), images)
        assert np.abs(found - expected).max() < 0.1 * np.ptp(expected)

    @pytest.mark.parametrize("count", [2, 3])
    def test_mean_of_the_logits(self, run, other, count):
        """Of two and of three, also when the same network is named twice."""
        models = [pipeline.trained_model(folder) for folder in (run, other, run)[:count]]
        images, _ = synthetic.batch(20, seed=5)
        expected = np.mean([logits(model, images) for model in models], axis=0)
        np.testing.assert_allclose(logits(ensemble.merge(models), images), expected, atol=1e-5)


class TestCombine:
    def test_is_a_run_like_any_other(self, combined, run, other):
        """The int8 file answers as the mean of both float networks; manifest, card and report name them."""
        images = pipeline.resume(combined, progress=silent).test.images
        mean = np.mean([logits(pipeline.trained_model(folder), images) for folder in (run, other)], axis=0)
        classifier = Classifier.load(combined.model)
        assert (classifier.predict(images).indices == mean.argmax(axis=1)).mean() > 0.9
        manifest = classifier.manifest
        assert ("both", "int8") == (manifest.name, manifest.arithmetic.kind)
        assert [("tiny", 0), ("other", 1)] == [
            (member["name"], member["recipe"]["train"]["replicate"]) for member in manifest.training["members"]
        ]
        assert "the mean of the logits of 2 networks, of recipes `tiny`, `tiny`, seed 0" in classifier.card
        write_run_report(combined)
        page = combined.page.read_text()
        assert "member2.train.replicate" in page
        assert not (combined.plots / "loss.png").exists()
        assert {"logits", "member1_logits", "member2_logits"} <= {
            layer.layer for layer in combined.read_report().sensitivity.layers
        }

    def test_evaluates_as_its_report_says(self, combined):
        """Nothing is mixed up between float network, file and report."""
        test = pipeline.resume(combined, progress=silent).test
        report = combined.read_report()
        assert report.int8 == accuracy.evaluate(Classifier.load(combined.model).logits, test, fitted=report.calibration)
        assert report.name == artifact.read(combined.model).manifest.name

    def test_cannot_be_trained_further(self, combined):
        """Nor is it mistaken for a run that was not begun."""
        opened = pipeline.resume(combined, progress=silent)
        with (
            pipeline.watch(Console(quiet=True), opened, tensorboard=False) as display,
            pytest.raises(TrainingError, match=r"is an ensemble, whose members were trained already\."),
        ):
            pipeline.train_model(opened, display, resume=True)


class TestMembersThatDoNotGoTogether:
    """Each is refused in a sentence, and no folder is made."""

    @pytest.fixture(autouse=True)
    def _makes_no_folder(self, tmp_path):
        yield
        assert not (tmp_path / "both").exists()

    def combine(self, tmp_path: Path, *members: RunFolder) -> None:
        ensemble.combine(members, RunFolder(tmp_path / "both"))

    def test_one(self, run, tmp_path):
        """There is nothing to take the mean of."""
        with pytest.raises(RecipeError, match=r"Received one run\. Expected two or more"):
            self.combine(tmp_path, run)

    def test_the_same_training(self, run, tmp_path):
        """Would answer as one of them does."""
        with pytest.raises(RecipeError, match=r"are the same training .*--set train\.replicate=1 begins from other"):
            self.combine(tmp_path, run, run)

    def test_other_images_held_out(self, run, images_folder, recipe, tmp_path):
        """One has learned from what the other is validated with."""
        elsewhere = train(images_folder, recipe, tmp_path / "elsewhere", seed=1, epochs=1).folder
        with pytest.raises(RecipeError, match=r"elsewhere' holds out other images than .*Expected the same --seed"):
            self.combine(tmp_path, run, elsewhere)

    def test_other_data(self, run, recipe, tmp_path):
        """By its fingerprint."""
        source = Path(shutil.copytree(run.read_record().source, tmp_path / "images"))
        next((source / "train" / "disc").iterdir()).unlink()
        elsewhere = train(source, recipe, tmp_path / "elsewhere", epochs=1).folder
        with pytest.raises(RecipeError, match=r"has other images \(the fingerprint of its data\) than"):
            self.combine(tmp_path, run, elsewhere)

    def test_an_ensemble(self, run, combined, tmp_path):
        """Its members can be named themselves."""
        with pytest.raises(RecipeError, match="is an ensemble itself"):
            self.combine(tmp_path, run, combined)

    def test_no_run(self, run, tmp_path):
        """Nothing is there."""
        with pytest.raises(ResumeError, match="is not a run folder"):
            self.combine(tmp_path, run, RunFolder(tmp_path / "nowhere"))

    def test_not_trained(self, run, other, tmp_path):
        """Begun, and no epoch finished."""
        begun = RunFolder(Path(shutil.copytree(other.path, tmp_path / "begun")))
        begun.keras_model.unlink()
        with pytest.raises(TrainingError, match="Expected the model of a run that finished an epoch"):
            self.combine(tmp_path, run, begun)


class TestGoingOn:
    def test_after_an_interruption(self, run, other, tmp_path, monkeypatch):
        """Where the network could not be written there is no run: it can be asked for again."""
        folder = RunFolder(tmp_path / "both")
        with monkeypatch.context() as patched:
            patched.setattr(ensemble, "save_trained", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
            with pytest.raises(OSError, match="No space left"):
                ensemble.combine([run, other], folder)
        ensemble.combine([run, other], folder)
        assert folder.keras_model.exists()

    def test_images_that_have_moved(self, run, other, tmp_path):
        """Nothing is made that could not be published."""
        moved = []
        for folder in (run, other):
            copy = RunFolder(Path(shutil.copytree(folder.path, tmp_path / folder.path.name)))
            record = msgspec.structs.replace(copy.read_record(), source=str(tmp_path / "gone"))
            copy.record.write_bytes(msgspec.json.encode(record))
            moved.append(copy)
        with pytest.raises(DataError, match="gone"):
            ensemble.combine(moved, RunFolder(tmp_path / "both"))
        assert not (tmp_path / "both").exists()

    def test_a_teacher_that_knows_too_much(self, run, other, tmp_path):
        """What a member's record says of it is in the ensemble's, and in its card."""
        knowing = RunFolder(Path(shutil.copytree(other.path, tmp_path / "knowing")))
        record = msgspec.structs.replace(knowing.read_record(), teacher_version="abc123", teacher_knows_validation=True)
        knowing.record.write_bytes(msgspec.json.encode(record))
        folder = RunFolder(tmp_path / "both")
        ensemble.combine([run, knowing], folder)
        pipeline.publish(pipeline.resume(folder, progress=silent), say=lambda text: None)
        card = Classifier.load(folder.model).card
        assert "`tiny` (taught by abc123)" in card
        assert "Its teacher had learned from some of the validation images" in card


def test_command(lince, run, other, tmp_path):
    """`lince ensemble` publishes into a folder of its own name, and says what it is the mean of."""
    done = lince("ensemble", run.path, other.path, "--name", "two of them", "--runs", tmp_path, "--json")
    assert 0 == done.returncode, done.stderr
    assert "two of them: the mean of tiny, other." in done.stderr
    assert "two of them" == artifact.read(tmp_path / "two of them" / "model.tflite").manifest.name
    again = lince("ensemble", run.path, other.path, "--name", "two of them", "--runs", tmp_path)
    assert (1, "") == (again.returncode, again.stdout)
    assert "holds a run already" in again.stderr
