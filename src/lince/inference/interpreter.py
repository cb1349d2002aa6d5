"""A LiteRT interpreter of one flatbuffer: it takes pixels and returns the network's raw output."""

import itertools
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from jaxtyping import Float32, Int8, Int64

from lince.errors import WRITE_AGAIN, ModelFileError
from lince.system import machine, quiet
from lince.types import Images

Logits = Int8[np.ndarray, "n k"] | Float32[np.ndarray, "n k"]
"""A network's output: steps of int8, or real numbers of any other `manifest.Arithmetic`."""

Features = Float32[np.ndarray, "n d"]
"""Means of the channels of a network's second output, as real numbers but for a common factor."""

_BATCH = 8  # so many images are shared among copies; for fewer, starting the threads takes longer than it saves

# A copy takes up to 8 images in one call, in which no other thread waits for Python, but no tensor of more than 4 MiB.
_AT_ONCE, _AT_ONCE_BYTES = 8, 2**22


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
        network = Network(flatbuffer, copies=machine.cores())
    steps, features = network.run_with_features(images)
    return network.dequantize(steps), features


def features(flatbuffer: bytes, images: Images) -> Features:
    """As `logits`, the features alone; raises ModelFileError for a network without them."""
    found = logits_and_features(flatbuffer, images)[1]
    if found is None:
        raise ModelFileError(f"The network has one output. Expected features as the second one. {WRITE_AGAIN}")
    return found


