"""A checkpoint holds everything that training needs to go on, and nothing else is taken for one."""

import errno
import os
from pathlib import Path

import keras
import numpy as np
import pytest

import synthetic
from lince.errors import ResumeError, TrainingError
from lince.networks import models
from lince.networks.pooled import Pooled
from lince.networks.vgg import Vgg
from lince.training import checkpoint
from lince.training.checkpoint import Checkpoint
from lince.training.optimizers import Muon
from lince.types import EpochRecord, ImageSpec

HISTORY = (
    EpochRecord(1, 1.5, 0.25, 1.25, 0.5, 1e-3, 900.0, 1.0),
    EpochRecord(2, 1.25, 0.5, 1.375, 0.5, 5e-4, 901.5, 1.25),
)


def small(*, width: int = 8, seed: int = 0) -> keras.Model:
    """A compiled network with dropout."""
    recipe = Vgg(blocks=((width,),), block_dropout=(0.5,), dense=(8,), dense_dropout=0.5)
    model = models.build(recipe, spec=ImageSpec(), num_classes=3, precision="float32", seed=seed)
    model.compile("adam", "categorical_crossentropy", jit_compile=False)
    return model


def normalised(*, seed: int = 0) -> keras.Model:
    """A compiled network with batch norm, dropout and a stem that is not trained, moved by momentum."""
    recipe = Pooled(stem=6, stages=((8, 8),))
    model = models.build(recipe, spec=ImageSpec(), num_classes=3, precision="float32", seed=seed)
    model.compile(Muon(0.1), "categorical_crossentropy", jit_compile=False)
    return model


def step(model: keras.Model) -> float:
    """One step on twelve pictures; its loss depends on weights, dropout's random state and Adam's moments."""
    images, labels = synthetic.batch(12, seed=1)
    return float(model.train_on_batch(images.astype(np.float32), np.eye(3)[labels]))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, keras.Model]:
    """A checkpoint after two steps, and the network that it was taken from."""
    model = small()
    step(model), step(model)
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path, Checkpoint(HISTORY, tuple(model.get_weights())), model)
    return path, model


class TestRoundTrip:
    def test_history_and_kept_weights(self, saved):
        """What the run knows comes back as it was, to the last digit."""
        path, model = saved
        expected = model.get_weights()
        restored = checkpoint.restore(path, small(seed=9))
        assert HISTORY == restored.history
        assert len(expected) == len(restored.kept_weights)
        assert all(np.array_equal(*pair) for pair in zip(expected, restored.kept_weights, strict=True))

    def test_training_goes_on_to_the_bit(self, saved):
        """Weights, optimizer and dropout's random state: the next steps are those of the network that was saved."""
        path, model = saved
        other = small(seed=9)
        checkpoint.restore(path, other)
        assert [step(model), step(model)] == [step(other), step(other)]
        for expected, found in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(expected, found)
        for expected, found in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(expected), np.asarray(found))

    def test_moving_statistics_and_momentum_go_on_to_the_bit(self, tmp_path):
        """The same of a network with batch norm: what is not trained, and what the optimizer holds, comes back too."""
        path, model, other = tmp_path / "checkpoint.npz", normalised(), normalised(seed=9)
        step(model), step(model)
        checkpoint.save(path, Checkpoint(HISTORY, tuple(model.get_weights())), model)
        checkpoint.restore(path, other)
        assert [step(model), step(model)] == [step(other), step(other)]
        for expected, found in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(expected, found)

    def test_random_state_matters(self, saved):
        """With the weights alone the next steps differ, so the test above can fail."""
        _, model = saved
        other = small(seed=9)
        other.set_weights(model.get_weights())
        assert [step(model), step(model)] != [step(other), step(other)]

    def test_kept_weights_are_not_the_last(self, saved):
        """A later checkpoint keeps the best weights that it is given, whatever the network's are by then."""
        path, model = saved
        best = tuple(weights.copy() for weights in model.get_weights())
        step(model)
        checkpoint.save(path, Checkpoint(HISTORY, best), model)
        assert all(np.array_equal(*pair) for pair in zip(best, checkpoint.read(path).kept_weights, strict=True))
        assert not all(np.array_equal(*pair) for pair in zip(best, model.get_weights(), strict=True))

    def test_nothing_but_arrays_of_numbers(self, saved):
        """The file can be read without pickle by anybody."""
        with np.load(saved[0], allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind in "fiu" for name in arrays.files)


