"""Features that tests draw: a cloud for each class, and a second view that differs a little."""

import numpy as np

CLASSES = 3


def draw(count: int, *, width: int = 12, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features f16[count,2,width] and labels i64[count], the classes taking turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = np.random.default_rng(99).normal(2, 1, (CLASSES, width))
    images = centres[labels] + rng.normal(0, spread, (count, width))
    return (images[:, None] + rng.normal(0, 0.1, (count, 2, width))).astype(np.float16), labels
