"""Rows for many images: the same in one process and in several, whatever becomes of a process."""

import multiprocessing
import os
import signal
import zipfile
from pathlib import Path

import pytest

import synthetic
from lince.inference import folder_prediction
from lince.inference.classifier import Classifier
from lince.inference.folder_prediction import RowOptions, predict_on_cores, predict_paths

OPTIONS = RowOptions(top=2, logits=True)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder of 45 pictures, an archive, a picture, a file that is none, and nothing."""
    folder = tmp_path_factory.mktemp("pictures")
    images = synthetic.write_tree(folder / "images", train=30, test=15)
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for file in sorted(images.rglob("*.jpg")):
            archive.write(file, file.relative_to(images))
    (folder / "notes.jpg").write_text("no picture")
    first = min(images.rglob("*.jpg"))
    return [images, folder / "all.zip", first, folder / "notes.jpg", folder / "nothing"]


@pytest.fixture
def classifier(run) -> Classifier:
    return Classifier.load(run.model)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images are many, so that the tests need few."""
    monkeypatch.setattr(folder_prediction, "_FEW", 10)


def test_one_row_for_each_image(run, classifier, paths):
    """In order, with an error where there is no answer; the same as for each image alone."""
    rows = list(predict_paths(classifier, paths, OPTIONS))
    assert [str(paths[3]), str(paths[4])] == [row["path"] for row in rows if "error" in row]
    inside = [row["path"] for row in rows[:45]]
    assert sorted(map(str, filter(Path.is_file, paths[0].rglob("*")))) == inside
    alone = [row for path in inside for row in predict_paths(classifier, [Path(path)], OPTIONS)]
    assert rows[:45] == alone


@pytest.mark.usefixtures("many")
def test_several_processes_give_the_same_rows(run, classifier, paths):
    """In the same order, to the bit."""
    found = list(predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2))
    assert found == list(predict_paths(classifier, paths, OPTIONS))
    assert len(found) > 3 * folder_prediction._CHUNK


def test_few_images_start_no_process(run, classifier, paths):
    """A process takes longer to start than they take."""
    found = predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2)
    next(found)
    assert multiprocessing.active_children() == []
    assert list(found)[-1]["path"] == str(paths[-1])


@pytest.mark.usefixtures("many")
def test_a_process_that_is_ended_costs_no_row(run, classifier, paths):
    """Its images are answered by another one."""
    found = predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2)
    rows = [next(found) for _ in range(11)]
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGKILL)
    assert rows + list(found) == list(predict_paths(classifier, paths, OPTIONS))


class EndsItsProcess:
    """What is unpickled ends the process: as a picture whose decoder takes all memory."""

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
def test_rows_that_nobody_wants_end_the_processes(run, classifier, paths):
    """As when the reader of a pipe goes away."""
    found = predict_on_cores(classifier, run.model, paths, OPTIONS, workers=2)
    for _ in range(11):
        next(found)
    assert len(multiprocessing.active_children()) > 0
    found.close()
    assert multiprocessing.active_children() == []


def test_chunks_are_bounded_in_bytes():
    """Large pictures of an archive lie in memory until they are answered; files are read when it is their turn."""
    large, file = bytes(3 * 2**20), Path("a.jpg")
    found = [("large", large)] * 3 + [("file", file)] * 40
    assert [2, 16, 16, 9] == [len(chunk) for chunk in folder_prediction._chunks(iter(found))]
