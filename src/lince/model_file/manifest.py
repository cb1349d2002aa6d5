"""Records of a published model: its arithmetic, what quantization cost, how accurate it is, and how it was made.

As in `types.py`, they are frozen and consist of plain data.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from lince.language import Language
from lince.text import quantity
from lince.types import Calibration, DriftReference, ImageSpec, Interval, Report, SetReport

FORMAT = 2  # of manifest.json; 2: the certificate contains a comparison


@dataclass(frozen=True)
class Comparison:
    """The float and the quantized network on the same images, paired.

    Attributes:
        n: images compared.
        float_accuracy, int8_accuracy: 0..1.
        drop_points: float minus int8 accuracy in percentage points, with its paired 95 % interval.
        disagreement: share of images on which the two answer differently.
        worst_class, worst_class_drop_points: the class whose recall fell most.
        float_ece, int8_ece, calibrated_ece: float model, int8 model before and after temperature.
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

    @property
    def difference_points(self) -> Interval:
        """The int8 minus the float accuracy: `drop_points` with the opposite sign."""
        drop = self.drop_points
        return Interval(-drop.value, -drop.high, -drop.low)

    @property
    def fallen(self) -> str:
        """Which class's recall fell most, in words."""
        return f"recall of {self.worst_class}" if self.worst_class_drop_points > 0 else "no recall fell"


@dataclass(frozen=True)
class Certificate:
    """What quantization cost, measured on one split, and whether the model passed.

    Attributes:
        comparison: of both networks' answers to all images of the split.
        split: of the dataset; the test split.
        flatbuffer_bytes: size of the int8 network.
        latency_us: median of one image on one thread, microseconds, on the machine named in `machine`.
        bound_points: publishing is refused when the interval shows a larger drop, or when the drop is a large one; see
            `quantization/certificate.py`.
        forced: true when it was refused for its drop, and published all the same with `--force`.
    """

    comparison: Comparison
    split: str
    flatbuffer_bytes: int
    latency_us: float
    machine: str
    bound_points: float
    forced: bool = False

    @property
    def verdict(self) -> str:
        """In words, whether the drop is shown to be within the bound."""
        if self.forced:
            return "not passed, published with --force"
        n = self.comparison.n
        if self.comparison.drop_points.high <= self.bound_points:
            return "passed"
        few = f"{quantity(n, 'image')} {'is' if n == 1 else 'are'} too few"
        return f"not shown to be within the bound, for which {few}"


@dataclass(frozen=True)
class Finding:
    """One fact that a user of a published model must know.

    Attributes:
        code: for programs; `evaluation/verdict.py` lists them.
        sentence: for people, in English: what was found, and what to do.
        translations: of the sentence, by language; empty in files of older versions.
    """

    code: str
    sentence: str
    translations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """An assessment of a published model: one to three findings, the most important first."""

    findings: tuple[Finding, ...]

    @property
    def text(self) -> str:
        """The sentences, in English."""
        return self.text_in("en")

    def text_in(self, language: Language) -> str:
        """The sentences in a language; in English where the file has no translation."""
        return " ".join(finding.translations.get(language, finding.sentence) for finding in self.findings)


@dataclass(frozen=True)
class Leakage:
    """Numbers of test images that are among the training or validation images as well.

    Attributes:
        identical: with the same pixels as one of those images.
        look_alike: nearly equal to one of them.
        accuracy_without: of the model file on all other test images; None when there are no others.
    """

    identical: int
    look_alike: int
    accuracy_without: Interval | None


@dataclass(frozen=True)
class Arithmetic:
    """What a published network computes in: int8, but for some layers that a fallback keeps in float.

    Attributes:
        float_layers: their names, most sensitive first; empty when the whole network is int8.
    """

    float_layers: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["int8", "mixed"]:
        """A word for table headings."""
        return "mixed" if self.float_layers else "int8"

    @property
    def description(self) -> str:
        """In words."""
        return f"int8, with {', '.join(self.float_layers)} in float" if self.float_layers else "int8 throughout"


