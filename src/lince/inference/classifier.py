"""A model file as a classifier, with LiteRT and NumPy only."""

import math
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from lince import calibration, familiarity
from lince.errors import WRITE_AGAIN, LinceError, ModelFileError
from lince.inference.interpreter import Network
from lince.model_file import artifact
from lince.model_file.golden_images import TOLERANCE_STEPS, Golden, deviation_steps
from lince.model_file.manifest import Manifest
from lince.types import ImageSpec, Outputs, Prediction

_TIMED = 3  # runs after the golden images have warmed the network


class Classifier:
    """A quantized model that answers. Threads may share it: the network takes an image of each in turn.

    No answer depends on the other images of a batch. Several threads may share those of a large one.

    Attributes:
        manifest: of the model file.
        card: the model card, in Markdown.
        image_s: seconds that one image takes here, the shortest of a few; infinite until the model is verified.
    """

    def __init__(self, model: artifact.Artifact, *, threads: int = 1):
        """Prefer `Classifier.load`, which also runs the golden images."""
        self.manifest: Manifest = model.manifest
        self.card = model.card
        self._network = Network(model.flatbuffer, copies=threads)
        expected = (*model.manifest.image.shape, len(model.manifest.classes))
        received = (*self._network.input_shape, self._network.num_classes)
        if received != expected:
            raise ModelFileError(
                f"The network maps {received} (height, width, 3, K), where the manifest says {expected}. Expected the "
                f"same in both. {WRITE_AGAIN}"
            )
        kind = model.manifest.arithmetic.kind
        if (kind == "int8") != self._network.answers_in_int8:
            raise ModelFileError(
                f"The manifest says {kind!r}, which the network's output does not fit. Expected int8 logits without "
                f"float layers, and float32 logits with them. {WRITE_AGAIN}"
            )
        self._familiarity = model.familiarity
        self.image_s = math.inf

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1, sha256: str | None = None) -> "Classifier":
        """Reads, verifies and warms a model file.

        Args:
            path: a `.tflite` file written by lince.
            threads: that share the images of a batch.
            sha256: the expected hash of the whole file, hex digits; see `artifact.read`.

        Raises:
            ModelFileError: the file is not one of ours, is damaged, or does not reproduce its golden images.
        """
        return cls.verified(artifact.read(Path(path), sha256=sha256), name=str(path), threads=threads)

    @classmethod
    def verified(cls, model: artifact.Artifact, *, name: str, threads: int = 1) -> "Classifier":
        """Warms a model file that was read before, and runs its golden images.

        Args:
            model: read by `artifact.read`.
            name: of the file, for error messages.
            threads: that share the images of a batch.

        Raises:
            ModelFileError: the network does not fit its manifest, or does not reproduce its golden images.
        """
        classifier = cls(model, threads=threads)
        classifier._check_golden(model.golden, name)
        classifier.image_s = min(classifier._seconds(model.golden.images[:1]) for _ in range(_TIMED))
        return classifier

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of the indices."""
        return self.manifest.classes

    @property
    def image_spec(self) -> ImageSpec:
        """Height and width of the images, and how others become them."""
        return self.manifest.image

    def predict(self, images: UInt8[np.ndarray, "n h w 3"]) -> Prediction:
        """Answers for N images.

        Args:
            images: u8[N,H,W,3], RGB 0..255, of the model's size (`lince.images.decode` makes them).

        Raises:
            LinceError: another shape or dtype.
        """
        return self.prediction(self.outputs(images))

    def prediction(self, outputs: Outputs) -> Prediction:
        """Answers from the outputs of N images, as `predict` gives them."""
        return calibration.apply(outputs.logits, self.manifest.calibration, distances=outputs.distances)

    def logits(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n k"]:
        """Logits of N images, dequantized. Args and errors as of `predict`."""
        return self.outputs(images).logits

    def outputs(self, images: UInt8[np.ndarray, "n h w 3"]) -> Outputs:
        """Logits and distances of N images: this classifier as a `Predict`. Args and errors as of `predict`."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.image_spec.shape:
            height, width, _ = self.image_spec.shape
            raise LinceError(
                f"Received images {images.dtype}{list(images.shape)}. Expected uint8[N,{height},{width},3]: "
                "read them with lince.images.decode."
            )
        steps, features = self._network.run_with_features(images)
        return Outputs(self._network.dequantize(steps), familiarity.distances(self._familiarity, features))

    def _seconds(self, images: UInt8[np.ndarray, "n h w 3"]) -> float:
        start = time.perf_counter()
        self.outputs(images)
        return time.perf_counter() - start

    def _check_golden(self, expected: Golden, path: str) -> None:
        steps = deviation_steps(self._network.run(expected.images), expected.logits)
        if steps > TOLERANCE_STEPS:
            raise ModelFileError(
                f"Model file {path!r}: its golden images give logits {steps:.4g} steps away from those recorded. "
                f"Expected at most {TOLERANCE_STEPS}: the file was changed, or this machine computes wrongly."
            )
