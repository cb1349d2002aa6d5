"""The figure of `pareto.py`: accuracy against latency, and against bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullFormatter
from matplotlib.transforms import Bbox

from lince import number_formats
from lince.types import Interval

Unit = Callable[[float], str]

_OURS, _THEIRS, _INK, _SOFT_INK, _FAINT = "#0072B2", "#8A8A8A", "#1F2328", "#57606A", "#B8BEC4"
_FRONT_ALPHA = 0.13
_VEIL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}  # behind a label, over a limit's dots
_SIZE = (10.0, 4.6)  # inches; at the 160 dots of `plots` it is about twice the width at which a README shows it


@dataclass(frozen=True)
class Point:
    """One model, measured.

    Attributes:
        latency_us: median of the rounds, and their smallest and largest, microseconds.
        flatbuffer_bytes: the network; `file_bytes` with manifest, card and golden images, None without a file.
        accuracy: on `n` test images.
    """

    name: str
    version: str
    latency_us: Interval
    rounds_us: tuple[float, ...]
    flatbuffer_bytes: int
    file_bytes: int | None
    accuracy: Interval
    n: int
    is_yardstick: bool


@dataclass(frozen=True)
class Limit:
    """A limit that a recipe must keep; `times_yardstick` is a multiple of the yardstick's latency."""

    recipe: str
    flatbuffer_bytes: int | None = None
    latency_us: float | None = None
    times_yardstick: float | None = None


def draw(points: list[Point], *, limits: tuple[Limit, ...] = ()) -> Figure:
    """Accuracy against latency, and against bytes.

    Args:
        points: at least 1.
        limits: vertical lines; those that need a yardstick are left out without one.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    yardstick = next((point.latency_us.value for point in points if point.is_yardstick), None)
    times = {point.name: point.latency_us for point in points}
    sizes = {point.name: Interval(*[point.flatbuffer_bytes] * 3) for point in points}
    panels = (
        (left, times, _latency_limits(limits, yardstick), "one image on one thread", number_formats.microseconds),
        (
            right,
            sizes,
            _size_limits(limits),
            "the network's bytes",
            lambda value: number_formats.file_size(round(value)),
        ),
    )
    left.set(ylabel=f"accuracy, {points[0].n:,} test images", ylim=_accuracy_range(points, room_below=bool(limits)))
    left.yaxis.set_major_locator(MultipleLocator(_tick_step(*left.get_ylim())))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    for axes, costs, lines, label, unit in panels:
        _style(axes, [*(cost.value for cost in costs.values()), *lines.values()], label=label, unit=unit)
        _draw_limits(axes, lines)
        _draw_front(axes, points, costs)
        _draw_points(axes, points, costs)
    _explain(figure, points)
    figure.draw_without_rendering()  # the layout settles here; only then is it known what would overlap
    for axes, costs, _, _, unit in panels:
        _label_points(axes, points, costs, unit)
    return figure


def _latency_limits(limits: tuple[Limit, ...], yardstick_us: float | None) -> dict[str, float]:
    found = {}
    for limit in limits:
        if limit.latency_us is not None:
            found[limit.recipe] = limit.latency_us
        elif limit.times_yardstick is not None and yardstick_us is not None:
            found[limit.recipe] = limit.times_yardstick * yardstick_us
    return found


def _size_limits(limits: tuple[Limit, ...]) -> dict[str, float]:
    return {limit.recipe: limit.flatbuffer_bytes for limit in limits if limit.flatbuffer_bytes is not None}


def _accuracy_range(points: list[Point], *, room_below: bool) -> tuple[float, float]:
    """The range of the accuracy axis: room for the intervals, a label above them, and the limits' labels below."""
    low, high = min(point.accuracy.low for point in points), max(point.accuracy.high for point in points)
    margin = max(0.15 * (high - low), 0.01)
    return max(0.0, low - margin * (2 if room_below else 1)), min(1.0, high + margin)


def _tick_step(low: float, high: float) -> float:
    """A tick step of whole or half per cents that gives four to eight ticks."""
    return next((step for step in (0.005, 0.01, 0.02, 0.05) if (high - low) / step <= 8), 0.1)


def _style(axes: Axes, values: list[float], *, label: str, unit: Unit) -> None:
    axes.set(xscale="log", xlabel=f"{label} (log scale)", xlim=(min(values) / 1.7, max(values) * 1.9))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(unit(value))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(which="both", color=_FAINT, labelcolor=_SOFT_INK, labelsize=9)
    axes.tick_params(axis="x", which="minor", length=0)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.grid(True, axis="y", color="#E9EBED", linewidth=0.8)
    axes.set_axisbelow(True)


def _short(text: str) -> str:
    """`100.0 kB` as `100 kB`, `1.00 ms` as `1 ms`: three digits."""
    number, _, unit = text.partition(" ")
    return f"{float(number):.3g} {unit}"


