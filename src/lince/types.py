"""Frozen records that several packages share, without I/O and computation.

Shapes are written in one shorthand: `u8[N,H,W,3]` is a uint8 array of N RGB images, `f32[N,K]` a float32
array with a row per image and a column per class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypedDict

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt16
from msgspec import Meta

from lince.encoded_image.image_spec import ImageLimits as ImageLimits
from lince.encoded_image.image_spec import ImageSpec as ImageSpec
from lince.encoded_image.image_spec import ResizeRule as ResizeRule

_Share = Annotated[float, Meta(ge=0, le=1)]

ComputeDtype = Literal["bfloat16", "float32"]
Backend = Literal["tensorflow", "jax"]
"""The engine with which Keras trains."""


class Environment(TypedDict):
    """Where a network was trained: backend, a description of the machine, package versions."""

    backend: Backend
    machine: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Outputs:
    """What a model computes from N images, before calibration.

    Attributes:
        logits: f32[N,K].
        distances: f32[N], how far each image is from the training images; see `lince.familiarity`. None for a model
            that does not measure it, as a float model does not.
    """

    logits: Float32[np.ndarray, "n k"]
    distances: Float32[np.ndarray, " n"] | None = None


Predict = Callable[[UInt8[np.ndarray, "n h w 3"]], Outputs]
"""Pixels in, logits and distances out: what a float Keras model, an int8 model file and a server have in common.

`lince.calibration.apply` turns them into probabilities, prediction sets and "I don't know".
"""


class Images(Protocol):
    """u8[N,H,W,3], RGB pixels 0..255: an array in memory, or `lince.data.pixel_file.StoredImages` in a file.

    A slice, an index array or a mask gives an array of those images, a number the array of one image; `images[:]` gives
    all. The arrays must not be written to.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "..."]: ...

    def take(self, indices: Int64[np.ndarray, " m"], axis: int) -> "Images":
        """The images at `indices`; `axis` is 0. An array copies them, a file is not read."""


@dataclass(frozen=True)
class Split:
    """Labelled images.

    Attributes:
        images: u8[N,H,W,3], RGB pixels 0..255. They may be larger than memory: take a batch at a time.
        labels: i64[N], an index into `classes`.
        classes: names, in index order.
        names: each image's path inside the source, in the order of `images`; a tuple, or packed.
        sizes: u16[N,2], width and height of each picture before it was resized, upright; 0 where not known. None where
            no size is known.
    """

    images: Images
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    names: Sequence[str]
    sizes: UInt16[np.ndarray, "n 2"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Int64[np.ndarray, " m"]) -> "Split":
        """The images at `indices`, in that order."""
        packed: Any = self.names  # packed names are indexed as an array is
        names = tuple(packed[i] for i in indices) if isinstance(packed, tuple) else packed[indices]
        sizes = None if self.sizes is None else self.sizes[indices]
        return Split(self.images.take(indices, axis=0), self.labels[indices], self.classes, names, sizes)


