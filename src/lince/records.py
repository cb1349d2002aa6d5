"""Frozen records that cross borders between rooms. Data only: no I/O, no computing.

Shapes are written in one shorthand: `u8[N,H,W,3]` is a uint8 array of N RGB images, `f32[N,K]` a float32
array with a row per image and a column per class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

ResizeRule = Literal["crop", "stretch"]
ArithmeticKind = Literal["int8", "mixed", "int16", "dynamic"]
RangeMethod = Literal["min_max", "moving_average", "q99", "q99.9"]

Predict = Callable[[UInt8[np.ndarray, "n h w 3"]], Float32[np.ndarray, "n k"]]
"""The one seam that evaluation shares with everything that answers: pixels in, probabilities out.

A float Keras model, an int8 model file and the address of a running server all become a `Predict`.
"""


@dataclass(frozen=True)
class ImageSpec:
    """What a network wants to see.

    Attributes:
        height, width: pixels.
        resize: what happens to other sizes; `"crop"` cuts the largest centred rectangle of the right shape and
            scales it, `"stretch"` scales the whole picture and ignores its shape.
    """

    height: int = 32
    width: int = 32
    resize: ResizeRule = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, 3)


@dataclass(frozen=True)
class ImageLimits:
    """Bounds checked before anything is decoded.

    Attributes:
        max_bytes: of one encoded image. 10 MiB holds a 24-megapixel JPEG of a phone.
        max_pixels: width × height as the header declares them. 50 MP decode to 150 MB of RGB.
    """

    max_bytes: int = 10 * 2**20
    max_pixels: int = 50_000_000


class Images(Protocol):
    """u8[N,H,W,3], RGB pixels 0..255: an array in memory, or `lince.data.stored.StoredImages` in a file.

    Indexed by a slice, an index array or a mask of images it gives an array of those (by a number, of one), not to be
    written to; `images[:]` is all of them.
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
        images: u8[N,H,W,3], RGB pixels 0..255; more than memory may hold, so to be taken a batch at a time.
        labels: i64[N], an index into `classes`.
        classes: names, in index order.
        names: where each image came from (a path inside the source), in the order of `images`; a tuple, or packed.
    """

    images: Images
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Int64[np.ndarray, " m"]) -> "Split":
        """The images at `indices`, in that order."""
        names = self.names
        names = tuple(names[i] for i in indices) if isinstance(names, tuple) else names[indices]
        return Split(self.images.take(indices, axis=0), self.labels[indices], self.classes, names)


@dataclass(frozen=True)
class Rejected:
    """A file that was left out, and why, in one sentence."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Two splits of one source.

    Attributes:
        train: everything that training may see; the validation split is taken from it later.
        test: read by `lince evaluate` and the certificate only.
        fingerprint: SHA-256 (hex) over the source's content and how it was read.
        rejected: files that were left out.
        test_indices: for a source without its own test split, the indices (into all its images sorted by name)
            that were set aside, so that the run folder can write them down; empty otherwise.
        left_out: indices into `train` of images neither to train on nor to validate on, because they are in the source
            that is to be tested on; see `leave_out` of `data.load`.
    """

    train: Split
    test: Split
    fingerprint: str
    rejected: tuple[Rejected, ...] = ()
    test_indices: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """What turns logits into honest probabilities; fitted on validation images through the int8 model.

    Attributes:
        temperature: logits are divided by it before the softmax.
        coverage: the share of images whose true class the prediction set should hold, 0..1.
        set_threshold: a class is in the set when its probability is at least this; the top class always is.
        abstain_below: the answer is "I don't know" when the top probability is below this.
        n: validation images it was fitted on; 0 means never fitted (temperature 1).
    """

    temperature: float = 1.0
    coverage: float = 0.95
    set_threshold: float = 0.0
    abstain_below: float = 0.0
    n: int = 0


@dataclass(frozen=True)
class Prediction:
    """Answers for a batch.

    Attributes:
        logits: f32[N,K], the network's dequantised output.
        probabilities: f32[N,K], softmax(logits / temperature); rows sum to 1.
        indices: i64[N], the top class: argmax of the logits, the lowest index on a tie.
        sets: bool[N,K], the prediction set; never empty.
        abstain: bool[N], true for "I don't know".
    """

    logits: Float32[np.ndarray, "n k"]
    probabilities: Float32[np.ndarray, "n k"]
    indices: Int64[np.ndarray, " n"]
    sets: Bool[np.ndarray, "n k"]
    abstain: Bool[np.ndarray, " n"]


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
    """A wrong answer, and how sure it was."""

    name: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Report:
    """What `evaluate` found on one split.

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
    """How the prediction sets and abstentions of a model behaved on a split."""

    target_coverage: float
    coverage: Interval
    mean_size: float
    abstained: float
    accuracy_when_answering: float


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images, paired: the half of a `Certificate` that is computed from answers.

    The attributes are the certificate's: `Certificate(**vars(comparison), split=…, flatbuffer_bytes=…, …)`.
    """

    n: int
    float_accuracy: float
    int8_accuracy: float
    drop_points: Interval
    disagreement: float
    worst_class: str
    worst_class_drop_points: float
    float_ece: float
    int8_ece: float
    calibrated_ece: float


@dataclass(frozen=True)
class Certificate:
    """Float against int8 on the same images, paired.

    Attributes:
        n: images compared, all of one split.
        float_accuracy, int8_accuracy: 0..1.
        drop_points: float minus int8 accuracy in percentage points, with its paired 95 % interval.
        disagreement: share of images on which the two answer differently.
        worst_class, worst_class_drop_points: the class whose recall fell most.
        float_ece, int8_ece, calibrated_ece: float model, int8 model before and after temperature.
        flatbuffer_bytes: size of the int8 network.
        latency_us: median of one image on one thread, microseconds, on the machine named in `machine`.
        bound_points: the drop above which publishing is refused.
        forced: true when it was published above the bound with `--force`.
    """

    split: str
    n: int
    float_accuracy: float
    int8_accuracy: float
    drop_points: Interval
    disagreement: float
    worst_class: str
    worst_class_drop_points: float
    float_ece: float
    int8_ece: float
    calibrated_ece: float
    flatbuffer_bytes: int
    latency_us: float
    machine: str
    bound_points: float
    forced: bool = False


@dataclass(frozen=True)
class Latency:
    """One image at a time through an int8 network: median and 95th percentile in microseconds, over `runs` runs."""

    threads: int
    median_us: float
    p95_us: float
    images_per_second: float
    runs: int


@dataclass(frozen=True)
class Arithmetic:
    """What a published network computes in. Weights are int8 in all of them, but for layers kept in float.

    Attributes:
        kind: `int8`: activations are int8 too, and nothing is in float; `mixed`: int8, but for `float_layers`;
            `int16`: activations of 16 bits; `dynamic`: activations in float, brought to int8 as they come.
        float_layers: names of the layers that `mixed` leaves in float.
    """

    kind: ArithmeticKind = "int8"
    float_layers: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """In words."""
        return {
            "int8": "int8 throughout",
            "mixed": f"int8, with {', '.join(self.float_layers)} in float",
            "int16": "int8 weights, 16-bit activations",
            "dynamic": "int8 weights, activations in float, brought to int8 as they come",
        }[self.kind]


@dataclass(frozen=True)
class Divergence:
    """How far a quantised network's logits are from the float network's, on the same images.

    Attributes:
        kl: mean Kullback–Leibler divergence of its softmax from the float network's, in nats.
        logit_error: root mean square of the difference of the logits, each row centred, over that of the float logits.
        disagreement: share of images answered differently.
    """

    kl: float
    logit_error: float
    disagreement: float


@dataclass(frozen=True)
class LayerCost:
    """What int8 costs when one layer alone computes in it and all others in float.

    Attributes:
        layer: its name, also that of its output's tensor in the flatbuffer.
        operation: such as `CONV_2D`.
        weights: how many numbers it holds, biases apart; 0 for an addition.
    """

    layer: str
    operation: str
    weights: int
    divergence: Divergence


@dataclass(frozen=True)
class Sensitivity:
    """What each layer costs, costliest (by KL) first, on `n` validation images; `whole` is int8 throughout."""

    n: int
    layers: tuple[LayerCost, ...]
    whole: Divergence


@dataclass(frozen=True)
class Attempt:
    """A rung of the fallback ladder: a network that was tried, judged on `n` validation images.

    Attributes:
        drop_points: float minus quantised accuracy, percentage points, with its paired 95 % interval.
        latency_us: mean of one image on one thread, microseconds.
        passed: the drop is within the bound.
    """

    arithmetic: Arithmetic
    n: int
    drop_points: Interval
    divergence: Divergence
    flatbuffer_bytes: int
    latency_us: float
    passed: bool


@dataclass(frozen=True)
class StudyPoint:
    """One quantised network of a study: ranges by a method, from so many images, the draw'th choice of them."""

    method: RangeMethod
    images: int
    draw: int
    divergence: Divergence
    accuracy: float


