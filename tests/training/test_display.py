"""Which validations get a line: few in a short training, one a minute in a long one."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from lince.training.display import LineDisplay
from lince.types import EpochRecord


def shown(records: list[EpochRecord], *, warned: int = 0) -> list[int]:
    """The epochs of the lines; the validation of epoch `warned` has a warning."""
    file = io.StringIO()
    display = LineDisplay(Console(file=file, width=200), epochs=str(len(records)))
    for record in records:
        display.epoch(record, best=False, warning="It learns nothing." if record.epoch == warned else None)
    return [int(line.split()[1].split("/")[0]) for line in file.getvalue().splitlines() if line.startswith("epoch")]


def training(epochs: int, *, seconds: float, first: int = 1) -> list[EpochRecord]:
    """A training of so many epochs, each of which takes so many seconds."""
    return [EpochRecord(n, 1.0, 0.5, 1.0, 0.5, 0.1, 100, seconds, 0, n / epochs) for n in range(first, epochs + 1)]


def test_a_short_training_has_six_lines():
    """The head's, then one for each fifth; the last epoch is among them."""
    assert [0, 4, 8, 12, 16, 20] == shown(training(20, seconds=3, first=0))


def test_few_epochs_have_a_line_each():
    """None is left out."""
    assert [1, 2, 3] == shown(training(3, seconds=1))


@pytest.mark.parametrize("seconds", [61, 31, 20])
def test_a_long_training_has_a_line_a_minute(seconds):
    """Nobody waits longer than that, and an epoch, for one."""
    found = shown(training(46, seconds=seconds))
    assert all((later - earlier) * seconds < 60 + seconds for earlier, later in pairwise(found))
    assert len(found) <= 46 * seconds / 60 + 6


def test_a_warning_is_never_left_out():
    """With the line of its validation."""
    assert 6 in shown(training(20, seconds=1), warned=6)


def test_a_line_fits_on_a_screen():
    """80 columns, but for the mark of the best."""
    file = io.StringIO()
    LineDisplay(Console(file=file, width=200), epochs="100").epoch(training(100, seconds=1)[-1], best=False)
    assert len(file.getvalue().rstrip()) <= 90
