"""The time budget of a pretrained network: its head is published first, and what is left of the time fine-tunes it.

reading the images | fitting the head | publishing it | fine-tuning by seconds | publishing again
the budget begins                       is measured     the remaining time       as long as the first time, and a tenth
"""

from dataclasses import replace

import msgspec

from lince.runs.run_folder import Budget
from lince.training.recipe import Recipe
from lince.training.session import Run, Splits
from lince.training.time_budget.limits import Limit

# Publishing takes as long as before, and a little more: other programs use the machine, too.
_MARGIN = 1.1

# The least time for which fine-tuning begins, in units of what publishing took. The first step traces the network, and
# no clock can interrupt that; it took a tenth of publishing (160 images of 128 × 128, 1,000 test images).
_LEAST = 0.5


def head_first(limit: Limit, run: Run, _: Splits) -> tuple[Recipe, Budget]:
    """The plan of a run that publishes its head: no time for fine-tuning, until `fine_tuned` gives it some."""
    return run.recipe, Budget(seconds=limit.seconds, training_seconds=0, publishing_seconds=0)


def fine_tuned(run: Run, *, left: float, publishing_seconds: float) -> Run | None:
    """The run with the time that is left, in its record, too; None where fine-tuning would get too little.

    Args:
        run: whose head is published.
        left: seconds of the time budget.
        publishing_seconds: what publishing the head took, with its report.
    """
    trainings = 2 if run.record.refits else 1  # with few images it is trained again on all of them
    seconds = (left - _MARGIN * publishing_seconds) / trainings
    if run.record.budget is None or seconds < _LEAST * publishing_seconds:
        return None
    budget = msgspec.structs.replace(
        run.record.budget, training_seconds=seconds, publishing_seconds=_MARGIN * publishing_seconds
    )
    record = msgspec.structs.replace(run.record, budget=budget)
    # The head is in a file of its own. In this order, a run that is killed in between resumes with the head. The
    # network that was trained on validation images goes, so that nothing calibrates it with them.
    for finished in (run.folder.keras_model, run.folder.held_out, run.folder.refit, run.folder.checkpoint):
        finished.unlink(missing_ok=True)
    run.folder.write_record(record)
    return replace(run, record=record)
