"""Few images: what chooses and calibrates the network, and that the published one has seen all of them."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from rich.console import Console

from lince import calibration, data, metrics, pipeline
from lince.cli import run_commands
from lince.errors import LinceError
from lince.evaluation import accuracy, evaluated_model
from lince.inference import interpreter
from lince.networks import models
from lince.progress import silent
from lince.publishing import familiar_images
from lince.reporting.run_report import write_run_report
from lince.runs.run_folder import Budget, RunFolder
from lince.training import checkpoint, history, loop, recipes, schedule
from lince.training import refit as refits
from lince.training.display import LineDisplay
from lince.training.recipe import Train
from lince.training.session import Run, build_for
from lince.training.transfer import head as heads
from lince.types import EpochRecord
from training_fixtures import quantized

SMALL = ("image_size=64", "augment.translate=6", "train.epochs=2")
ABSTAIN = ("calibrate.abstain=0.2",)  # 15 images are too few for the default of 0.05


def quiet() -> LineDisplay:
    """A display that nobody sees."""
    return LineDisplay(Console(file=io.StringIO()), epochs="")


def start(source: Path, folder: Path, *, recipe: str = "photos", overrides: tuple[str, ...] = SMALL) -> Run:
    """A new run with 60 images to train on and 15 to validate with."""
    options = recipes.load(recipe, overrides)
    return pipeline.start(
        str(source), options, RunFolder(folder), seed=0, deterministic=True, strict=False, progress=silent
    )


def train(run: Run) -> Run:
    """Every stage up to the float model."""
    pipeline.fit_head(run, silent)
    pipeline.train_model(run, quiet())
    pipeline.refit(run, silent)
    return run


@pytest.fixture(scope="module")
def with_head(images_folder, tmp_path_factory) -> Run:
    """A run whose fine-tuning ruins the network, so that the head is kept. Copy it before changing it."""
    overrides = (*SMALL, "train.learning_rate=0.03")
    return train(start(images_folder, tmp_path_factory.mktemp("head") / "photos", overrides=overrides))


@pytest.fixture(scope="module")
def tuned(images_folder, tmp_path_factory) -> Run:
    """A run whose head knows nothing, so that fine-tuning is kept. Copy it before changing it."""
    run = start(images_folder, tmp_path_factory.mktemp("tuned") / "photos")
    pipeline.fit_head(run, silent)
    head = heads.read(run.folder.head)
    heads.save(run.folder.head, replace(head, kernel=0 * head.kernel, bias=0 * head.bias))
    return train(run)


def history_of(*val_losses: float) -> tuple[EpochRecord, ...]:
    """A head, and epochs, with these validation losses."""
    return tuple(EpochRecord(epoch, 1.0, 0.5, loss, 0.5, 1e-3, 100.0, 1.0) for epoch, loss in enumerate(val_losses))


def rewrite_history(path: Path, records: tuple[EpochRecord, ...]) -> None:
    """Gives a checkpoint another history."""
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"history": np.frombuffer(msgspec.json.encode(records), np.uint8)})


def float_logits(run: Run, weights: tuple[np.ndarray, ...]) -> np.ndarray:
    """The logits of the run's network with these weights, of its validation images."""
    model = build_for(run, precision="float32")
    model.set_weights(weights)
    return accuracy.outputs(models.float_predict(model), run.validation).logits


class TestIsDue:
    def test_few_validation_images_and_a_pretrained_network(self, images_folder, tmp_path, monkeypatch):
        """15 validation images are few; a network from scratch is trained once, however few there are."""
        assert start(images_folder, tmp_path / "photos").record.refits
        assert not start(images_folder, tmp_path / "fast", recipe="fast", overrides=()).record.refits
        monkeypatch.setattr("lince.training.session.ENOUGH_VALIDATION_IMAGES", 15)
        assert not start(images_folder, tmp_path / "many").record.refits

    def test_not_before_the_training_is_finished(self, images_folder, tmp_path):
        """An interrupted training is published as it is."""
        run = start(images_folder, tmp_path / "photos")
        pipeline.fit_head(run, silent)
        pipeline.refit(run, silent)
        assert not run.folder.refit.exists()
        assert not run.folder.held_out.exists()


