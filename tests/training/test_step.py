"""A step: its batches are prepared ahead of it, and are the same as without that."""

import threading

import numpy as np
import pytest

from lince.networks import models
from lince.training.recipe import Augment, Recipe
from lince.training.step import Trainer
from lince.types import Split


@pytest.fixture
def trainer(recipe: Recipe, splits: tuple[Split, Split]) -> Trainer:
    """Of the tiny network, with augmentation that draws."""
    model = models.build(recipe.model, spec=recipe.spec, num_classes=3, precision="float32", seed=3)
    augmentation = Augment(translate=2, horizontal_flip="random", cutmix=0.5)
    return Trainer(model, train=splits[0], recipe=recipe.train, augmentation=augmentation, seed=3)


@pytest.fixture
def announced(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released each time that a batch has been prepared."""
    prepared, prepare = threading.Semaphore(0), trainer.prepare

    def watched(*arguments: object, **options: object) -> object:
        batch = prepare(*arguments, **options)
        prepared.release()
        return batch

    monkeypatch.setattr(trainer, "prepare", watched)
    return prepared


class TestPrepared:
    def test_same_batches_as_one_after_the_other(self, trainer):
        """The thread draws in the order of the batches, over two epochs."""
        expected = [trainer.prepare(chosen, epoch=epoch, rng=rng) for epoch, chosen, rng in trainer.batches([2, 3])]
        found = list(trainer.prepared([2, 3]))
        assert 1 < len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)
            np.testing.assert_array_equal(one.rows, other.rows)

    def test_one_batch_ahead(self, trainer, announced):
        """While the caller has a batch, the next one is made, and no more."""
        batches = trainer.prepared([1])
        next(batches)
        assert all(announced.acquire(timeout=60) for _ in range(2))
        assert not announced.acquire(timeout=0.2)
        batches.close()

    def test_error_of_the_thread_reaches_the_caller(self, trainer, monkeypatch):
        """As it would without a thread."""

        def broken(*_: object, **__: object) -> None:
            raise MemoryError("no memory")

        monkeypatch.setattr(trainer, "prepare", broken)
        with pytest.raises(MemoryError, match="no memory"):
            next(trainer.prepared([1]))
