"""The report of a run folder: files, languages, and folders that earlier versions wrote."""

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lince.errors import DataError
from lince.reporting.run_report import read_content, write_run_report
from lince.runs import pictures
from lince.runs.pictures import Pictures
from lince.runs.run_folder import RunFolder


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    """The stored run, with three pictures of its version."""
    folder = RunFolder(Path(shutil.copytree(run.path, tmp_path / "tiny")))
    grey = np.zeros((3, 8, 8, 3), np.uint8)
    shown = Pictures(
        version=folder.read_report().version,
        mistakes=grey[:0],
        examples=grey,
        example_labels=np.arange(3),
        originals=grey[:1],
        augmented=grey[None],
        copies=np.empty((0, 2, 8, 8, 3), np.uint8),
        copy_labels=np.empty((0, 2), np.int64),
    )
    pictures.write(folder.pictures, shown)
    return folder


def test_writes_html_markdown_and_plots(copy):
    """Every plot and every sheet that has pictures; the page shows them."""
    write_run_report(copy)
    names = {"accuracy", "loss", "confusion", "reliability", "sensitivity", "examples", "augmented"}
    assert {f"{name}.png" for name in names} == {path.name for path in copy.plots.iterdir()}
    assert "60 images to train on, 15 to validate, 45 to test." in copy.markdown.read_text(encoding="utf-8")
    assert 'alt="Training image of class stripes"' in copy.page.read_text(encoding="utf-8")


def test_is_written_again_in_portuguese(copy):
    """The page, the Markdown and the verdict, whose sentence in report.json is English."""
    write_run_report(copy)
    write_run_report(copy, language="pt")
    for path in (copy.page, copy.markdown):
        text = path.read_text(encoding="utf-8")
        assert "O modelo acerta 100% de 45 imagens de teste (intervalo de 95%: 92% a 100%)" in text
        assert "Relatório do Lince" in text


def test_verdict_is_as_recorded_in_english(copy):
    """A report is not judged anew by rules that may have changed."""
    table = json.loads(copy.report.read_text(encoding="utf-8"))
    table["verdict"]["findings"] = [{"code": "good", "sentence": "As it was said."}]
    copy.report.write_text(json.dumps(table), encoding="utf-8")
    assert "As it was said." == read_content(copy, language="en").published.verdict.text


def test_classes_of_cifar10_are_shown_translated(copy):
    """Their labels stay in report.json."""
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    report = read_content(copy, language="en").published
    table = json.loads(copy.report.read_text(encoding="utf-8"))
    table["classes"] = names
    for which in ("int8", "float32"):
        score = table[which]["per_class"][0]
        table[which]["per_class"] = [score | {"label": name} for name in names]
        table[which]["confusion"] = np.eye(10, dtype=int).tolist()
        table[which]["mistakes"] = [{"name": "1.png", "label": "cat", "predicted": "dog", "probability": 0.9}]
    table["certificate"]["comparison"]["worst_class"] = "bird"
    copy.report.write_text(json.dumps(table), encoding="utf-8")
    shown = read_content(copy, language="pt").published
    assert "cachorro" == shown.int8.mistakes[0].predicted
    assert ("avião", "caminhão") == (shown.classes[0], shown.int8.per_class[-1].label)
    assert "pássaro" == shown.certificate.comparison.worst_class
    assert ("disc", "square", "stripes") == report.classes


def test_a_folder_of_an_earlier_version_is_readable(copy):
    """Without pictures and without counts; pictures of another model are not shown."""
    copy.pictures.unlink()
    table = json.loads(copy.report.read_text(encoding="utf-8"))
    del table["class_counts"]
    copy.report.write_text(json.dumps(table), encoding="utf-8")
    write_run_report(copy)
    assert "This report has no pictures" in copy.page.read_text(encoding="utf-8")


def test_pictures_of_another_model_are_not_shown(copy):
    """They are of the version before, whose mistakes were others."""
    shown = pictures.read(copy.pictures)
    pictures.write(copy.pictures, replace(shown, version="another"))
    assert read_content(copy, language="en").pictures is None


def test_damaged_pictures_are_told(copy):
    """With what to do."""
    copy.pictures.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match=r"pictures\.npz' cannot be read .*Delete it: .*lince quantize"):
        read_content(copy, language="en")


def test_recipe_and_command_repeat_the_run(copy):
    """What the page calls recipe.toml is read as the recipe of the run."""
    write_run_report(copy)
    toml = copy.markdown.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    record = copy.read_record()
    assert record.recipe == tomllib.loads(toml)
    command = f"lince train {record.source} --recipe=recipe.toml --seed=0 --deterministic"
    assert command in copy.markdown.read_text(encoding="utf-8")
