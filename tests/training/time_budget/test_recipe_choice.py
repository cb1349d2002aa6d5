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
from lince.errors import RecipeError, TrainingError
from lince.progress import silent
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.training.recipe import Recipe
from lince.training.step import Trainer
from lince.training.time_budget import limits, recipe_choice
from lince.training.time_budget import step_timing as measuring
from lince.training.time_budget.limits import CANDIDATES, Limit
from lince.training.time_budget.step_timing import Counts
from lince.types import Split

# However busy the machine, publishing is not expected to take an hour.
HOUR = 3600


def limit(seconds: float, *candidates: tuple[Recipe, int], **options: bool) -> Limit:
    """So many seconds from now."""
    return Limit(seconds, time.perf_counter(), candidates, **{"is_fixed": False} | options)


def choose(found: Limit, train: Split, *, images: int | None = None, validation: int = 5, test: int = 10, **options):
    counts = Counts(len(train) if images is None else images, validation, test)
    return recipe_choice.choose(found, train, images=counts, precision="float32", seed=0, **options)


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

    @pytest.mark.parametrize("override", ["train.epochs=5", " train.validate_every = 3"])
    def test_how_long_cannot_be_said_twice(self, override):
        """The time says it already: what is asked for besides would be passed over in silence."""
        with pytest.raises(RecipeError, match=r"Received --set .*train\.\w+.* beside a time budget"):
            limits.limit(60, began=0, recipe=None, overrides=[override])

    def test_a_teacher_is_asked_in_each_step(self):
        """Even of a recipe that would ask it once: to fill a cache takes a time that nobody has measured."""
        caching = recipes.load("tiny")
        assert caching.train.teacher_cached
        [(found, _)] = limits.limit(60, began=0, recipe="tiny").candidates
        assert not found.train.teacher_cached
        with pytest.raises(RecipeError, match=r"--set train\.teacher_cached=true beside .* asked in each step"):
            limits.limit(60, began=0, recipe=None, overrides=["train.teacher_cached=true"])

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
        """And it is taken as it is."""
        found = limits.limit(60, began=0, recipe=str(recipe_file))
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

    def test_measures_every_phase(self, splits, monkeypatch):
        """A step at the beginning of each, as the network would see it then."""
        sizes, step = set(), Trainer.step

        def watched(trainer: Trainer, chosen: np.ndarray, **options: object):
            monkeypatch.setattr(trainer.model, "train_on_batch", lambda pixels, *_, **__: sizes.add(pixels.shape[1]))
            return step(trainer, chosen, **options)

        monkeypatch.setattr(Trainer, "step", watched)
        phases = ["train.phases=[{until = 0.5, image_size = 8}]", "model.stages=[[8], [8]]"]
        _, found = choose(limit(HOUR, (recipes.load("fast", phases), 1)), splits[0])
        assert {8, 32} == sizes
        assert 2 == len(found.step_seconds)

    def test_length_fits_the_time(self, recipe, splits):
        """As many epochs as the time is enough for; a validation every 25th of it."""
        chosen, found = choose(limit(HOUR, (recipe, 1)), splits[0])
        turns = found.training_seconds / (found.step_seconds[0] * math.ceil(len(splits[0]) / chosen.train.batch_size))
        assert turns == pytest.approx(chosen.train.epochs, rel=0.1)
        assert 20 <= chosen.train.epochs / chosen.train.validate_every <= 30

    def test_few_images_are_cut_into_smaller_batches(self, recipe, splits):
        """So that there are several steps in a turn; never below 16, and a named recipe keeps its own."""
        wide = named(recipe, "wide", batch_size=1000)
        for images, expected in ((60, 16), (400, 50), (10**6, 1000)):
            chosen, _ = choose(limit(10**6, (wide, 1)), splits[0], images=images)
            assert expected == chosen.train.batch_size
        chosen, _ = choose(limit(10**6, (wide, 1), is_fixed=True), splits[0])
        assert 1000 == chosen.train.batch_size

    def test_batches_that_the_user_gave(self, splits):
        """Are kept as they are, also where there are few images."""
        given = limits.limit(10**6, began=time.perf_counter(), recipe=None, overrides=["train.batch_size=48"])
        chosen, _ = choose(replace(given, candidates=given.candidates[:1]), splits[0])
        assert 48 == chosen.train.batch_size

    def test_a_step_is_of_all_images_at_most(self, recipe, splits):
        """A named recipe keeps batches larger than the dataset: one step is then a turn."""
        wide = named(recipe, "wide", batch_size=1000)
        chosen, found = choose(limit(HOUR, (wide, 1), is_fixed=True), splits[0])
        turns = found.training_seconds / found.step_seconds[0]
        assert turns == pytest.approx(chosen.train.epochs, rel=0.1)

    def test_a_step_asks_the_teacher(self, recipe, splits):
        """And takes as long as the teacher, at least."""

        def teacher(pixels: np.ndarray) -> np.ndarray:
            seen.append(pixels.shape)
            time.sleep(0.02)
            return np.zeros((len(pixels), 3), np.float32)

        seen = []
        _, found = choose(limit(HOUR, (recipe, 1)), splits[0], teacher=teacher)
        assert {(7, 32, 32, 3), (8, 32, 32, 3)} == set(seen)
        assert found.step_seconds[0] > 0.02 * 60 / 8 / 8  # 60 images make 8 batches of 7.5

    def test_looks_at_no_more_than_a_batch(self, recipe, splits):
        """The images may be large, and a recipe's batch small for it."""
        shapes = []
        model = SimpleNamespace(predict_on_batch=lambda pixels: shapes.append(pixels.shape))
        measuring._forward_times(SimpleNamespace(model=model, recipe=recipe.train, train=splits[0]))
        assert {(8, 32, 32, 3)} == set(shapes)

    def test_too_short(self, recipe, splits):
        """The sentence says what the least would be."""
        with pytest.raises(
            TrainingError,
            match=r"Received a time budget of 2 s\. Expected at least \d+0 s for recipe 'tiny', these images",
        ):
            choose(limit(2, (recipe, 1)), splits[0], test=10**6)

    def test_more_images_need_more_time(self, recipe, splits):
        """The least grows with what there is to train on."""
        found = []
        for images in (10**5, 10**7):
            with pytest.raises(TrainingError) as error:
                choose(limit(3, (recipe, 1)), splits[0], images=images)
            found.append(int(re.search(r"at least (\d+) s", str(error.value))[1]))
        assert found[0] * 10 < found[1]


