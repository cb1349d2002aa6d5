"""What quantization cost, as tables for the terminal and the report."""

from lince.model_file.manifest import Attempt, CalibrationComparison, Divergence, RunReport, Sensitivity
from lince.number_formats import file_size, microseconds, percent, percent_range, points, points_range, sets_size
from lince.text import quantity
from lince.types import TextTable

_LAYERS_SHOWN = 10  # in a table; report.json has all layers


def cost_tables(report: RunReport) -> tuple[TextTable, ...]:
    """All tables on the quantization of a run; that of the fallback only if it was tried."""
    tried = (fallback_table(report.fallback),) if report.fallback else ()
    return sensitivity_table(report.sensitivity), *tried, calibrated_table(report.calibrated, n=report.int8.n)


def sensitivity_table(sensitivity: Sensitivity) -> TextTable:
    """The cost of each layer when it alone computes in int8."""
    rows = [
        (cost.layer, cost.operation, f"{cost.weights:,}", *_divergence(cost.divergence))
        for cost in sensitivity.layers[:_LAYERS_SHOWN]
    ]
    rows.append(("all layers", "", "", *_divergence(sensitivity.whole)))
    hidden = len(sensitivity.layers) - _LAYERS_SHOWN
    return TextTable(
        name="sensitivity",
        title=f"Layer sensitivity: each layer alone in int8, {quantity(sensitivity.n, 'image')}",
        header=("layer", "operation", "weights", "KL, nats", "logits\noff by", "different\nanswers"),
        rows=tuple(rows),
        caption=f"{hidden} less sensitive layers are in report.json. " if hidden > 0 else "",
    )


def fallback_table(attempts: tuple[Attempt, ...]) -> TextTable:
    """The networks that the fallback tried, and the loss of each."""
    rows = tuple(
        (
            attempt.arithmetic.description,
            f"{points(attempt.drop_points.value)} ({points_range(attempt.drop_points)})",
            percent(attempt.divergence.disagreement),
            file_size(attempt.flatbuffer_bytes),
            microseconds(attempt.latency_us),
            "chosen" if attempt.is_chosen else "lost too much",
        )
        for attempt in attempts
    )
    return TextTable(
        name="fallback",
        title=f"Layers kept in float, {quantity(attempts[0].n, 'validation image')}",
        header=("computes in", "points lost", "different answers", "size", "one image", ""),
        rows=rows,
        caption="The choice was made on validation images; the certificate was measured on the test images.",
    )


def calibrated_table(calibrated: CalibrationComparison, *, n: int) -> TextTable:
    """Calibrated answers before and after quantization, on `n` test images."""
    before, after = calibrated.float32, calibrated.int8
    error = f"{points(100 * (after.ece - before.ece))} points"
    abstained = f"{points(100 * (after.sets.abstained - before.sets.abstained))} points"
    right = f"{points(100 * (after.sets.accuracy_when_answering - before.sets.accuracy_when_answering))} points"
    rows = (
        ("temperature", *(f"{one.temperature:.3f}" for one in (before, after)), ""),
        ("calibration error, ECE", percent(before.ece), percent(after.ece), error),
        ("negative log-likelihood", f"{before.nll:.4f}", f"{after.nll:.4f}", points(after.nll - before.nll, 4)),
        *_sets_rows(calibrated),
        ("“I don't know”", percent(before.sets.abstained), percent(after.sets.abstained), abstained),
        ("accuracy of the rest", *(percent(one.sets.accuracy_when_answering) for one in (before, after)), right),
    )
    drop = calibrated.coverage_drop_points
    lost = "" if drop is None else f" Coverage lost: {points_range(drop)} points, paired 95 % interval."
    return TextTable(
        name="calibrated",
        title=f"Calibrated answers before and after quantization, {quantity(n, 'test image')}",
        header=("", "float", "as served", "difference"),
        rows=rows,
        caption=f"Each network has a calibration of its own, from the same validation images.{lost}",
    )


def _sets_rows(calibrated: CalibrationComparison) -> tuple[tuple[str, ...], ...]:
    """Coverage and size of the sets; no rows without sets."""
    drop, growth = calibrated.coverage_drop_points, calibrated.set_size_growth
    if drop is None or growth is None:
        return ()
    sets = (calibrated.float32.sets, calibrated.int8.sets)
    measured = (one.coverage for one in sets if one.coverage is not None)
    coverages = (f"{percent(coverage.value)} ({percent_range(coverage)})" for coverage in measured)
    sizes = (sets_size(one.mean_size, 3) for one in sets)
    return (
        ("sets that hold the true class", *coverages, f"{points(-drop.value)} points"),
        ("classes a set, on average", *sizes, points(growth, 3)),
    )


def _divergence(divergence: Divergence) -> tuple[str, str, str]:
    return f"{divergence.kl:.2e}", percent(divergence.logit_error), percent(divergence.disagreement)
