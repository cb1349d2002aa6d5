"""What training shows: a bar on a terminal, elsewhere a line for some validations, TensorBoard on request."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars

from lince.progress import Progress
from lince.text import quantity
from lince.training import checkpoint, schedule
from lince.training.history import kept_record
from lince.training.recipe import Train
from lince.training.session import Run
from lince.training.stagnation import Stagnation
from lince.types import EpochRecord

# How often a second the bar is redrawn. A redraw costs 0.1 ms, a step of `classic` 180 ms (two Zen 5 cores).
_REDRAWS = 2

# A training has so many lines, and one more after each _LINE_SECONDS without one.
_LINES, _LINE_SECONDS = 5, 60


class Display(Protocol):
    """Shows the progress of a training."""

    def step(
        self, *, epoch: int, step: int, steps: int, images: int, seconds: float, loss: float, accuracy: float
    ) -> None:
        """Called after each step.

        Args:
            epoch: from 1.
            step, steps: steps since the last validation, from 1, and their number up to the next.
            images, seconds: since the last validation.
            loss, accuracy: running means since the last validation.
        """

    def epoch(self, record: EpochRecord, *, best: bool, warning: str | None = None) -> None:
        """Called after each validation.

        Args:
            record: the results since the validation before.
            best: with `patience`, whether the validation loss is the lowest so far, so that these weights are kept.
            warning: a sign that the network learns nothing, or None.
        """


@contextmanager
def watch(console: Console, run: Run, *, tensorboard: bool) -> Iterator[Display]:
    """A display for this console: a bar on a terminal, lines elsewhere."""
    plan, state = schedule.of(run.recipe.train, run.record.budget), checkpoint.read(run.folder.checkpoint)
    again = (len(run.train) + len(run.validation)) / len(run.train) if run.record.refits else 0.0
    with (
        BarDisplay(console, plan=plan, recipe=run.recipe.train, history=state.history if state else (), again=again)
        if console.is_terminal
        else LineDisplay(console, epochs=plan.total())
    ) as display:
        yield TensorBoardDisplay(display, run.folder.tensorboard) if tensorboard else display


class LineDisplay:
    """A line for some of the validations: for logs, pipes and terminals that cannot redraw. `history.csv` has all.

    There are five lines in a short training, so that it fits on one screen, and one a minute in a long one.

    Args:
        console: where to print.
        epochs: the total number of epochs, as text.
    """

    def __init__(self, console: Console, *, epochs: str):
        self._console = console
        self._epochs = epochs
        self._part, self._seconds = -1, 0.0  # of the training, and since the last line

    def __enter__(self) -> "LineDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def step(
        self, *, epoch: int, step: int, steps: int, images: int, seconds: float, loss: float, accuracy: float
    ) -> None:
        """Prints nothing."""

    def epoch(self, record: EpochRecord, *, best: bool, warning: str | None = None) -> None:
        """Prints the line of a validation where one is due, and the warning."""
        part, self._seconds = int(record.progress * _LINES), self._seconds + record.seconds
        if part == self._part and self._seconds < _LINE_SECONDS and not warning:
            return
        self._part, self._seconds = part, 0.0
        if record.epoch == 0:
            self._console.print(_of_head(record), soft_wrap=True, highlight=False)
            return
        line = (
            f"epoch {record.epoch:>3}/{self._epochs}  loss {record.loss:.3f}  accuracy {record.accuracy:6.1%}  "
            f"validation: loss {record.val_loss:.3f}  accuracy {record.val_accuracy:6.1%}{'  best' if best else ''}"
        )
        self._console.print(line, soft_wrap=True)
        if warning:
            self._console.print(f"Warning: {warning}", soft_wrap=True, markup=False, highlight=False)


class BarDisplay:
    """One bar, redrawn in place: the epoch, the share that is done, the time that is left. Use it as a context manager.

    When training ends, a line says which epoch is kept.

    Args:
        console: a terminal.
        plan: the schedule of the training. The display has one for itself, because some schedules have a state.
        recipe: of the training.
        history: of the epochs before, in a run that is resumed.
        again: how long a second training on all images takes, as a multiple of this one; 0 when there is none.
    """

    def __init__(
        self,
        console: Console,
        *,
        plan: schedule.Schedule,
        recipe: Train,
        history: Sequence[EpochRecord],
        again: float = 0.0,
    ):
        columns = map(TextColumn, ("{task.description}", "{task.percentage:>3.0f}%", "{task.fields[state]}"))
        name, share, state = columns
        self._bars = Bars(
            *(SpinnerColumn("line"), name, BarColumn(bar_width=16), share, state),
            console=console, refresh_per_second=_REDRAWS, transient=True,
        )  # fmt: skip
        self._task = self._bars.add_task("Preparing the training", total=1.0, state="")
        self._console, self._plan, self._recipe = console, plan, recipe
        self._records = list(history)
        self._again = again
        self._began, self._first = time.monotonic(), self._share(epochs=0, seconds=0)

    def __enter__(self) -> "BarDisplay":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Erases the bar."""
        self._bars.stop()
        if self._records and self._records[-1].epoch:
            self._console.print(self._end(), soft_wrap=True, highlight=False)

    def step(
        self, *, epoch: int, step: int, steps: int, images: int, seconds: float, loss: float, accuracy: float
    ) -> None:
        """Moves the bar."""
        done = self._share(epochs=self._recipe.validate_every * step / steps, seconds=seconds)
        whole = (time.monotonic() - self._began) / max(done - self._first, 1e-9)
        left = timedelta(seconds=round(whole * (1 - done + self._again)))
        at_most = " at most" if self._recipe.patience or self._again else ""
        measured = f"  validation {self._records[-1].val_accuracy:.1%}" if self._records else ""
        self._bars.update(
            self._task,
            description=f"epoch {epoch}/{self._plan.total()}",
            completed=done,
            state=f"{left} left{at_most}  loss {loss:.3f}{measured}",
        )

    def epoch(self, record: EpochRecord, *, best: bool, warning: str | None = None) -> None:
        """Keeps the record, and prints the warning."""
        self._records.append(record)
        if warning:
            self._console.print(f"Warning: {warning}", soft_wrap=True, markup=False, highlight=False)

    def _share(self, *, epochs: float, seconds: float) -> float:
        """The share of the training that is done, so many epochs and seconds after the last validation."""
        before = self._records[-1].epoch if self._records else 0
        spent = sum(record.seconds for record in self._records)
        return self._plan.progress(epochs=before + epochs, seconds=spent + seconds)

    def _end(self) -> str:
        first, last, kept = self._records[0], self._records[-1], kept_record(tuple(self._records), self._recipe)
        whole = timedelta(seconds=round(sum(record.seconds for record in self._records)))
        trained = f"Trained:  {quantity(last.epoch, 'epoch')} in {whole}."
        if first.epoch == 0:  # whether fine-tuning is kept is told by the program
            return trained
        return f"{trained} {'' if kept is last else f'Epoch {kept.epoch} is kept: '}{_right(kept)}."


