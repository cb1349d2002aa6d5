"""The runtime: a model file becomes answers. LiteRT and NumPy only; the training framework is never imported."""

import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float32, Int8, UInt8

from lince import calibration
from lince.errors import LinceError, ModelFileError
from lince.model_file import artifact
from lince.model_file.golden_images import TOLERANCE_STEPS, Golden, deviation_steps
from lince.model_file.manifest import Manifest
from lince.types import ImageSpec, Prediction

Logits = Int8[np.ndarray, "n k"] | Float32[np.ndarray, "n k"]
"""What a network hands out: steps of int8, or real numbers of any other `published.Arithmetic`."""


class Classifier:
    """A quantised model, ready to answer. Safe to share between threads: they take turns.

    Images go through the network one at a time: LiteRT gains nothing from a batch, and so an answer cannot depend on
    the images it was asked together with.
    """

    def __init__(self, model: artifact.Artifact, *, threads: int = 1):
        """Prefer `Classifier.load`, which also runs the golden images."""
        self.manifest: Manifest = model.manifest
        self.card = model.card
        self._network = Network(model.flatbuffer, threads=threads)
        self._lock = threading.Lock()
        expected = (*model.manifest.image.shape, len(model.manifest.classes))
        received = (*self._network.input_shape, self._network.num_classes)
        if received != expected:
            raise ModelFileError(f"The network maps {received}, the manifest says {expected} (height, width, 3, K).")
        kind = model.manifest.arithmetic.kind
        if (kind == "int8") != self._network.answers_in_int8:
            raise ModelFileError(
                f"The manifest says {kind!r}, which the network's output does not fit. Expected int8 logits of 'int8' "
                "and float32 of any other arithmetic: export the file again."
            )

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1, sha256: str | None = None) -> "Classifier":
        """Reads, verifies and warms a model file.

        Args:
            path: a `.tflite` file written by lince.
            threads: of the interpreter; 1 is best for small networks.
            sha256: what the whole file must hash to, hex digits; see `artifact.read`.

        Raises:
            ModelFileError: the file is not one of ours, is damaged, or does not reproduce its golden images.
        """
        model = artifact.read(Path(path), sha256=sha256)
        classifier = cls(model, threads=threads)
        classifier._check_golden(model.golden, str(path))
        return classifier

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    @property
    def image_spec(self) -> ImageSpec:
        return self.manifest.image

    def predict(self, images: UInt8[np.ndarray, "n h w 3"]) -> Prediction:
        """Answers for N images.

        Args:
            images: u8[N,H,W,3], RGB 0..255, of the model's size (`lince.images.decode` makes them).

        Raises:
            LinceError: another shape or dtype.
        """
        return calibration.apply(self.logits(images), self.manifest.calibration)

    def probabilities(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n k"]:
        """Calibrated probabilities: this classifier as the `Predict` that `evaluate` takes."""
        return self.predict(images).probabilities

    def logits(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n k"]:
        """The network's output, dequantised; see `predict`."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.image_spec.shape:
            height, width, _ = self.image_spec.shape
            raise LinceError(
                f"Received images {images.dtype}{list(images.shape)}. Expected uint8[N,{height},{width},3]: "
                "read them with lince.images.decode."
            )
        with self._lock:
            return self._network.dequantize(self._network.run(images))

    def _check_golden(self, expected: Golden, path: str) -> None:
        steps = deviation_steps(self._network.run(expected.images), expected.logits)
        if steps > TOLERANCE_STEPS:
            raise ModelFileError(
                f"Model file {path!r}: its golden images give logits {steps:.4g} steps away from those recorded. "
                f"Expected at most {TOLERANCE_STEPS}: the file was altered, or this machine computes wrongly."
            )


class Network:
    """A flatbuffer in a LiteRT interpreter: u8[N,H,W,3] → i8[N,K] or f32[N,K], one at a time. Not thread-safe."""

    def __init__(self, flatbuffer: bytes, *, threads: int = 1):
        try:
            self._interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
            [self._input] = self._interpreter.get_input_details()
            [self._output] = self._interpreter.get_output_details()
            self._require_ends()  # before memory is taken for whatever sizes the file names
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())  # LiteRT's sentences come with line ends
            raise ModelFileError(f"LiteRT cannot run this network ({reason}). Export the file again.") from error

    def _require_ends(self) -> None:
        ends = [(end["dtype"], len(end["shape"]), end["shape"][:1].tolist()) for end in (self._input, self._output)]
        if ends not in [[(np.uint8, 4, [1]), (answers, 2, [1])] for answers in (np.int8, np.float32)]:
            raise ModelFileError(
                "The network's ends are not uint8[1,H,W,3] and int8[1,K] or float32[1,K]. Export it with lince."
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        height, width, channels = self._input["shape"][1:].tolist()
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return int(self._output["shape"][1])

    @property
    def answers_in_int8(self) -> bool:
        """Whether logits are int8 steps; otherwise they are real numbers."""
        return self._output["dtype"] is np.int8

    def run(self, images: UInt8[np.ndarray, "n h w 3"]) -> Logits:
        """Runs each image through the network, in order."""
        results = np.empty((len(images), self.num_classes), self._output["dtype"])
        for index in range(len(images)):
            self._interpreter.set_tensor(self._input["index"], images[index : index + 1])
            self._interpreter.invoke()
            results[index] = self._interpreter.get_tensor(self._output["index"])[0]
        return results

    def dequantize(self, logits: Logits) -> Float32[np.ndarray, "n k"]:
        """int8 steps to real numbers, by the output's scale and zero point; real numbers as they are."""
        if not self.answers_in_int8:
            return logits
        scale, zero_point = self._output["quantization"]
        return (logits.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