@dataclass(frozen=True)
class Rejected:
    """A file that was left out, and the reason, one sentence."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Two splits of one source.

    Attributes:
        train: the images that training may use; the validation split is taken from them later.
        test: read by `lince evaluate` and the certificate only.
        fingerprint: SHA-256 (hex) over the source's content and how it was read.
        rejected: files that were left out.
        test_indices: of the images that were drawn as the test split, into all images sorted by name; empty for a
            source with its own test split.
        left_out: indices into `train` of images that are neither trained nor validated on; see `leave_out` of
            `data.load`.
        reading: how the source's folders were read, and which groups were named; empty for a source without folders.
        warnings: possible mistakes in the source, one sentence each.
        groups: i64[N], equal for training images that must stay on one side when they are divided again: copies,
            look-alikes, and images that `groups` of `data.load` names. None where they were not searched.
    """

    train: Split
    test: Split
    fingerprint: str
    rejected: tuple[Rejected, ...] = ()
    test_indices: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    reading: str = ""
    warnings: tuple[str, ...] = ()
    groups: Int64[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class Calibration:
    """The parameters that turn logits into calibrated probabilities, fitted on images that were held out from training.

    Attributes:
        temperature: logits are divided by it before the softmax.
        coverage: the share of images whose true class the prediction set should hold, 0..1.
        set_threshold: a class is in the set when its probability is at least this; the top class always is. None where
            there are no sets, because `n` images are too few to promise the coverage.
        abstain_below: the answer is "I don't know" when the top probability, times exp(−distance_weight · distance), is
            below this.
        n: validation images that it was fitted on; 0 when it was never fitted (temperature 1).
        distance_weight: 0 for a model that does not measure distances.
        uniform_share: the softmax is mixed with at most this share of the uniform distribution, until the least
            probable class has the probability uniform_share / K.
    """

    temperature: Annotated[float, Meta(gt=0, lt=1e6)] = 1.0
    coverage: _Share = 0.95
    set_threshold: _Share | None = None
    abstain_below: _Share = 0.0
    n: Annotated[int, Meta(ge=0, le=2**62)] = 0
    uniform_share: _Share = 0.0
    distance_weight: Annotated[float, Meta(ge=0, lt=1e6)] = 0.0


@dataclass(frozen=True)
class BinnedShares:
    """How a statistic of images was distributed.

    Attributes:
        edges: the 9 inner edges of 10 bins, rising; a bin holds its lower edge, and not its upper one.
        shares: of the images in each bin, 0..1, together 1.
    """

    edges: Annotated[tuple[Annotated[float, Meta(ge=0, le=255)], ...], Meta(min_length=9, max_length=9)]
    shares: Annotated[tuple[_Share, ...], Meta(min_length=10, max_length=10)]


@dataclass(frozen=True)
class DriftReference:
    """What the validation images of a model are like, to compare later ones with; see `lince.drift`.

    Attributes:
        n: the number of validation images.
        classes: the share of images that the model answers with each class, in their order; together 1.
        brightness, contrast: of the network's input pixels, mean and standard deviation.
    """

    n: Annotated[int, Meta(ge=1, le=2**62)]
    classes: tuple[_Share, ...]
    brightness: BinnedShares
    contrast: BinnedShares


@dataclass(frozen=True)
class Prediction:
    """Answers for a batch.

    Attributes:
        logits: f32[N,K], the network's dequantized output.
        probabilities: f32[N,K], calibrated; rows sum to 1.
        indices: i64[N], the top class: argmax of the logits, the lowest index on a tie.
        sets: bool[N,K], the prediction set; never empty. None for a model without sets.
        abstain: bool[N], true for "I don't know".
        distances: f32[N], as in `Outputs`.
    """

    logits: Float32[np.ndarray, "n k"]
    probabilities: Float32[np.ndarray, "n k"]
    indices: Int64[np.ndarray, " n"]
    sets: Bool[np.ndarray, "n k"] | None
    abstain: Bool[np.ndarray, " n"]
    distances: Float32[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class TextTable:
    """A table of texts, for the terminal, the report or the model card.

    Attributes:
        name: unique on a page.
        title: a line above it.
        header: a text for each column.
        rows: each as long as the header; the first text names the row.
        caption: a sentence below it, or nothing.
        words: the columns that hold words; the others hold numbers.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    words: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassScore:
    """One class's scores; each 0..1. `support` counts its images."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, with its probability."""

    name: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Report:
    """The evaluation of a model on one split.

    Attributes:
        accuracy: share of right answers, with its Wilson interval.
        nll: mean negative log-likelihood of the true class, in nats.
        ece: expected calibration error of the top probability, 15 equal-width bins, 0..1.
        confusion: counts, `confusion[true][predicted]`.
        mistakes: the wrong answers with the highest probability, worst first.
    """

    n: int
    accuracy: Interval
    balanced_accuracy: float
    macro_f1: float
    nll: float
    ece: float
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class SetReport:
    """The prediction sets and abstentions of a model on a split; coverage and size are None without sets."""

    target_coverage: float
    coverage: Interval | None
    mean_size: float | None
    abstained: float
    accuracy_when_answering: float


@dataclass(frozen=True)
class Latency:
    """One image at a time through an int8 network: median and 95th percentile in microseconds, over `runs` runs."""

    threads: int
    median_us: float
    p95_us: float
    images_per_second: float
    runs: int


@dataclass(frozen=True)
class EpochRecord:
    """One validation during training, and the epochs since the one before.

    Attributes:
        epoch: the last epoch trained, from 1.
        loss, accuracy: means over the training images seen since the validation before.
        val_loss, val_accuracy: on the validation images.
        learning_rate: of the first step since the validation before.
        images_per_second: while training; validation does not count.
        seconds: since the validation before: checkpoint, training and this validation.
        peak_memory_bytes: the most memory that the process has used; 0 where the system does not say.
        progress: the share of the training that is finished, 0 to 1.
        val_images: the number of validation images.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float
    peak_memory_bytes: int = 0
    progress: float = 0.0
    val_images: int = 0
