"""What training shows: a live line on a terminal, a line for each validation elsewhere, TensorBoard on request."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lince.types import EpochRecord

# The live line is redrawn this often; a redraw costs 0.1 ms, a step of `classic` 180 (two Zen 5 cores).
_REDRAW_SECONDS = 0.2


class LineDisplay:
    """A line for each validation: for logs, pipes and terminals that cannot redraw.

    Args:
        console: where to print.
        epochs: how many there will be, in words.
    """

    def __init__(self, console: Console, *, epochs: str):
        self._console = console
        self._epochs = epochs

    def __enter__(self) -> "LineDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def step(
        self, *, epoch: int, step: int, steps: int, images: int, seconds: float, loss: float, accuracy: float
    ) -> None:
        """Prints nothing."""

    def epoch(self, record: EpochRecord, *, best: bool, warning: str | None = None) -> None:
        """Prints the line of a validation, and the warning that follows from it."""
        self._console.print(_epoch_line(record, epochs=self._epochs, best=best), soft_wrap=True)
        if warning:
            self._console.print(f"Warning: {warning}", soft_wrap=True, markup=False, highlight=False)


class LiveDisplay(LineDisplay):
    """The same, and a line of the present step below, redrawn in place. Use as a context manager."""

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


class TensorBoardDisplay:
    """Passes everything on to another display, and every validation to TensorBoard."""

    def __init__(self, inner: LineDisplay, folder: Path):
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


def _epoch_line(record: EpochRecord, *, epochs: str, best: bool) -> str:
    return (
        f"epoch {record.epoch:>3}/{epochs}  loss {record.loss:.4f}  accuracy {record.accuracy:.2%}  "
        f"val_loss {record.val_loss:.4f}  val_accuracy {record.val_accuracy:.2%}  "
        f"{record.images_per_second:,.0f} images/s  {record.seconds:.1f} s{'  best' if best else ''}"
    )