class TestRecipe:
    def test_without_patience_it_is_that_of_the_first_training(self):
        """All its epochs, whatever they did to the validation loss."""
        first = Train(epochs=9, batch_size=8, learning_rate=1e-3)
        assert first is refits.recipe_of(first, history_of(1.0, 0.5, 0.7))

    @pytest.mark.parametrize(
        ("losses", "expected"), [((1.0, 0.5, 0.4, 0.7, 0.8), 2), ((1.0, 0.5, 0.4), 2), ((0.1, 0.5, 0.7), 1)]
    )
    def test_with_patience_the_epochs_that_were_kept(self, losses, expected):
        """Those up to the lowest validation loss; one where that was the head's, which has no epoch."""
        first = Train(epochs=9, batch_size=8, learning_rate=1e-3, patience=2, schedule="warm_cosine")
        found = refits.recipe_of(first, history_of(*losses))
        assert (0, expected) == (found.patience, found.epochs)
        assert first == msgspec.structs.replace(found, patience=2, epochs=9)

    def test_a_time_budget_ends_it_earlier_and_not_later(self):
        """By the clock, or after the epochs that were kept, whichever is first."""
        first = Train(epochs=9, batch_size=8, learning_rate=1e-3, patience=2)
        recipe = refits.recipe_of(first, history_of(1.0, 0.5, 0.4, 0.7, 0.8))
        found = schedule.of(recipe, Budget(seconds=300, training_seconds=100, publishing_seconds=50))
        assert 1 == found.progress(epochs=2, seconds=10)
        assert 0.9 == found.progress(epochs=1, seconds=90)

    def test_patience_does_not_stop_it(self, tuned, tmp_path, capsys, monkeypatch):
        """The first training kept epoch 1 of 3; the network is trained for one epoch again, and that one is told."""
        folder = RunFolder(Path(shutil.copytree(tuned.folder.path, tmp_path / "photos")))
        train = msgspec.structs.replace(tuned.recipe.train, patience=1, epochs=30)
        run = replace(tuned, folder=folder, recipe=msgspec.structs.replace(tuned.recipe, train=train))
        first = checkpoint.read(folder.checkpoint)
        losses = (1.0, 0.4, 0.7)
        records = tuple(
            replace(one, val_loss=loss, val_accuracy=1 - loss, progress=one.epoch / 30)
            for one, loss in zip(first.history, losses, strict=True)
        )
        rewrite_history(folder.checkpoint, records)
        folder.write_history(records)
        folder.refit.unlink()
        folder.held_out.unlink()
        run_commands._say_kept(run)
        assert "fine-tuning is kept: it is right for 60.0%" in capsys.readouterr().err
        recipes_used, fit = [], loop.fit

        def watched(model: keras.Model, *, recipe: Train, **options: Any) -> checkpoint.Checkpoint:
            recipes_used.append(recipe)
            return fit(model, recipe=recipe, **options)

        monkeypatch.setattr(loop, "fit", watched)
        pipeline.refit(run, silent)
        assert [(0, 1)] == [(recipe.patience, recipe.epochs) for recipe in recipes_used]
        found = checkpoint.read(folder.refit)
        assert [(1, 1.0)] == [(record.epoch, record.progress) for record in found.history]
        assert folder.trained == folder.refit


class TestHeld:
    def test_head_answers_every_image_from_another_fold(self, with_head):
        """75 images, none answered by a head that was fitted to it: these are less sure of the labels than its own."""
        logits, labels = with_head.folder.read_held_out()
        assert (75, 3) == logits.shape
        everything = data.join(with_head.train, with_head.validation)
        assert (everything.labels == labels).all()
        own = accuracy.outputs(models.float_predict(pipeline.trained_model(with_head.folder)), everything).logits
        rows = np.arange(75)
        assert metrics.softmax(logits)[rows, labels].mean() < metrics.softmax(own)[rows, labels].mean()

    def test_fine_tuned_network_answers_the_images_that_it_has_not_seen(self, tuned):
        """They are the validation images, answered by the network that the refit has replaced."""
        logits, labels = tuned.folder.read_held_out()
        first = checkpoint.read(tuned.folder.checkpoint)
        assert history.kept_record(first.history, tuned.recipe.train).epoch == 2
        assert (tuned.validation.labels == labels).all()
        np.testing.assert_allclose(float_logits(tuned, first.kept_weights), logits, rtol=1e-5, atol=1e-5)


