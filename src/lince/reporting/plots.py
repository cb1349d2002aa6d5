"""Pictures of a training run and of its answers, as matplotlib Figures.

Figures are made without pyplot: they share no state and need no window system. The colours are those of Okabe and Ito,
which colour-blind readers can distinguish. Line styles and markers repeat their meaning for print in grey.

Inside a page (`inline_svg`), each colour becomes a variable of the page's style, so that the figures follow light and
dark. No two meanings share a colour for that reason.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal
from xml.etree import ElementTree

import matplotlib
import numpy as np
from jaxtyping import Float32, Int64
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lince import metrics
from lince.language import Language, number, text
from lince.model_file.manifest import Sensitivity
from lince.number_formats import percent
from lince.training.history import kept_with
from lince.types import EpochRecord, Report

_TRAINING, _VALIDATION = "#0072b2", "#d55e00"  # blue and vermilion. Source: Okabe and Ito 2008
_INK, _FAINT, _GRID, _PAPER = "#333333", "#999999", "#e5e5e5", "#ffffff"
_ON_BLUE = "#fefefe"  # text on dark blue cells: it stays white on a dark page
_VARIABLES = {
    _TRAINING: "--blue", _VALIDATION: "--vermilion", _INK: "--ink", _FAINT: "--axis", _GRID: "--line", _PAPER: "--page",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor"), _INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), _FAINT),
    "axes.titlesize": 11,
}
_COLOUR = re.compile("#[0-9a-f]{6}")
_FONT = re.compile(r"font(?:-size)?: ([\d.]+)px[^;]*(?:; font-family: [^;]*)?")
_FULL = 0.85  # opacity of the blue from which white text is easier to read on it than dark text
_COUNTS_UP_TO = 20  # classes: with more, the numbers in the cells are too small to read
_NAMES_UP_TO = 60  # classes: with more, the names run into each other
_NAME_LENGTH = 22  # characters of a class name beside an axis
_LAYERS_UP_TO = 30  # bars that fit a page: the most sensitive layers
_LAYER_NAME_LENGTH = 30
_DPI = 200  # sharp at twice the size of the page


def accuracy_curves(history: Sequence[EpochRecord], *, patience: int, language: Language = "en") -> Figure:
    """Training and validation accuracy by epoch, with the epoch marked whose weights were kept.

    Args:
        history: one record an epoch.
        patience: of the recipe. Above 0, the weights of the lowest validation loss were kept; at 0, the last.
        language: of the words in the figure.
    """
    figure, axes = _curves(history, ("accuracy", "val_accuracy"), patience, language, lambda share: percent(share, 1))
    axes.set(title=_text(language, "accuracy_title"), ylabel=_text(language, "accuracy"))
    axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(_percents(language))
    return figure


def loss_curves(history: Sequence[EpochRecord], *, patience: int, language: Language = "en") -> Figure:
    """Training and validation loss by epoch; arguments and mark as of `accuracy_curves`."""
    figure, axes = _curves(history, ("loss", "val_loss"), patience, language, lambda loss: f"{loss:.3f}")
    axes.set(title=_text(language, "loss_title"), ylabel=_text(language, "loss"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: number(language, f"{loss:g}")))
    return figure


def confusion_figure(report: Report, classes: tuple[str, ...], *, language: Language = "en") -> Figure:
    """The confusion matrix: opacity is the share of the true class, numbers (up to 20 classes) count images.

    The opacity is the square root of the share, so that mistakes of a few per cent are visible.

    Args:
        report: its `confusion` is drawn, row = true class.
        classes: K names.
        language: of the words in the figure.
    """
    counts = np.array(report.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = float(np.clip(0.46 * len(classes), 3, 9))  # inches: 0.46 holds a number of four digits
    figure, axes = _figure(size + 1.5, size + 1.2)
    opacity = np.sqrt(shares)
    blue = np.broadcast_to(to_rgb(_TRAINING), (*shares.shape, 3))
    axes.imshow(np.concatenate([blue, opacity[..., None]], axis=2), interpolation="nearest")
    title, predicted, true = (_text(language, key) for key in ("confusion_title", "predicted", "true"))
    axes.set(title=title, xlabel=predicted, ylabel=true)
    _name_classes(axes, classes)
    if len(classes) <= _COUNTS_UP_TO:
        _write_counts(axes, counts, opacity)
    axes.spines[:].set_color(_GRID)
    return figure


def reliability_diagram(
    probabilities: Float32[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"], *, language: Language = "en"
) -> Figure:
    """Share of right answers by their probability, with 95 % intervals, above the number of such answers.

    Args:
        probabilities: f32[N,K], N at least 1.
        labels: i64[N].
        language: of the words in the figure.

    Raises:
        LinceError: there are no images, or the numbers of answers and labels differ.
    """
    counts, confidence, accuracy = metrics.reliability_bins(probabilities, labels)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 4.8), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    above.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", linewidth=1, label=_text(language, "perfectly_calibrated"))
    _draw_reliability(above, counts, confidence, accuracy, label=_text(language, "answers_interval"))
    above.set_title(_text(language, "reliability_title", count=len(labels)), pad=12)  # above points at 100 %
    above.set(
        ylabel=_text(language, "share_right"),
        ylim=(0, 1),
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False)  # inside, it would cover intervals
    width = 1 / len(counts)
    below.bar((np.arange(len(counts)) + 0.5) * width, counts / counts.sum(), 0.92 * width, color=_TRAINING)
    below.set(xlabel=_text(language, "probability_of_answer"), ylabel=_text(language, "images"), xlim=(0, 1))
    for axes in (above, below):
        _style(axes)
        axes.yaxis.set_major_formatter(_percents(language))
    below.xaxis.set_major_formatter(_percents(language))
    return figure


def sensitivity_figure(sensitivity: Sensitivity, *, language: Language = "en") -> Figure:
    """One bar a layer: the divergence of the answers when it alone computes in int8; the line is int8 throughout."""
    shown = sensitivity.layers[:_LAYERS_UP_TO]
    figure, axes = _figure(5.2, 1.7 + 0.22 * len(shown))
    costs = [1000 * cost.divergence.kl for cost in shown]
    names = [_shortened(cost.layer, _LAYER_NAME_LENGTH) for cost in shown]
    axes.barh(range(len(shown)), costs, color=_TRAINING, height=0.7)
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    label = _text(language, "all_in_int8")
    axes.axvline(1000 * sensitivity.whole.kl, color=_VALIDATION, linestyle="--", linewidth=1.6, label=label)
    axes.set(
        title=_text(language, "sensitivity_title", count=sensitivity.n), xlabel=_text(language, "sensitivity_axis")
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: number(language, f"{cost:g}")))
    figure.legend(frameon=False, loc="outside lower right")
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
        figure.savefig(
            file,
            format=kind,
            dpi=_DPI,
            metadata=metadata,
            transparent=kind == "svg",
            bbox_inches="tight",
            pad_inches=0.1,
        )
    return file.getvalue()


def inline_svg(figure: Figure, *, name: str, label: str) -> str:
    """The figure as an element of an HTML page, in the page's colours and fonts.

    Args:
        figure: of this module.
        name: unique on the page; ids begin with it.
        label: what the figure shows, for readers who do not see it.
    """
    root = ElementTree.fromstring(rendered(figure, "svg"))
    width = root.attrib.pop("width").removesuffix("pt")
    del root.attrib["height"]
    for element in list(root.iter()):
        for child in [one for one in element if _local(one.tag) in ("metadata", "style")]:
            element.remove(child)
        element.tag = _local(element.tag)
        values = {_local(key): _themed(value, name) for key, value in element.attrib.items()}
        element.attrib = values | ({"id": f"{name}-{values['id']}"} if "id" in values else {})
    root.attrib |= {"role": "img", "aria-label": label, "class": "plot", "style": f"max-width: {width}pt"}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """A name without its namespace: HTML knows those of SVG."""
    return name.rpartition("}")[2]


def _themed(value: str, name: str) -> str:
    """An attribute of the figure `name`: the page's colours, fonts, and references to ids of this figure."""
    if value.startswith("#") and value not in _VARIABLES:
        return f"#{name}-{value[1:]}"
    value = value.replace("url(#", f"url(#{name}-")
    value = _COLOUR.sub(lambda found: f"var({_VARIABLES[found[0]]})" if found[0] in _VARIABLES else found[0], value)
    return _FONT.sub(r"font-size: \1px", value)


