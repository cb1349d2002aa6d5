"""The loop: it learns, stops when it should, keeps the best weights, and says what went wrong."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf

from lince.errors import RecipeError, TrainingError
from lince.networks import models
from lince.runs.run_folder import Budget
from lince.training import checkpoint, loop
from lince.training.augmentation.options import Augment
from lince.training.checkpoint import Checkpoint
from lince.training.recipe import Recipe, Train
from lince.training.schedule import ByEpochs, BySeconds
from lince.training.step import Trainer
from lince.types import EpochRecord, Split


class Watcher:
    """A display that keeps what it was told; it can stop training after an epoch, or at a step of an epoch."""

    def __init__(self, *, interrupt_after: int | None = None, interrupt_at: tuple[int, int] | None = None):
        self.steps: list[dict] = []
        self.epochs: list[tuple[EpochRecord, bool]] = []
        self._interrupt_after, self._interrupt_at = interrupt_after, interrupt_at

    def step(self, **step: object) -> None:
        if len(self.epochs) == self._interrupt_after or (step["epoch"], step["step"]) == self._interrupt_at:
            raise KeyboardInterrupt
        self.steps.append(step)

    def epoch(self, record: EpochRecord, *, best: bool) -> None:
        self.epochs.append((record, best))


Fit = Callable[..., tuple[keras.Model, Checkpoint]]


@pytest.fixture(scope="module")
def fit_in(recipe: Recipe, splits: tuple[Split, Split]) -> Fit:
    """Trains the tiny network with its checkpoint in a folder; keywords change the recipe's `[train]` table."""
    kept, held_out = splits

    def run(folder: Path, display: Watcher, *, resume: bool = False, seed: int = 3, by=None, teacher=None,
            augmentation=recipe.augment, **changes):  # fmt: skip
        options = msgspec.structs.replace(recipe.train, **changes)
        model = models.build(recipe.model, spec=recipe.spec, num_classes=3, precision="float32", seed=seed)
        state = loop.fit(
            model, train=kept, validation=held_out, recipe=options, augmentation=augmentation, seed=seed,
            checkpoint_path=folder / "checkpoint.npz", display=display, resume=resume, schedule=by,
            teacher=teacher,
        )  # fmt: skip
        return model, state

    return run


@pytest.fixture
def fit(fit_in: Fit, tmp_path: Path) -> Fit:
    """The same, in the test's own folder."""
    return lambda display=None, **options: fit_in(tmp_path, display or Watcher(), **options)


@dataclass(frozen=True)
class Done:
    """A run that was not stopped."""

    folder: Path
    watcher: Watcher
    model: keras.Model
    state: Checkpoint


def _done(folder: Path, fit_in: Fit, **options: object) -> Done:
    watcher = Watcher()
    return Done(folder, watcher, *fit_in(folder, watcher, **options))


