"""Pictures of a training run and of its answers, as matplotlib Figures.

Figures are made without pyplot: they share no state and need no window system. The colours are those of Okabe and Ito,
which colour-blind readers can distinguish. Line styles and markers repeat their meaning for print in grey.
"""

import io
import warnings
from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from jaxtyping import Float32, Int64
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lince import metrics
from lince.model_file.manifest import Sensitivity
from lince.number_formats import percent
from lince.text import quantity
from lince.types import EpochRecord, Report

_TRAINING, _VALIDATION = "#0072B2", "#D55E00"  # blue and vermilion. Source: Okabe and Ito 2008
_INK, _FAINT = "#333333", "#999999"
_COUNTS_UP_TO = 20  # classes: with more, the numbers in the cells are too small to read
_NAMES_UP_TO = 60  # classes: with more, the names run into each other
_NAME_LENGTH = 22  # characters of a class name beside an axis
_LAYERS_UP_TO = 30  # bars that fit a page: the most sensitive layers
_LAYER_NAME_LENGTH = 30
_PERCENT = PercentFormatter(xmax=1, decimals=0, symbol=" %")
_DPI = 160  # sharp at twice the size of the page


def accuracy_curves(history: Sequence[EpochRecord], *, patience: int) -> Figure:
    """Training and validation accuracy by epoch, with the epoch marked whose weights were kept.

    Args:
        history: one record an epoch.
        patience: of the recipe. Above 0, the weights of the lowest validation loss were kept; at 0, the last.
    """
    figure, axes = _curves(history, ("accuracy", "val_accuracy"), patience=patience, kept_format="{:.1%}")
    axes.set(title="Accuracy by epoch", ylabel="accuracy")
    axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))  # as many digits as the ticks need
    axes.legend(frameon=False)
    return figure


def loss_curves(history: Sequence[EpochRecord], *, patience: int) -> Figure:
    """Training and validation loss by epoch; arguments and mark as of `accuracy_curves`."""
    figure, axes = _curves(history, ("loss", "val_loss"), patience=patience, kept_format="{:.3f}")
    axes.set(title="Loss by epoch", ylabel="cross-entropy (nats)")
    axes.legend(frameon=False)
    return figure


