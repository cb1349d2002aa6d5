"""Runs side by side: what was measured, what differs, and which of them may be compared image by image."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lince.errors import DataError, ResumeError
from lince.reporting.comparison import compare, comparison_tables
from lince.runs.run_folder import RunFolder
from lince.system.files import write_atomically


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> Callable[..., RunFolder]:
    """Copies of the stored run under another name, with another record."""

    def make(name: str, **changed: object) -> RunFolder:
        folder = RunFolder(Path(shutil.copytree(run.path, tmp_path / name)))
        folder.write_record(msgspec.structs.replace(folder.read_record(), **changed))
        return folder

    return make


def answer_wrongly(folder: RunFolder, images: int) -> None:
    """Changes the recorded answers to the first images."""
    probabilities, labels = folder.read_answers()
    probabilities[:images] = np.roll(probabilities[:images], 1, axis=1)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, probabilities=probabilities, labels=labels)
    write_atomically(folder.answers, file.getvalue())


def cells(folders: list[RunFolder]) -> dict[str, tuple[str, ...]]:
    """The first table by the name of its rows; of two with the same name, the first."""
    rows = comparison_tables(compare(folders))[0].rows
    return {row[0]: row[1:] for row in reversed(rows)}


def test_measures_are_those_of_the_runs(run: RunFolder):
    """Accuracy, size, latency and training time, from the run folder."""
    (found,), report = compare([run]).runs, run.read_report()
    assert report.int8.accuracy == found.accuracy
    assert report.certificate.latency_us == found.latency_us
    assert sum(record.seconds for record in run.read_history()) == found.training_seconds
    assert ("100.00 %",) == cells([run])["accuracy"]
    assert ("21.1 kB",) == cells([run])["network"]


def test_the_same_test_images_are_compared_in_pairs(run: RunFolder, copy):
    """Nine wrong answers more of 45 are 20 points less, and the first run is compared with nothing."""
    worse = copy("worse")
    answer_wrongly(worse, 9)
    first, second = compare([run, worse]).runs
    assert (None, "") == (first.gain_points, first.not_paired)
    assert second.gain_points.value == pytest.approx(-20)
    assert second.gain_points.high < 0
    assert ("–", "−20.00") == cells([run, worse])["against the first, points"]


def test_settings_that_differ_are_listed(run: RunFolder, copy):
    """By their dotted keys, and no others."""
    recipe = run.read_record().recipe
    longer = copy("longer", seed=3, recipe=recipe | {"train": recipe["train"] | {"epochs": 40}, "added": [1]})
    found = compare([run, longer])
    assert {"train.epochs": (12, 40), "seed": (0, 3), "added": (None, [1])} == found.settings
    _, settings = comparison_tables(found)
    assert ("", "tiny", "longer") == settings.header
    assert {("train.epochs", "12", "40"), ("seed", "0", "3"), ("added", "–", "[1]")} == set(settings.rows)
    assert 1 == len(comparison_tables(compare([run, run])))


def test_other_images_are_not_compared_in_pairs(run: RunFolder, copy):
    """Other classes, other data, another test split: each says which. Another image size is no other data."""
    recipe = run.read_record().recipe
    larger = recipe | {"image_size": 64}
    reasons = {
        "its test images are others": copy("classes", classes=("disc", "square", "star")),
        "its source has changed": copy("data", fingerprint="0" * 64),
        "it has other data": copy("source", fingerprint="0" * 64, recipe=larger, source="elsewhere"),
    }
    for reason, folder in reasons.items():
        assert reason in compare([run, folder]).runs[1].not_paired
        assert reason in comparison_tables(compare([run, folder]))[0].caption
    assert "" == compare([run, copy("size", fingerprint="0" * 64, recipe=larger)]).runs[1].not_paired
    drawn = copy("drawn")
    arrays = drawn.read_splits() | {"test": np.arange(45)}
    np.savez(drawn.splits, **arrays)
    assert "other test images were drawn" in compare([run, drawn]).runs[1].not_paired


def test_latencies_of_different_machines_are_remarked(run: RunFolder, copy):
    """And runs of the same name are told apart by their paths."""
    other = copy("tiny")
    table = json.loads(other.report.read_text(encoding="utf-8"))
    table["certificate"]["machine"] = "another"
    other.report.write_text(json.dumps(table), encoding="utf-8")
    found = comparison_tables(compare([run, other]))[0]
    assert "different machines" in found.caption
    assert ("", str(run.path), str(other.path)) == found.header


def test_refuses_what_is_no_published_run(run: RunFolder, copy, tmp_path: Path):
    """An empty folder, and a run without a report."""
    with pytest.raises(ResumeError, match="is not a run folder"):
        compare([run, RunFolder(tmp_path)])
    trained = copy("trained")
    trained.report.unlink()
    with pytest.raises(DataError, match="Write it with lince quantize"):
        compare([trained])
