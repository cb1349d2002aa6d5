"""Published runs side by side, for `lince compare`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lince import metrics
from lince.number_formats import file_size, microseconds, percent, percent_range, points, points_range
from lince.runs.run_folder import RunFolder, RunRecord
from lince.text import quantity
from lince.types import Interval, TextTable


@dataclass(frozen=True)
class ComparedRun:
    """A published run.

    Attributes:
        run: its folder, as it was named.
        version: of its model file.
        n: test images.
        accuracy: of the model file.
        drop_points: that quantization cost, percentage points, with its paired interval.
        ece: calibration error of the model file, 0..1.
        flatbuffer_bytes, latency_us, machine: of the certificate.
        training_seconds: of all validations in the history.
        gain_points: its accuracy minus that of the first run, percentage points, paired by test image; None for the
            first run, and for other test images.
        not_paired: why `gain_points` is None, for a run that is not the first; else empty.
    """

    run: str
    version: str
    n: int
    accuracy: Interval
    drop_points: Interval
    ece: float
    flatbuffer_bytes: int
    latency_us: float
    machine: str
    training_seconds: float
    gain_points: Interval | None
    not_paired: str


@dataclass(frozen=True)
class RunComparison:
    """Runs in the order in which they were named, and the settings of the recipe in which they differ.

    Attributes:
        settings: for each dotted key of a recipe, and `seed`, the value of each run; None where a recipe lacks it.
    """

    runs: tuple[ComparedRun, ...]
    settings: dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class _Answers:
    """What decides whether two runs have the same test images, and which of them they answered rightly."""

    record: RunRecord
    test: np.ndarray
    labels: np.ndarray
    right: np.ndarray


def compare(folders: Sequence[RunFolder]) -> RunComparison:
    """Reads the runs and compares each with the first one.

    Args:
        folders: one or more, each of a published run.

    Raises:
        ResumeError: a folder is not a run's. DataError: a run was not published, or a file of it is damaged.
    """
    answers = [_read(folder) for folder in folders]
    recipes = [_flat(one.record.recipe) | {"seed": one.record.seed} for one in answers]
    keys = list(dict.fromkeys(key for recipe in recipes for key in recipe))
    settings = {key: tuple(recipe.get(key) for recipe in recipes) for key in keys}
    return RunComparison(
        runs=tuple(
            _compared(folder, one, answers[0], is_first=number == 0)
            for number, (folder, one) in enumerate(zip(folders, answers, strict=True))
        ),
        settings={key: values for key, values in settings.items() if any(value != values[0] for value in values)},
    )


def comparison_tables(found: RunComparison) -> tuple[TextTable, ...]:
    """A column a run: what was measured, and the settings that differ, if any do."""
    names = [Path(one.run).name for one in found.runs]
    header = ("", *(names if len(set(names)) == len(names) else (one.run for one in found.runs)))
    remarks = list(dict.fromkeys(one.not_paired for one in found.runs if one.not_paired))
    machines = list(dict.fromkeys(one.machine for one in found.runs))
    if len(machines) > 1:
        remarks.append("Latencies were measured on different machines: lince bench measures them on one.")
    measured = TextTable(
        name="runs",
        title="Runs, each on its own test images",
        header=header,
        rows=(
            ("accuracy", *(percent(one.accuracy.value) for one in found.runs)),
            ("95 % interval", *(percent_range(one.accuracy) for one in found.runs)),
            ("test images", *(f"{one.n:,}" for one in found.runs)),
            ("against the first, points", *(_gain(one) for one in found.runs)),
            ("paired 95 % interval", *(_range(one.gain_points) for one in found.runs)),
            ("lost by int8, points", *(points(one.drop_points.value) for one in found.runs)),
            ("paired 95 % interval", *(_range(one.drop_points) for one in found.runs)),
            ("calibration error, ECE", *(percent(one.ece) for one in found.runs)),
            ("network", *(file_size(one.flatbuffer_bytes) for one in found.runs)),
            ("one image, one thread", *(microseconds(one.latency_us) for one in found.runs)),
            ("training", *(_minutes(one.training_seconds) for one in found.runs)),
        ),
        caption="\n".join(remarks),
    )
    if not found.settings:
        return (measured,)
    rows = tuple((key, *map(_value, values)) for key, values in found.settings.items())
    return measured, TextTable("settings", "Settings that differ", header, rows)


def _read(folder: RunFolder) -> _Answers:
    record = folder.read_record()
    probabilities, labels = folder.read_answers()
    return _Answers(record, folder.read_splits()["test"], labels, probabilities.argmax(axis=1) == labels)


def _compared(folder: RunFolder, one: _Answers, first: _Answers, *, is_first: bool) -> ComparedRun:
    report, history = folder.read_report(), folder.read_history()
    certificate = report.certificate
    not_paired = "" if is_first else _difference(one, first, name=str(folder.path))
    is_paired = not (is_first or not_paired)
    return ComparedRun(
        run=str(folder.path),
        version=report.version,
        n=report.int8.n,
        accuracy=report.int8.accuracy,
        drop_points=certificate.comparison.drop_points,
        ece=report.int8.ece,
        flatbuffer_bytes=certificate.flatbuffer_bytes,
        latency_us=certificate.latency_us,
        machine=certificate.machine,
        training_seconds=sum(record.seconds for record in history),
        gain_points=metrics.points(metrics.paired_difference(one.right, first.right)) if is_paired else None,
        not_paired=not_paired,
    )


def _difference(one: _Answers, first: _Answers, *, name: str) -> str:
    """Why the runs cannot be compared image by image; empty when they have the same test images.

    A fingerprint depends on the image size. At another size, equal sources with equal test images, by index and label,
    are taken to be the same.
    """
    ours, theirs = one.record, first.record
    is_other = f"{name} cannot be compared image by image with the first run:"
    if ours.classes != theirs.classes or not np.array_equal(one.labels, first.labels):
        return f"{is_other} its test images are others."
    sizes = [(record.recipe["image_size"], record.recipe["fit"]) for record in (ours, theirs)]
    same_data = ours.fingerprint == theirs.fingerprint if sizes[0] == sizes[1] else ours.source == theirs.source
    if not same_data:
        return f"{is_other} it has other data, or its source has changed."
    return "" if np.array_equal(one.test, first.test) else f"{is_other} other test images were drawn."


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by dotted names."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def _gain(one: ComparedRun) -> str:
    return "–" if one.gain_points is None else points(one.gain_points.value)


def _range(interval: Interval | None) -> str:
    return "–" if interval is None else points_range(interval)


def _minutes(seconds: float) -> str:
    return quantity(round(seconds), "second") if seconds < 100 else f"{seconds / 60:.1f} minutes"


def _value(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
