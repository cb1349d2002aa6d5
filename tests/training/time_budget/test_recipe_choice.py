"""A time is spent on the most demanding recipe that fits, and one that is too short is refused with what would do."""

import math
import re
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from lince import pipeline
from lince.cli import run_start
from lince.errors import RecipeError, TrainingError
from lince.progress import silent
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.training.recipe import Phase, Recipe
from lince.training.session import Run
from lince.training.time_budget import limits, recipe_choice
from lince.training.time_budget.limits import CANDIDATES, Limit
from lince.types import EpochRecord, Split

# However busy the machine, publishing is not expected to take an hour.
HOUR = 3600

# The stages of `Machine` do not read them.
SPLITS = {name: np.arange(3) for name in ("train", "validation", "test")}


def named(recipe: Recipe, name: str, **changes: object) -> Recipe:
    """The recipe under another name, with another `[train]` table."""
    return msgspec.structs.replace(recipe, name=name, train=msgspec.structs.replace(recipe.train, **changes))


class TestLimit:
    def test_candidates_read_the_same_images(self):
        """One size and one validation share, so that a source is read and split once; each needs more than the last."""
        found = [recipes.load(name) for name, _ in CANDIDATES]
        assert 1 == len({(one.image_size, one.train.validation_fraction) for one in found})
        assert all(first < second for (_, first), (_, second) in pairwise(CANDIDATES))

    def test_candidates_keep_their_last_weights(self):
        """A schedule that ends with the clock is worth its last weights, not the best before."""
        found = [recipes.load(name).train for name, _ in CANDIDATES]
        assert {0} == {one.patience for one in found}
        assert "constant" not in {one.schedule for one in found}

    @pytest.mark.parametrize("override", ["train.epochs=5", " train.validate_every = 3", "train.teacher_cached=true"])
    def test_what_follows_from_the_time(self, override):
        """It cannot be said twice: it would be passed over in silence."""
        with pytest.raises(RecipeError, match=r"Received --set .*train\.\w+.* with a time budget"):
            limits.limit(60, began=0, recipe=None, overrides=[override])

    def test_a_teacher_is_asked_in_each_step(self):
        """Even of a recipe that would ask it once: to fill a cache takes a time that cannot be predicted."""
        assert recipes.load("tiny").train.teacher_cached
        [(found, _)] = limits.limit(60, began=0, recipe="tiny").candidates
        assert not found.train.teacher_cached

    @pytest.mark.parametrize("recipe", [None, "tiny"])
    def test_the_first_need_not_see_all_images(self, recipe):
        """So that minutes are enough for millions of images, whether a recipe was named or not."""
        assert 0 == limits.limit(60, began=0, recipe=recipe).candidates[0][1]

    def test_overrides_reach_all(self):
        """--set goes for whichever is chosen."""
        found = limits.limit(60, began=0, recipe=None, overrides=["train.label_smoothing=0.3"])
        assert len(CANDIDATES) == len(found.candidates)
        assert {0.3} == {one.train.label_smoothing for one, _ in found.candidates}

    def test_a_named_recipe_is_the_only_one(self, recipe_file):
        """And it keeps its batches."""
        found = limits.limit(60, began=0, recipe=str(recipe_file))
        assert (["tiny"], True) == ([one.name for one, _ in found.candidates], found.keeps_batches)

    @pytest.mark.parametrize(("overrides", "expected"), [([], False), (["train.batch_size=48"], True)])
    def test_batches_that_the_user_gave(self, overrides, expected):
        """Are kept as they are, also where there are few images."""
        assert expected == limits.limit(60, began=0, recipe=None, overrides=overrides).keeps_batches


@pytest.fixture
def to_rehearse(images_folder: Path, recipe: Recipe, tmp_path: Path):
    """An open run of 60 images to train on, 15 to validate and 45 to test."""
    return _start(images_folder, recipe, tmp_path / "run", plan=None)


