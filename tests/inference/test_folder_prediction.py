"""Rows for many images: the same in one process and in several, whatever becomes of a process."""

import multiprocessing
import os
import shutil
import signal
import zipfile
from pathlib import Path

import pytest

import synthetic
from lince.errors import LinceError
from lince.inference import folder_prediction
from lince.inference.classifier import Classifier
from lince.inference.folder_prediction import RowOptions, predict_on_cores, predict_paths
from lince.model_file import artifact

OPTIONS = RowOptions(top=2, logits=True)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder of 45 pictures, an archive with a damaged one, a picture, a file that is none, and nothing."""
    folder = tmp_path_factory.mktemp("pictures")
    images = synthetic.write_tree(folder / "images", train=30, test=15)
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for file in sorted(images.rglob("*.jpg")):
            archive.write(file, file.relative_to(images))
        archive.writestr("damaged.jpg", b"0123456789")
    data = (folder / "all.zip").read_bytes()
    (folder / "all.zip").write_bytes(data.replace(b"0123456789", b"0123456780"))
    (folder / "notes.jpg").write_text("no picture")
    first = min(images.rglob("*.jpg"))
    return [images, folder / "all.zip", first, folder / "notes.jpg", folder / "nothing"]


@pytest.fixture
def classifier(run) -> Classifier:
    return Classifier.load(run.model)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """All images but the first 16 are for other processes: this one waits until they have started."""

    def have_started(self) -> bool:
        while not started(self):
            for one in self._starting:
                one.exception()
        return True

    started = folder_prediction._Processes.have_started
    monkeypatch.setattr(folder_prediction._Processes, "have_started", have_started)
    monkeypatch.setattr(folder_prediction, "_FEW", folder_prediction._CHUNK)


def test_one_row_for_each_image(run, classifier, paths):
    """In order, with an error where there is no answer; the same as for each image alone."""
    rows = list(predict_paths(classifier, paths, OPTIONS))
    errors = {row["path"]: row["error"] for row in rows if "error" in row}
    assert [f"{paths[1]}/damaged.jpg", str(paths[3]), str(paths[4])] == list(errors)
    assert errors[f"{paths[1]}/damaged.jpg"].startswith("It cannot be unpacked")
    inside = [row["path"] for row in rows[:45]]
    assert sorted(map(str, filter(Path.is_file, paths[0].rglob("*")))) == inside
    alone = [row for path in inside for row in predict_paths(classifier, [Path(path)], OPTIONS)]
    assert rows[:45] == alone


@pytest.mark.usefixtures("many")
def test_several_processes_give_the_same_rows(run, classifier, paths):
    """In the same order, to the bit, with the same errors."""
    found = list(predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2))
    assert found == list(predict_paths(classifier, paths, OPTIONS))
    assert len(found) > 3 * folder_prediction._CHUNK


def test_this_process_answers_until_the_others_have_started(run, classifier, paths, monkeypatch):
    """They take longer to start than so few images take; then they are not waited for."""
    monkeypatch.setattr(folder_prediction, "_FEW", 0)
    found = list(predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2))
    assert found == list(predict_paths(classifier, paths, OPTIONS))
    assert multiprocessing.active_children() == []


def test_few_images_start_no_process(run, classifier, paths, monkeypatch):
    """A process takes longer to start than they take."""
    monkeypatch.setattr(folder_prediction._Spawn, "Process", None)
    paths = [paths[0], *paths[2:]]
    assert 48 == len(list(predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2)))


@pytest.mark.usefixtures("many")
def test_a_process_that_is_ended_costs_no_row(run, classifier, paths):
    """Its images are answered by another one."""
    found = predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2)
    rows = [next(found) for _ in range(folder_prediction._CHUNK + 1)]
    ended = multiprocessing.active_children()
    assert len(ended) == 2
    for process in ended:
        os.kill(process.pid, signal.SIGKILL)
    assert rows + list(found) == list(predict_paths(classifier, paths, OPTIONS))


class EndsItsProcess:
    """What is unpickled ends the process: as a picture whose decoder takes all memory."""

    def __call__(self):
        raise AssertionError

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGKILL,)


@pytest.mark.usefixtures("many")
def test_an_image_that_ends_processes_is_an_error(run, classifier, paths, monkeypatch):
    """Its row says so, and all others have their answers."""
    expected = list(predict_paths(classifier, paths, OPTIONS))
    real = list(folder_prediction.find_images(paths))
    real[40] = ("bad.jpg", EndsItsProcess())
    monkeypatch.setattr(folder_prediction, "find_images", lambda _: iter(real))
    rows = list(predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2))
    assert rows[40]["path"] == "bad.jpg"
    assert rows[40]["error"].startswith("The system ended the process that read it")
    assert rows[:40] + rows[41:] == expected[:40] + expected[41:]


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("become", ["another model", "no model"])
def test_a_model_file_that_was_replaced_gives_no_row(run, classifier, paths, tmp_path, become):
    """The rows would be of two models, or blame the pictures."""
    file = shutil.copy(run.model, tmp_path / "tiny.tflite")
    found = predict_on_cores(classifier, Path(file), paths, OPTIONS, workers=2)
    next(found)
    if become == "no model":
        os.unlink(file)
    else:
        shutil.copy(artifact.locate("cifar10-tiny"), file)
    match = {"another model": r"tiny\.tflite' was replaced while", "no model": r"tiny\.tflite.*cannot be read"}[become]
    with pytest.raises(LinceError, match=match):
        list(found)
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("many")
def test_processes_that_cannot_start_are_an_error(run, classifier, paths, monkeypatch):
    """The images are not blamed for it."""
    monkeypatch.setattr(folder_prediction, "_begin", EndsItsProcess())
    with pytest.raises(
        LinceError, match=r"ended while it started, most likely because memory is short\. Use --workers 1"
    ):
        list(predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2))
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("many")
def test_rows_that_nobody_wants_end_the_processes(run, classifier, paths):
    """As when the reader of a pipe goes away; what they work on is not waited for."""
    found = predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2)
    for _ in range(folder_prediction._CHUNK + 1):
        next(found)
    assert len(multiprocessing.active_children()) == 2
    found.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_images_that_have_rows_are_left_out(run, classifier, paths, workers):
    """One of them is answered all the same, to compare."""
    rows = list(predict_paths(classifier, paths, OPTIONS))
    done = [row["path"] for row in rows[:50]]
    found = predict_on_cores(classifier, run.model, paths, OPTIONS, workers=workers, done=done, again=48)
    assert [rows[48], *rows[50:]] == list(found)


@pytest.mark.parametrize("change", ["renamed", "too many"])
def test_other_images_than_those_that_have_rows(run, classifier, paths, change):
    """Whichever of them it is."""
    done = [row["path"] for row in predict_paths(classifier, paths, OPTIONS)]
    done = [*done[:7], "other.jpg", *done[8:]] if change == "renamed" else [*done, "other.jpg"]
    number = {"renamed": 8, "too many": len(done)}[change]
    found = predict_on_cores(classifier, run.model, paths, OPTIONS, workers=1, done=done)
    with pytest.raises(LinceError, match=rf"Image number {number} is not 'other\.jpg'"):
        list(found)


def test_interrupts_that_are_ignored_stay_so():
    """As in a command that a script runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with folder_prediction._interrupts_later():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("workers", [1, 2])
def test_each_new_image_is_passed_on_with_its_row(run, classifier, paths, workers):
    """In the order of the rows, before its row; not those that have rows already."""
    rows, added, came = list(predict_paths(classifier, paths, OPTIONS)), [], 0
    done = [row["path"] for row in rows[:3]]
    found = predict_on_cores(
        classifier, run.model, paths, OPTIONS, workers=workers, done=done, add=lambda *one: added.append(one)
    )
    for came, row in enumerate(found, 1):
        assert len(added) == came
        assert added[-1][1] == row
    images = [image for _, image in folder_prediction.find_images(paths)]
    assert list(map(str, images[3:])) == [str(image) for image, _ in added]
    assert came == len(rows) - 3
