"""Which images a turn shows: all of them, or fewer of those that the network knows already."""

import math

import numpy as np
from jaxtyping import Bool, Float32, Int64

# The share of all steps from which every turn shows every image, as in Qin et al.: what the last steps see is what the
# network, and its batch norm, end with.
_ALL_FROM = 0.875


class Selection:
    """Leaves out, by lot, some of the images whose loss was below the mean when the network last saw them.

    After Qin et al. 2024, "InfoBatch" (arXiv:2303.04947), without their larger weights for the easy images that stay:
    what is sought is not the gradient of all images at less cost, but more steps on those that are not known yet.

    Args:
        count: N, images of the training split.
        skip: share of the easy images that a turn leaves out; 0 for none.
        batch_size: images a step, at most.

    Attributes:
        losses: f32[N], nats, of each image's label when the network last saw it; NaN before. f32[0] where `skip` is 0.
    """

    def __init__(self, count: int, *, skip: float, batch_size: int):
        self._count, self._skip, self._batches = count, skip, batches_in_a_turn(count, batch_size)
        self.losses = np.full(count if skip else 0, np.nan, np.float32)

    def batches(self, rng: np.random.Generator, *, share: float) -> list[Int64[np.ndarray, " b"]]:
        """The batches of one turn: indices i64[B], in random order, each image at most once.

        Their sizes differ by one at most, and are the same in each turn: batch norm should not meet a last batch of one
        image, and each size is compiled. So some easy images may stay that the lot had left out.

        Args:
            rng: of the lot and the order.
            share: of all steps that are done, 0 to 1.
        """
        shown = self._shown(rng, share)
        size = math.ceil(self._count / self._batches)
        batches = math.ceil(shown.sum() / size)
        if batches == self._batches:
            return np.array_split(rng.permutation(self._count), self._batches)
        spared = rng.permutation(np.flatnonzero(~shown))[: batches * size - shown.sum()]
        return np.split(rng.permutation(np.concatenate([np.flatnonzero(shown), spared])), batches)

    def record(self, chosen: Int64[np.ndarray, " b"], losses: Float32[np.ndarray, " b"]) -> None:
        """Remembers the losses of a batch, nats."""
        self.losses[chosen] = losses

    def restore(self, losses: Float32[np.ndarray, " n"]) -> None:
        """Goes on from the losses of a checkpoint; from none where it has none."""
        if len(losses) == len(self.losses):
            self.losses = losses.copy()

    def _shown(self, rng: np.random.Generator, share: float) -> Bool[np.ndarray, " n"]:
        seen = np.isfinite(self.losses)
        if not seen.any() or share >= _ALL_FROM:
            return np.ones(self._count, bool)
        easy = self.losses < self.losses[seen].mean()  # an image that was not seen yet is not
        return ~(easy & (rng.random(self._count) < self._skip))


def batches_in_a_turn(count: int, batch_size: int) -> int:
    """How many batches, none larger than `batch_size`, show so many images once."""
    return max(1, math.ceil(count / batch_size))