def _start(source: Path, recipe: Recipe, folder: Path, **options: object) -> Run:
    settings = {"seed": 0, "deterministic": False, "strict": False, "progress": silent}
    return pipeline.start(str(source), recipe, RunFolder(folder), **settings, **options)


def repeated(split: Split, count: int) -> Split:
    """The first of its images, so many times."""
    return split.take(np.zeros(count, np.int64))


class Machine:
    """One whose stages take so many seconds of a clock of its own: a step of any size 0.1 s, publishing 5 s.

    Args:
        starting: of each recipe, what building its network takes.
        tracing: of each phase.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, tracing: float = 0.0, **starting: float):
        self.now, self.tracing, self.starting, self.seen = 0.0, tracing, starting, []
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr(limits, "time", clock)
        monkeypatch.setattr(recipe_choice, "time", clock)

    def train(self, run: Run) -> None:
        self.seen.append(run)
        self.now += self.starting[run.recipe.name]
        options, history = run.recipe.train, []
        assert 1 == options.steps_per_epoch(len(run.train))
        for epoch in range(options.validate_every, options.epochs + 1, options.validate_every):
            is_first = epoch // options.validate_every % 2 == 1
            seconds = 0.1 * options.validate_every + (self.tracing if is_first else 0)
            self.now += seconds
            speed = len(run.train) * options.validate_every / seconds
            history.append(EpochRecord(epoch, 1.0, 0.5, 1.0, 0.5, 0.1, speed, seconds))
        run.folder.write_history(tuple(history))
        run.folder.checkpoint.touch()

    def publish(self, run: Run) -> None:
        assert not run.folder.checkpoint.exists()
        self.seen.append(run)
        self.now += 5.0

    def choose(self, seconds: float, run: Run, *candidates: tuple[Recipe, int], keeps_batches: bool = True):
        found = Limit(seconds, self.now, candidates, keeps_batches=keeps_batches)
        return recipe_choice.choose(found, run, SPLITS, train=self.train, publish=self.publish)

    @property
    def rehearsed(self) -> list[str]:
        return [run.recipe.name for run in self.seen[::2]]


class TestChoose:
    def test_divides_the_time(self, to_rehearse, recipe, monkeypatch):
        """A rehearsal takes 1 s to start, 6 steps and 5 s to publish; once more 6 s around the training."""
        machine = Machine(monkeypatch, quick=1)
        chosen, found = machine.choose(100, to_rehearse, (named(recipe, "quick"), 0))
        assert ("quick", ()) == (chosen.name, found.rejected)
        assert (100, 5) == (found.seconds, pytest.approx(found.publishing_seconds))
        assert found.training_seconds == pytest.approx(100 - 6.6 - 6)
        assert (0.1 * 7.5 / 8,) == pytest.approx(found.step_seconds)  # 60 images make 8 batches of 7.5

    def test_as_many_epochs_as_fit(self, to_rehearse, recipe, monkeypatch):
        """Of eight steps each; about 25 validations."""
        machine = Machine(monkeypatch, quick=1)
        chosen, found = machine.choose(100, to_rehearse, (named(recipe, "quick"), 0))
        assert chosen.train.epochs == round(found.training_seconds / 0.75)
        assert 20 <= chosen.train.epochs / chosen.train.validate_every <= 30

    def test_the_most_demanding_that_fits(self, to_rehearse, recipe, monkeypatch):
        """Of two that fit the second; a third that would need a week is named, not rehearsed."""
        machine = Machine(monkeypatch, quick=1, better=1, best=1)
        candidates = (named(recipe, "quick"), 0), (named(recipe, "better"), 2), (named(recipe, "best"), 10**6)
        chosen, found = machine.choose(HOUR, to_rehearse, *candidates)
        assert ("better", ("best",)) == (chosen.name, found.rejected)
        assert ["quick", "better"] == machine.rehearsed

    def test_one_that_turns_out_too_dear(self, to_rehearse, recipe, monkeypatch):
        """The first is taken for what its rehearsal has left."""
        machine = Machine(monkeypatch, quick=1, slow=50)
        chosen, found = machine.choose(100, to_rehearse, (named(recipe, "quick"), 0), (named(recipe, "slow"), 1))
        assert (["quick", "slow"], "quick", ("slow",)) == (machine.rehearsed, chosen.name, found.rejected)
        assert found.training_seconds == pytest.approx(100 - 6.6 - 55.6 - 6)

    def test_too_short(self, to_rehearse, recipe, monkeypatch):
        """12.6 s around training and 5 s for 50 steps, a twentieth more: 20 s are asked for, and enough."""
        machine = Machine(monkeypatch, quick=1)
        with pytest.raises(
            TrainingError, match=r"a time budget of 17 s\. Expected at least 20 s for recipe 'quick', these images"
        ):
            machine.choose(17, to_rehearse, (named(recipe, "quick"), 0))
        assert machine.choose(20, to_rehearse, (named(recipe, "quick"), 0))

    def test_tracing_is_time_to_train(self, to_rehearse, recipe, monkeypatch):
        """It is paid again by the training clock: 20 s of it need 20 s more, besides those of the rehearsal."""
        machine = Machine(monkeypatch, quick=1, tracing=20)
        with pytest.raises(TrainingError, match="Expected at least 70 s"):
            machine.choose(57, to_rehearse, (named(recipe, "quick"), 0))
        chosen, found = machine.choose(60, to_rehearse, (named(recipe, "quick"), 0))
        assert found.training_seconds == pytest.approx(60 - 26.6 - 6)
        assert chosen.train.epochs == round((60 - 26.6 - 6 - 20) / 0.75)

    def test_not_all_images_need_be_seen(self, to_rehearse, recipe, monkeypatch):
        """An epoch of 100,000 images takes long here; the first candidate needs 50 steps only."""
        machine, run = Machine(monkeypatch, quick=1), replace(to_rehearse, train=repeated(to_rehearse.train, 10**5))
        chosen, found = machine.choose(60, run, (named(recipe, "quick"), 0))
        assert (1, 1) == (chosen.train.epochs, chosen.train.validate_every)
        assert found.training_seconds == pytest.approx(60 - 6.6 - 6)
        with pytest.raises(TrainingError, match=r"Expected at least \d{4} s"):
            machine.choose(60, run, (named(recipe, "quick"), 1))

    def test_few_images_are_cut_into_smaller_batches(self, recipe):
        """So that there are several steps in an epoch; never below 16."""
        wide = named(recipe, "wide", batch_size=1000)
        assert [16, 50, 1000] == [recipe_choice.suited(wide, n).train.batch_size for n in (60, 400, 10**6)]

    @pytest.mark.parametrize(("keeps_batches", "expected"), [(False, 16), (True, 1000)])
    def test_batches(self, to_rehearse, recipe, monkeypatch, keeps_batches, expected):
        """Those of a recipe that was named stay as they are, larger than the dataset too."""
        machine, wide = Machine(monkeypatch, wide=1), named(recipe, "wide", batch_size=1000)
        chosen, _ = machine.choose(100, to_rehearse, (wide, 0), keeps_batches=keeps_batches)
        assert expected == chosen.train.batch_size


class TestRehearse:
    def test_runs_each_phase_on_few_images(self, to_rehearse, recipe, monkeypatch):
        """One step of a batch of 256 at most, six times in each phase; then all images are published."""
        machine = Machine(monkeypatch, quick=1)
        phases = (Phase(until=0.1, image_size=16), Phase(until=0.2, image_size=24))
        quick = named(recipes.load("fast"), "quick", batch_size=1000, phases=phases)
        run = replace(to_rehearse, train=repeated(to_rehearse.train, 5500))
        cost = recipe_choice.rehearse(run, quick, SPLITS, train=machine.train, publish=machine.publish)
        trained, published = machine.seen
        assert [256, 15, 45] == [len(split) for split in (trained.train, trained.validation, trained.test)]
        assert (18, 256) == (trained.recipe.train.epochs, trained.recipe.train.batch_size)
        assert [(1 / 3, 16), (2 / 3, 24)] == [(one.until, one.image_size) for one in trained.recipe.train.phases]
        assert [5500, 15, 45] == [len(split) for split in (published.train, published.validation, published.test)]
        assert (0.1 * 5500 / 6 / 256,) * 3 == pytest.approx(cost.steps)
        assert 6 == cost.steps_per_epoch
        assert not trained.folder.path.exists()

    def test_takes_the_time_of_real_stages(self, to_rehearse, recipe):
        """All of them are found, and together they are what the rehearsal took; a teacher is asked in each step."""
        plan = run_start.time_plan(Limit(HOUR, time.perf_counter(), ((recipe, 0),)))
        began = time.perf_counter()
        cost = recipe_choice.rehearse(to_rehearse, recipe, to_rehearse.folder.read_splits(), **plan.keywords)
        assert cost.rehearsal <= time.perf_counter() - began
        assert cost.tracing > cost.steps[0] > 0
        assert cost.starting > 0
        assert cost.publishing > 1
        parts = cost.starting + cost.tracing + cost.publishing + 6 * cost.steps[0]
        assert parts <= cost.rehearsal


@pytest.fixture(scope="module")
def begun(images_folder: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory):
    """A run that was given an hour."""
    plan = run_start.time_plan(Limit(HOUR, time.perf_counter(), ((recipe, 1),), keeps_batches=True))
    return _start(images_folder, recipe, tmp_path_factory.mktemp("timed") / "60m", plan=plan)


class TestRun:
    def test_is_written_down(self, begun):
        """run.json says what was asked for, and how it was divided; the recipe has the length that was chosen."""
        record = begun.folder.read_record()
        assert begun.record.budget == record.budget
        assert record.budget.seconds == HOUR
        assert record.recipe["train"]["epochs"] == begun.recipe.train.epochs > 1

    def test_length_fits_the_time(self, begun):
        """As many epochs as the steps of the rehearsal say."""
        budget, options = begun.record.budget, begun.recipe.train
        steps = math.ceil(len(begun.train) / options.batch_size)
        assert budget.training_seconds / (budget.step_seconds[0] * steps) == pytest.approx(options.epochs, rel=0.1)

    def test_trains_by_the_clock(self, begun):
        """As many epochs as there is time for, whatever the recipe says; resuming it finds nothing left to do."""
        shorter = msgspec.structs.replace(begun.record.budget, training_seconds=1.5, publishing_seconds=1e-9)
        hurried = replace(begun, record=msgspec.structs.replace(begun.record, budget=shorter))
        seen = []

        class Watcher:
            def step(self, **step: object) -> None:
                seen.append(step)

            def epoch(self, record, *, best: bool, warning: str | None = None) -> None:
                """Not watched."""

        pipeline.train_model(hurried, Watcher())
        history = begun.folder.read_history()
        assert 1.5 <= sum(record.seconds for record in history)
        assert history[-1].epoch < begun.recipe.train.epochs
        assert 1 == history[-1].progress
        assert np.isfinite([record.val_loss for record in history]).all()
        seen.clear()
        pipeline.train_model(hurried, Watcher(), resume=True)
        assert [] == seen

    def test_too_short(self, images_folder, recipe, tmp_path):
        """The real stages are rehearsed, it is refused with what would do, and no folder is made."""
        plan = run_start.time_plan(Limit(2, time.perf_counter(), ((recipe, 0),), keeps_batches=True))
        with pytest.raises(TrainingError) as error:
            _start(images_folder, recipe, tmp_path / "2s", plan=plan)
        assert re.search(
            r"Received a time budget of 2 s\. Expected at least \d+0 s for recipe 'tiny'", str(error.value)
        )
        assert not (tmp_path / "2s").exists()
