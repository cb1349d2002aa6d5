"""How the slow parts of this room tell their caller how far they are."""

from typing import Protocol


class Progress(Protocol):
    """Called now and then, from the caller's own thread, while something slow goes on."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Shows a step.

        Args:
            done: units finished so far; never more than `total` where that is known.
            total: units in all; 0 while nobody knows.
            what: the task and its unit, such as `"Reading images"` or `"Downloading cifar-10 (bytes)"`. A new text
                is a new task, and starts at its own 0.
        """


def silent(done: int, total: int, what: str) -> None:
    """The `Progress` that shows nothing."""
