"""What training shows: a live line on a terminal, elsewhere a line for each validation, TensorBoard on request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lince.progress import Progress
from lince.training import checkpoint, schedule
from lince.training.session import Run
from lince.training.stagnation import Stagnation
from lince.types import EpochRecord

# Seconds between two redraws of the live line. A redraw costs 0.1 ms, a step of `classic` 180 ms (two Zen 5 cores).
_REDRAW_SECONDS = 0.2

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
    """A display for this console: it redraws one line on a terminal, and prints lines elsewhere."""
    kind = LiveDisplay if console.is_terminal else LineDisplay
    with kind(console, epochs=schedule.of(run.recipe.train, run.record.budget).total()) as display:
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
        line = (
            f"epoch {record.epoch:>3}/{self._epochs}  loss {record.loss:.3f}  accuracy {record.accuracy:6.1%}  "
            f"validation: loss {record.val_loss:.3f}  accuracy {record.val_accuracy:6.1%}{'  best' if best else ''}"
        )
        self._console.print(line, soft_wrap=True)
        if warning:
            self._console.print(f"Warning: {warning}", soft_wrap=True, markup=False, highlight=False)


class LiveDisplay(LineDisplay):
    """Adds a line with the current step, which is redrawn in place. Use it as a context manager."""

    def __init__(self, console: Console, *, epochs: str):
        super().__init__(console, epochs=epochs)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn = 0.0

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def step(
        self, *, epoch: int, step: int, steps: int, images: int, seconds: float, loss: float, accuracy: float
    ) -> None:
        now = time.monotonic()
        if now - self._drawn < _REDRAW_SECONDS and step < steps:
            return
        self._drawn = now
        left = timedelta(seconds=round(seconds / step * (steps - step)))
        line = (
            f"epoch {epoch:>3}/{self._epochs}  step {step:>4}/{steps}  {images / seconds:>6,.0f} images/s  "
            f"{left} to validation  loss {loss:.4f}  accuracy {accuracy:.2%}"
        )
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)


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
