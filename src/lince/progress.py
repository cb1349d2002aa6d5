"""The protocol by which slow work (reading data, evaluation, robustness) reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """A callback that slow work calls from time to time, in the caller's own thread."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Shows the progress.

        Args:
            done: units finished so far; at most `total` where that is known.
            total: units in all; 0 while it is not known.
            what: the task and its unit, such as `"Reading images"` or `"Downloading cifar-10 (bytes)"`. A new text
                is a new task, which starts at 0.
        """


def silent(done: int, total: int, what: str) -> None:
    """The `Progress` that shows nothing."""
