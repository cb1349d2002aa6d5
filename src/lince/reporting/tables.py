"""Measurements as rich tables for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from lince.evaluation.corruptions import AMOUNTS, STRENGTHS
from lince.evaluation.robustness import CorruptionReport, OodReport, OodScore
from lince.inference.latency import BATCHES, Bench
from lince.number_formats import file_size, microseconds, percent, percent_range, probability, sets_size
from lince.text import listed, quantity
from lince.types import Mistake, Report, SetReport, TextTable

_UNITS = {
    "noise": "σ {} grey levels",
    "blur": "σ {} pixels of 32",
    "contrast": "{} of it left",
    "jpeg": "quality {}",
    "pixelate": "{} rows of 32",
}


def evaluation_tables(
    *,
    report: Report | None,
    sets: SetReport | None,
    corruptions: CorruptionReport | None,
    ood: OodReport | None,
) -> list[Table]:
    """All tables of an evaluation; what is None was not measured."""
    tables = [report_table(report), class_table(report), mistakes_table(report.mistakes)] if report else []
    tables += [sets_table(sets, n=report.n)] if report and sets else []
    tables += corruption_tables(corruptions) if corruptions else []
    return tables + ([ood_table(ood)] if ood else [])


def report_table(report: Report, *, title: str = "Evaluation") -> Table:
    """The measures of the whole split."""
    table = _facts(f"{title}, {quantity(report.n, 'image')}")
    table.add_row("accuracy", percent(report.accuracy.value), f"95 % interval {percent_range(report.accuracy)}")
    table.add_row("balanced accuracy", percent(report.balanced_accuracy), "mean recall of the classes")
    table.add_row("macro F1", percent(report.macro_f1), "mean F1 of the classes")
    table.add_row("negative log-likelihood", f"{report.nll:.4f}", "nats an image")
    table.add_row("calibration error", percent(report.ece), "ECE of the top probability, 15 bins")
    return table


def class_table(report: Report) -> Table:
    """Precision, recall and F1 of every class that has images."""
    table = _columns("Classes")
    table.add_column("class", overflow="fold")  # a shortened name is another name
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    absent = [score.label for score in report.per_class if score.support == 0]
    if absent:
        table.caption = Text(f"No images of {listed(absent)}: not measured.")
    for score in report.per_class:
        if score.support == 0:
            continue
        shares = (percent(share, 1) for share in (score.precision, score.recall, score.f1))
        table.add_row(Text(score.label), *shares, f"{score.support:,}")
    return table


def mistakes_table(mistakes: tuple[Mistake, ...]) -> Table:
    """The wrong answers with the highest probability."""
    table = _columns("Worst mistakes")
    table.add_column("image", overflow="fold")
    table.add_column("is", overflow="fold")
    table.add_column("answered", overflow="fold")
    table.add_column("probability", justify="right")
    for mistake in mistakes:
        names = (Text(name) for name in (mistake.name, mistake.label, mistake.predicted))
        table.add_row(*names, probability(mistake.probability))
    return table


def rich_table(table: TextTable) -> Table:
    """A text table for the terminal; brackets in a text are not read as style."""
    found = _columns(Text(table.title))
    found.caption = Text(table.caption) if table.caption else None
    for number, name in enumerate(table.header):
        is_words = number in table.words
        style = "dim" if is_words and number > 0 else None  # a remark
        found.add_column(name, justify="left" if is_words else "right", style=style, overflow="fold")
    for row in table.rows:
        found.add_row(*map(Text, row))
    return found


def sets_table(sets: SetReport, *, n: int) -> Table:
    """The prediction sets and abstentions on `n` images."""
    table = _facts(f"Prediction sets and abstention, {quantity(n, 'image')}")
    if sets.coverage is None:
        table.add_row("coverage", "–", "no sets: too few validation images")
    else:
        table.add_row("coverage", percent(sets.coverage.value), f"95 % interval {percent_range(sets.coverage)}")
    table.add_row("target", percent(sets.target_coverage), "")
    table.add_row("mean size", sets_size(sets.mean_size), "classes a set")
    table.add_row("“I don't know”", percent(sets.abstained), "of the images")
    answered = n - round(n * sets.abstained)
    right = percent(sets.accuracy_when_answering) if answered else "–"
    table.add_row("accuracy of the rest", right, quantity(answered, "image"))
    return table


def corruption_tables(report: CorruptionReport) -> tuple[Table, ...]:
    """Accuracy by corruption and strength, and the abstentions of a model that abstains."""
    shares = [score.accuracy for score in report.scores]
    accuracy = _grid("Accuracy", report, shares, clean=report.clean_accuracy, mean=report.mean_accuracy)
    amounts = {kind: ", ".join(f"{amount:g}" for amount in AMOUNTS[kind]) for kind in AMOUNTS}
    accuracy.caption = "; ".join(f"{kind} {_UNITS[kind].format(numbers)}" for kind, numbers in amounts.items())
    if report.clean_abstained is None or report.mean_abstained is None:
        return (accuracy,)
    shares = [score.abstained or 0.0 for score in report.scores]
    return accuracy, _grid("“I don't know”", report, shares, clean=report.clean_abstained, mean=report.mean_abstained)


def _grid(what: str, report: CorruptionReport, shares: list[float], *, clean: float, mean: float) -> Table:
    """One row a corruption, one column a strength; `shares` in the order of the scores."""
    table = _columns(f"{what} on worse images, {quantity(report.n, 'image')}")
    table.add_column("strength")
    for name in (*map(str, STRENGTHS), "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    width = len(STRENGTHS)
    table.add_row("as they are", *[""] * width, percent(clean, 1))
    for start in range(0, len(shares), width):
        row = shares[start : start + width]
        table.add_row(report.scores[start].kind, *(percent(share, 1) for share in (*row, sum(row) / width)))
    table.add_section()
    table.add_row("mean of all", *[""] * width, percent(mean, 1))
    return table


def ood_table(report: OodReport) -> Table:
    """The answers to out-of-distribution pictures."""
    table = _columns("Out-of-distribution pictures, which show none of the classes")
    table.add_column("", overflow="fold")
    for name in ("“I don't know”", "set size", "above 90 %", "images"):
        table.add_column(name, justify="right")
    for score in report.generated:
        table.add_row(*_ood_cells(score))
    table.add_section()
    table.add_row(*_ood_cells(report.mean))
    for score in report.folders:
        table.add_row(*_ood_cells(score))
    table.caption = (
        f"Set size of {report.num_classes} classes. A softmax network always names one of its classes, and may be "
        "confident of it. These shares hold for these pictures, not for others."
    )
    return table


def _ood_cells(score: OodScore) -> tuple[Text | str, ...]:
    abstained = "–" if score.abstained is None else percent(score.abstained, 1)
    unread = f" ({quantity(score.unread, 'file')} could not be read)" if score.unread else ""
    name, size = Text(f"{score.name}{unread}"), sets_size(score.mean_set_size)
    return name, abstained, size, percent(score.sure, 1), f"{score.n:,}"


def bench_tables(bench: Bench) -> tuple[Table, ...]:
    """Latency and throughput, and the machine they were measured on."""
    machine = bench.machine
    quota = "" if machine.cpu_quota is None else f"; the container has time for {machine.cpu_quota:g}"
    about = _facts(Text(f"{bench.name} {bench.version}, {file_size(bench.flatbuffer_bytes)}"))
    about.add_row("processor", Text(machine.processor), ", ".join(machine.instructions))
    about.add_row("cores", f"{machine.cores}", f"usable, of {machine.installed_cores}{quota}")
    if machine.memory_bytes is not None:
        about.add_row("memory", file_size(machine.memory_bytes), "usable")
    about.add_row("system", Text(machine.system), f"Python {machine.python}")
    if machine.has_avx2_alone:
        about.caption = "AVX2 without VNNI: on such a processor, int8 was hardly faster than float."
    speed = _columns(f"One image at a time, and in the fastest of batches of {', '.join(map(str, BATCHES))}")
    for name in ("threads", "median", "95 % within", "images/s", "fastest", "in batches of"):
        speed.add_column(name, justify="right")
    for latency, throughput in zip(bench.latencies, bench.throughputs, strict=True):
        times = (microseconds(latency.median_us), microseconds(latency.p95_us))
        rates = (f"{rate:,.0f}" for rate in (latency.images_per_second, throughput.images_per_second))
        speed.add_row(str(latency.threads), *times, *rates, str(throughput.batch))
    return about, speed


def _columns(title: str | Text) -> Table:
    """A table with a header, without columns yet."""
    return Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", caption_justify="left")


def _facts(title: str | Text) -> Table:
    """A table of (what, value, remark) without a header."""
    table = Table(title=title, box=box.SIMPLE, show_header=False, title_justify="left", title_style="bold")
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    return table
