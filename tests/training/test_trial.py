"""A recipe is tried in a temporary folder, for a bounded number of images or seconds."""

from functools import partial

import msgspec
import pytest
from rich.console import Console

from lince import pipeline
from lince.progress import silent
from lince.training import recipes, trial
from lince.training.display import LineDisplay
from lince.training.session import Run


@pytest.fixture
def start(images_folder):
    """Opens runs of 75 training images in three classes."""
    settings = {"seed": 0, "deterministic": False, "strict": False, "progress": silent}
    return partial(pipeline.start, str(images_folder), **settings)


class Stages:
    """The stages that train, and the runs that they were given."""

    def __init__(self):
        self.seen: list[Run] = []

    def __call__(self, run: Run) -> None:
        self.seen.append(run)
        pipeline.fit_head(run, silent)
        pipeline.train_model(run, LineDisplay(Console(quiet=True), epochs=""))


def test_from_scratch(start, recipe):
    """It follows from the seed, is measured once, and leaves nothing behind."""
    train = Stages()
    first, again = (trial.run(recipe, start=start, train=train, seconds=None) for _ in range(2))
    assert first == again
    assert (15, True) == (first.n, 0 <= first.accuracy <= 1)
    run = train.seen[0]
    assert (None, run.recipe.train.epochs) == (run.record.budget, run.recipe.train.validate_every)
    assert not run.folder.path.exists()


def test_reads_a_bounded_number_of_images(start, recipe, monkeypatch):
    """About 20 of the training images, the same share of each class, in five epochs: 100 in all."""
    monkeypatch.setattr(trial, "_MOST_TRAIN", 20)
    monkeypatch.setattr(trial, "_MOST_READ", 100)
    train, longer = Stages(), msgspec.structs.replace(recipe.train, epochs=50)
    trial.run(msgspec.structs.replace(recipe, train=longer), start=start, train=train, seconds=None)
    [run] = train.seen
    assert (21, 5) == (len(run.train), run.recipe.train.epochs)


def test_by_the_clock(start, recipe):
    """A time ends it, also when there are epochs left."""
    train, longer = Stages(), msgspec.structs.replace(recipe.train, epochs=10**6)
    trial.run(msgspec.structs.replace(recipe, train=longer), start=start, train=train, seconds=1.0)
    [run] = train.seen
    assert 1.0 == run.record.budget.training_seconds


def test_head_on_a_part_of_the_images(start, monkeypatch):
    """The images of the part keep their groups, which the folds of the head's cross-validation need."""
    monkeypatch.setattr(trial, "_MOST_TRAIN", 20)
    train, whole = Stages(), Stages()
    small = recipes.load("photos", ("image_size=64", "augment.translate=4", trial.HELD_OUT))
    trial.run(small, start=start, train=train, seconds=None)
    monkeypatch.setattr(trial, "_MOST_TRAIN", 1000)
    trial.run(small, start=start, train=whole, seconds=None)
    groups = dict(zip(whole.seen[0].train.names, whole.seen[0].groups.tolist(), strict=True))
    assert [groups[name] for name in train.seen[0].train.names] == train.seen[0].groups.tolist()
    assert 21 == len(train.seen[0].groups)


def test_only_the_head_of_a_pretrained_network(start):
    """Its accuracy is that before the first step of fine-tuning."""
    ended: list[int] = []

    def train(run: Run) -> None:
        Stages()(run)
        ended.append(run.folder.read_history()[-1].epoch)

    small = recipes.load("photos", ("image_size=64", "augment.translate=4", trial.HELD_OUT))
    assert 15 == trial.run(small, start=start, train=train, seconds=None).n
    assert [0] == ended
