"""Checks that the network to publish gives the answers that it gave during training."""

import numpy as np
from jaxtyping import Float32

from lince.errors import TrainingError
from lince.evaluation import accuracy
from lince.networks import models
from lince.number_formats import percent
from lince.text import quantity
from lince.training import advice, checkpoint
from lince.training.checkpoint import Checkpoint
from lince.training.history import kept_record
from lince.training.session import Run, build_for

# Share of the validation images that folding may change: the usual bound on the loss of int8. One image always may.
_TOLERANCE = 0.005

# Share by which the accuracy in bfloat16 may exceed that in float32 with the same weights. The 8 bits of bfloat16's
# mantissa change answers between close logits; three images may always change.
_ROUNDED, _ROUNDED_IMAGES = 0.05, 3


def require_reproduced(run: Run, logits: Float32[np.ndarray, "n k"]) -> None:
    """Refuses a network whose validation accuracy is not that of the epoch whose weights were kept.

    The published network has no batch norm: `models.fold` multiplies it into the convolutions. This is exact unless
    training diverged and left numbers that are too large. A run in bfloat16 is compared with its own network before
    folding, in float32.

    Args:
        run: open.
        logits: f32[N,K] of the folded network, on the validation images.

    Raises:
        TrainingError: the accuracy differs by more than 0.5 points and one image. In bfloat16 also when it is below the
            epoch's own by more than 5 points and three images. ResumeError: the checkpoint is damaged.
    """
    state = checkpoint.read(run.folder.trained)
    if state is None:  # the user has removed the checkpoint
        return
    is_refit = run.folder.trained == run.folder.refit  # which keeps its last weights, whatever the patience
    kept = state.history[-1] if is_refit else kept_record(state.history, run.recipe.train)
    trained, found, count = kept.val_accuracy, _accuracy(logits, run), len(run.validation)
    expected, source = trained, f"epoch {kept.epoch}, whose weights were kept, had"
    if run.record.precision == "bfloat16":
        if _is_beyond(trained - found, count, share=_ROUNDED, images=_ROUNDED_IMAGES):
            raise _error(run, found, trained, f"{source} in bfloat16")
        expected = _accuracy(_unfolded(run, state), run)
        source = "the same weights, before batch norm was multiplied into them, have"
    if _is_beyond(abs(found - expected), count, share=_TOLERANCE, images=1):
        raise _error(run, found, expected, source)


def _is_beyond(difference: float, count: int, *, share: float, images: int) -> bool:
    """Whether a difference of two shares exceeds both bounds, counted in whole images against rounding."""
    return round(difference * count) > max(round(share * count, 9), images)


def _unfolded(run: Run, state: Checkpoint) -> Float32[np.ndarray, "n k"]:
    """The logits of the network before folding, in float32."""
    model = build_for(run, precision="float32")
    model.set_weights(state.kept_weights)
    batch = models.images_at_once(run.recipe.spec)
    return accuracy.outputs(models.float_predict(model), run.validation, batch_size=batch).logits


def _accuracy(logits: np.ndarray, run: Run) -> float:
    return float((logits.argmax(axis=1) == run.validation.labels).mean())


def _error(run: Run, found: float, expected: float, source: str) -> TrainingError:
    anew = advice.steadier_training(run.recipe.train, precision=run.record.precision)
    return TrainingError(
        f"The trained network is right for {percent(found)} of {quantity(len(run.validation), 'validation image')}, "
        f"where {source} {percent(expected)}. Expected the same share: numbers in the network are too large. "
        f"Nothing was published, and the weights are kept in {str(run.folder.path)!r}. Train anew {anew}."
    )
