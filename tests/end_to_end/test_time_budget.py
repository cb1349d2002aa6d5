"""A pretrained network with a time budget: its head comes first, and what is left of the time fine-tunes it."""

import time
from functools import partial
from pathlib import Path

import pytest

from lince.cli import frameworks, run_commands
from lince.errors import GateError
from lince.progress import silent
from lince.publishing.options import PublishOptions
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


@pytest.fixture
def begun(images_folder, recipe_file, tmp_path):
    """An open run with ten minutes, of which nothing was used."""
    frameworks.prepare()
    from lince import pipeline
    from lince.training import recipes
    from lince.training.time_budget.fine_tuning import head_first
    from lince.training.time_budget.limits import limit

    plan = partial(head_first, limit(600, began=0, recipe=str(recipe_file)))
    return pipeline.start(
        str(images_folder), recipes.load(str(recipe_file)), RunFolder(tmp_path / "old"), seed=0, deterministic=False,
        strict=False, progress=silent, plan=plan,
    )  # fmt: skip


@pytest.mark.parametrize("left", [600, 0])
def test_whose_head_is_refused(begun, left, monkeypatch):
    """The fine-tuned network may lose less; without time for it the refusal is an error."""
    published = []

    def publish(*_: object, opened, **__: object) -> None:
        published.append(opened)
        if len(published) == 1:
            raise GateError("It lost too much.")

    monkeypatch.setattr(run_commands, "publish_run", publish)
    monkeypatch.setattr(run_commands, "show_result", lambda *_: None)
    monkeypatch.setattr(RunFolder, "read_report", lambda _: None)

    def train() -> None:
        began = time.perf_counter() - (600 - left)
        run_commands.train(begun, PublishOptions(), began=began, resumes=False, tensorboard=False, as_json=False)

    if left:
        train()
        assert epochs(begun.folder) == [0, 1]
        assert len(published) == 2
    else:
        with pytest.raises(GateError, match="It lost too much"):
            train()


def test_of_a_run_that_was_stopped_before_fine_tuning(lince, begun):
    """Resumed, it has the time budget from then on."""
    from lince import pipeline

    run = begun
    pipeline.fit_head(run, silent)
    done = lince("train", "--resume", run.folder.path, "--until", "train")
    assert done.returncode == 0, done.stderr
    assert epochs(run.folder) == [0, 1]
    assert run.folder.read_record().budget.training_seconds > 0