def _right(record: EpochRecord) -> str:
    return f"{record.val_accuracy:.1%} of {quantity(record.val_images, 'validation image')} are right"


def _of_head(record: EpochRecord) -> str:
    """Its loss is not that of the epochs: it is not augmented, and its labels are not smoothed."""
    return f"The head alone, before fine-tuning: {_right(record)}."


class ProgressDisplay:
    """Reports the number of epochs to a `Progress`: for a training whose validations say nothing new.

    Args:
        progress: receives them.
        epochs: the total number.
    """

    def __init__(self, progress: Progress, epochs: int):
        self._progress, self._epochs = progress, epochs

    def step(self, *, epoch: int, **_: object) -> None:
        """Reports the epochs that are finished."""
        self._progress(epoch - 1, self._epochs, "Training again, on all images (epochs)")

    def epoch(self, record: EpochRecord, *, best: bool, warning: str | None = None) -> None:
        """Reports nothing."""


class TensorBoardDisplay:
    """Writes every validation to TensorBoard, and passes everything on to another display."""

    def __init__(self, inner: Display, folder: Path):
        from tensorboard.summary import Writer

        self._inner = inner
        self._writer = Writer(str(folder))

    def step(self, **step: Any) -> None:
        self._inner.step(**step)

    def epoch(self, record: EpochRecord, *, best: bool, warning: str | None = None) -> None:
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "images_per_second"):
            self._writer.add_scalar(name, getattr(record, name), record.epoch)
        self._writer.flush()
        self._inner.epoch(record, best=best, warning=warning)


class RecordingDisplay:
    """Writes `history.csv` after each validation, looks for stagnation, and passes everything on to another display."""

    def __init__(self, inner: Display, run: Run):
        self.step = inner.step
        self._inner, self._folder = inner, run.folder
        self._stagnation = Stagnation(
            run.train.labels,
            run.validation.labels,
            num_classes=len(run.record.classes),
            recipe=run.recipe.train,
            precision=run.record.precision,
        )
        state = checkpoint.read(run.folder.checkpoint)
        self._history = state.history if state else ()

    def epoch(self, record: EpochRecord, *, best: bool, warning: str | None = None) -> None:
        self._history = (*self._history, record)
        self._folder.write_history(self._history)
        self._inner.epoch(record, best=best, warning=warning or self._stagnation.warning(self._history))
