"""The features of images: what a pretrained network computes before its last layer."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from jaxtyping import Float32

from lince.networks.models import LOGITS, images_at_once
from lince.progress import Progress
from lince.types import Images, ImageSpec

_MAX_BATCH = 64  # larger ones are no faster here: a batch of 128 × 128 fills the cores


def extract(
    model: keras.Model, images: Images, *, mirrored: bool, progress: Progress
) -> Sequence[Float32[np.ndarray, "n d"]]:
    """The features of images, and of their mirror images if asked.

    Args:
        model: built by `models.build`.
        images: u8[N,H,W,3].
        mirrored: add a second array, of the images mirrored left to right.
        progress: receives the number of images done.

    Returns:
        One or two arrays f32[N,D] in the order of the images.
    """
    network = keras.Model(model.inputs, model.get_layer(LOGITS).input)
    views = 2 if mirrored else 1
    found: list[list[Any]] = [[] for _ in range(views)]
    height, width = images.shape[1:3]
    batch = min(_MAX_BATCH, images_at_once(ImageSpec(height, width)))
    for start in range(0, len(images), batch):
        pixels = images[start : start + batch].astype(np.float32)
        for view in range(views):
            seen = pixels if view == 0 else pixels[:, :, ::-1]
            found[view].append(keras.ops.convert_to_numpy(network.predict_on_batch(seen)))
        progress(min(start + batch, len(images)), len(images), "Computing features (images)")
    return [np.concatenate(parts) for parts in found]
