"""How slow work tells its caller how far it is: reading data, evaluation and robustness share one protocol."""

from typing import Protocol


class Progress(Protocol):
    """A callback that is called from the caller's own thread, now and then, while slow work goes on."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Shows a step.

        Args:
            done: units finished so far; at most `total` where that is known.
            total: units in all; 0 while it is not known.
            what: the task and its unit, such as `"Reading images"` or `"Downloading cifar-10 (bytes)"`. A new text
                is a new task, which starts at 0.
        """


def silent(done: int, total: int, what: str) -> None:
    """The `Progress` that shows nothing."""
