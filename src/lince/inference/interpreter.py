"""A LiteRT interpreter of one flatbuffer: it takes pixels and returns the network's raw output."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float32, Int8, Int64, UInt8

from lince.errors import WRITE_AGAIN, ModelFileError
from lince.system import machine, quiet
from lince.types import Images

Logits = Int8[np.ndarray, "n k"] | Float32[np.ndarray, "n k"]
"""A network's output: steps of int8, or real numbers of any other `manifest.Arithmetic`."""

Features = Float32[np.ndarray, "n d"]
"""Means of the channels of a network's second output, as real numbers but for a common factor."""


def logits(flatbuffer: bytes, images: Images) -> Float32[np.ndarray, "n k"]:
    """The dequantized logits of images. Each core computes those of a part: that is faster than all cores on one image.

    Args:
        flatbuffer: `pixels` u8[N,H,W,3] → `logits`.
        images: u8[N,H,W,3].

    Raises:
        ModelFileError: LiteRT cannot run it.
    """
    return logits_and_features(flatbuffer, images)[0]


def logits_and_features(flatbuffer: bytes, images: Images) -> tuple[Float32[np.ndarray, "n k"], Features | None]:
    """As `logits`, with the features of a network that has this output, else None."""
    with quiet.captured_stderr():
        networks = [Network(flatbuffer) for _ in range(max(1, min(machine.cores(), len(images))))]
    parts = np.array_split(np.arange(len(images)), len(networks))
    with ThreadPoolExecutor(len(networks), thread_name_prefix="lince-interpreter") as pool:
        found = list(pool.map(lambda network, part: network.run_with_features(images, part), networks, parts))
    steps, features = zip(*found, strict=True)
    return networks[0].dequantize(np.concatenate(steps)), None if features[0] is None else np.concatenate(features)


def features(flatbuffer: bytes, images: Images) -> Features:
    """As `logits`, the features alone; raises ModelFileError for a network without them."""
    found = logits_and_features(flatbuffer, images)[1]
    if found is None:
        raise ModelFileError(f"The network has one output. Expected features as the second one. {WRITE_AGAIN}")
    return found


class Network:
    """A flatbuffer in a LiteRT interpreter: u8[N,H,W,3] → i8[N,K] or f32[N,K], one at a time.

    Threads may share it. It takes one image at a time, so a thread with many images does not hold up another.

    It may have features, i8[N,h,w,D] or f32[N,h,w,D], as a second output.
    """

    def __init__(self, flatbuffer: bytes, *, threads: int = 1):
        self._turn = threading.Lock()
        try:
            self._interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
            [self._input] = self._interpreter.get_input_details()
            self._output, *others = self._interpreter.get_output_details()
            self._features = others[0] if others else None
            self._require_ends()  # before memory is allocated for the sizes that the file states
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())  # LiteRT's messages have several lines
            raise ModelFileError(f"LiteRT cannot run this network ({reason}). {WRITE_AGAIN}") from error

    def _require_ends(self) -> None:
        ends = [(end["dtype"], len(end["shape"]), end["shape"][:1].tolist()) for end in (self._input, self._output)]
        if ends not in [[(np.uint8, 4, [1]), (answers, 2, [1])] for answers in (np.int8, np.float32)]:
            raise ModelFileError(
                "The network does not map uint8[1,H,W,3] to int8[1,K] or float32[1,K]. Export it with lince."
            )
        if self._features is not None and len(self._features["shape"]) != 4:
            raise ModelFileError("The network's second output is not features[1,h,w,D]. Export it with lince.")

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

    @property
    def num_features(self) -> int:
        """The number of features, 0 without them."""
        return 0 if self._features is None else int(self._features["shape"][3])

    def run(self, images: Images) -> Logits:
        """Runs each image through the network, in order."""
        return self.run_with_features(images)[0]

    def run_with_features(
        self, images: Images, indices: Int64[np.ndarray, " m"] | None = None
    ) -> tuple[Logits, Features | None]:
        """As `run`, with the features of each image, f32[N,D]; None for a network without them.

        Args:
            images: read one by one, so that they may lie in a file.
            indices: i64[M], of the images to run; None: all.
        """
        chosen = range(len(images)) if indices is None else indices
        results = np.empty((len(chosen), self.num_classes), self._output["dtype"])
        features = np.empty((len(chosen), self.num_features), np.float32)
        for place, index in enumerate(chosen):
            with self._turn:
                results[place], inner = self._run_one(images[index : index + 1])
            if inner is not None:
                channels = inner.reshape(-1, features.shape[1])
                # As `mean` computes it, which takes twice as long.
                np.true_divide(np.add.reduce(channels, axis=0, dtype=np.float32), len(channels), out=features[place])
        if self._features is None:
            return results, None
        return results, features - np.float32(self._features["quantization"][1])

    def _run_one(self, image: UInt8[np.ndarray, "1 h w 3"]) -> tuple[np.ndarray, np.ndarray | None]:
        """The answer and the inner features."""
        self._interpreter.set_tensor(self._input["index"], image)
        self._interpreter.invoke()
        inner = None if self._features is None else self._interpreter.get_tensor(self._features["index"])[0]
        return self._interpreter.get_tensor(self._output["index"])[0], inner

    def dequantize(self, logits: Logits) -> Float32[np.ndarray, "n k"]:
        """int8 steps to real numbers, by the output's scale and zero point; real numbers as they are."""
        if not self.answers_in_int8:
            return logits
        scale, zero_point = self._output["quantization"]
        return (logits.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
