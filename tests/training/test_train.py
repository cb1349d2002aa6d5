"""The loop: it learns, stops when it should, keeps the best weights, and says what went wrong."""

from dataclasses import replace
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest

from lince.errors import RecipeError, TrainingError
from lince.records import EpochRecord
from lince.training import checkpoint, train
from lince.training import model as models
from lince.training.recipe import Recipe, Train
from lince.training.train import best_epoch, finished


def history(*val_losses: float) -> tuple[EpochRecord, ...]:
    """Epochs with these validation losses."""
    return tuple(EpochRecord(epoch, 1.0, 0.5, loss, 0.5, 1e-3, 100.0, 1.0) for epoch, loss in enumerate(val_losses))


class Watcher:
    """A display that keeps what it was told; it can stop training at an epoch."""

    def __init__(self, *, interrupt_after: int | None = None):
        self.batches: list[dict] = []
        self.epochs: list[tuple[EpochRecord, bool]] = []
        self._interrupt_after = interrupt_after

    def batch(self, **step: object) -> None:
        if len(self.epochs) == self._interrupt_after:
            raise KeyboardInterrupt
        self.batches.append(step)

    def epoch(self, record: EpochRecord, *, best: bool) -> None:
        self.epochs.append((record, best))


@pytest.fixture
def fit(recipe: Recipe, splits, tmp_path: Path):
    """Trains the tiny network; keywords change the recipe's `[train]` table."""
    kept, held_out = splits

    def run(display: Watcher | None = None, *, resume: bool = False, seed: int = 3, **changes: object):
        options = msgspec.structs.replace(recipe.train, **changes)
        model = models.build(recipe.model, spec=recipe.spec, num_classes=3, precision="float32", seed=seed)
        state = train.fit(
            model, train=kept, validation=held_out, recipe=options, augmentation=recipe.augment, seed=seed,
            checkpoint_path=tmp_path / "checkpoint.npz", display=display or Watcher(), resume=resume,
        )  # fmt: skip
        return model, state

    return run


def without_times(records: tuple[EpochRecord, ...]) -> tuple[EpochRecord, ...]:
    return tuple(replace(record, images_per_second=0.0, seconds=0.0) for record in records)


def same(first, second) -> bool:
    return len(first) == len(second) and all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


class TestStopping:
    @pytest.mark.parametrize(
        ("losses", "patience", "expected"),
        [
            ((), 2, False),
            ((1.0,), 1, False),
            ((1.0, 0.5), 1, False),
            ((1.0, 1.5), 1, True),
            ((1.0, 1.0), 1, True),
            ((1.0, 1.5), 2, False),
            ((1.0, 1.5, 1.1), 2, True),
            ((1.0, 1.5, 0.9), 2, False),
            ((0.5, *[1.0] * 9), 10, False),
            ((0.5, *[1.0] * 10), 10, True),
        ],
    )
    def test_patience(self, losses, patience, expected):
        """Training ends `patience` epochs after the best one; an equal loss is no improvement."""
        options = Train(epochs=100, batch_size=8, learning_rate=1e-3, patience=patience)
        assert expected == finished(history(*losses), options)

    @pytest.mark.parametrize(("done", "expected"), [(2, False), (3, True), (4, True)])
    def test_epochs(self, done, expected):
        """Training ends when the epochs are used up, however well it goes."""
        options = Train(epochs=3, batch_size=8, learning_rate=1e-3)
        assert expected == finished(history(*[1 / (1 + epoch) for epoch in range(done)]), options)

    @pytest.mark.parametrize(
        ("losses", "expected"), [((1.0,), 0), ((1.0, 0.5, 0.7), 1), ((0.5, 0.7, 0.5), 0), ((3.0, 2.0, 1.0), 2)]
    )
    def test_best_epoch(self, losses, expected):
        """The lowest validation loss; the first of equals."""
        assert expected == best_epoch(history(*losses))