def confusion_figure(report: Report, classes: tuple[str, ...]) -> Figure:
    """The confusion matrix: colour is the share of the true class, numbers (up to 20 classes) count images.

    The colour scale follows the square root of the share, so that mistakes of a few per cent are visible.

    Args:
        report: its `confusion` is drawn, row = true class.
        classes: K names.
    """
    counts = np.array(report.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = float(np.clip(0.55 * len(classes), 4.5, 11))  # inches: 0.55 holds a number of four digits
    figure = Figure(figsize=(size + 2, size + 0.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest")
    axes.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class")
    _name_classes(axes, classes)
    if len(classes) <= _COUNTS_UP_TO:
        _write_counts(axes, counts, shares)
    ticks = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)
    colour_bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=ticks, format=_PERCENT)
    colour_bar.set_label("share of the true class")
    colour_bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    return figure


def reliability_diagram(probabilities: Float32[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"]) -> Figure:
    """Share of right answers by their probability, with 95 % intervals, above the number of such answers.

    Args:
        probabilities: f32[N,K], N at least 1.
        labels: i64[N].

    Raises:
        LinceError: there are no images, or the numbers of answers and labels differ.
    """
    counts, confidence, accuracy = metrics.reliability_bins(probabilities, labels)
    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    above.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", linewidth=1, label="perfectly calibrated")
    _draw_reliability(above, counts, confidence, accuracy)
    error = metrics.expected_calibration_error(probabilities, labels)
    above.set(
        title=f"Reliability of {quantity(len(labels), 'answer')} (calibration error {percent(error)})",
        ylabel="share of right answers",
        ylim=(0, 1),
    )
    above.legend(loc="lower right", frameon=False)
    width = 1 / len(counts)
    below.bar((np.arange(len(counts)) + 0.5) * width, counts / counts.sum(), 0.92 * width, color=_TRAINING, alpha=0.6)
    below.set(xlabel="probability of the answer", ylabel="images", xlim=(0, 1))
    for axes in (above, below):
        _style(axes)
        axes.yaxis.set_major_formatter(_PERCENT)
    below.xaxis.set_major_formatter(_PERCENT)
    return figure


def sensitivity_figure(sensitivity: Sensitivity) -> Figure:
    """One bar a layer: the divergence of the answers when it alone computes in int8; the line is int8 throughout."""
    shown = sensitivity.layers[:_LAYERS_UP_TO]
    figure = Figure(figsize=(6.5, 1.6 + 0.24 * len(shown)), layout="constrained")
    axes = figure.subplots()
    costs = [1000 * cost.divergence.kl for cost in shown]
    names = [_shortened(cost.layer, _LAYER_NAME_LENGTH) for cost in shown]
    axes.barh(range(len(shown)), costs, color=_TRAINING, height=0.7)
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(
        1000 * sensitivity.whole.kl, color=_VALIDATION, linestyle="--", linewidth=1.6, label="all layers in int8"
    )
    axes.set(
        title=f"Layer sensitivity, {quantity(sensitivity.n, 'image')}",
        xlabel="KL divergence from the float network's answers (millinats)",
    )
    axes.legend(facecolor="white", framealpha=1, edgecolor="none", loc="lower right")
    _style(axes, grid="x")
    return figure


def rendered(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as a file, in SVG with selectable text; the same figure gives the same bytes."""
    file = io.BytesIO()
    # the salt and the missing date make ids and metadata depend on the figure alone
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lince"}), warnings.catch_warnings():
        # The built-in font lacks some scripts. The page shows such class names in the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        metadata = {"Date": None} if kind == "svg" else None
        # "tight", because the constrained layout cuts off labels beside axes of a fixed aspect
        figure.savefig(file, format=kind, dpi=_DPI, metadata=metadata, bbox_inches="tight", pad_inches=0.1)
    return file.getvalue()


def _curves(
    history: Sequence[EpochRecord], fields: tuple[str, str], *, patience: int, kept_format: str
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [record.epoch for record in history]
    training, validation = ([getattr(record, field) for record in history] for field in fields)
    marker = "o" if len(history) == 1 else None  # a line through one point cannot be seen
    axes.plot(epochs, training, color=_TRAINING, linestyle="--", linewidth=1.6, marker=marker, label="training")
    axes.plot(epochs, validation, color=_VALIDATION, linewidth=2, marker=marker, label="validation")
    kept = int(np.argmin([record.val_loss for record in history])) if patience else -1
    value = kept_format.format(validation[kept]).replace("%", " %")
    axes.axvline(epochs[kept], color=_FAINT, linestyle=":", linewidth=1.2, zorder=0)
    label = f"kept: epoch {epochs[kept]} ({value})"
    axes.plot(
        epochs[kept], validation[kept], "D", color=_VALIDATION, markeredgecolor="white", markersize=8, label=label
    )
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    _style(axes)
    return figure, axes


def _style(axes: Axes, *, grid: Literal["both", "x"] = "both") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis=grid, color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _draw_reliability(axes: Axes, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray) -> None:
    """A point at each bin that holds images, with its Wilson interval."""
    held = np.flatnonzero(counts)
    right = np.rint(accuracy * counts).astype(int)
    intervals = [metrics.accuracy_interval(int(right[i]), int(counts[i])) for i in held]
    reach = np.array([(interval.value - interval.low, interval.high - interval.value) for interval in intervals]).T
    axes.errorbar(
        confidence[held],
        accuracy[held],
        yerr=np.maximum(reach, 0),  # rounding may leave −1e-17
        color=_VALIDATION,
        ecolor=_FAINT,
        marker="o",
        markersize=5,
        linestyle="none",  # a line would draw the eye to bins of a handful of images
        capsize=2,
        clip_on=False,
        label="answers, 95 % interval",
    )


def _name_classes(axes: Axes, classes: tuple[str, ...]) -> None:
    """Class names beside both axes; `parse_math` is off because a $ in a folder's name is not a formula."""
    if len(classes) > _NAMES_UP_TO:
        return
    names = [_shortened(name, _NAME_LENGTH) for name in classes]
    size = 10 if len(classes) <= _COUNTS_UP_TO else 6
    positions = range(len(classes))
    axes.set_xticks(positions, names, fontsize=size, parse_math=False, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(positions, names, fontsize=size, parse_math=False)
    axes.tick_params(length=0)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """The number of images in each cell; cells without images stay empty."""
    size = 9 if counts.max() < 10_000 else 7
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.3 else _INK  # above it, white text is easier to read on the blue
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=size)
