"""Pictures of what quantisation costs: layer by layer, and by the choice of activation ranges."""

from collections.abc import Callable, Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, PercentFormatter

from lince.model_file.manifest import Sensitivity, Study, StudyPoint
from lince.text import quantity

_BAR, _WHOLE = "#0072B2", "#D55E00"  # blue and vermilion. Source: Okabe and Ito 2008
_LINES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."), ("#CC79A7", "D", ":"))
_LAYERS_SHOWN = 30  # bars that fit a page; the costliest
_NAME_LENGTH = 30
_METHODS = {
    "min_max": "smallest to largest",
    "moving_average": "moving average",
    "q99": "99 % of the images",
    "q99.9": "99.9 % of the images",
}


def sensitivity_figure(sensitivity: Sensitivity) -> Figure:
    """A bar a layer: how far it moves the answers when it alone computes in int8; the line is int8 throughout."""
    shown = sensitivity.layers[:_LAYERS_SHOWN]
    figure = Figure(figsize=(6.5, 1.6 + 0.24 * len(shown)), layout="constrained")
    axes = figure.subplots()
    costs = [1000 * cost.divergence.kl for cost in shown]
    names = [cost.layer if len(cost.layer) <= _NAME_LENGTH else cost.layer[: _NAME_LENGTH - 1] + "…" for cost in shown]
    axes.barh(range(len(shown)), costs, color=_BAR, height=0.7)
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(1000 * sensitivity.whole.kl, color=_WHOLE, linestyle="--", linewidth=1.6, label="all layers in int8")
    axes.set(
        title=f"What each layer costs, {quantity(sensitivity.n, 'validation image')}",
        xlabel="KL divergence from the float network's answers (millinats)",
    )
    axes.legend(facecolor="white", framealpha=1, edgecolor="none", loc="lower right")
    _style(axes, grid_axis="x")
    return figure


def study_figure(study: Study) -> Figure:
    """Divergence and different answers by number of calibration images, a line a method, a dot a draw."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, study, lambda point: 1000 * point.divergence.kl)
    _curves(right, study, lambda point: point.divergence.disagreement)
    left.set(title="Divergence from float", ylabel="KL (millinats)")
    right.set(title="Answers unlike float's")
    right.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=1, symbol=" %"))
    left.set_yscale("log", nonpositive="clip")  # a clipped range costs a hundred times a good one
    right.set_ylim(bottom=0)
    right.legend(frameon=False, fontsize=8)
    return figure


def _curves(axes: Axes, study: Study, value: Callable[[StudyPoint], float]) -> None:
    sizes = sorted({point.images for point in study.points})
    methods = dict.fromkeys(point.method for point in study.points)
    for method, (colour, marker, line) in zip(methods, _LINES, strict=False):
        means = []
        for size in sizes:
            values = [value(point) for point in _points(study, method, size)]
            axes.plot([size] * len(values), values, marker, color=colour, alpha=0.35, markersize=4)
            means.append(np.mean(values))
        label = _METHODS[method]
        axes.plot(sizes, means, color=colour, linestyle=line, marker=marker, markersize=6, linewidth=1.8, label=label)
    chosen = [value(point) for point in _points(study, study.method, study.images)]
    if chosen:
        ring = {"markersize": 14, "markerfacecolor": "none", "markeredgecolor": "#333333", "linestyle": "none"}
        axes.plot(study.images, np.mean(chosen), "o", label="in use", **ring)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{size:,}" for size in sizes]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("calibration images")
    _style(axes, grid_axis="y")


def _points(study: Study, method: str, size: int) -> Iterable[StudyPoint]:
    return (point for point in study.points if (point.method, point.images) == (method, size))


def _style(axes: Axes, *, grid_axis: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis=grid_axis, color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
