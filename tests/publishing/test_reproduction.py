"""A network that does not answer as it did while it was trained is not published."""

import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lince import pipeline
from lince.errors import TrainingError
from lince.evaluation import accuracy
from lince.networks.models import float_predict
from lince.progress import silent
from lince.publishing.reproduction import _is_beyond, require_reproduced
from lince.runs.run_folder import RunFolder
from lince.training import checkpoint, recipes


@pytest.fixture
def copy(trained_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A finished run that may be changed."""
    return RunFolder(Path(shutil.copytree(trained_run.path, tmp_path / "tiny")))


def opened(folder: RunFolder, precision: str = "float32") -> pipeline.Run:
    """The run, as if it had been trained in this precision."""
    found = pipeline.resume(folder, progress=silent)
    return replace(found, record=msgspec.structs.replace(found.record, precision=precision))


def confuse(folder: RunFolder) -> None:
    """Turns the last layer of the weights that were kept round, as numbers that are too large for it would."""
    with np.load(folder.checkpoint) as arrays:
        contents = dict(arrays)
    kept = sum(name.startswith("kept_") for name in contents)
    for name in (f"kept_{kept - 2}", f"kept_{kept - 1}"):
        contents[name] = -contents[name]
    np.savez(folder.checkpoint, **contents)
    pipeline.write_float_model(pipeline.resume(folder, progress=silent))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_another_network_is_refused(copy, precision):
    """What went wrong, with both figures; nothing is written; both repairs are settings of a recipe."""
    confuse(copy)
    before = {path.name: path.read_bytes() for path in copy.path.iterdir() if path.is_file()}
    expected = (
        r"The trained network is right for \d+\.\d\d % of 15 validation images, where epoch \d+, whose weights were "
        r"kept, had (in bfloat16 )?\d+\.\d\d %\. .*Nothing was published, and the weights are kept in '.*tiny'\. "
    )
    with pytest.raises(TrainingError, match=expected) as error:
        pipeline.publish(opened(copy, precision), pipeline.PublishOptions(force=True), say=lambda _: None)
    assert before == {path.name: path.read_bytes() for path in copy.path.iterdir() if path.is_file()}
    advice = re.search(r"Train anew with a train\.learning_rate below 0\.003(.*)\.$", str(error.value))[1]
    setting = re.fullmatch(r", or with --set (train\.precision=float32)", advice)
    assert (precision == "float32") == (setting is None)
    if setting:
        assert "float32" == recipes.load("fast", overrides=[setting[1]]).train.precision


def test_unpublished_in_its_own_words(copy, lince):
    """The program: one sentence, exit code 1, and the model that was there stays."""
    before = copy.model.read_bytes()
    confuse(copy)
    done = lince("quantize", copy.path)
    assert 1 == done.returncode
    assert "Nothing was published" in done.stderr
    assert before == copy.model.read_bytes()


@pytest.mark.parametrize(
    ("precision", "more", "is_refused"),
    [
        ("float32", 1, False),
        ("float32", -1, False),
        ("float32", 2, True),
        ("float32", -2, True),
        ("bfloat16", 3, False),
        ("bfloat16", -3, False),
        ("bfloat16", 4, True),
    ],
)
def test_images_that_may_differ(copy, monkeypatch, precision, more, is_refused):
    """The kept epoch was right for so many more than the network now is: one of 15, or three in bfloat16."""
    run, state = opened(copy, precision), checkpoint.read(copy.checkpoint)
    kept = min(state.history, key=lambda record: record.val_loss).epoch
    found = accuracy.outputs(float_predict(pipeline.trained_model(copy)), run.validation, batch_size=16)
    right = (found.logits.argmax(axis=1) == run.validation.labels).sum()
    history = [
        replace(record, val_accuracy=(right + more) / 15) if record.epoch == kept else record
        for record in state.history
    ]
    monkeypatch.setattr(checkpoint, "read", lambda path: replace(state, history=tuple(history)))
    with pytest.raises(TrainingError) if is_refused else nullcontext():
        require_reproduced(run, found.logits)


@pytest.mark.parametrize(
    ("images", "count", "expected"),
    [(5, 1000, False), (6, 1000, True), (1, 10, False), (2, 10, True), (7, 1400, False)],
)
def test_counts_images(images, count, expected):
    """Half a point is the bound, not above it, whatever 0.915 − 0.910 may be in binary."""
    for right in (count, count - 85):
        if right >= images:
            found = abs(right / count - (right - images) / count)
            assert expected == _is_beyond(found, count, share=0.005, images=1)


def test_without_a_checkpoint(copy):
    """Without a checkpoint there is nothing to compare with."""
    copy.checkpoint.unlink()
    run = opened(copy)
    require_reproduced(run, np.full((15, 3), 1 / 3, np.float32))


def test_refit_keeps_its_last_weights(copy, monkeypatch):
    """The recipe's patience is the first training's: of a refit the last epoch counts, whatever its validation loss."""
    run, state = opened(copy), checkpoint.read(copy.checkpoint)
    found = accuracy.outputs(float_predict(pipeline.trained_model(copy)), run.validation, batch_size=16)
    right = float((found.logits.argmax(axis=1) == run.validation.labels).mean())
    lower, last = state.history[:2]
    history = (replace(lower, val_loss=0.1, val_accuracy=1 - right), replace(last, val_loss=0.2, val_accuracy=right))
    monkeypatch.setattr(checkpoint, "read", lambda path: replace(state, history=history))
    assert run.recipe.train.patience
    with pytest.raises(TrainingError, match="Nothing was published"):
        require_reproduced(run, found.logits)
    copy.write_held_out(found.logits, run.validation.labels)
    require_reproduced(run, found.logits)
