"""The time that is left for fine-tuning, once a pretrained network's head is published."""

import shutil
from dataclasses import replace

import msgspec
import pytest

from lince import pipeline
from lince.cli import frameworks
from lince.progress import silent
from lince.runs.run_folder import Budget, RunFolder
from lince.training import recipes
from lince.training.time_budget import fine_tuning
from lince.training.time_budget.limits import limit


@pytest.fixture
def published(trained_run, tmp_path):
    """A finished run with a budget of 100 s, of which nothing was trained; its stages do not matter here."""
    folder = RunFolder(shutil.copytree(trained_run.path, tmp_path / "tiny"))
    frameworks.prepare(run=folder.path)
    opened = pipeline.resume(folder, progress=silent)
    budget = Budget(seconds=100, training_seconds=0, publishing_seconds=0)
    return replace(opened, record=msgspec.structs.replace(opened.record, budget=budget))


def test_head_first(published):
    """The plan keeps the recipe, and has no time for fine-tuning yet."""
    found = limit(60, began=0, recipe="photos")
    planned = replace(published, recipe=recipes.load("photos"))
    recipe, budget = fine_tuning.head_first(found, planned, {})
    assert planned.recipe == recipe
    assert (60, 0, ()) == (budget.seconds, budget.training_seconds, budget.step_seconds)


def test_enough_time_is_left(published):
    """All of it but the time to publish again, in the record of the folder too; the training begins anew."""
    found = fine_tuning.fine_tuned(published, left=60, publishing_seconds=20)
    assert found.record.budget.training_seconds == pytest.approx(60 - 22)
    assert 100 == found.record.budget.seconds
    assert found.record == published.folder.read_record()
    assert not published.folder.checkpoint.exists()
    assert not published.folder.keras_model.exists()  # it may have learned from the images that calibrate


def test_few_images_are_trained_twice(published):
    """Once to choose and calibrate, and again with the validation images: each gets half. The first refit goes."""
    record = msgspec.structs.replace(published.record, refits=True)
    published.folder.refit.touch()
    published.folder.held_out.touch()
    found = fine_tuning.fine_tuned(replace(published, record=record), left=60, publishing_seconds=20)
    assert found.record.budget.training_seconds == pytest.approx((60 - 22) / 2)
    assert not published.folder.refit.exists()
    assert not published.folder.held_out.exists()


@pytest.mark.parametrize("left", [-5, 20, 31])
def test_too_little_time_is_left(published, left):
    """Less than publishing takes, and half of that: nothing is changed."""
    before = published.folder.record.read_bytes()
    assert fine_tuning.fine_tuned(published, left=left, publishing_seconds=20) is None
    assert before == published.folder.record.read_bytes()
    assert published.folder.checkpoint.exists()
