"""Tables in the terminal say what the records hold."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lince.evaluation.corruptions import AMOUNTS, STRENGTHS
from lince.evaluation.robustness import CorruptionReport, CorruptionScore, OodReport, OodScore
from lince.inference.latency import Bench, Throughput
from lince.quantization.certificate import table
from lince.reporting import tables
from lince.system.machine import Machine
from lince.types import Latency


def text_of(table) -> list[str]:
    """The table as a wide terminal shows it, its lines without the space between columns."""
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines() if line.strip()]


def test_report_leads_with_accuracy_and_interval(report):
    """The headline, and the four numbers beside it."""
    lines = text_of(tables.report_table(report, title="Evaluation of the test split"))
    assert lines[0] == "Evaluation of the test split, 300 images"
    low, high = 100 * report.accuracy.low, 100 * report.accuracy.high
    expected = f"accuracy {100 * report.accuracy.value:.2f} % 95 % interval {low:.2f}–{high:.2f} %"
    assert expected == lines[1]
    assert f"negative log-likelihood {report.nll:.4f} nats an image" in lines
    assert f"calibration error {100 * report.ece:.2f} % ECE of the top probability, 15 bins" in lines


def test_report_says_how_uneven_classes_fare(report):
    """Balanced accuracy and macro F1 stand under accuracy."""
    lines = text_of(tables.report_table(report))
    assert f"balanced accuracy {100 * report.balanced_accuracy:.2f} % mean recall of the classes" == lines[2]
    assert f"macro F1 {100 * report.macro_f1:.2f} % mean F1 of the classes" == lines[3]


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
    """Float, int8, their difference with its interval, and what it costs; brackets in a name are no style."""
    lines = text_of(tables.rich_table(table(certificate)))
    assert lines[0] == "Certificate: float against int8, 10,000 images of the test split"
    for expected in (
        "float int8 difference remark",
        "accuracy 81.57 % 81.45 % −0.12 points paired 95 % interval of the difference −0.27 to +0.03",
        "worst class −1.02 points recall of dog [brown]",
        "size 1.3 MB 1,284,352 bytes",
        "latency 412.3 µs one image, one thread, median",
        "Bound on the drop: 0.50 points, passed. Latency on Zen 4 [2 cores].",
    ):
        assert expected in lines


def test_sets_show_coverage_and_target(sets):
    """What was promised beside what was found."""
    lines = text_of(tables.sets_table(sets, n=10_000))
    assert lines[0] == "Prediction sets and abstention, 10,000 images"
    assert "coverage 95.37 % 95 % interval 94.94–95.76 %" in lines
    assert "target 95.00 %" in lines
    assert "mean size 1.82 classes a set" in lines
    assert "“I don't know” 4.90 % of the images" in lines
    assert "accuracy of the rest 83.00 % 9,510 images" in lines


def test_no_sets_are_a_dash(sets):
    """No coverage and no size, and where nothing was answered no accuracy."""
    without = replace(sets, coverage=None, mean_size=None, abstained=1.0, accuracy_when_answering=0.0)
    lines = text_of(tables.sets_table(without, n=17))
    assert "coverage – no sets: too few validation images" in lines
    assert "mean size – classes a set" in lines
    assert "accuracy of the rest – 0 images" in lines


def corruptions(*, abstained: float | None) -> CorruptionReport:
    scores = tuple(
        CorruptionScore(kind, strength, AMOUNTS[kind][strength - 1], accuracy=0.9 - strength / 10, abstained=abstained)
        for kind in AMOUNTS
        for strength in STRENGTHS
    )
    return CorruptionReport(2000, 0, 0.9, abstained, mean_accuracy=0.6, mean_abstained=abstained, scores=scores)


def test_corruptions_have_a_line_each():
    """Accuracy by strength, its mean, and in the caption what the strengths mean."""
    [accuracy] = tables.corruption_tables(corruptions(abstained=None))
    lines = text_of(accuracy)
    assert lines[0] == "Accuracy on worse images, 2,000 images"
    assert lines[1] == "strength 1 2 3 4 5 mean"
    assert "as they are 90.0 %" in lines
    assert "blur 80.0 % 70.0 % 60.0 % 50.0 % 40.0 % 60.0 %" in lines
    assert "mean of all 60.0 %" in lines
    assert "quality 80, 65, 40, 20, 10" in " ".join(lines)


def test_corruptions_show_abstention_where_there_is_any():
    """A second table, of the same shape."""
    _, abstained = tables.corruption_tables(corruptions(abstained=0.125))
    lines = text_of(abstained)
    assert lines[0] == "“I don't know” on worse images, 2,000 images"
    assert "jpeg 12.5 % 12.5 % 12.5 % 12.5 % 12.5 % 12.5 %" in lines


def test_ood_pictures_have_a_line_each():
    """Unknown is a dash, a folder's name is shown as it is, and files that could not be read are counted."""
    kind = OodScore("noise", 500, sure=0.4, abstained=0.25, mean_set_size=2.5)
    folder = OodScore("a [b]", 3, sure=1.0, abstained=None, mean_set_size=None, unread=2)
    found = text_of(tables.ood_table(OodReport(0, 10, kind, (kind,), (folder,))))
    assert "noise 25.0 % 2.50 40.0 % 500" in found
    assert "a [b] (2 files could not be read) – – 100.0 % 3" in found
    assert "always names one of its classes" in " ".join(found)


@pytest.mark.parametrize(
    ("instructions", "is_told"),
    [
        (("avx2",), True),
        (("avx2", "avx512f"), False),
        (("avx2", "avx_vnni"), False),
        (("asimddp",), False),
        ((), False),
    ],
)
def test_bench_shows_machine_and_speed(instructions, is_told):
    """What was measured, on what; a quota is named where there is one, and instructions that int8 lacks."""
    machine = Machine("Zen [4]", instructions, 2, 64, 1.5, 8 * 10**9, "Linux 6 x86_64", "3.12")
    latency = Latency(2, median_us=82.7, p95_us=1340.0, images_per_second=12_000.0, runs=300)
    throughput = Throughput(2, batch=8, images_per_second=15_000.0, tried={1: 12_000.0, 8: 15_000.0})
    lines = [
        line
        for table in tables.bench_tables(Bench("pets", "0123", 98_496, machine, (latency,), (throughput,)))
        for line in text_of(table)
    ]
    for expected in (
        "pets 0123, 98.5 kB",
        " ".join(("processor Zen [4]", ", ".join(instructions))).strip(),
        "cores 2 usable, of 64; the container has time for 1.5",
        "memory 8.0 GB usable",
        "2 82.7 µs 1.34 ms 12,000 15,000 8",
    ):
        assert expected in lines
    assert is_told == ("hardly faster than float" in " ".join(lines))
