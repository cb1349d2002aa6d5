"""The findings of `lince data check`, as rich tables for the terminal."""

import shlex
from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

from lince.data.audit import CheckReport, Copy, CopyPair
from lince.data.label_errors import SuspectedLabel
from lince.number_formats import probability
from lince.text import quantity

_LISTED = 10  # examples of each finding; --json lists all


def check_tables(report: CheckReport) -> list[Table]:
    """The counts, then each kind of finding that occurred, with its first examples."""
    tables = [_counts(report), _findings(report)]
    examples = {
        "Worth a look": report.warnings,
        "Files that cannot be used": [f"{one.path}: {one.reason}" for one in report.rejected],
        "In train and in test": list(map(_pair, report.across_splits)),
        "Identical": list(map(_names, report.exact_copies)),
        "Look alike": list(map(_names, ((pair.first, pair.second) for pair in report.near_copies))),
        "Under different labels": [
            f"{_names(group)} {'are identical' if group in report.exact_copies else 'look alike'}"
            for group in report.conflicting_labels
        ],
        "Labels that may be wrong, the most suspicious first": list(map(_suspected, report.suspected_labels or ())),
    }
    return tables + [_list(title, lines) for title, lines in examples.items() if lines]


def conclusion(report: CheckReport) -> str:
    """What the findings mean, in a sentence, and what to do next."""
    found = (
        *(report.warnings, report.rejected, report.empty, report.exact_copies, report.near_copies),
        *(report.across_splits, report.conflicting_labels, report.suspected_labels),
    )
    if any(found):
        return (
            "Look at what is listed above. Files that cannot be used are left out of training, and pictures that look "
            "alike stay on one side of every split that lince draws."
        )
    return (
        f"Nothing is wrong with these {quantity(report.n, 'image')} in {len(report.classes):,} classes: every file can "
        "be read, and no picture occurs twice. Next: "
        f"lince train {shlex.quote(report.source)}"
    )


def _names(copies: Iterable[Copy]) -> str:
    return ", ".join(copy.name for copy in copies)


def _pair(pair: CopyPair) -> str:
    return f"{_names((pair.first, pair.second))} {'are identical' if pair.is_identical else 'look alike'}"


def _suspected(one: SuspectedLabel) -> str:
    label = f"labelled {one.label} ({probability(one.label_probability, unit='%')})"
    return f"{one.name}: {label}, looks like {one.suggested} ({probability(one.suggested_probability, unit='%')})"


def _counts(report: CheckReport) -> Table:
    table = Table(title=quantity(report.n, "image"), box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("class", overflow="fold")
    for split in report.counts:
        table.add_column(split, justify="right")
    for label in report.classes:
        table.add_row(Text(label), *(f"{counts[label]:,}" for counts in report.counts.values()))
    return table


def _findings(report: CheckReport) -> Table:
    drawn = "" if report.drawn_seed is None else f" (as drawn with seed {report.drawn_seed})"
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("data", Text(report.source))
    if report.reading:
        table.add_row("read as", Text(report.reading))
    table.add_row("largest class over smallest", f"{report.imbalance:.2f}")
    shapes = report.proportions
    remark = f"{shapes.not_square:,} of {shapes.n:,}; {shapes.advice}" if shapes.not_square else "0"
    table.add_row("pictures that are not square", remark)
    table.add_row("files that cannot be used", f"{len(report.rejected):,}")
    if report.empty:
        table.add_row("class folders without images", f"{len(report.empty):,}")
    size = f"compared at {report.width} × {report.height} pixels"
    table.add_row("groups of identical pictures", f"{len(report.exact_copies):,} ({size})")
    table.add_row("pairs that look alike", _look_alike(report, size))
    table.add_row("test images like one in train", f"{len(report.across_splits):,}{drawn}")
    table.add_row("alike, different labels", f"{len(report.conflicting_labels):,}")
    if report.suspected_labels is not None:
        table.add_row("labels that may be wrong", f"{len(report.suspected_labels):,}")
    return table


def _look_alike(report: CheckReport, size: str) -> str:
    """The number of pairs, and how many pictures were not searched."""
    if report.num_too_small == report.n:
        return "not searched for: all pictures are below 16 pixels a side"
    more = " or more" if report.near_copies_capped else ""
    found = f"{len(report.near_copies):,}{more} ({size}{': look at them' if report.near_copies else ''})"
    if not report.num_too_small:
        return found
    return f"{found}; not searched for among {quantity(report.num_too_small, 'picture')} below 16 pixels a side"


def _list(title: str, lines: Iterable[str]) -> Table:
    lines = list(lines)
    table = Table(title=f"{title} ({len(lines):,})", box=box.SIMPLE_HEAD, show_header=False, title_justify="left")
    table.add_column(overflow="fold")  # a shortened path cannot be found
    for line in lines[:_LISTED]:
        table.add_row(Text(line))
    if len(lines) > _LISTED:
        table.add_row(f"… and {len(lines) - _LISTED:,} more: --json lists all")
    return table
