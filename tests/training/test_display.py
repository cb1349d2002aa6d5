"""What a training shows: a line for some validations, few in a short one, one a minute in a long one; or one bar."""

import io
import itertools
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest
from rich.console import Console

from lince.training import display as displays
from lince.training.display import BarDisplay, LineDisplay
from lince.training.recipe import Train
from lince.training.schedule import ByEpochs
from lince.types import EpochRecord


def shown(records: list[EpochRecord], *, warned: int = 0) -> list[int]:
    """The epochs of the lines; the validation of epoch `warned` has a warning."""
    file = io.StringIO()
    display = LineDisplay(Console(file=file, width=200), epochs=str(len(records)))
    for record in records:
        display.epoch(record, best=False, warning="It learns nothing." if record.epoch == warned else None)
    lines = [line.replace("The head alone", "epoch 0/") for line in file.getvalue().splitlines()]
    return [int(line.split()[1].split("/")[0]) for line in lines if line.startswith("epoch")]


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


def test_the_head_has_no_loss():
    """The loss of stored features is near 0, and that of augmented images is not: training would look broken."""
    file = io.StringIO()
    head = EpochRecord(0, 0.0001, 1.0, 0.002, 0.75, 0.0, 0, 1.0, 0, 0.0, 48)
    LineDisplay(Console(file=file, width=200), epochs="20").epoch(head, best=False)
    assert "The head alone, before fine-tuning: 75.0% of 48 validation images are right.\n" == file.getvalue()


class TestBarDisplay:
    RECIPE = Train(epochs=10, batch_size=8, learning_rate=1e-3, validate_every=2)

    def show(self, recipe: Train = RECIPE, history: tuple[EpochRecord, ...] = (), again: float = 0.0) -> str:
        """What a terminal of 80 columns gets in the middle of epoch 4, and after a record of it."""
        console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
        with BarDisplay(console, plan=ByEpochs(recipe.epochs), recipe=recipe, history=history, again=again) as display:
            display.step(epoch=4, step=3, steps=4, images=24, seconds=0.5, loss=1.25, accuracy=0.5)
            display.epoch(EpochRecord(4, 1.0, 0.5, 0.9, 0.6, 0.1, 100, 61, 0, 0.4, 50), best=False, warning="Chance.")
            display.step(epoch=5, step=1, steps=4, images=8, seconds=0.5, loss=1.0, accuracy=0.5)
            display._bars.refresh()
        return console.file.getvalue()

    def test_the_line(self):
        """Epoch, share, time left, loss, and the validation before; no more than the terminal has columns."""
        shown = self.show(history=(EpochRecord(2, 1.2, 0.4, 1.1, 0.5, 0.1, 100, 60, 0, 0.2, 50),))
        [line] = [line for line in re.split(r"[\r\n]", shown) if "epoch 5/10" in line][-1:]
        assert re.search(r"epoch 5/10 \S+ +45% 0:00:00 left  loss 1\.000  validation 60\.0%", line)
        assert len(re.sub(r"\x1b\[[0-9;?]*\w", "", line)) <= 80

    def test_early_stopping_may_end_it_earlier(self):
        """So the time is what is left at most."""
        assert "left at most" in self.show(msgspec.structs.replace(self.RECIPE, patience=3))

    def test_a_second_training_counts(self, monkeypatch):
        """As long as the first one and a quarter, at most: where the head is kept, there is none."""
        clock = itertools.count(0.0, 30.0)
        monkeypatch.setattr(displays, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        # 45 % took 60 s, so that all of it takes 133 s, of which 73 s are left, and then 167 s.
        assert "0:04:00 left at most" in self.show(again=1.25)

    def test_a_warning_stays(self):
        """Above the bar."""
        assert "Warning: Chance.\n" in self.show().replace("\r", "")

    def test_the_end(self):
        """One line stays: how long it took, and how good the network is that is kept."""
        best = EpochRecord(2, 1.2, 0.4, 0.5, 0.8, 0.1, 100, 60, 0, 0.2, 50)
        assert "Trained:  4 epochs in 0:02:01. 60.0% of 50 validation images are right." in self.show(history=(best,))
        patient = self.show(msgspec.structs.replace(self.RECIPE, patience=3), history=(best,))
        assert "Trained:  4 epochs in 0:02:01. Epoch 2 is kept: 80.0% of 50 validation images are right." in patient
        head = replace(best, epoch=0)
        assert "Trained:  4 epochs in 0:02:01.\n" in self.show(history=(head,))

    def test_without_an_epoch(self):
        """A training that is interrupted before its first validation says nothing."""
        console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
        with BarDisplay(console, plan=ByEpochs(10), recipe=self.RECIPE, history=()):
            pass
        assert "Trained" not in console.file.getvalue()
