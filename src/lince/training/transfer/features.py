"""The features of images: what a pretrained network computes before its last layer."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from jaxtyping import Float16

from lince.errors import TrainingError
from lince.networks.models import LOGITS, images_at_once
from lince.progress import Progress
from lince.training.transfer import feature_file
from lince.training.transfer.feature_file import StoredFeatures
from lince.types import Images, ImageSpec


def stored(
    path: Path, model: keras.Model, images: Sequence[Images], *, mirrored: bool, progress: Progress
) -> StoredFeatures:
    """The features of images, and of their mirror images if asked: from the file, or computed into it.

    A file that is damaged, or of another number of images or views, is replaced.

    Args:
        path: of the file, in the folder of the run.
        model: built by `models.build`.
        images: u8[N,H,W,3] each; their features follow one another in the file.
        mirrored: add a second view, of the images mirrored left to right.
        progress: receives the number of images done.

    Raises:
        TrainingError: the file cannot be written.
    """
    network = keras.Model(model.inputs, model.get_layer(LOGITS).input)
    shape = (sum(map(len, images)), 2 if mirrored else 1, network.output_shape[-1])
    try:
        if (found := feature_file.read(path)).shape == shape:
            return found
    except TrainingError:  # missing or damaged
        pass
    feature_file.write(path, shape, _computed(network, images, shape, progress))
    return feature_file.read(path)


def _computed(
    network: keras.Model, images: Sequence[Images], shape: tuple[int, int, int], progress: Progress
) -> Iterator[Float16[np.ndarray, "b v d"]]:
    """The features of a batch of images after the other.

    Half precision is enough: they are means of values between 0 and 6, and docs/run-folder.md has what it costs.
    """
    count, views, _ = shape
    done = 0
    for part in images:
        height, width = part.shape[1:3]
        batch = images_at_once(ImageSpec(height, width))
        for start in range(0, len(part), batch):
            pixels = part[start : start + batch].astype(np.float32)
            seen = (pixels, pixels[:, :, ::-1])[:views]
            found = [keras.ops.convert_to_numpy(network.predict_on_batch(view)) for view in seen]
            yield np.stack(found, axis=1).astype(np.float16)
            done += len(pixels)
            progress(done, count, "Computing features (images)")
