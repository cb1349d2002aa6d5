"""What was measured, as rich tables for the terminal."""

from rich import box
from rich.table import Table

from lince.records import Certificate, Mistake, Report, SetReport
from lince.reporting.formats import file_size, microseconds, percent, percent_range, points, points_range


def report_table(report: Report, *, title: str = "Evaluation") -> Table:
    """The numbers that hold for the whole split."""
    table = _facts(title)
    interval = f"95 % interval {percent_range(report.accuracy)}"
    table.add_row("accuracy", percent(report.accuracy.value), f"{interval}, {report.n:,} images")
    table.add_row("balanced accuracy", percent(report.balanced_accuracy), "mean recall of the classes")
    table.add_row("macro F1", percent(report.macro_f1), "mean F1 of the classes")
    table.add_row("negative log-likelihood", f"{report.nll:.4f}", "nats an image")
    table.add_row("calibration error", percent(report.ece), "ECE of the top probability, 15 bins")
    return table


def class_table(report: Report) -> Table:
    """Precision, recall and F1 of every class."""
    table = Table(title="Classes", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("class")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for score in report.per_class:
        shares = (percent(share, 1) for share in (score.precision, score.recall, score.f1))
        table.add_row(_plain(score.label), *shares, f"{score.support:,}")
    return table


def mistakes_table(mistakes: tuple[Mistake, ...]) -> Table:
    """The wrong answers that were given with the highest probability."""
    table = Table(title="Worst mistakes", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("is")
    table.add_column("answered")
    table.add_column("probability", justify="right")
    for mistake in mistakes:
        names = (_plain(name) for name in (mistake.name, mistake.label, mistake.predicted))
        table.add_row(*names, percent(mistake.probability, 1))
    return table


def certificate_table(certificate: Certificate) -> Table:
    """Float against int8, with the verdict."""
    table = _facts(f"Certificate: float against int8, {certificate.n:,} images of the {certificate.split} split")
    table.add_row("accuracy, float", percent(certificate.float_accuracy), "")
    table.add_row("accuracy, int8", percent(certificate.int8_accuracy), "")
    drop, worst_drop = certificate.drop_points, certificate.worst_class_drop_points
    table.add_row("drop", f"{points(drop.value)} points", f"paired 95 % interval {points_range(drop)}")
    table.add_row("bound", f"{certificate.bound_points:.2f} points", verdict(certificate))
    table.add_row("different answers", percent(certificate.disagreement), "right or wrong")
    table.add_row("worst class drop", f"{points(worst_drop)} points", f"recall of {_plain(certificate.worst_class)}")
    table.add_row("calibration error, float", percent(certificate.float_ece), "ECE, 15 bins")
    table.add_row("calibration error, int8", percent(certificate.int8_ece), "before temperature")
    table.add_row("", percent(certificate.calibrated_ece), "after temperature, as served")
    table.add_row("size", file_size(certificate.flatbuffer_bytes), f"{certificate.flatbuffer_bytes:,} bytes")
    latency = microseconds(certificate.latency_us)
    table.add_row("latency", latency, f"one image, one thread, median, {_plain(certificate.machine)}")
    return table


def sets_table(sets: SetReport) -> Table:
    """How prediction sets and abstentions behaved."""
    table = _facts("Prediction sets and abstention")
    table.add_row("coverage", percent(sets.coverage.value), f"95 % interval {percent_range(sets.coverage)}")
    table.add_row("target", percent(sets.target_coverage), "")
    table.add_row("mean size", f"{sets.mean_size:.2f}", "classes a set")
    table.add_row("“I don't know”", percent(sets.abstained), "of the images")
    table.add_row("accuracy of the rest", percent(sets.accuracy_when_answering), "")
    return table


def verdict(certificate: Certificate) -> str:
    """In words, whether the drop is within the bound, and whether there were enough images to know."""
    if certificate.drop_points.high <= certificate.bound_points:
        return "passed"
    if certificate.drop_points.value <= certificate.bound_points:
        return f"passed, though {certificate.n:,} images are too few to be sure"
    return "not passed, published with --force" if certificate.forced else "not passed"


def _facts(title: str) -> Table:
    """A table of (what, value, remark) without a header."""
    table = Table(title=title, box=box.SIMPLE, show_header=False, title_justify="left", title_style="bold")
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    return table


def _plain(name: str) -> str:
    """A name that may hold square brackets, which rich would read as markup."""
    return name.replace("[", r"\[")
