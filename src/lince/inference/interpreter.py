"""A LiteRT interpreter of one flatbuffer: it takes pixels and returns the network's raw output."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float32, Int8

from lince.errors import WRITE_AGAIN, ModelFileError
from lince.system import machine, quiet
from lince.types import Images

Logits = Int8[np.ndarray, "n k"] | Float32[np.ndarray, "n k"]
"""A network's output: steps of int8, or real numbers of any other `manifest.Arithmetic`."""


def logits(flatbuffer: bytes, images: Images) -> Float32[np.ndarray, "n k"]:
    """The dequantized logits of images. Each core computes those of a part: that is faster than all cores on one image.

    Args:
        flatbuffer: `pixels` u8[N,H,W,3] → `logits`.
        images: u8[N,H,W,3].

    Raises:
        ModelFileError: LiteRT cannot run it.
    """
    with quiet.captured_stderr():
        networks = [Network(flatbuffer) for _ in range(max(1, min(machine.cores(), len(images))))]
    with ThreadPoolExecutor(len(networks), thread_name_prefix="lince-interpreter") as pool:
        cuts = np.linspace(0, len(images), len(networks) + 1).astype(int)
        parts = (images[start:end] for start, end in itertools.pairwise(cuts))
        found = np.concatenate(list(pool.map(Network.run, networks, parts)))
    return networks[0].dequantize(found)


class Network:
    """A flatbuffer in a LiteRT interpreter: u8[N,H,W,3] → i8[N,K] or f32[N,K], one at a time. Not thread-safe."""

    def __init__(self, flatbuffer: bytes, *, threads: int = 1):
        try:
            self._interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
            [self._input] = self._interpreter.get_input_details()
            [self._output] = self._interpreter.get_output_details()
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

    def run(self, images: Images) -> Logits:
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