@dataclass(frozen=True)
class Study:
    """`study.json` of a run: what the choice of activation ranges costs, on `n` validation images.

    Attributes:
        float_accuracy: of the float network on those images.
        method, images: the choice in use.
    """

    n: int
    float_accuracy: float
    method: RangeMethod
    images: int
    points: tuple[StudyPoint, ...]


@dataclass(frozen=True)
class CalibratedAnswers:
    """One network's answers, calibrated on the validation images through itself, measured on the test images."""

    temperature: float
    nll: float
    ece: float
    sets: SetReport


@dataclass(frozen=True)
class CalibrationComparison:
    """Calibrated answers before and after quantisation, and how far apart they are on the same images.

    Attributes:
        coverage_drop_points: coverage of the float network's sets minus that of the file's, percentage points, paired.
        set_size_growth: classes that a set of the file holds more, on average.
    """

    float32: CalibratedAnswers
    int8: CalibratedAnswers
    coverage_drop_points: Interval
    set_size_growth: float


@dataclass(frozen=True)
class RunReport:
    """`report.json` of a run: everything measured about its model, on the test split unless said otherwise.

    Attributes:
        float32: the float model.
        int8: the model file as it is served, calibrated.
        sets: its prediction sets and abstentions.
        validation_accuracy: of the model file on the validation split.
        arithmetic: of the model file; the fields named `int8` are of this file, whatever it computes in.
        sensitivity: what each layer costs.
        calibrated: answers before and after quantisation, each network with a calibration of its own.
        ladder: what `--fallback` tried, in order; empty without it.
    """

    name: str
    version: str
    classes: tuple[str, ...]
    float32: Report
    int8: Report
    sets: SetReport
    validation_accuracy: Interval
    calibration: Calibration
    certificate: Certificate
    arithmetic: Arithmetic = Arithmetic()
    sensitivity: Sensitivity | None = None
    calibrated: CalibrationComparison | None = None
    ladder: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch of training, counted from 1.

    Attributes:
        learning_rate: of its first step.
        images_per_second: while training, validation apart.
        seconds: of training, validation and what came before it: the checkpoint of the epoch before.
        peak_memory_bytes: the most that the process held up to then; 0 where the system does not say.
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


@dataclass(frozen=True)
class Manifest:
    """`manifest.json` of a model file; see `docs/model-file.md`.

    Attributes:
        version: first 12 hex digits of the flatbuffer's SHA-256.
        flatbuffer_sha256, flatbuffer_bytes: of the network that precedes the archive.
        created: UTC, ISO 8601.
        arithmetic: what the network computes in; int8 unless a fallback was asked for.
        training: recipe, seed, dataset fingerprint, calibration indices, package versions, backend. Free-form JSON.
    """

    name: str
    version: str
    created: str
    classes: tuple[str, ...]
    image: ImageSpec
    calibration: Calibration
    flatbuffer_sha256: str
    flatbuffer_bytes: int
    certificate: Certificate | None = None
    arithmetic: Arithmetic = Arithmetic()
    training: dict[str, Any] = field(default_factory=dict)
    format: int = 1
