"""A time is spent on the most demanding recipe that fits, and one that is too short is refused with what would do."""

import re
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lince.data.progress import silent
from lince.errors import TrainingError
from lince.records import Split
from lince.run import RunFolder
from lince.training import budget, pipeline
from lince.training import recipe as recipes
from lince.training.budget import CANDIDATES, Limit
from lince.training.recipe import Recipe

# However busy the machine, publishing is not expected to take an hour.
HOUR = 3600


def limit(seconds: float, *candidates: tuple[Recipe, int], is_fixed: bool = False) -> Limit:
    """So many seconds from now."""
    return Limit(seconds, time.perf_counter(), candidates, is_fixed)


def choose(found: Limit, train: Split, **options):
    settings = {"images": len(train), "others": 15, "precision": "float32", "seed": 0} | options
    return budget.choose(found, train, **settings)


def named(recipe: Recipe, name: str, **changes: object) -> Recipe:
    """The recipe under another name, with another `[train]` table."""
    return msgspec.structs.replace(recipe, name=name, train=msgspec.structs.replace(recipe.train, **changes))


class TestCandidates:
    def test_read_the_same_images(self):
        """One size and one validation share, so that a source is read and split once; each needs more than the last."""
        found = [recipes.load(one.recipe) for one in CANDIDATES]
        assert 1 == len({(one.image_size, one.train.validation_fraction) for one in found})
        assert all(first.epochs < second.epochs for first, second in pairwise(CANDIDATES))

    def test_keep_their_last_weights(self):
        """A schedule that ends with the clock is worth its last weights, not the best before."""
        found = [recipes.load(one.recipe).train for one in CANDIDATES]
        assert {0} == {one.patience for one in found}
        assert "constant" not in {one.schedule for one in found}

    def test_overrides_reach_all(self):
        """--set goes for whichever is chosen."""
        found = budget.limit(60, began=0, recipe=None, overrides=["train.label_smoothing=0.3"])
        assert len(CANDIDATES) == len(found.candidates)
        assert {0.3} == {one.train.label_smoothing for one, _ in found.candidates}

    def test_a_named_recipe_is_the_only_one(self, recipe_file):
        """And it is taken as it is."""
        found = budget.limit(60, began=0, recipe=str(recipe_file))
        assert (["tiny"], True) == ([one.name for one, _ in found.candidates], found.is_fixed)


class TestChoose:
    def test_the_most_demanding_that_fits(self, recipe, splits):
        """Of two that fit the second; a third that would need a week is named, not taken."""
        candidates = [(named(recipe, "quick"), 1), (named(recipe, "better"), 2), (named(recipe, "best"), 10**9)]
        chosen, found = choose(limit(HOUR, *candidates), splits[0])
        assert ("better", ("best",)) == (chosen.name, found.rejected)

    def test_divides_the_time(self, recipe, splits):
        """Training gets what publishing is not expected to take, and what was not used so far."""
        _, found = choose(limit(HOUR, (recipe, 1)), splits[0])
        assert found.seconds == HOUR
        assert 0 < found.training_seconds < HOUR - found.publishing_seconds < HOUR
        assert 1 == len(found.step_seconds)

    def test_measures_every_phase(self, splits):
        """Steps on smaller images cost less."""
        phases = ["train.phases=[{until = 0.5, image_size = 8}]", "model.stages=[[64, 64], [64]]"]
        _, found = choose(limit(HOUR, (recipes.load("fast", phases), 1)), splits[0])
        small, full = found.step_seconds
        assert 0 < small < full

    def test_length_fits_the_time(self, recipe, splits):
        """Epochs times repeats is about what the time is enough for; a record every 25th of it."""
        chosen, found = choose(limit(HOUR, (recipe, 1)), splits[0])
        turns = found.training_seconds / (found.step_seconds[0] * len(splits[0]) / chosen.train.batch_size)
        assert turns == pytest.approx(chosen.train.epochs * chosen.train.repeats, rel=0.1)
        assert 20 <= chosen.train.epochs <= 30

    def test_few_images_are_cut_into_smaller_batches(self, recipe, splits):
        """So that there are several steps in a turn; never below 16, and a named recipe keeps its own."""
        wide = named(recipe, "wide", batch_size=1000)
        for images, expected in ((60, 16), (400, 50), (10**6, 1000)):
            chosen, _ = choose(limit(10**6, (wide, 1)), splits[0], images=images)
            assert expected == chosen.train.batch_size
        chosen, _ = choose(limit(10**6, (wide, 1), is_fixed=True), splits[0])
        assert 1000 == chosen.train.batch_size

    def test_too_short(self, recipe, splits):
        """The sentence says what the least would be."""
        with pytest.raises(
            TrainingError,
            match=r"Received a time budget of 2 s\. Expected at least \d+0 s for recipe 'tiny', these images",
        ):
            choose(limit(2, (recipe, 1)), splits[0], others=10**6)

    def test_more_images_need_more_time(self, recipe, splits):
        """The least grows with what there is to train on."""
        found = []
        for images in (10**5, 10**7):
            with pytest.raises(TrainingError) as error:
                choose(limit(3, (recipe, 1)), splits[0], images=images)
            found.append(int(re.search(r"at least (\d+) s", str(error.value))[1]))
        assert found[0] * 10 < found[1]


@pytest.fixture(scope="module")
def begun(images_folder: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory):
    """A run that was given an hour."""
    folder = RunFolder(tmp_path_factory.mktemp("timed") / "60m")
    settings = {"seed": 0, "deterministic": False, "strict": False, "progress": silent}
    return pipeline.start(str(images_folder), recipe, folder, limit=limit(HOUR, (recipe, 1)), **settings)


class TestRun:
    def test_is_written_down(self, begun):
        """run.json says what was asked for, and how it was divided; the recipe has the length that was chosen."""
        record = begun.folder.read_record()
        assert begun.record.budget == record.budget
        assert record.budget.seconds == HOUR
        assert record.recipe["train"]["epochs"] == begun.recipe.train.epochs > 1

    def test_trains_by_the_clock(self, begun):
        """As many epochs as there is time for, whatever the recipe says; resuming it finds nothing left to do."""
        shorter = msgspec.structs.replace(begun.record.budget, training_seconds=1.5)
        hurried = replace(begun, record=msgspec.structs.replace(begun.record, budget=shorter))
        seen = []

        class Watcher:
            def batch(self, **step: object) -> None:
                seen.append(step)

            def epoch(self, record, *, best: bool) -> None:
                """Not watched."""

        pipeline.train_model(hurried, Watcher())
        history = begun.folder.read_history()
        assert 1.5 <= sum(record.seconds for record in history)
        assert len(history) < begun.recipe.train.epochs
        assert np.isfinite([record.val_loss for record in history]).all()
        seen.clear()
        pipeline.train_model(hurried, Watcher(), resume=True)
        assert [] == seen