class TestMistakes:
    def test_no_checkpoint(self, tmp_path):
        """There is no state to continue from, and no best weights."""
        path = tmp_path / "checkpoint.npz"
        with pytest.raises(ResumeError, match=r"checkpoint\.npz' does not exist: no epoch was finished"):
            checkpoint.restore(path, small())
        assert checkpoint.read(path) is None

    def test_another_network(self, saved):
        """Weights of other shapes are refused, and the network is left as it was."""
        other = small(width=16)
        before = other.get_weights()
        with pytest.raises(
            ResumeError, match=r"holds another network than the run's recipe describes\. Start a new run"
        ):
            checkpoint.restore(saved[0], other)
        assert all(np.array_equal(*pair) for pair in zip(before, other.get_weights(), strict=True))

    def test_another_optimizer(self, saved):
        """The optimizer's variables belong to the checkpoint."""
        other = small()
        other.compile("sgd", "categorical_crossentropy", jit_compile=False)
        with pytest.raises(ResumeError, match="holds another network"):
            checkpoint.restore(saved[0], other)

    def test_truncated(self, saved):
        """A file cut short, wherever, is not a checkpoint."""
        path, _ = saved
        data = path.read_bytes()
        for length in (0, 10, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:length])
            with pytest.raises(ResumeError, match=r"checkpoint\.npz' is not a checkpoint \(.*Start a new run"):
                checkpoint.restore(path, small())

    def test_bits_flipped(self, saved):
        """A flipped bit is refused, or lies where zip keeps times and permissions."""
        path, model = saved
        data, rng = path.read_bytes(), np.random.default_rng(0)
        expected = model.get_weights()
        refused = 0
        for position in rng.integers(0, len(data), 100):
            flipped = bytearray(data)
            flipped[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            try:
                found = checkpoint.read(path)
            except ResumeError:
                refused += 1
            else:
                assert HISTORY == found.history
                assert all(np.array_equal(*pair) for pair in zip(expected, found.kept_weights, strict=True))
        assert refused > 80

    def test_any_bit_of_an_entry_flipped(self, saved):
        """Also where it says how a member is packed or encrypted."""
        path, model = saved
        data, expected = path.read_bytes(), model.get_weights()
        directory = data.index(b"PK\1\2")
        first_entry, end = range(directory, data.index(b"PK\1\2", directory + 4)), range(len(data) - 22, len(data))
        for position in (*range(40), *first_entry, *end):
            for bit in range(8):
                flipped = bytearray(data)
                flipped[position] ^= 1 << bit
                path.write_bytes(flipped)
                try:
                    found = checkpoint.read(path)
                except ResumeError:
                    continue
                assert HISTORY == found.history
                assert all(np.array_equal(*pair) for pair in zip(expected, found.kept_weights, strict=True))

    def test_pickle(self, saved):
        """A pickled object is not loaded."""
        path, _ = saved
        np.savez(path, variable_0=np.array([print], object))
        with pytest.raises(ResumeError, match="is not a checkpoint"):
            checkpoint.restore(path, small())

    def test_folder_that_is_not_there(self, saved, tmp_path):
        """A first checkpoint that cannot be written does not claim that there is one before it."""
        _, model = saved
        path = tmp_path / "gone" / "checkpoint.npz"
        with pytest.raises(
            TrainingError, match=r"gone/checkpoint\.npz' \(0 MB\) could not be written \(No such file.*the first"
        ) as caught:
            checkpoint.save(path, Checkpoint(HISTORY, ()), model)
        assert "intact" not in str(caught.value)

    def test_one_before_is_intact(self, saved, monkeypatch):
        """A later one says how to continue from the previous checkpoint, which is intact."""
        path, model = saved
        before = path.read_bytes()
        full = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
        with pytest.raises(TrainingError, match=r"No space left.*The previous checkpoint is intact.*--resume"):
            checkpoint.save(path, Checkpoint(HISTORY, ()), model)
        assert before == path.read_bytes()
