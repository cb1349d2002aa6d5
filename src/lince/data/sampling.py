"""Some images of a split, the same share of every class."""

import numpy as np
from jaxtyping import Int64

from lince.data.splits import stratified_split
from lince.types import Split


def sample(split: Split, count: int, *, seed: int) -> Int64[np.ndarray, " m"]:
    """Indices of about `count` images, in random order; of all of them when there are no more.

    The order is random because a running mean over images sorted by class would know the last class only.

    Args:
        split: to draw from.
        count: at least 1; each class's share of it is rounded.
        seed: of the choice and the order.
    """
    rng, chosen = np.random.default_rng(seed), np.arange(len(split))
    if count < len(split):
        drawn = stratified_split(split.labels, fraction=count / len(split), seed=seed)[1]
        # Where each image is the only one of its class, none can be spared to a stratum.
        chosen = drawn if len(drawn) else rng.permutation(chosen)[:count]
    return rng.permutation(chosen)