class Machine:
    """One on which measuring and tracing take so long, by a clock of its own, and a step 0.1 s."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, tracing: float = 0.0, forward: float = 0.0, **measuring: float
    ):
        self.now, self.tracing, self.forward, self.measuring, self.measured = 0.0, tracing, forward, measuring, []
        monkeypatch.setattr(limits, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(recipe_choice, "measure", self.measure)

    def measure(self, recipe: Recipe, train: Split, *, images: Counts, **_: object) -> measuring.Cost:
        self.now += self.measuring[recipe.name]
        self.measured.append(recipe.name)
        return measuring.Cost(
            recipe=recipe,
            images=images,
            setup_seconds=1.0,
            tracing_seconds=self.tracing,
            step_seconds=(0.1,),
            forward_seconds=self.forward,
            layers=1,
            slowness=1.0,
            measuring_seconds=self.measuring[recipe.name],
        )

    def choose(self, seconds: float, train: Split, *recipes: Recipe):
        """For the first at least 50 steps or 6.25 turns, for the next 13 turns, 10.4 s; 6 s around them."""
        candidates = tuple((recipe, epochs) for recipe, epochs in zip(recipes, (1, 13), strict=False))
        return choose(Limit(seconds, self.now, candidates, is_fixed=True), train)


class TestMeasuring:
    """Takes time itself: 5 s of training and 6 s around it are the least that the first candidate needs.

    Looking for copies among so few images takes 6 ms.
    """

    def test_no_time_to_measure_the_next(self, recipe, splits, monkeypatch):
        """The first is then taken, as long as it can; what measuring it took says what the next would."""
        machine = Machine(monkeypatch, quick=10, better=10)
        chosen, found = machine.choose(45, splits[0], named(recipe, "quick"), named(recipe, "better"))
        assert (["quick"], "quick", ("better",)) == (machine.measured, chosen.name, found.rejected)
        assert found.training_seconds == pytest.approx(45 - 10 - 6, abs=0.01)

    def test_time_to_measure_the_next(self, recipe, splits, monkeypatch):
        """A little longer, and the next is measured, and fits."""
        machine = Machine(monkeypatch, quick=10, better=10)
        chosen, found = machine.choose(47, splits[0], named(recipe, "quick"), named(recipe, "better"))
        assert (["quick", "better"], "better", ()) == (machine.measured, chosen.name, found.rejected)
        assert found.training_seconds == pytest.approx(47 - 20 - 6, abs=0.01)

    def test_the_next_takes_all_the_time(self, recipe, splits, monkeypatch):
        """Far longer to measure than the first: nothing is left to train even that, and it says so."""
        machine = Machine(monkeypatch, quick=1, slow=95)
        with pytest.raises(TrainingError, match=r"a time budget of 100 s\. Expected at least 120 s for recipe 'quick'"):
            machine.choose(100, splits[0], named(recipe, "quick"), named(recipe, "slow"))

    def test_tracing_is_time_to_train(self, recipe, splits, monkeypatch):
        """It is paid again by the training clock: 50 steps, 20 s of tracing, 6 s around them and 1 s to measure."""
        machine = Machine(monkeypatch, quick=1, tracing=20)
        with pytest.raises(TrainingError, match="Expected at least 40 s"):
            machine.choose(31, splits[0], named(recipe, "quick"))
        chosen, found = machine.choose(34, splits[0], named(recipe, "quick"))
        assert found.training_seconds == pytest.approx(34 - 1 - 6, abs=0.01)
        assert chosen.train.epochs == round(7 / (0.1 * 8))

    def test_the_last_validation_comes_after_the_time_to_train(self, recipe, splits, monkeypatch):
        """An image takes 10 ms forwards: 1,000 to validate on are seen twice more than 1,000 to test on."""
        found = []
        for validation, test in ((1000, 10), (10, 1000)):
            machine = Machine(monkeypatch, quick=1, forward=0.01)
            candidates = ((named(recipe, "quick"), 0),)
            _, divided = choose(
                Limit(HOUR, machine.now, candidates, is_fixed=True), splits[0], validation=validation, test=test
            )
            found.append(divided.training_seconds)
        assert 19.8 == pytest.approx(found[1] - found[0])

    def test_not_all_images_need_be_seen(self, recipe, splits, monkeypatch):
        """A turn through a million images takes hours here; the first candidate asks for 50 steps only."""
        machine = Machine(monkeypatch, quick=1)
        found = Limit(60, machine.now, ((named(recipe, "quick"), 0),), is_fixed=True)
        chosen, divided = choose(found, splits[0], images=10**6)
        assert (1, 1) == (chosen.train.epochs, chosen.train.validate_every)
        assert 60 - 1 - 6 == divided.training_seconds
        needs_a_turn = Limit(60, machine.now, ((named(recipe, "quick"), 1),), is_fixed=True)
        with pytest.raises(TrainingError, match="Expected at least"):
            choose(needs_a_turn, splits[0], images=10**6)

    def test_finds_tracing(self, recipe, splits):
        """First steps compile: on this network that takes longer than the steps."""
        found = measuring.measure(
            recipe, splits[0], images=Counts(60, 5, 10), precision="float32", seed=0, teacher=None
        )
        assert found.tracing_seconds > sum(found.step_seconds) > 0
        assert found.measuring_seconds > found.setup_seconds + found.tracing_seconds


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
            def step(self, **step: object) -> None:
                seen.append(step)

            def epoch(self, record, *, best: bool, warning: str | None = None) -> None:
                """Not watched."""

        pipeline.train_model(hurried, Watcher())
        history = begun.folder.read_history()
        assert 1.5 <= sum(record.seconds for record in history)
        assert len(history) < begun.recipe.train.epochs
        assert np.isfinite([record.val_loss for record in history]).all()
        seen.clear()
        pipeline.train_model(hurried, Watcher(), resume=True)
        assert [] == seen
