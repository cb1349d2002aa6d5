"""A pretrained network with a time budget: its head comes first, and what is left of the time fine-tunes it."""

from functools import partial
from pathlib import Path

import pytest

from lince.progress import silent
from lince.runs.run_folder import RunFolder

# One epoch at most, so that ten minutes are enough on any machine, and are never waited for.
RECIPE = """
image_size = 64
[model]
family = "efficientnet_lite"
[train]
epochs = 1
batch_size = 32
learning_rate = 3e-4
optimizer = "adam"
schedule = "warm_cosine"
validation_fraction = 0.2
precision = "float32"
"""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def epochs(folder: RunFolder) -> list[int]:
    return [record.epoch for record in folder.read_history()]


def test_that_ends_with_training(lince, images_folder, recipe_file, tmp_path):
    """Nothing is published, and the network is fine-tuned all the same."""
    options = ("--recipe", recipe_file, "--time-budget", "10m", "--until", "train", "--runs", tmp_path)
    done = lince("train", images_folder, *options, "--name", "new")
    assert done.returncode == 0, done.stderr
    assert "The head is trained. Fine-tuning the network in the time that is left" in done.stderr
    assert epochs(RunFolder(tmp_path / "new")) == [0, 1]


def test_of_a_run_that_was_stopped_before_fine_tuning(lince, images_folder, recipe_file, tmp_path):
    """Resumed, it has the time budget from then on."""
    from lince import pipeline
    from lince.training import recipes
    from lince.training.time_budget.fine_tuning import head_first
    from lince.training.time_budget.limits import limit

    plan = partial(head_first, limit(600, began=0, recipe=str(recipe_file)))
    run = pipeline.start(
        str(images_folder), recipes.load(str(recipe_file)), RunFolder(tmp_path / "old"), seed=0, deterministic=False,
        strict=False, progress=silent, plan=plan,
    )  # fmt: skip
    pipeline.fit_head(run, silent)
    done = lince("train", "--resume", run.folder.path, "--until", "train")
    assert done.returncode == 0, done.stderr
    assert epochs(run.folder) == [0, 1]
    assert run.folder.read_record().budget.training_seconds > 0