def _text(language: Language, key: str, **values: object) -> str:
    return text(language, f"plot.{key}", **values)


def _percents(language: Language) -> FuncFormatter:
    """Shares in per cent, with as many digits as the ticks need."""
    return FuncFormatter(lambda share, _: number(language, f"{100 * share:.6g} %"))


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that size in inches, with one pair of axes."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _curves(
    history: Sequence[EpochRecord],
    fields: tuple[str, str],
    patience: int,
    language: Language,
    written: Callable[[float], str],
) -> tuple[Figure, Axes]:
    figure, axes = _figure(4.8, 3.4)
    epochs = [record.epoch for record in history]
    training, validation = ([getattr(record, field) for record in history] for field in fields)
    marker = "o" if len(history) == 1 else None  # a line through one point cannot be seen
    names = _text(language, "training"), _text(language, "validation")
    axes.plot(epochs, training, color=_TRAINING, linestyle="--", linewidth=1.6, marker=marker, label=names[0])
    axes.plot(epochs, validation, color=_VALIDATION, linewidth=2, marker=marker, label=names[1])
    kept = history.index(kept_with(tuple(history), patience=patience))
    value = number(language, written(validation[kept]))
    axes.axvline(epochs[kept], color=_FAINT, linestyle=":", linewidth=1.2, zorder=0)
    label = _text(language, "kept", epoch=epochs[kept], value=value)
    axes.plot(epochs[kept], validation[kept], "D", color=_VALIDATION, markeredgecolor=_PAPER, markersize=8, label=label)
    axes.set_xlabel(_text(language, "epoch"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    _style(axes)
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize=9, columnspacing=1.2)
    return figure, axes


def _style(axes: Axes, *, grid: Literal["both", "x"] = "both") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _draw_reliability(
    axes: Axes, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, *, label: str
) -> None:
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
        label=label,
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


def _write_counts(axes: Axes, counts: np.ndarray, opacity: np.ndarray) -> None:
    """The number of images in each cell; cells without images stay empty."""
    size = 9 if counts.max() < 10_000 else 7
    for row, column in np.argwhere(counts):
        colour = _ON_BLUE if opacity[row, column] > _FULL else _INK
        count = str(counts[row, column])
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=size, weight="bold")