class TestFit:
    def test_learns(self, fit):
        """A few epochs on 45 pictures tell three classes apart better than chance, and the loss falls."""
        watcher = Watcher()
        _, state = fit(watcher, epochs=5)
        losses = [record.loss for record in state.history]
        assert losses[-1] < losses[0]
        assert max(record.val_accuracy for record in state.history) > 0.6

    def test_says_every_epoch_and_batch(self, fit):
        """The display is told each batch with running means, and each epoch with its record."""
        watcher = Watcher()
        _, state = fit(watcher, epochs=2)
        assert state.history == tuple(record for record, _ in watcher.epochs)
        assert [(0, 1), (0, 6), (1, 1), (1, 6)] == [
            (step["epoch"], step["batch"]) for step in watcher.batches if step["batch"] in (1, 6)
        ]
        assert [8, 16, 24, 32, 40, 45] == [step["done"] for step in watcher.batches[:6]]
        assert {6} == {step["batches"] for step in watcher.batches}
        first = state.history[0]
        assert (first.loss, first.accuracy) == (watcher.batches[5]["loss"], watcher.batches[5]["accuracy"])

    def test_records_what_evaluation_finds(self, fit, splits):
        """The validation loss and accuracy of the last epoch are those of the network as it is left."""
        model, state = fit(epochs=1)
        _, held_out = splits
        probabilities = keras.ops.convert_to_numpy(model(held_out.images.astype(np.float32)))
        true = probabilities[np.arange(len(held_out)), held_out.labels]
        np.testing.assert_allclose(-np.log(true).mean(), state.history[0].val_loss, rtol=1e-4)
        assert (probabilities.argmax(axis=1) == held_out.labels).mean() == pytest.approx(state.history[0].val_accuracy)

    def test_same_seed_same_weights(self, fit):
        """The seed decides everything, another seed another run."""
        (first, one), (second, two), (other, _) = (fit(epochs=2, seed=seed) for seed in (3, 3, 4))
        assert same(first.get_weights(), second.get_weights())
        assert without_times(one.history) == without_times(two.history)
        assert not same(first.get_weights(), other.get_weights())

    def test_keeps_the_best_weights(self, fit, tmp_path):
        """After epochs that only got worse, the best weights are those of the epoch before them."""
        best, _ = fit(epochs=1)
        expected = best.get_weights()
        watcher = Watcher()
        # Steps of this size undo in the second epoch what the first learned.
        model, state = fit(watcher, epochs=1)
        assert same(expected, state.best_weights)
        assert same(expected, checkpoint.read_best(tmp_path / "checkpoint.npz"))
        assert [True] == [was_best for _, was_best in watcher.epochs]
        assert same(model.get_weights(), state.best_weights)

    def test_best_weights_are_of_the_best_epoch(self, fit, splits):
        """In a run that gets worse, the weights kept give the lowest validation loss of the history."""
        watcher = Watcher()
        model, state = fit(watcher, epochs=6, learning_rate=0.2, patience=6)
        best = best_epoch(state.history)
        assert best < len(state.history) - 1, "the run only got better: raise learning_rate"
        assert [record.epoch for record, was_best in watcher.epochs if was_best][-1] == best
        model.set_weights(state.best_weights)
        found = train._validate(model, splits[1])
        assert state.history[best].val_loss == pytest.approx(found.loss, rel=1e-4)

    def test_early_stopping_ends_the_loop(self, fit):
        """With steps that ruin the network, training ends `patience` epochs after the best one."""
        _, state = fit(epochs=30, learning_rate=0.2, patience=2)
        assert len(state.history) < 30
        assert best_epoch(state.history) + 2 == state.history[-1].epoch


class TestResume:
    def test_goes_on_to_the_bit(self, fit, tmp_path):
        """Two epochs, then two more from the checkpoint, are the four epochs of one go."""
        whole, expected = fit(epochs=4)
        (tmp_path / "checkpoint.npz").unlink()
        fit(epochs=2)
        watcher = Watcher()
        model, state = fit(watcher, resume=True, epochs=4)
        assert [2, 3] == [record.epoch for record, _ in watcher.epochs]
        assert same(whole.get_weights(), model.get_weights())
        assert same(expected.best_weights, state.best_weights)
        assert without_times(expected.history) == without_times(state.history)

    def test_a_finished_run_is_left_alone(self, fit):
        """There is nothing to go on with; the state comes back."""
        _, expected = fit(epochs=2)
        watcher = Watcher()
        _, state = fit(watcher, resume=True, epochs=2)
        assert [] == watcher.batches
        assert expected.history == state.history
        assert same(expected.best_weights, state.best_weights)

    def test_without_a_finished_epoch_it_begins(self, fit):
        """A run that was killed in its first epoch begins again."""
        _, expected = fit(epochs=1)
        _, state = fit(resume=True, epochs=1)
        assert without_times(expected.history) == without_times(state.history)

    def test_interrupted_in_an_epoch(self, fit, tmp_path):
        """Ctrl-C in the second epoch: the first is safe, and going on gives the run that was never stopped."""
        whole, _ = fit(epochs=3)
        (tmp_path / "checkpoint.npz").unlink()
        with pytest.raises(KeyboardInterrupt):
            fit(Watcher(interrupt_after=1), epochs=3)
        watcher = Watcher()
        model, _ = fit(watcher, resume=True, epochs=3)
        assert [1, 2] == [record.epoch for record, _ in watcher.epochs]
        assert same(whole.get_weights(), model.get_weights())


class TestMistakes:
    def test_loss_that_is_not_finite(self, fit, tmp_path):
        """A step of 1e30 ruins the network: one sentence says where, with what, and what to do; no checkpoint is left."""
        with pytest.raises(
            TrainingError,
            match=r"The loss became nan in epoch 1, batch \d, at learning_rate=1e\+30\. Expected a finite number: lower "
            r"train\.learning_rate, or set train\.precision=float32",
        ):
            fit(learning_rate=1e30)
        assert not (tmp_path / "checkpoint.npz").exists()

    def test_validation_loss_that_is_not_finite(self, fit, tmp_path):
        """When the only step of an epoch ruins the network, its validation tells; the weights are not kept as the best."""
        with pytest.raises(TrainingError, match=r"The loss became (nan|inf) in the validation of epoch 1"):
            fit(learning_rate=1e30, batch_size=64)
        assert not (tmp_path / "checkpoint.npz").exists()

    @pytest.mark.parametrize("change", [{"optimizer": "adamm"}, {"loss": "cross_entropy"}])
    def test_unknown_names(self, fit, change):
        """An optimiser or loss that Keras does not know is the recipe's mistake."""
        [(key, value)] = change.items()
        with pytest.raises(RecipeError, match=rf"Keras does not know .*train\.{key}={value!r}.*Expected names such as 'adam'"):
            fit(**change)

    def test_disk_that_cannot_be_written(self, fit, tmp_path):
        """The run folder is gone: the sentence names the checkpoint and how to go on."""
        tmp_path.rmdir()
        with pytest.raises(TrainingError, match=r"The checkpoint '.*checkpoint\.npz' .* could not be written"):
            fit(epochs=1)
        tmp_path.mkdir()