@pytest.fixture(scope="module")
def whole(fit_in: Fit, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Four epochs in one go."""
    return _done(tmp_path_factory.mktemp("whole"), fit_in, epochs=4)


@pytest.fixture(scope="module")
def ruined(fit_in: Fit, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run whose steps are so large that it soon gets worse."""
    return _done(tmp_path_factory.mktemp("ruined"), fit_in, epochs=30, learning_rate=0.1, patience=2)


def without_times(records: tuple[EpochRecord, ...]) -> tuple[EpochRecord, ...]:
    return tuple(replace(record, images_per_second=0.0, seconds=0.0, peak_memory_bytes=0) for record in records)


def same(first, second) -> bool:
    return len(first) == len(second) and all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


class TestFit:
    def test_learns(self, whole):
        """Four epochs on 60 pictures tell three classes apart better than chance, and the loss falls."""
        losses = [record.loss for record in whole.state.history]
        assert losses[-1] < losses[0]
        assert max(record.val_accuracy for record in whole.state.history) > 0.6

    def test_says_every_epoch_and_step(self, whole):
        """The display is told each step with running means, each epoch with its record; batches are equal parts."""
        epochs, steps = whole.watcher.epochs, whole.watcher.steps
        assert whole.state.history == tuple(record for record, _ in epochs)
        assert [(epoch, step) for epoch in range(1, 5) for step in range(1, 9)] == [
            (step["epoch"], step["step"]) for step in steps
        ]
        assert [8, 16, 24, 32, 39, 46, 53, 60] == [step["images"] for step in steps[:8]]
        assert {8} == {step["steps"] for step in steps}
        first = whole.state.history[0]
        assert (steps[7]["loss"], steps[7]["accuracy"]) == (first.loss, first.accuracy)

    def test_records_what_evaluation_finds(self, whole, splits):
        """The validation loss and accuracy of the last epoch are those of the network as it is left."""
        _, held_out = splits
        probabilities = keras.ops.convert_to_numpy(whole.model(held_out.images.astype(np.float32)))
        true = probabilities[np.arange(len(held_out)), held_out.labels]
        last = whole.state.history[-1]
        assert float(-np.log(true).mean()) == pytest.approx(last.val_loss, rel=1e-4)
        assert float((probabilities.argmax(axis=1) == held_out.labels).mean()) == pytest.approx(last.val_accuracy)

    def test_records_what_it_held_in_memory(self, whole):
        """The most that the process held so far, more than TensorFlow alone needs."""
        peaks = [record.peak_memory_bytes for record in whole.state.history]
        assert peaks == sorted(peaks)
        assert 10**8 < peaks[0]

    def test_another_seed_is_another_run(self, whole, fit):
        """The seed decides what is learned; that the same seed gives the same bits is shown by `TestResume`."""
        _, state = fit(epochs=1, seed=4)
        assert without_times(state.history) != without_times(whole.state.history[:1])

    def test_keeps_the_best_weights(self, ruined, splits):
        """In a run that gets worse, the weights kept, on disk too, give the lowest validation loss of the history."""
        history = ruined.state.history
        best = min(history, key=lambda record: record.val_loss).epoch
        assert best < len(history)
        assert best == [record.epoch for record, was_best in ruined.watcher.epochs if was_best][-1]
        assert same(ruined.state.kept_weights, checkpoint.read(ruined.folder / "checkpoint.npz").kept_weights)
        assert not same(ruined.state.kept_weights, ruined.model.get_weights())
        ruined.model.set_weights(ruined.state.kept_weights)
        probabilities = keras.ops.convert_to_numpy(ruined.model(splits[1].images.astype(np.float32)))
        true = probabilities[np.arange(len(splits[1])), splits[1].labels]
        assert float(-np.log(true).mean()) == pytest.approx(history[best - 1].val_loss, rel=1e-4)

    def test_without_patience_it_keeps_the_last_weights(self, fit):
        """However bad they are; no epoch is called the best."""
        watcher = Watcher()
        model, state = fit(watcher, epochs=3, learning_rate=0.1, patience=0)
        assert [False] * 3 == [best for _, best in watcher.epochs]
        assert same(state.kept_weights, model.get_weights())

    def test_stops_early(self, ruined):
        """Training ends `patience` epochs after the best one."""
        assert len(ruined.state.history) < 30
        losses = [record.val_loss for record in ruined.state.history]
        assert len(losses) == losses.index(min(losses)) + 1 + 2

    def test_validates_every_so_many_epochs(self, fit):
        """Every second of five epochs and the last have a record of all images since the record before."""
        watcher = Watcher()
        _, state = fit(watcher, epochs=5, validate_every=2, batch_size=30)
        steps = [(step["epoch"], step["step"], step["steps"]) for step in watcher.steps]
        assert [(1, 1, 4), (1, 2, 4), (2, 3, 4), (2, 4, 4)] == steps[:4]
        assert [(5, 1, 2), (5, 2, 2)] == steps[8:]
        assert [120, 120, 60] == [watcher.steps[last]["images"] for last in (3, 7, 9)]
        assert [2, 4, 5] == [record.epoch for record in state.history]

    def test_rare_validation_changes_no_weights(self, whole, fit):
        """Only when it is measured: order, augmentation and steps are those of each epoch all the same."""
        model, state = fit(epochs=4, validate_every=3)
        assert [3, 4] == [record.epoch for record in state.history]
        assert same(whole.model.get_weights(), model.get_weights())

    def test_a_teacher_is_not_what_accuracy_is_measured_by(self, fit, splits):
        """A teacher that is always wrong moves the loss; the accuracy shown is still that of the labels."""
        wrong = splits[0]

        def teacher(images: np.ndarray) -> np.ndarray:
            return np.full((len(images), 3), -100.0, np.float32) + 100 * np.eye(3, dtype=np.float32)[0]

        _, state = fit(epochs=4, teacher=teacher, teacher_weight=1.0)
        share = float((wrong.labels == 0).mean())
        assert state.history[-1].accuracy == pytest.approx(share, abs=0.1)

    def test_a_teacher_sees_pictures_before_they_are_degraded(self, fit, splits):
        """It is asked about the training images themselves, and the network sees what is left of them."""
        asked = []

        def teacher(images: np.ndarray) -> np.ndarray:
            asked.extend(image.tobytes() for image in images)
            return np.zeros((len(images), 3), np.float32)

        degraded = Augment(degraded=1, fade=0.99)
        _, faded = fit(epochs=1, teacher=teacher, augmentation=degraded)
        assert {image.tobytes() for image in splits[0].images} == set(asked)
        _, clear = fit(epochs=1, teacher=teacher, augmentation=Augment())
        assert faded.history[0].loss != clear.history[0].loss

    def test_a_teacher_may_be_asked_about_another_view(self, fit, splits):
        """The picture moved by lot; the network is trained on the picture as it was."""
        asked, constant = [], np.zeros(3, np.float32)

        def teacher(images: np.ndarray) -> np.ndarray:
            asked.extend(image.tobytes() for image in images)
            return np.tile(constant, (len(images), 1))

        _, moved = fit(epochs=1, teacher=teacher, augmentation=Augment(teacher_translate=2))
        originals = {image.tobytes() for image in splits[0].images}
        assert len(splits[0]) == len(asked)
        assert len(originals.intersection(asked)) < len(originals) / 2
        _, still = fit(epochs=1, teacher=teacher, augmentation=Augment())
        assert moved.history[0].loss == pytest.approx(still.history[0].loss, rel=1e-4)

    @pytest.mark.parametrize(("flip", "views"), [("random", 6), ("none", 3)])
    def test_a_cached_teacher_is_asked_about_training_images_once(self, fit, splits, flip, views):
        """In all its views, however many epochs there are and whatever is done to the images."""
        asked = []

        def teacher(images: np.ndarray) -> np.ndarray:
            asked.extend(image.tobytes() for image in images)
            return np.zeros((len(images), 3), np.float32)

        changes = {"cutmix": 1.0, "horizontal_flip": flip}
        fit(epochs=2, teacher=teacher, teacher_cached=True, augmentation=Augment(**changes))
        assert views * len(splits[0]) == len(asked)
        assert {image.tobytes() for image in splits[0].images} <= set(asked)

    def test_a_cached_teacher_teaches(self, fit_in, splits, tmp_path):
        """It is always wrong, each image in its own way; a run that was stopped and goes on learns the same of it."""
        wrong = (splits[0].labels + 1) % 3
        label_of = {image.tobytes(): label for image, label in zip(splits[0].images, wrong, strict=True)}

        def teacher(images: np.ndarray) -> np.ndarray:
            rows = [label_of.get(image.tobytes()) for image in images]  # None of a view that is moved
            return np.array([[100.0 * (label == row) for label in range(3)] for row in rows], np.float32)

        options = {"epochs": 6, "teacher": teacher, "teacher_cached": True, "teacher_weight": 1.0}
        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        whole.mkdir()
        stopped.mkdir()
        model, _ = fit_in(whole, Watcher(), **options)
        answers = keras.ops.convert_to_numpy(model(splits[0].images.astype(np.float32))).argmax(axis=1)
        assert (answers == wrong).mean() > 0.6
        with pytest.raises(KeyboardInterrupt):
            fit_in(stopped, Watcher(interrupt_after=2), **options)
        again, _ = fit_in(stopped, Watcher(), resume=True, **options)
        assert same(model.get_weights(), again.get_weights())


class TestSchedule:
    def test_follows_progress(self, fit):
        """Step by step: linear from the whole learning rate, and each record has that of its first step."""
        _, state = fit(epochs=4, schedule="linear", learning_rate=0.004)
        assert [0.004, 0.003, 0.002, 0.001] == pytest.approx([record.learning_rate for record in state.history])

    def test_another_schedule(self, fit):
        """The schedule decides when training ends, not the recipe."""
        _, state = fit(epochs=2, by=ByEpochs(3))
        assert 3 == len(state.history)


def seconds(training: float) -> BySeconds:
    """A schedule of so many seconds, on a machine as fast as it was found to be; publishing takes no time."""
    budget = Budget(seconds=training + 1, training_seconds=training, publishing_seconds=1e-9, step_seconds=(1.0,))
    return BySeconds(budget, Train(epochs=10, batch_size=8, learning_rate=1e-3))


class TestByTheClock:
    def test_ends_in_the_middle_of_an_epoch(self, fit):
        """When the seconds are used up, whatever epoch it is in; the last record is of fewer images."""
        watcher = Watcher()
        _, state = fit(watcher, by=seconds(0.5), epochs=10_000, validate_every=10_000)
        [record] = state.history
        assert 0 < len(watcher.steps) < 80_000
        assert 0.5 <= record.seconds < 30
        assert watcher.steps[-1]["images"] / watcher.steps[-1]["seconds"] == pytest.approx(record.images_per_second)

    def test_seconds_add_up(self, fit, monkeypatch):
        """Records leave no second out, checkpoints included, so that a resumed run knows how many are left."""
        write = checkpoint.save

        def save_slowly(*arguments):
            time.sleep(0.5)
            write(*arguments)

        monkeypatch.setattr(checkpoint, "save", save_slowly)
        began = time.perf_counter()
        _, state = fit(epochs=4)
        whole = time.perf_counter() - began
        # No epoch follows the last checkpoint to count it; building the network is in none.
        assert 3 * 0.5 < sum(record.seconds for record in state.history) < whole - 0.5
        assert all(record.seconds > 0.5 for record in state.history[1:])

    def test_a_finished_run_is_left_alone(self, fit):
        """There is no time left to continue."""
        _, state = fit(by=seconds(0.5))
        watcher = Watcher()
        _, again = fit(watcher, by=seconds(0.5), resume=True)
        assert [] == watcher.steps
        assert state.history == again.history

    def test_goes_on_with_the_time_that_is_left(self, fit, tmp_path):
        """An interrupted run has used some; the step size goes on from there."""
        with pytest.raises(KeyboardInterrupt):
            fit(Watcher(interrupt_after=1), by=seconds(10**6), schedule="linear")
        [first] = checkpoint.read(tmp_path / "checkpoint.npz").history
        _, state = fit(by=seconds(4 * first.seconds), resume=True, schedule="linear", learning_rate=1e-3)
        assert 0 < state.history[1].learning_rate <= 0.7501e-3


class TestResume:
    def test_interrupted_in_an_epoch(self, whole, fit):
        """Ctrl-C in the third epoch: two are safe, and going on gives, to the bit, the run that was never stopped."""
        with pytest.raises(KeyboardInterrupt):
            fit(Watcher(interrupt_after=2), epochs=4)
        watcher = Watcher()
        model, state = fit(watcher, resume=True, epochs=4)
        assert [3, 4] == [record.epoch for record, _ in watcher.epochs]
        assert same(whole.model.get_weights(), model.get_weights())
        assert same(whole.state.kept_weights, state.kept_weights)
        assert without_times(whole.state.history) == without_times(state.history)

    def test_between_validations(self, whole, fit):
        """Ctrl-C in the fourth epoch, two validated: going on repeats the third, and gives the same weights."""
        with pytest.raises(KeyboardInterrupt):
            fit(Watcher(interrupt_at=(4, 12)), epochs=4, validate_every=2)
        watcher = Watcher()
        model, _ = fit(watcher, resume=True, epochs=4, validate_every=2)
        assert [3] * 8 + [4] * 8 == [step["epoch"] for step in watcher.steps]
        assert same(whole.model.get_weights(), model.get_weights())

    def test_a_finished_run_is_left_alone(self, whole, fit_in):
        """There is nothing left to train; the state comes back."""
        watcher = Watcher()
        _, state = fit_in(whole.folder, watcher, resume=True, epochs=4)
        assert [] == watcher.steps
        assert whole.state.history == state.history
        assert same(whole.state.kept_weights, state.kept_weights)

    def test_without_a_finished_epoch_it_begins(self, whole, fit):
        """A run that was killed in its first epoch begins again."""
        _, state = fit(resume=True, epochs=4)
        assert without_times(whole.state.history) == without_times(state.history)


class TestMistakes:
    def test_loss_that_is_not_finite(self, fit, tmp_path):
        """A step of 3e38 ruins the network: one sentence says where and what to do; no checkpoint is left."""
        with pytest.raises(
            TrainingError,
            match=r"The loss became nan in epoch 1, step \d\. Expected a finite number\. "
            r"Train again with a train\.learning_rate below 3e\+38\.$",
        ):
            fit(learning_rate=3e38)
        assert not (tmp_path / "checkpoint.npz").exists()

    def test_validation_loss_that_is_not_finite(self, fit, tmp_path):
        """When the only step of an epoch ruins the network, its validation tells; nothing is kept as the best."""
        with pytest.raises(TrainingError, match=r"The loss became (nan|inf) in the validation of epoch 1"):
            fit(learning_rate=3e38, batch_size=64)
        assert not (tmp_path / "checkpoint.npz").exists()

    @pytest.mark.parametrize(
        "error",
        [
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."),  # JAX's is a subclass of this
            MemoryError("Unable to allocate 8 GiB"),
        ],
        ids=["TensorFlow", "JAX", "NumPy"],
    )
    def test_batch_that_does_not_fit_into_memory(self, fit, monkeypatch, error):
        """The message names the batch, its image size, and a batch size to try."""
        monkeypatch.setattr(Trainer, "step", lambda *_, **__: (_ for _ in ()).throw(error))
        with pytest.raises(
            TrainingError,
            match=r"^Memory ran out in a step with 20 images of 32 × 32 pixels \(train\.batch_size=24\)\. Expected .*"
            r"--set train\.batch_size=10, or a lower image_size\.$",
        ):
            fit(batch_size=24)

    def test_other_errors_are_not_of_memory(self, fit, monkeypatch):
        """They keep their type and their message."""
        monkeypatch.setattr(Trainer, "step", lambda *_, **__: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            fit()

    def test_unknown_optimizer(self, fit):
        """One that Keras does not know is the recipe's mistake."""
        with pytest.raises(
            RecipeError, match=r"Keras does not know train\.optimizer='adamm'.*Expected 'muon' or a name such as 'adam'"
        ):
            fit(optimizer="adamm")

    def test_disk_that_cannot_be_written(self, fit, tmp_path):
        """The run folder is gone: the sentence names the checkpoint and how to go on."""
        tmp_path.rmdir()
        with pytest.raises(TrainingError, match=r"The checkpoint '.*checkpoint\.npz' .* could not be written"):
            fit(epochs=1)
        tmp_path.mkdir()
