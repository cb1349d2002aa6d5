"""Tables in the terminal say what the records hold."""

import dataclasses
import io

from rich.console import Console

from lince.records import Interval
from lince.reporting import tables


def text_of(table) -> list[str]:
    """The table as a wide terminal shows it, its lines without the space between columns."""
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines() if line.strip()]


def test_report_leads_with_accuracy_and_interval(report):
    """The headline, and the four numbers beside it."""
    lines = text_of(tables.report_table(report, title="Evaluation of the test split"))
    assert lines[0] == "Evaluation of the test split"
    low, high = 100 * report.accuracy.low, 100 * report.accuracy.high
    expected = f"accuracy {100 * report.accuracy.value:.2f} % 95 % interval {low:.2f}–{high:.2f} %, 300 images"
    assert expected == lines[1]
    assert f"negative log-likelihood {report.nll:.4f} nats an image" in lines
    assert f"calibration error {100 * report.ece:.2f} % ECE of the top probability, 15 bins" in lines


def test_classes_have_a_line_each(report):
    """Square brackets in a name are shown, not read as a style."""
    lines = text_of(tables.class_table(report))
    assert lines[1] == "class precision recall F1 images"
    score = report.per_class[1]
    shares = " ".join(f"{100 * share:.1f} %" for share in (score.precision, score.recall, score.f1))
    assert f"dog [brown] {shares} 100" in lines


def test_mistakes_have_a_line_each(report):
    """Name, truth, answer, probability; worst first."""
    lines = text_of(tables.mistakes_table(report.mistakes))
    assert lines[1] == "image is answered probability"
    first = report.mistakes[0]
    assert f"{first.name} {first.label} {first.predicted} {100 * first.probability:.1f} %" == lines[3]
    assert len(lines) == 3 + 4


def test_certificate_shows_both_networks(certificate):
    """Float, int8, drop with its interval, and what it costs."""
    lines = text_of(tables.certificate_table(certificate))
    assert lines[0] == "Certificate: float against int8, 10,000 images of the test split"
    for expected in (
        "accuracy, float 81.57 %",
        "accuracy, int8 81.45 %",
        "drop +0.12 points paired 95 % interval −0.03 to +0.27",
        "bound 0.50 points passed",
        "worst class drop +1.02 points recall of dog [brown]",
        "size 1.3 MB 1,284,352 bytes",
        "latency 412.3 µs one image, one thread, median, Zen 4 [2 cores]",
    ):
        assert expected in lines


def test_verdict_compares_drop_and_bound(certificate):
    """At the bound passes; above it does not, and --force is said aloud; an interval beyond the bound is doubted."""
    at, unsure, above = Interval(0.3, 0.1, 0.5), Interval(0.5, 0, 1), Interval(0.51, 0, 1)
    assert tables.verdict(dataclasses.replace(certificate, drop_points=at)) == "passed"
    doubted = dataclasses.replace(certificate, drop_points=unsure, n=42)
    assert tables.verdict(doubted) == "passed, though 42 images are too few to be sure"
    assert tables.verdict(dataclasses.replace(certificate, drop_points=above)) == "not passed"
    forced = dataclasses.replace(certificate, drop_points=above, forced=True)
    assert tables.verdict(forced) == "not passed, published with --force"


def test_sets_show_coverage_and_target(sets):
    """What was promised beside what was found."""
    lines = text_of(tables.sets_table(sets))
    assert "coverage 95.37 % 95 % interval 94.94–95.76 %" in lines
    assert "target 95.00 %" in lines
    assert "mean size 1.82 classes a set" in lines
    assert "“I don't know” 4.90 % of the images" in lines
    assert "accuracy of the rest 83.00 %" in lines
