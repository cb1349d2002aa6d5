"""What `data check` shows in the terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lince.data.checking import CheckReport, Copy, CopyPair
from lince.records import Rejected
from lince.reporting.dataset import check_tables

LONG = "/".join(["a-folder-with-a-long-name"] * 6) + "/0001.png"


@pytest.fixture
def found() -> CheckReport:
    """One finding of each kind, in a source without splits of its own."""
    one, other = Copy(LONG, "train", "cat"), Copy("dog/[red]2.png", "test", "dog")
    return CheckReport(
        source=f"/home/me/{LONG}",
        fingerprint="0" * 64,
        height=32,
        width=32,
        n=1200,
        classes=("cat", "dog"),
        drawn_seed=0,
        counts={"all": {"cat": 1100, "dog": 100}},
        imbalance=11.0,
        exact_copies=(),
        near_copies=(CopyPair(one, other, 1.5),),
        near_copies_capped=False,
        across_splits=(CopyPair(one, other, 1.5),),
        conflicting_labels=((one, other),),
        rejected=(Rejected("cat/bad.png", "It is damaged."),),
    )


def text_of(report: CheckReport, width: int) -> str:
    """The tables as a terminal shows them, without spaces and ends of lines."""
    console = Console(file=io.StringIO(), width=width)
    console.print(*check_tables(report))
    return "".join(console.file.getvalue().split())


@pytest.mark.parametrize("width", [40, 80, 400])
def test_long_paths_are_folded(found, width):
    """A path that is cut cannot be found: all of it is there, however narrow the terminal is."""
    text = text_of(found, width)
    assert "…" not in text
    assert f"data/home/me/{LONG}" in text
    assert f"Alikeintrainandtest(1){LONG}≈dog/[red]2.png" in text
    assert "Filesthatcannotbeused(1)cat/bad.png:Itisdamaged." in text


def test_drawn_split_is_named(found):
    """Copies across a split that is drawn depend on the draw; a source's own split needs no such words."""
    assert "testimagesalikeoneintrain1(asdrawnwithseed0)samepicture" in text_of(found, 80)
    assert "testimagesalikeoneintrain1samepicture" in text_of(replace(found, drawn_seed=None), 80)
