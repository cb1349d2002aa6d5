"""What `data check` shows in the terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lince.data.audit import CheckReport, Copy, CopyPair
from lince.data.dataset import EmptyClass
from lince.data.label_errors import SuspectedLabel
from lince.reporting.dataset import check_tables, conclusion
from lince.types import Rejected

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
        reading="Each folder is a class.",
        warnings=("The classes 'cat', 'Cat' differ.",),
        exact_copies=(),
        near_copies=(CopyPair(one, other, 0.15),),
        near_copies_capped=False,
        num_too_small=0,
        across_splits=(CopyPair(one, other, 0.15),),
        conflicting_labels=((one, other),),
        rejected=(Rejected("cat/bad.png", "It is damaged."),),
        empty=(EmptyClass("owl", "It holds no file.", "all", "owl"),),
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
    assert f"Intrainandintest(1){LONG},dog/[red]2.pnglookalike" in text
    assert "Filesthatcannotbeused(1)cat/bad.png:Itisdamaged." in text


def test_drawn_split_is_named(found):
    """Copies across a split that is drawn depend on the draw; a source's own split needs no such words."""
    assert "testimageslikeoneintrain1(asdrawnwithseed0)alike," in text_of(found, 80)
    assert "testimageslikeoneintrain1alike," in text_of(replace(found, drawn_seed=None), 80)


def test_how_the_folders_were_read_and_what_to_look_at(found):
    """The first things that are wrong with other people's images."""
    text = text_of(found, 80)
    assert "readasEachfolderisaclass." in text
    assert "Worthalook(1)Theclasses'cat','Cat'differ." in text
    assert "classfolderswithoutimages1" in text


def test_identical_and_look_alike_are_two_things(found):
    """Equal pixels are identical, near copies look alike; no sign says that different pictures are the same."""
    one, other, third = found.near_copies[0].first, found.near_copies[0].second, Copy("cat/3.png", "train", "cat")
    report = replace(found, exact_copies=((one, third),), across_splits=(CopyPair(third, other, 0.0, True),))
    text = text_of(report, 400)
    assert f"Identical(1){LONG},cat/3.png" in text
    assert f"Lookalike(1){LONG},dog/[red]2.png" in text
    assert "cat/3.png,dog/[red]2.pngareidentical" in text
    assert f"Underdifferentlabels(1){LONG},dog/[red]2.pnglookalike" in text
    assert "=" not in text
    assert "≈" not in text


def test_search_that_was_left_out_is_said(found):
    """How many pictures, and why; where it was left out for all, no number of pairs is shown."""
    everything = text_of(replace(found, num_too_small=found.n, near_copies=()), 200)
    assert "pairsthatlookalikenotsearchedfor:allpicturesarebelow16pixelsaside" in everything
    assert "pairsthatlookalike0(comparedat32×32pixels)t" in text_of(replace(found, near_copies=()), 200)
    assert "notsearchedforamong7picturesbelow16pixelsaside" in text_of(replace(found, num_too_small=7), 80)


def test_labels_that_may_be_wrong(found):
    """Their number and both labels; nothing is said where no run was named."""
    assert "labelsthatmaybewrong" not in text_of(found, 80)
    suspect = SuspectedLabel("cat/[red]7.png", "cat", "dog", 0.004, 0.93)
    text = text_of(replace(found, suspected_labels=(suspect,)), 200)
    assert "labelsthatmaybewrong1" in text
    assert "(1)cat/[red]7.png:labelledcat(0.4%),lookslikedog(93.0%)" in text


def test_conclusion(found):
    """What was found is listed above; a source without a finding can be trained on, with this command."""
    assert conclusion(found).startswith("Look at what is listed above.")
    kinds = ("warnings", "rejected", "empty", "exact_copies", "near_copies", "across_splits", "conflicting_labels")
    clean = replace(found, source="my images", suspected_labels=(), **dict.fromkeys(kinds, ()))
    assert conclusion(clean).startswith("Nothing is wrong with these 1,200 images in 2 classes: ")
    assert conclusion(clean).endswith("Next: lince train 'my images'")
    assert conclusion(replace(clean, rejected=found.rejected)) == conclusion(found)