class Network:
    """A flatbuffer in LiteRT: u8[N,H,W,3] → i8[N,K] or f32[N,K].

    Threads may share it. Images go through an interpreter one at a time, so a thread with many images does not hold up
    another. Copies of it share the images of a large batch: that is faster than all cores on one image. In int8 each
    copy takes a few at once, which gives the same bits: integers are summed without rounding.

    It may have features, i8[N,h,w,D] or f32[N,h,w,D], as a second output.

    Args:
        flatbuffer: of the network.
        threads: of the interpreter, for one image.
        copies: that work on a batch at the same time. They are made for the first batch, and never used for few images.

    Raises:
        ModelFileError: LiteRT cannot run it.
    """

    def __init__(self, flatbuffer: bytes, *, threads: int = 1, copies: int = 1):
        self._one = _Interpreter(flatbuffer, threads)
        self._copies = _Copies(flatbuffer, copies) if copies > 1 else None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        height, width, channels = self._one.input["shape"][1:].tolist()
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return int(self._one.output["shape"][1])

    @property
    def answers_in_int8(self) -> bool:
        """Whether logits are int8 steps; otherwise they are real numbers."""
        return self._one.output["dtype"] is np.int8

    @property
    def num_features(self) -> int:
        """The number of features, 0 without them."""
        return 0 if self._one.features is None else int(self._one.features["shape"][3])

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
        count = len(images) if indices is None else len(indices)
        results = np.empty((count, self.num_classes), self._one.output["dtype"])
        features = np.empty((count, self.num_features), np.float32)

        def fill(interpreter: _Interpreter, places: range, at_once: int) -> None:
            for first in places[::at_once]:
                part = slice(first, min(first + at_once, places.stop))
                taken = images[part if indices is None else indices[part]]
                interpreter.run(taken, results[part], features[part])

        if self._copies is not None and count >= _BATCH:
            self._copies.share(count, fill)
        else:
            fill(self._one, range(count), 1)
        if self._one.features is None:
            return results, None
        return results, features - np.float32(self._one.features["quantization"][1])

    def dequantize(self, logits: Logits) -> Float32[np.ndarray, "n k"]:
        """int8 steps to real numbers, by the output's scale and zero point; real numbers as they are."""
        if not self.answers_in_int8:
            return logits
        scale, zero_point = self._one.output["quantization"]
        return (logits.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


class _Interpreter:
    """LiteRT's interpreter of one flatbuffer, for one call at a time.

    Attributes:
        input, output: LiteRT's details of them.
        features: the same of the second output; None without one.
    """

    def __init__(self, flatbuffer: bytes, threads: int = 1):
        self._turn = threading.Lock()
        self._count = 1  # of images that it has memory for
        try:
            self._interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
            [self.input] = self._interpreter.get_input_details()
            self.output, *others = self._interpreter.get_output_details()
            self.features = others[0] if others else None
            self._require_ends()  # before memory is allocated for the sizes that the file states
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())  # LiteRT's messages have several lines
            raise ModelFileError(f"LiteRT cannot run this network ({reason}). {WRITE_AGAIN}") from error

    def _require_ends(self) -> None:
        ends = [(end["dtype"], len(end["shape"]), end["shape"][:1].tolist()) for end in (self.input, self.output)]
        if ends not in [[(np.uint8, 4, [1]), (answers, 2, [1])] for answers in (np.int8, np.float32)]:
            raise ModelFileError(
                "The network does not map uint8[1,H,W,3] to int8[1,K] or float32[1,K]. Export it with lince."
            )
        if self.features is not None and len(self.features["shape"]) != 4:
            raise ModelFileError("The network's second output is not features[1,h,w,D]. Export it with lince.")

    def run(self, images: Images, logits: Logits, features: Features) -> None:
        """Writes the answers to `logits` [N,K], and the means of the inner features to `features` f32[N,D], D ≥ 0."""
        count = len(images)
        with self._turn:
            if count != self._count:
                self._count = 0  # when memory is short here, the next call begins anew
                self._interpreter.resize_tensor_input(self.input["index"], images.shape)
                self._interpreter.allocate_tensors()
                self._count = count
            self._interpreter.set_tensor(self.input["index"], images)
            self._interpreter.invoke()
            inner = None if self.features is None else self._interpreter.get_tensor(self.features["index"])
            logits[:] = self._interpreter.get_tensor(self.output["index"])
        if inner is not None:
            channels = inner.reshape(count, -1, features.shape[1])
            # As `mean` computes it, which takes twice as long.
            np.true_divide(np.add.reduce(channels, axis=1, dtype=np.float32), channels.shape[1], out=features)

    def most_at_once(self) -> int:
        """How many images a call may take.

        One for a network with float layers, where the sums may round otherwise, and for one that states a fixed batch.
        """
        tensors = self._interpreter.get_tensor_details()
        if any(tensor["dtype"] is np.float32 for tensor in tensors):
            return 1
        largest = max(math.prod(tensor["shape"].tolist()) for tensor in tensors)
        most = max(1, min(_AT_ONCE, _AT_ONCE_BYTES // int(largest)))
        return most if most > 1 and self._takes(most) else 1

    def _takes(self, count: int) -> bool:
        images = np.zeros((count, *self.input["shape"][1:].tolist()), np.uint8)
        outputs = [end for end in (self.output, self.features) if end is not None]
        logits, features = (np.empty((count, end["shape"][-1]), np.float32) for end in (self.output, outputs[-1]))
        try:
            self.run(images, logits, features)
        except (ValueError, RuntimeError):
            return False
        return True


class _Copies:
    """Interpreters of one flatbuffer, for the caller's thread and for others. They are made when first needed."""

    def __init__(self, flatbuffer: bytes, count: int):
        self._flatbuffer, self._count = flatbuffer, count
        self._made: list[_Interpreter] = []
        self._at_once = 1
        self._making = threading.Lock()
        self._pool = ThreadPoolExecutor(count - 1, thread_name_prefix="lince-interpreter")

    def share(self, count: int, fill: Callable[[_Interpreter, range, int], None]) -> None:
        """Calls `fill` for all interpreters at the same time.

        Each has its share of the places 0 to `count` − 1, and how many of them it may take in one call.
        """
        with self._making:
            if not self._made:
                self._made = [_Interpreter(self._flatbuffer) for _ in range(self._count)]
                self._at_once = self._made[0].most_at_once()
        ends = [count * part // self._count for part in range(self._count + 1)]
        shares = [range(*pair) for pair in itertools.pairwise(ends)]
        theirs = self._pool.map(fill, self._made[1:], shares[1:], itertools.repeat(self._at_once))
        fill(self._made[0], shares[0], self._at_once)
        for _ in theirs:
            pass
