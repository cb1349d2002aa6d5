"""The features of the training images: a model file's Gaussian, and distances that are fair to calibrate with.

Changes that are hardly visible must not make a picture strange. So the Gaussian is of each training image as it is, and
of a weakly corrupted copy (`evaluation.corruptions`, strength 1, the kinds in turn). Without the copies, a network that
was trained on JPEG files alone withheld 19 % of lossless pictures of its classes, of which it knows 94 %; with them 8 %
(docs/decisions/0016).
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from lince import data, familiarity
from lince.evaluation import corruptions
from lince.familiarity import Familiarity
from lince.inference import interpreter
from lince.networks import models
from lince.quantization import flatbuffer as flatbuffers
from lince.training import checkpoint
from lince.training.session import Run, build_for
from lince.training.transfer import cross_validation
from lince.types import Images, ImageSpec, Split

_STRENGTH = 1  # of the corrupted copies: hardly visible

_ToFeatures = Callable[[Images], Float32[np.ndarray, "n d"]]


def of_training(flatbuffer: bytes, images: Split, *, seed: int) -> Familiarity | None:
    """The Gaussian of the images that a network was trained on.

    Args:
        flatbuffer: the network that is published.
        images: at least 1; at most `familiarity.IMAGES` are read.
        seed: of the sample and of the corruptions.

    Returns:
        None for a network without features.
    """
    if flatbuffers.features_name(flatbuffer) is None:
        return None
    return _measure(_of_file(flatbuffer), _sample(images, seed), seed=seed).gaussian()


def held_out_distances(flatbuffer: bytes, run: Run, *, count: int) -> Float32[np.ndarray, " m"] | None:
    """Distances of the images of `held_out.npz`, which the published network was trained on, as of new images.

    Where only the head was trained, features do not depend on the images: each is measured by a Gaussian of the other
    folds, the folds of its logits. Otherwise the network that was trained first measures the validation images: it was
    not trained on them, and its Gaussian is of its own training images.

    Args:
        flatbuffer: the network that is published.
        run: with a refit.
        count: M, the number of images in `held_out.npz`.

    Returns:
        f32[M] in the order of `held_out.npz`. None for a network without features, and where the checkpoint of the
        network that was trained first was removed.
    """
    name, seed = flatbuffers.features_name(flatbuffer), run.record.seed
    if name is None:
        return None
    everything = data.join(run.train, run.validation)
    folds = cross_validation.folds(everything.labels, seed=seed, groups=run.folder.read_groups())
    is_held_out = cross_validation.of_known_class(everything.labels, folds)
    if count in (len(everything), is_held_out.sum()):  # runs of earlier versions have all of them
        distances = _measure(_of_file(flatbuffer), everything.images, seed=seed).cross_fitted(folds)
        return distances if count == len(everything) else distances.compress(is_held_out)
    state = checkpoint.read(run.folder.checkpoint)
    if state is None:
        return None
    trained, folded = (build_for(run, precision="float32", folded=folded) for folded in (False, True))
    trained.set_weights(state.kept_weights)
    models.fold(trained, folded)
    to_features = _of_keras(folded, name, batch=models.images_at_once(run.recipe.spec))
    known = _measure(to_features, _sample(run.train, seed), seed=seed).gaussian()
    return known.distances(to_features(run.validation.images))


@dataclass(frozen=True)
class _Measured:
    """Features of images, and of a copy of each.

    Attributes:
        images, copies: f32[N,D], in the same order.
    """

    images: Float32[np.ndarray, "n d"]
    copies: Float32[np.ndarray, "n d"]

    def gaussian(self) -> Familiarity:
        return familiarity.fit(np.concatenate([self.images, self.copies]))

    def cross_fitted(self, folds: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        """The distance of each image from the Gaussian of the other folds and their copies."""
        found = np.empty(len(self.images), np.float32)
        for fold in np.unique(folds):
            inside = folds == fold
            others = _Measured(self.images[~inside], self.copies[~inside])
            found[inside] = others.gaussian().distances(self.images[inside])
        return found


def _measure(to_features: _ToFeatures, images: Images, *, seed: int) -> _Measured:
    measured = to_features(images)
    copies, kinds = np.empty_like(measured), tuple(corruptions.AMOUNTS)
    _, height, width, _ = images.shape
    batch = models.images_at_once(ImageSpec(height, width))  # corrupting makes several float32 arrays of them
    for first, kind in enumerate(kinds[: len(images)]):
        everyone = np.arange(first, len(images), len(kinds))
        for start in range(0, len(everyone), batch):
            chosen = everyone[start : start + batch]
            pictures: UInt8[np.ndarray, "n h w 3"] = images.take(chosen, axis=0)[:]
            corrupted = corruptions.corrupt(pictures, kind, strength=_STRENGTH, seed=seed, first=start)
            copies[chosen] = to_features(corrupted)
    return _Measured(measured, copies)


def _sample(images: Split, seed: int) -> Images:
    if len(images) <= familiarity.IMAGES:
        return images.images
    return images.images.take(np.sort(data.sample(images, familiarity.IMAGES, seed=seed)), axis=0)


def _of_file(flatbuffer: bytes) -> _ToFeatures:
    return lambda images: interpreter.features(flatbuffer, images)


def _of_keras(model: keras.Model, name: str, *, batch: int) -> _ToFeatures:
    """As the published network computes them, in float32."""
    network = keras.Model(model.inputs, keras.ops.mean(model.get_layer(name).output, axis=(1, 2)))

    def to_features(images: Images) -> Float32[np.ndarray, "n d"]:
        parts = [images[start : start + batch].astype(np.float32) for start in range(0, len(images), batch)]
        return np.concatenate([keras.ops.convert_to_numpy(network.predict_on_batch(part)) for part in parts])

    return to_features
