"""By epochs or by the clock: what share of a training is done."""

import numpy as np
import pytest

from lince.runs.run_folder import Budget
from lince.training import schedule
from lince.training.recipe import Phase, Train
from lince.training.schedule import ByEpochs, BySeconds, UpTo

TRAIN = Train(epochs=9, batch_size=8, learning_rate=1e-3, phases=(Phase(until=0.5, image_size=16),))


def by_seconds(training: float, *, steps: tuple[float, float] = (1.0, 1.0), publishing: float = 20.0) -> BySeconds:
    """A schedule with two phases of half the steps each."""
    budget = Budget(seconds=90, training_seconds=training, publishing_seconds=publishing, step_seconds=steps)
    return BySeconds(budget, TRAIN)


def trained(found: BySeconds, *, step: float, until: float = 1.0) -> float:
    """The seconds after which so much is done, where each step takes so long."""
    count = 0
    while found.progress(epochs=count / 10, seconds=count * step) < until:
        count += 1
    return count * step


class TestByEpochs:
    @pytest.mark.parametrize(("epochs", "expected"), [(0, 0.0), (1, 0.25), (1.5, 0.375), (4, 1.0), (5, 1.0)])
    def test_counts_epochs(self, epochs, expected):
        """Parts of an epoch count; seconds do not."""
        assert expected == ByEpochs(4).progress(epochs=epochs, seconds=1e9)


class TestBySeconds:
    @pytest.mark.parametrize(("seconds", "expected"), [(0, 0.0), (5, 0.25), (20, 1.0), (21, 1.0)])
    def test_counts_seconds(self, seconds, expected):
        """Epochs do not count."""
        assert expected == by_seconds(20.0).progress(epochs=1e9, seconds=seconds)

    @pytest.mark.parametrize(
        ("seconds", "expected"), [(0, 0.0), (1, 0.25), (2, 0.5), (4, 0.5 + 0.5 / 3), (8, 1.0), (9, 1.0)]
    )
    def test_phases_keep_their_share_of_the_steps(self, seconds, expected):
        """A step of the second half costs three times as much: the first half is done in a quarter of the time."""
        found = by_seconds(8.0, steps=(1.0, 3.0)).progress(epochs=0, seconds=seconds)
        assert expected == pytest.approx(found)

    def test_only_the_ratio_of_step_seconds_divides_the_time(self):
        """However long the steps took in the rehearsal."""
        both = [by_seconds(8.0, steps=(cost, 2 * cost)) for cost in (0.5, 100.0)]
        found = [[one.progress(epochs=0, seconds=second) for second in range(9)] for one in both]
        np.testing.assert_allclose(*found)

    def test_steps_as_rehearsed_end_with_the_time(self):
        """In both phases, whose steps differ; nothing is kept back."""
        assert trained(by_seconds(200.0, steps=(0.1, 0.1)), step=0.1) == pytest.approx(200, abs=0.2)

    def test_slow_steps_leave_more_time_to_publish(self):
        """Steps that take twice as long: publishing, rehearsed in 20 seconds, is left 40. Half as long: 10."""
        assert trained(by_seconds(200.0, steps=(0.1, 0.1)), step=0.2) == pytest.approx(180, abs=1)
        assert trained(by_seconds(200.0, steps=(0.1, 0.1)), step=0.05) == pytest.approx(210, abs=1)

    def test_a_validation_is_no_step(self):
        """Time between two calls after as many epochs does not count as slowness."""
        found = by_seconds(200.0, steps=(0.1, 0.1))
        found.progress(epochs=1, seconds=10)
        assert 0.3 == found.progress(epochs=1, seconds=60)

    def test_never_goes_back(self):
        """One slow step after which others are quick: what is done stays done."""
        found = by_seconds(100.0, steps=(0.1, 0.1), publishing=5.0)
        times = np.cumsum([0.1, 30, *[0.1] * 400])
        shares = [found.progress(epochs=step / 10, seconds=second) for step, second in enumerate(times)]
        assert shares == sorted(shares)

    def test_when_nothing_is_left(self):
        """So slow that publishing takes all: training is done at once."""
        found = by_seconds(10.0, steps=(0.1, 0.1))
        found.progress(epochs=0, seconds=0)
        assert found.progress(epochs=0.1, seconds=60) == 1


class TestOf:
    def test_without_a_budget(self):
        """The recipe's own epochs."""
        assert ByEpochs(9) == schedule.of(TRAIN, None)

    def test_with_a_budget(self):
        """The time for training."""
        budget = Budget(seconds=90, training_seconds=60, publishing_seconds=20, step_seconds=(0.1, 0.1))
        assert 0.5 == schedule.of(TRAIN, budget).progress(epochs=0, seconds=30)

    def test_says_how_many_epochs(self):
        """By the clock it is about so many."""
        assert ["9", "~9"] == [ByEpochs(9).total(), by_seconds(60).total()]


class TestLearningRate:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ("constant", [0.1, 0.1, 0.1, 0.1, 0.1]),
            ("linear", [0.1, 0.075, 0.05, 0.025, 0]),
            ("cosine", [0.1, 0.085355, 0.05, 0.014645, 0]),
        ],
    )
    def test_shapes(self, shape, expected):
        """At the beginning, after each quarter, and at the end."""
        recipe = Train(epochs=1, batch_size=1, learning_rate=0.1, schedule=shape)
        found = [schedule.learning_rate(recipe, progress=quarter / 4) for quarter in range(5)]
        np.testing.assert_allclose(expected, found, atol=1e-6)


class TestUpTo:
    @pytest.mark.parametrize(
        ("epochs", "seconds", "expected"),
        [(0, 0, 0.0), (1, 1, 0.25), (1, 5, 0.5), (4, 1, 1.0), (0, 10, 1.0), (5, 20, 1.0)],
    )
    def test_whichever_ends_first(self, epochs, seconds, expected):
        """Of 4 epochs and 10 seconds."""
        assert expected == UpTo(4, 10.0).progress(epochs=epochs, seconds=seconds)

    def test_no_time(self):
        """The training has ended before its first step."""
        assert 1 == UpTo(4, 0.0).progress(epochs=0, seconds=0)

    @pytest.mark.parametrize(("steps", "expected"), [((), UpTo), ((1.0, 1.0), BySeconds)])
    def test_of_a_budget(self, steps, expected):
        """Without a rehearsal the recipe's epochs are the most."""
        budget = Budget(seconds=90, training_seconds=60, publishing_seconds=20, step_seconds=steps)
        assert expected is type(schedule.of(TRAIN, budget))