@dataclass(frozen=True)
class Divergence:
    """How far a quantized network's logits are from the float network's, on the same images.

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
    """The cost of int8 in one layer, with all other layers in float.

    Attributes:
        layer: its name, which its output's tensor in the flatbuffer has as well.
        operation: such as `CONV_2D`.
        weights: number of its weights, without biases; 0 for an addition.
    """

    layer: str
    operation: str
    weights: int
    divergence: Divergence


@dataclass(frozen=True)
class Sensitivity:
    """The cost of int8 in each layer, highest KL first, on `n` validation images; `whole` is int8 in all layers."""

    n: int
    layers: tuple[LayerCost, ...]
    whole: Divergence


@dataclass(frozen=True)
class Attempt:
    """A network that `--fallback` tried, measured on `n` validation images.

    Attributes:
        drop_points: float minus quantized accuracy, percentage points, with its paired 95 % interval.
        accuracy: of the quantized network, 0..1.
        latency_us: mean of one image on one thread, microseconds.
        is_chosen: this network is published; see `quantization/fallback.py`.
    """

    arithmetic: Arithmetic
    n: int
    drop_points: Interval
    divergence: Divergence
    accuracy: float
    flatbuffer_bytes: int
    latency_us: float
    is_chosen: bool


@dataclass(frozen=True)
class CalibratedAnswers:
    """One network's answers, calibrated on the validation images through itself, measured on the test images."""

    temperature: float
    nll: float
    ece: float
    sets: SetReport


@dataclass(frozen=True)
class CalibrationComparison:
    """Calibrated answers before and after quantization, and how far apart they are on the same images.

    Attributes:
        coverage_drop_points: coverage of the float network's sets minus that of the file's, percentage points, paired.
        set_size_growth: classes that a set of the file holds more, on average. Both None without sets.
    """

    float32: CalibratedAnswers
    int8: CalibratedAnswers
    coverage_drop_points: Interval | None
    set_size_growth: float | None


@dataclass(frozen=True)
class ClassCounts:
    """Numbers of images of each class, in their order, that a network was trained on and validated with."""

    train: tuple[int, ...]
    validation: tuple[int, ...]


@dataclass(frozen=True)
class RunReport:
    """`report.json` of a run: everything measured about its model, on the test split unless said otherwise.

    Attributes:
        float32: the float model.
        int8: the model file as it is served, calibrated.
        sets: its prediction sets and abstentions.
        validation_accuracy: of the model file on the validation split.
        training_accuracy: of the model file on training images as they are, a sample of them.
        leakage: what of the test split is in the others, too; None when it was not looked for.
        verdict: what to make of the model.
        class_counts: None in a report that was written without them.
        arithmetic: of the model file; the fields named `int8` are of this file, whatever it computes in.
        sensitivity: what each layer costs.
        calibrated: answers before and after quantization, each network with a calibration of its own.
        fallback: the networks that `--fallback` tried, in order; empty without it.
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
    arithmetic: Arithmetic
    sensitivity: Sensitivity
    calibrated: CalibrationComparison
    fallback: tuple[Attempt, ...]
    training_accuracy: Interval
    leakage: Leakage | None
    verdict: Verdict
    class_counts: ClassCounts | None = None


@dataclass(frozen=True)
class Pretrained:
    """The weights that a training began with, where these were trained before.

    Attributes:
        source: where they come from.
        licence: under which they may be used.
        data: what they were trained on.
    """

    source: str
    licence: str
    data: str


@dataclass(frozen=True)
class CurvePoint:
    """One validation during training, as a point of the training's curves; see `EpochRecord`.

    Attributes:
        is_kept: the model has the weights of this epoch.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    is_kept: bool


@dataclass(frozen=True)
class Manifest:
    """`manifest.json` of a model file; see `docs/model-file.md`.

    Attributes:
        version: first 12 hex digits of the flatbuffer's SHA-256.
        flatbuffer_sha256, flatbuffer_bytes: of the network that precedes the archive.
        created: UTC, ISO 8601.
        arithmetic: what the network computes in; int8 unless a fallback was asked for.
        certificate, verdict: None for a network that was not measured.
        pretrained: None for a network that was trained from scratch.
        drift_reference: what its validation images are like; None for a file that was written without one.
        curves: the course of its training; empty for a file that was written without them.
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
    verdict: Verdict | None = None
    pretrained: Pretrained | None = None
    drift_reference: DriftReference | None = None
    curves: tuple[CurvePoint, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT
