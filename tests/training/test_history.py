"""When a training ends, and which weights are kept."""

from dataclasses import replace

import pytest

from lince.training.history import ENOUGH_VALIDATION_IMAGES, finished, kept_record
from lince.training.recipe import Train
from lince.types import EpochRecord


def history(*val_losses: float) -> tuple[EpochRecord, ...]:
    """Epochs with these validation losses."""
    return tuple(EpochRecord(epoch, 1.0, 0.5, loss, 0.5, 1e-3, 100.0, 1.0) for epoch, loss in enumerate(val_losses, 1))


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
        """Training ends `patience` validations after the best one; an equal loss is no improvement."""
        options = Train(epochs=100, batch_size=8, learning_rate=1e-3, patience=patience)
        assert expected == finished(history(*losses), options)

    @pytest.mark.parametrize("patience", [0, 10])
    @pytest.mark.parametrize(("progress", "expected"), [(0.0, False), (0.99, False), (1.0, True)])
    def test_end(self, progress, expected, patience):
        """Training ends when all is done, however well it goes."""
        options = Train(epochs=3, batch_size=8, learning_rate=1e-3, patience=patience)
        first, last = history(1.0, 0.5)
        assert expected == finished((first, replace(last, progress=progress)), options)

    @pytest.mark.parametrize(
        ("losses", "best"), [((1.0,), 1), ((1.0, 0.5, 0.7), 2), ((0.5, 0.7, 0.5), 1), ((3.0, 2.0, 1.0), 3)]
    )
    def test_kept_record(self, losses, best):
        """With patience that of the lowest validation loss, the first of equals; without, the last."""
        options = {"epochs": 9, "batch_size": 8, "learning_rate": 1e-3}
        assert best == kept_record(history(*losses), Train(**options, patience=2)).epoch
        assert len(losses) == kept_record(history(*losses), Train(**options)).epoch

    def test_validations_are_counted(self):
        """Patience counts validations, however many epochs lie between two of them."""
        options = Train(epochs=100, batch_size=8, learning_rate=1e-3, patience=2, validate_every=20)
        records = tuple(replace(record, epoch=20 * record.epoch) for record in history(1.0, 1.5, 1.1))
        assert [False, True] == [finished(records[:count], options) for count in (2, 3)]


class TestFineTuning:
    """The first record is of the head that fine-tuning began with."""

    @staticmethod
    def keeps(head: float, tuned: float, *, images: int, progress: float = 1.0) -> bool:
        """Whether fine-tuning is kept with these accuracies on so many validation images."""
        first, last = history(1.0, 1.0)
        records = (
            replace(first, epoch=0, val_accuracy=head, val_images=images),
            replace(last, epoch=20, val_accuracy=tuned, val_images=images, progress=progress),
        )
        return kept_record(records, Train(epochs=20, batch_size=8, learning_rate=1e-3)).epoch == 20

    def test_enough_images_decide_by_their_accuracy(self):
        """It is kept where it is more accurate, and not where it is as accurate."""
        images = ENOUGH_VALIDATION_IMAGES
        assert self.keeps(0.7, 0.7 + 1 / images, images=images)
        assert not self.keeps(0.7, 0.7, images=images)
        assert not self.keeps(0.7, 0.7 + 1e-8, images=images)

    def test_few_images_decide_against_it_beyond_chance_only(self):
        """Of 40 images, about 4 more mistakes are within a standard error, and 8 more are not."""
        assert self.keeps(0.7, 0.7, images=40)
        assert self.keeps(0.7, 0.6, images=40)
        assert not self.keeps(0.7, 0.5, images=40)

    def test_one_image_that_both_get_wrong(self):
        """There is no error to measure, and it is kept."""
        assert self.keeps(0.0, 0.0, images=1)

    def test_a_record_that_does_not_count_its_images(self):
        """As written before they were counted: the more accurate one is kept."""
        assert self.keeps(0.7, 0.8, images=0)
        assert not self.keeps(0.7, 0.7, images=0)

    def test_not_before_it_has_ended(self):
        """An interrupted fine-tuning is not kept, however accurate it was."""
        assert not self.keeps(0.5, 0.9, images=1000, progress=0.9)