class TestPublished:
    def test_network_is_that_of_the_refit(self, tuned):
        """Its answers are those of the refit's weights, and not those of the first training."""
        found = accuracy.outputs(models.float_predict(pipeline.trained_model(tuned.folder)), tuned.validation).logits
        first, second = (checkpoint.read(path) for path in (tuned.folder.checkpoint, tuned.folder.refit))
        np.testing.assert_allclose(float_logits(tuned, second.kept_weights), found, rtol=1e-4, atol=1e-4)
        assert not np.allclose(float_logits(tuned, first.kept_weights), found, rtol=1e-2, atol=1e-2)

    def test_history_is_that_of_the_first_training(self, tuned):
        """Epochs 0 to 2, whose validation images the network had not seen."""
        assert [0, 1, 2] == [record.epoch for record in tuned.folder.read_history()]

    @pytest.mark.parametrize("kind", ["with_head", "tuned"])
    def test_calibration_is_from_held_out_answers(self, request, tmp_path, kind):
        """The model file says from how many; `lince evaluate` does not take seen images for unseen ones."""
        run = request.getfixturevalue(kind)
        folder = RunFolder(Path(shutil.copytree(run.folder.path, tmp_path / "photos")))
        opened = pipeline.resume(folder, overrides=ABSTAIN, progress=silent)
        report = pipeline.publish(opened, pipeline.PublishOptions(force=True), say=lambda _: None)
        logits, labels = folder.read_held_out()
        assert len(labels) == report.calibration.n
        expected = calibration.fit(logits, labels, abstain=0)  # what does not depend on distances
        assert expected == replace(report.calibration, abstain_below=0.0, distance_weight=0.0)
        assert report.calibration.distance_weight > 0
        right = (logits.argmax(axis=1) == labels).mean()
        assert right == pytest.approx(report.validation_accuracy.value)
        write_run_report(folder)
        page = folder.page.read_text(encoding="utf-8")
        assert "60 images to train on, 15 to validate" in page
        assert "trained once more on training and validation images together" in page
        model = evaluated_model.open_file(folder.model)
        with pytest.raises(LinceError, match="trained on the validation images too"):
            evaluated_model.images(model, None, "validation")


class TestDistances:
    def published(self, run: Run) -> bytes:
        """The network of the refit in int8, with its features."""
        return quantized(pipeline.trained_model(run.folder), run.train.images[::6])

    def test_fine_tuned_network_is_measured_by_the_one_that_has_not_seen_the_images(self, tuned):
        """The first network's features of the validation images, from the Gaussian of its training images."""
        network = self.published(tuned)
        found = familiar_images.held_out_distances(network, tuned, count=15)
        own = familiar_images.of_training(network, data.join(tuned.train, tuned.validation), seed=0)
        seen = own.distances(interpreter.features(network, tuned.validation.images))
        assert (15,) == found.shape
        assert seen.mean() < found.mean()

    def test_head_measures_every_image_by_other_folds(self, with_head):
        """75 images, each further away than from a Gaussian that knows it."""
        network = self.published(with_head)
        found = familiar_images.held_out_distances(network, with_head, count=75)
        everything = data.join(with_head.train, with_head.validation)
        own = familiar_images.of_training(network, everything, seed=0)
        assert (75,) == found.shape
        assert own.distances(interpreter.features(network, everything.images)).mean() < found.mean()

    def test_without_the_checkpoint_there_are_none(self, tuned, tmp_path):
        """The user has removed the network that had not seen the images; the run is published without a weight."""
        folder = RunFolder(Path(shutil.copytree(tuned.folder.path, tmp_path / "photos")))
        opened = pipeline.resume(folder, overrides=ABSTAIN, progress=silent)
        folder.checkpoint.unlink()
        assert familiar_images.held_out_distances(self.published(tuned), opened, count=15) is None
        report = pipeline.publish(opened, pipeline.PublishOptions(force=True), say=lambda _: None)
        assert report.calibration.abstain_below > 0  # with the checkpoint there would be a weight
        assert 0 == report.calibration.distance_weight


class TestResume:
    def test_a_killed_refit_continues_to_the_same_network(self, tuned, tmp_path):
        """Killed after its first epoch, it trains only the second, and ends as an uninterrupted one does."""
        folder = RunFolder(Path(shutil.copytree(tuned.folder.path, tmp_path / "photos")))
        expected = checkpoint.read(folder.refit).kept_weights
        folder.refit.unlink()
        folder.held_out.unlink()
        opened = pipeline.resume(folder, progress=silent)

        def killed(done: int, total: int, what: str) -> None:
            if "epochs" in what and done == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pipeline.refit(opened, killed)
        assert folder.refit.exists()
        assert folder.trained == folder.checkpoint
        reported = []
        pipeline.refit(opened, lambda done, total, what: reported.append((done, total, what)), resume=True)
        assert {(1, 2)} == {(done, total) for done, total, what in reported if "epochs" in what}
        found = checkpoint.read(folder.refit).kept_weights
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_damaged_held_out_file(self, tuned, tmp_path):
        """One sentence that says how to go on."""
        folder = RunFolder(Path(shutil.copytree(tuned.folder.path, tmp_path / "photos")))
        folder.held_out.write_bytes(folder.held_out.read_bytes()[:100])
        with pytest.raises(LinceError, match=r"held_out.npz.*cannot be read.*--resume"):
            folder.read_held_out()
