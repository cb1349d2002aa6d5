"""What quantization cost, in tables and pictures, for the terminal and the page."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lince.model_file.manifest import (
    Arithmetic,
    Attempt,
    Divergence,
)
from lince.quantization.certificate import table
from lince.reporting import quantization
from lince.reporting.plots import rendered, sensitivity_figure
from lince.reporting.tables import rich_table
from lince.types import Interval, TextTable

COST = Divergence(kl=2e-3, logit_error=0.015, disagreement=0.01)


@pytest.fixture
def attempts() -> tuple[Attempt, ...]:
    """int8 refused, one layer in float chosen."""
    first = Attempt(Arithmetic(), 400, Interval(3.0, 2.0, 4.0), COST, 0.8, 90_000, 80.0, is_chosen=False)
    mixed = Arithmetic(("conv1",))
    return first, replace(first, arithmetic=mixed, drop_points=Interval(0.25, -0.1, 0.6), is_chosen=True)


def text_of(found: TextTable) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(rich_table(found))
    return console.file.getvalue()


class TestTables:
    def test_sensitivity(self, sensitivity):
        """The costliest ten by name as it is, then the whole network, and how many are not shown."""
        found = quantization.sensitivity_table(sensitivity)
        assert ["a [b] <i>", "conv0"] == [row[0] for row in found.rows[:2]]
        assert ("all layers", "", "", "2.00e-03", "1.50 %", "1.00 %") == found.rows[-1]
        assert found.caption.startswith("4 less sensitive layers")
        assert "a [b] <i>" in text_of(found)

    def test_words_are_whole_at_80_columns(self, sensitivity):
        """The longest operation that a network of ours has."""
        dense = replace(sensitivity.layers[0], layer="stage1_conv1", operation="FULLY_CONNECTED")
        console = Console(file=io.StringIO(), width=80)
        console.print(rich_table(quantization.sensitivity_table(replace(sensitivity, layers=(dense,)))))
        assert {"stage1_conv1", "FULLY_CONNECTED"} <= set(console.file.getvalue().split())

    def test_fallback(self, attempts):
        """What was tried, what it lost, what was chosen."""
        found = quantization.fallback_table(attempts)
        assert ("int8 throughout", "+3.00 (+2.00 to +4.00)") == found.rows[0][:2]
        assert ("int8, with conv1 in float", "chosen") == (found.rows[1][0], found.rows[1][-1])

    def test_calibrated(self, calibrated):
        """Float beside what is served, and the difference with its sign."""
        rows = {row[0]: row[1:] for row in quantization.calibrated_table(calibrated, n=10_000).rows}
        assert ("1.75 %", "1.51 %", "−0.24 points") == rows["calibration error, ECE"]
        assert ("1.820", "1.900", "+0.080") == rows["classes a set, on average"]
        assert "−0.02 points" == rows["sets that hold the true class"][-1]
        assert quantization.calibrated_table(calibrated, n=10_000).title.endswith(", 10,000 test images")

    def test_calibrated_without_sets(self, calibrated):
        """What was not measured has no row, and is not remarked upon."""
        without = replace(calibrated, coverage_drop_points=None, set_size_growth=None)
        found = quantization.calibrated_table(without, n=40)
        assert not [row for row in found.rows if "sets" in row[0] or "classes" in row[0]]
        assert "Coverage" not in found.caption


class TestFigures:
    def test_sensitivity(self, sensitivity):
        """A bar a layer, names as they are."""
        drawn = rendered(sensitivity_figure(sensitivity), "svg").decode()
        assert "a [b] &lt;i&gt;" in drawn
        assert all(f"conv{number}" in drawn for number in range(13))


class TestCertificate:
    def test_says_what_it_is_of(self, certificate, attempts):
        """The certificate of a network with float layers does not say int8."""
        console = Console(file=io.StringIO(), width=200)
        console.print(rich_table(table(certificate, attempts[-1].arithmetic)))
        assert "float against mixed" in console.file.getvalue()
        assert "Computes in int8, with conv1 in float, by --fallback." in console.file.getvalue()
        assert "accuracy, int8" not in console.file.getvalue()
