"""By epochs or by the clock: what share of a training is done."""

import numpy as np
import pytest

from lince.errors import TrainingError
from lince.runs.run_folder import Budget
from lince.training import schedule
from lince.training.recipe import Phase, Train
from lince.training.schedule import ByEpochs, BySeconds

TRAIN = Train(epochs=9, batch_size=8, learning_rate=1e-3, phases=(Phase(until=0.5, image_size=16),))


class TestByEpochs:
    @pytest.mark.parametrize(("epochs", "expected"), [(0, 0.0), (1, 0.25), (1.5, 0.375), (4, 1.0), (5, 1.0)])
    def test_counts_epochs(self, epochs, expected):
        """Parts of an epoch count; seconds do not."""
        assert expected == ByEpochs(4).progress(epochs=epochs, seconds=1e9)


class TestBySeconds:
    @pytest.mark.parametrize(("seconds", "expected"), [(0, 0.0), (5, 0.25), (20, 1.0), (21, 1.0)])
    def test_counts_seconds(self, seconds, expected):
        """Epochs do not count."""
        assert expected == BySeconds(20.0, epochs=3).progress(epochs=1e9, seconds=seconds)

    @pytest.mark.parametrize(
        ("seconds", "expected"), [(0, 0.0), (1, 0.25), (2, 0.5), (4, 0.5 + 0.5 / 3), (8, 1.0), (9, 1.0)]
    )
    def test_phases_keep_their_share_of_the_steps(self, seconds, expected):
        """A step of the second half costs three times as much: the first half is done in a quarter of the time."""
        found = BySeconds(8.0, epochs=3, ends=(0.5, 1.0), costs=(1.0, 3.0)).progress(epochs=0, seconds=seconds)
        assert expected == pytest.approx(found)

    def test_only_the_ratio_of_costs_matters(self):
        """They may be in any unit."""
        paces = [BySeconds(8.0, epochs=3, ends=(0.25, 1.0), costs=(cost, 2 * cost)) for cost in (0.5, 100.0)]
        found = [[one.progress(epochs=0, seconds=second) for second in range(9)] for one in paces]
        np.testing.assert_allclose(*found)


class TestOf:
    def test_without_a_budget(self):
        """The recipe's own epochs."""
        assert ByEpochs(9) == schedule.of(TRAIN, None)

    def test_with_a_budget(self):
        """The time for training, divided as its steps were measured."""
        budget = Budget(seconds=90, training_seconds=60, publishing_seconds=20, step_seconds=(0.1, 0.4))
        assert BySeconds(60, 9, (0.5, 1.0), (0.1, 0.4)) == schedule.of(TRAIN, budget)

    @pytest.mark.parametrize("training_seconds", [0.0, -3.0])
    def test_no_time_for_training(self, training_seconds):
        """It would never be done."""
        budget = Budget(seconds=9, training_seconds=training_seconds, publishing_seconds=8, step_seconds=(0.1, 0.4))
        with pytest.raises(TrainingError, match=r"Received a time budget of 9 s, -?\d\.0 s of it for training\."):
            schedule.of(TRAIN, budget)

    def test_says_how_many_epochs(self):
        """By the clock it is about so many."""
        assert ["9", "~9"] == [ByEpochs(9).total(), BySeconds(60, 9).total()]