def _explain(figure: Figure, points: list[Point]) -> None:
    """Writes the meaning of the marks above the panels."""
    handles = [Line2D([], [], color=_OURS, marker="o", ms=8, mew=0, label="Lince, int8 as served, with 95 % interval")]
    if sum(not point.is_yardstick for point in points) > 1:
        handles.append(Line2D([], [], color=_OURS, alpha=_FRONT_ALPHA, linewidth=6, label="the most for the cost"))
    if any(point.is_yardstick for point in points):
        handles.append(Line2D([], [], color=_THEIRS, marker="D", mfc="white", ms=6.5, mew=1.6, label="yardstick"))
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=9, labelcolor=_INK)


def _draw_limits(axes: Axes, lines: dict[str, float]) -> None:
    for recipe, value in lines.items():
        axes.axvline(value, color=_FAINT, linestyle=(0, (1, 2)), linewidth=1.2, zorder=1)
        place = {"transform": axes.get_xaxis_transform(), "rotation": 90, "ha": "right", "va": "bottom"}
        axes.text(value, 0.015, f"limit of {recipe} ", color=_THEIRS, fontsize=7.5, **place)


def _draw_front(axes: Axes, points: list[Point], costs: dict[str, Interval]) -> None:
    """Draws the best accuracy that Lince's models reach at each cost."""
    best, corners = 0.0, []
    for point in sorted((one for one in points if not one.is_yardstick), key=lambda one: costs[one.name].value):
        if point.accuracy.value > best:
            best = point.accuracy.value
            corners.append((costs[point.name].value, best))
    if len(corners) > 1:
        x, y = zip(*corners, strict=True)
        axes.step(x, y, where="post", color=_OURS, linewidth=6, alpha=_FRONT_ALPHA, solid_capstyle="round", zorder=2)


def _draw_points(axes: Axes, points: list[Point], costs: dict[str, Interval]) -> None:
    for point in points:
        cost, accuracy = costs[point.name], point.accuracy
        colour = _THEIRS if point.is_yardstick else _OURS
        look = {"marker": "D", "mfc": "white", "ms": 6.5} if point.is_yardstick else {"marker": "o", "ms": 8}
        axes.errorbar(
            cost.value,
            accuracy.value,
            xerr=[[cost.value - cost.low], [cost.high - cost.value]],
            yerr=[[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]],
            color=colour,
            elinewidth=1.2,
            mew=1.6 if point.is_yardstick else 0,
            zorder=3,
            **look,
        )


def _label_points(axes: Axes, points: list[Point], costs: dict[str, Interval], unit: Unit) -> None:
    """Writes name, accuracy and cost beside each point, the most accurate first."""
    taken = [_around(axes, costs[point.name].value, point.accuracy.value) for point in points]
    for point in sorted(points, key=lambda one: -one.accuracy.value):
        place = costs[point.name].value, point.accuracy.value
        text = f"{point.name}\n{100 * place[1]:.1f} %, {_short(unit(place[0]))}"
        taken.append(_label(axes, text, place, colour=_SOFT_INK if point.is_yardstick else _INK, taken=taken))


def _label(axes: Axes, text: str, place: tuple[float, float], *, colour: str, taken: list[Bbox]) -> Bbox:
    """Writes on the first side where it covers nothing, or else on the last, and returns the place."""
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    label: Annotation | None = None
    for offset, horizontal, vertical in _sides():
        if label is not None:
            label.remove()
        side = {"xytext": offset, "textcoords": "offset points", "ha": horizontal, "va": vertical}
        style = {"fontsize": 8.5, "color": colour, "linespacing": 1.25, "zorder": 2.5, "bbox": _VEIL}
        label = axes.annotate(text, place, parse_math=False, **side, **style)
        box = label.get_window_extent(renderer).padded(1)
        inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
        if inside and not box.count_overlaps(taken):
            break
    return box


def _around(axes: Axes, x: float, y: float) -> Bbox:
    """The box of a point's own marker, in pixels."""
    centre_x, centre_y = axes.transData.transform((x, y))
    return Bbox.from_extents(centre_x - 6, centre_y - 6, centre_x + 6, centre_y + 6)


def _sides() -> Iterator[tuple[tuple[float, float], str, str]]:
    """The places for a label: the offset in points, and the corner of the label at that place."""
    yield (9, 4), "left", "bottom"
    yield (-9, 4), "right", "bottom"
    yield (9, -4), "left", "top"
    yield (-9, -4), "right", "top"
    yield (0, 12), "center", "bottom"
    yield (0, -12), "center", "top"
    yield (14, 18), "left", "bottom"
    yield (-14, 18), "right", "bottom"
    yield (14, -18), "left", "top"
    yield (-14, -18), "right", "top"
