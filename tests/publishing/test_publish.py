"""What publishing writes into the model file."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lince import drift
from lince.inference import interpreter
from lince.model_file import artifact
from lince.publishing import publish
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.types import Dataset


def test_reference_for_drift_is_of_the_validation_images(trained_run: RunFolder, dataset: Dataset):
    """As the network reads them, and as the published network answers them; no test image is among them."""
    model = artifact.read(trained_run.model)
    images = dataset.train.take(trained_run.read_splits()["validation"]).images
    predicted = interpreter.logits(model.flatbuffer, images).argmax(axis=1)
    assert model.manifest.drift_reference == drift.reference(images, predicted, num_classes=3)


def test_curves_are_those_of_the_training(trained_run: RunFolder):
    """One point a validation, to four digits, and the epoch whose weights were published."""
    curves, history = artifact.read(trained_run.model).manifest.curves, trained_run.read_history()
    assert [record.epoch for record in history] == [point.epoch for point in curves]
    for field in ("loss", "accuracy", "val_loss", "val_accuracy"):
        expected = [getattr(record, field) for record in history]
        assert [getattr(point, field) for point in curves] == pytest.approx(expected, rel=1e-3)
    [kept] = [point for point in curves if point.is_kept]
    assert kept.epoch == min(history, key=lambda record: record.val_loss).epoch


def test_curves_of_a_long_training_are_thinned(trained_run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """About a thousand points, with that of the weights that are kept."""
    first, *_ = trained_run.read_history()
    history = tuple(replace(first, epoch=epoch, val_loss=abs(epoch - 1234)) for epoch in range(1, 2501))
    monkeypatch.setattr(RunFolder, "read_history", lambda _: history)
    curves = publish._curves(SimpleNamespace(folder=trained_run, recipe=recipes.load("fast", ["train.patience=9999"])))
    assert 800 < len(curves) < 1001
    assert [point.epoch for point in curves if point.is_kept] == [1234]
