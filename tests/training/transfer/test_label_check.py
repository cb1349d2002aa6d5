"""Wrong labels of a run: found by features and folds, and nothing of the run is changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.training.transfer.drawn import draw

import in_process
from lince import data
from lince.errors import DataError, TrainingError
from lince.progress import silent
from lince.runs.run_folder import RunFolder
from lince.training.transfer import feature_file, head
from lince.training.transfer.label_check import check_labels
from lince.types import ImageSpec

SPEC = ImageSpec(64, 64)
STRANGE = (3, 40, 70)  # the last is among the validation images


@pytest.fixture
def checked(run, images_folder, tmp_path):
    """A run with features, of which three are those of another class; and the names, labels and right classes."""
    folder = RunFolder(Path(shutil.copytree(run.path, tmp_path / "run")))
    record = json.loads(folder.record.read_text(encoding="utf-8"))
    record["recipe"]["model"] = {"family": "efficientnet_lite", "weights": "imagenet"}
    loaded = data.load(images_folder, SPEC, seed=0)
    record |= {"recipe": record["recipe"] | {"image_size": SPEC.width}, "fingerprint": loaded.fingerprint}
    folder.record.write_text(json.dumps(record), encoding="utf-8")
    splits = folder.read_splits()
    images = loaded.train.take(np.concatenate([splits["train"], splits["validation"]]))
    shown = images.labels.copy()
    shown[list(STRANGE)] = (shown[list(STRANGE)] + 1) % 3
    cloud, labels = draw(3 * 75, spread=0.3)
    features = cloud[[np.flatnonzero(labels == label)[place] for place, label in enumerate(shown)]]
    for one in STRANGE:  # typical of the other class: more so than its average image
        features[one] = cloud[labels == shown[one]].mean(axis=0)
    feature_file.write(folder.features, features.shape, [features])
    head.save(folder.head, head.fit(features[:60], images.labels[:60], num_classes=3, strength=0.1, seed=0))
    wrong = {images.names[one]: (images.classes[images.labels[one]], images.classes[shown[one]]) for one in STRANGE}
    return folder, wrong


def test_finds_images_that_look_like_another_class(checked, images_folder):
    """Those three and no other, of training and validation images, with the class that they look like."""
    folder, wrong = checked
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    found = check_labels(str(images_folder), folder, progress=silent)
    assert (75, wrong) == (found.n, {one.name: (one.label, one.suggested) for one in found.suspects})
    probabilities = [one.label_probability for one in found.suspects]
    assert sorted(probabilities) == probabilities
    assert all(one.suggested_probability > 0.8 > 0.1 > one.label_probability for one in found.suspects)
    everything = data.load(images_folder, SPEC, seed=0).train
    for one, image in zip(found.suspects, found.images[:], strict=True):
        assert np.array_equal(everything.images[list(everything.names).index(one.name)], image)
    assert before == {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}


def test_only_image_of_a_class_is_not_listed(checked, images_folder, monkeypatch):
    """All images of one class in one fold: the other folds do not know how the class looks."""
    from lince.training.transfer import cross_validation

    folder, _ = checked
    labels = data.load(images_folder, SPEC, seed=0).train
    splits = folder.read_splits()
    labels = labels.take(np.concatenate([splits["train"], splits["validation"]])).labels
    monkeypatch.setattr(
        cross_validation, "folds", lambda labels, **_: np.where(labels == 2, 0, np.arange(len(labels)) % 4 + 1)
    )
    found = check_labels(str(images_folder), folder, progress=silent)
    assert found.suspects
    assert "stripes" not in {one.label for one in found.suspects}


def test_program_lists_them_and_writes_a_page(checked, images_folder, tmp_path):
    """`--model` adds them to the JSON, `--page` writes the pictures; without `--model` the field is null."""
    folder, wrong = checked
    page = tmp_path / "labels.html"
    done = in_process.lince("data", "check", images_folder, "--model", folder.path, "--page", page, "--json")
    assert 0 == done.returncode, done.stderr
    assert set(wrong) == {one["name"] for one in json.loads(done.stdout)["suspected_labels"]}
    assert 3 == page.read_text(encoding="utf-8").count("<img ")
    assert json.loads(in_process.lince("data", "check", images_folder, "--json").stdout)["suspected_labels"] is None
    done = in_process.lince("data", "check", images_folder, "--page", page)
    assert (2, True) == (done.returncode, "--page has no effect without --model RUN" in " ".join(done.stderr.split()))
    done = in_process.lince("data", "check", images_folder, "--model", folder.path, "--page", tmp_path / "no" / "x")
    assert (1, True) == (done.returncode, "could not be written (No such file or directory)" in done.stderr)


def test_runs_that_cannot_say(checked, run, images_folder, tmp_path, make_other):
    """A run that was not pretrained, one without features, with too few, and other data: one sentence each."""
    folder, _ = checked
    with pytest.raises(TrainingError, match=r"was not pretrained \(recipe 'tiny'\)\. Expected .*--recipe photos"):
        check_labels(str(images_folder), run, progress=silent)
    with pytest.raises(DataError, match=r"has other images or labels \(fingerprint .*name the run's own data"):
        check_labels(str(make_other), folder, progress=silent)
    features = feature_file.read(folder.features)[:][:70]
    feature_file.write(folder.features, features.shape, [features])
    with pytest.raises(TrainingError, match="has features of 70 images"):
        check_labels(str(images_folder), folder, progress=silent)
    folder.features.unlink()
    with pytest.raises(TrainingError, match=r"features.npy' cannot be read \(No such file or directory\)\. Expected"):
        check_labels(str(images_folder), folder, progress=silent)


@pytest.fixture
def make_other(images_folder, tmp_path) -> Path:
    """The same images with one label changed."""
    root = Path(shutil.copytree(images_folder, tmp_path / "other"))
    picture = sorted(root.glob("train/disc/*.png"))[0]
    picture.rename(root / "train" / "square" / "moved.png")
    return root
