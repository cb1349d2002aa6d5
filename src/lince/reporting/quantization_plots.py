"""A chart of what int8 costs, layer by layer."""

from matplotlib.figure import Figure

from lince.model_file.manifest import Sensitivity
from lince.text import quantity

_BAR, _WHOLE = "#0072B2", "#D55E00"  # blue and vermilion. Source: Okabe and Ito 2008
_LAYERS_SHOWN = 30  # bars that fit a page; the costliest
_NAME_LENGTH = 30


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
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis="x", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure
