"""A folder of models: which file answers, how it is swapped, and that a damaged one changes nothing."""

import asyncio
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lince.errors import ModelFileError
from lince.model_file import artifact
from lince.serving import model_folder
from lince.serving.errors import RequestError
from lince.serving.model_folder import ModelFolder
from lince.serving.settings import ServeSettings

SHIPPED = artifact.shipped_models()
TINY, DEFAULT = SHIPPED["cifar10-tiny"], SHIPPED["cifar10"]
VERSIONS = {path: artifact.read(path).manifest.version for path in (TINY, DEFAULT)}

MakeFolder = Callable[..., ModelFolder]


@pytest.fixture
def opened(tmp_path: Path) -> MakeFolder:
    """`opened({"cats/1": TINY}, …)`: a folder with copies of models, or with bytes, and the service's view of it."""

    def make(files: dict[str, Path | bytes], **settings: str) -> ModelFolder:
        for name, content in files.items():
            put(tmp_path / f"{name}.tflite", content)
        return ModelFolder(tmp_path, ServeSettings(models=tmp_path, **settings))

    return make


def put(path: Path, content: Path | bytes) -> None:
    """Writes a file, beside it first: then the new one is another file."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_suffix(".new")
    if isinstance(content, bytes):
        beside.write_bytes(content)
    else:
        shutil.copy(content, beside)
    beside.rename(path)


def look(folder: ModelFolder, times: int = 2) -> None:
    for _ in range(times):
        folder.update()


def version(folder: ModelFolder, name: str = "cats") -> str:
    return folder.models.find(name).name.version


def test_files_and_folders_are_models(opened: MakeFolder):
    """Their names are those of the models, whatever the manifests say; the first in order is the default."""
    folder = opened({"dogs": DEFAULT, "cats/1": TINY, ".hidden": TINY, "no name": TINY, "empty/.x": TINY})
    assert folder.models.names == ("cats", "dogs")
    assert json.loads(folder.models.find("dogs").description)["name"] == "dogs"
    assert (version(folder), version(folder, "dogs")) == (VERSIONS[TINY], VERSIONS[DEFAULT])


def test_the_default_can_be_named(opened: MakeFolder):
    """By its setting."""
    assert opened({"dogs": TINY, "cats/1": TINY}, default_model="dogs").models.find().name.name == "dogs"


def test_the_last_version_in_natural_order_answers(opened: MakeFolder):
    """10 comes after 9."""
    assert version(opened({"cats/9": TINY, "cats/10": DEFAULT})) == VERSIONS[DEFAULT]


@pytest.mark.parametrize("new", ["cats/2", "cats/1"])
def test_a_new_file_answers_once_it_has_settled(opened: MakeFolder, tmp_path: Path, new: str):
    """Beside the old one or in its place; not at the first look, since it may still be written."""
    folder = opened({"cats/1": TINY})
    put(tmp_path / f"{new}.tflite", DEFAULT)
    look(folder, 1)
    assert version(folder) == VERSIONS[TINY]
    look(folder, 1)
    assert version(folder) == VERSIONS[DEFAULT]


def test_a_file_that_is_being_written_waits(opened: MakeFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """No look finds half of it, and no error is logged."""
    folder = opened({"cats/1": TINY})
    data = DEFAULT.read_bytes()
    for share in (0.2, 0.6, 1):
        (tmp_path / "cats" / "2.tflite").write_bytes(data[: int(share * len(data))])
        look(folder, 1)
    look(folder, 1)
    assert version(folder) == VERSIONS[DEFAULT]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("place", ["cats/2", "cats/1"])
def test_a_damaged_file_changes_nothing(
    opened: MakeFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
):
    """It is reported once, not at each look; when it is repaired, it answers."""
    folder = opened({"cats/0": DEFAULT, "cats/1": TINY})
    put(tmp_path / f"{place}.tflite", b"\0\0\0\0TFL3 damaged")
    look(folder, 5)
    assert version(folder) == VERSIONS[TINY]
    assert len([record for record in caplog.records if "A model is refused" in record.message]) == 1
    assert [(one.name, one.path.stem) for one in folder.refused] == [("cats", place[-1])]
    put(tmp_path / f"{place}.tflite", DEFAULT)
    look(folder)
    assert version(folder) == VERSIONS[DEFAULT]
    assert folder.refused == ()


def test_at_the_start_the_version_before_a_damaged_one_answers(opened: MakeFolder):
    """A restart of the service does not depend on its last file."""
    folder = opened({"cats/1": TINY, "cats/2": b"damaged"})
    assert version(folder) == VERSIONS[TINY]
    look(folder, 3)
    assert version(folder) == VERSIONS[TINY]


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "Expected NAME.tflite or NAME/VERSION.tflite in it"), ({"cats/1": b"damaged"}, "not a LiteRT flatbuffer")],
)
def test_a_folder_without_a_model_is_refused(opened: MakeFolder, files: dict[str, bytes], message: str):
    """With the reason for each file."""
    with pytest.raises(ModelFileError, match=f"holds no model that can be served.*{message}"):
        opened(files)


def test_a_missing_folder_is_refused(tmp_path: Path):
    """One sentence."""
    with pytest.raises(ModelFileError, match="cannot be read"):
        ModelFolder(tmp_path / "missing", ServeSettings(models=tmp_path / "missing"))


def test_removing_the_last_version_brings_back_the_one_before(opened: MakeFolder, tmp_path: Path):
    """As soon as two looks have missed it."""
    folder = opened({"cats/1": TINY, "cats/2": DEFAULT})
    (tmp_path / "cats" / "2.tflite").unlink()
    look(folder)
    assert version(folder) == VERSIONS[TINY]


def test_a_model_without_files_ends(opened: MakeFolder, tmp_path: Path):
    """The named default and the last model stay: requests need an answer."""
    folder = opened({"cats/1": TINY, "dogs": TINY, "owls": TINY}, default_model="cats")
    shutil.rmtree(tmp_path / "cats")
    (tmp_path / "owls.tflite").unlink()
    look(folder, 1)
    assert folder.models.names == ("cats", "dogs", "owls")
    look(folder, 2)
    assert folder.models.names == ("cats", "dogs")


def test_a_folder_that_goes_away_changes_nothing(opened: MakeFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """It is logged once; when it is back, it is watched again."""
    folder = opened({"cats/1": TINY})
    away = tmp_path.with_name("away")
    tmp_path.rename(away)
    look(folder, 3)
    assert version(folder) == VERSIONS[TINY]
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 1
    away.rename(tmp_path)
    put(tmp_path / "cats" / "2.tflite", DEFAULT)
    look(folder)
    assert version(folder) == VERSIONS[DEFAULT]


@pytest.mark.parametrize("by_hash", [True, False])
def test_a_version_is_chosen_and_stays(opened: MakeFolder, tmp_path: Path, by_hash: bool):
    """Rollback is one call. Newer files and a restart keep to it, until the last version is asked for again."""
    folder = opened({"cats/1": TINY, "cats/2": DEFAULT})
    found = folder.load("cats", VERSIONS[TINY] if by_hash else "1")
    assert found.name.version == version(folder) == VERSIONS[TINY]
    put(tmp_path / "cats" / "3.tflite", DEFAULT)
    look(folder, 3)
    other = ModelFolder(tmp_path, ServeSettings(models=tmp_path))
    assert version(folder) == version(other) == VERSIONS[TINY]
    folder.load("cats")
    look(other)
    assert version(folder) == version(other) == VERSIONS[DEFAULT]


def test_another_worker_follows(opened: MakeFolder, tmp_path: Path):
    """The choice is in the folder."""
    folder = opened({"cats/1": TINY, "cats/2": DEFAULT})
    other = ModelFolder(tmp_path, ServeSettings(models=tmp_path))
    folder.load("cats", "1")
    look(other)
    assert version(other) == VERSIONS[TINY]


@pytest.mark.parametrize(
    ("name", "wanted", "code", "message"),
    [
        ("dogs", None, "not_found", "no model 'dogs'"),
        ("cats", "7", "not_found", "no version '7'. Expected one of '3', '2', '1'"),
        ("cats", None, "model_refused", "not a LiteRT flatbuffer"),
        ("cats", "3", "model_refused", "not a LiteRT flatbuffer"),
    ],
)
def test_a_call_that_cannot_be_done_changes_nothing(
    opened: MakeFolder, tmp_path: Path, name: str, wanted: str | None, code: str, message: str
):
    """Neither the model nor the choice."""
    folder = opened({"cats/1": TINY, "cats/2": DEFAULT, "cats/3": b"damaged"})
    with pytest.raises(RequestError, match=message) as caught:
        folder.load(name, wanted)
    assert caught.value.code == code
    assert version(folder) == VERSIONS[DEFAULT]
    assert not (tmp_path / model_folder.PINNED).exists()


def test_a_folder_that_cannot_be_written_keeps_its_version(opened: MakeFolder, monkeypatch: pytest.MonkeyPatch):
    """Otherwise the other workers, and this one after a restart, would serve another one."""
    folder = opened({"cats/1": TINY, "cats/2": DEFAULT})

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(model_folder, "write_atomically", refuse)
    with pytest.raises(RequestError, match=r"cannot be read or written \(Read-only file system\). Nothing changed"):
        folder.load("cats", "1")
    assert version(folder) == VERSIONS[DEFAULT]


def test_a_subfolder_that_cannot_be_read_stops_nothing(
    opened: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Such as lost+found, or a model's folder that is away: its model goes on, and others are swapped."""
    folder = opened({"cats/1": TINY, "dogs": TINY})
    iterdir = Path.iterdir

    def refuse(self: Path) -> Iterator[Path]:
        if self.name in ("cats", "lost+found"):
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    (tmp_path / "lost+found").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    put(tmp_path / "dogs.tflite", DEFAULT)
    look(folder, 4)
    assert (version(folder), version(folder, "dogs")) == (VERSIONS[TINY], VERSIONS[DEFAULT])
    assert len([record for record in caplog.records if "Its model goes on" in record.message]) == 1
    assert ModelFolder(tmp_path, ServeSettings(models=tmp_path)).models.names == ("dogs",)


def test_a_fault_with_one_file_does_not_stop_the_others(
    opened: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is refused, as a damaged file is."""
    folder = opened({"cats/1": TINY, "dogs": TINY})
    read = model_folder.read

    def fail(path: Path, settings: ServeSettings) -> object:
        if path.parent.name == "cats":
            raise MemoryError
        return read(path, settings)

    monkeypatch.setattr(model_folder, "read", fail)
    put(tmp_path / "cats" / "2.tflite", DEFAULT)
    put(tmp_path / "dogs.tflite", DEFAULT)
    look(folder, 3)
    assert (version(folder), version(folder, "dogs")) == (VERSIONS[TINY], VERSIONS[DEFAULT])
    assert [one.path.stem for one in folder.refused] == ["2"]


def test_choices_of_two_workers_are_both_kept(opened: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each has read the file before the other writes it."""
    first = opened({"cats/1": TINY, "cats/2": DEFAULT, "dogs/1": TINY, "dogs/2": DEFAULT})
    second = ModelFolder(tmp_path, ServeSettings(models=tmp_path))
    write = model_folder.write_atomically

    def write_late(path: Path, data: bytes) -> None:
        time.sleep(0.2)
        write(path, data)

    monkeypatch.setattr(model_folder, "write_atomically", write_late)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first.load, "cats", "1"), pool.submit(second.load, "dogs", "1")]:
            done.result()
    assert json.loads((tmp_path / "pinned.json").read_text()) == {"cats": "1.tflite", "dogs": "1.tflite"}


def test_a_file_beside_a_folder_can_be_chosen(opened: MakeFolder):
    """Both hold versions of the same model."""
    folder = opened({"cats/1": TINY, "cats": DEFAULT})
    assert version(folder) == VERSIONS[TINY]
    folder.load("cats", "cats")
    look(folder, 3)
    assert version(folder) == VERSIONS[DEFAULT]


def test_choices_of_models_that_are_gone_are_forgotten(opened: MakeFolder, tmp_path: Path):
    """The list does not grow for ever."""
    (tmp_path / model_folder.PINNED).write_text('{"owls": "1.tflite"}')
    folder = opened({"cats/1": TINY, "cats/2": DEFAULT})
    folder.load("cats", "1")
    assert json.loads((tmp_path / model_folder.PINNED).read_text()) == {"cats": "1.tflite"}


@pytest.mark.parametrize("content", ["[", "x" * 2**17])
def test_a_damaged_list_of_choices_is_not_used(
    opened: MakeFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
):
    """The last version answers, and the log says why, once; a call repairs it."""
    (tmp_path / model_folder.PINNED).write_text(content)
    folder = opened({"cats/1": TINY, "cats/2": DEFAULT})
    look(folder, 3)
    assert version(folder) == VERSIONS[DEFAULT]
    assert caplog.text.count("'pinned.json' is not valid") == 1
    assert folder.load("cats", "1").name.version == VERSIONS[TINY]


def test_a_file_that_was_touched_answers_as_before(opened: MakeFolder, tmp_path: Path):
    """It is loaded again, and nothing else happens."""
    folder = opened({"cats/1": TINY})
    os.utime(tmp_path / "cats" / "1.tflite", (1, 1))
    look(folder, 3)
    assert version(folder) == VERSIONS[TINY]


def test_watching_outlives_an_error(
    opened: MakeFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A fault of ours must not end the swaps for ever."""
    folder, looks = opened({"cats/1": TINY}), []

    def fail() -> None:
        looks.append(0)
        raise ZeroDivisionError

    monkeypatch.setattr(model_folder, "_POLL_S", 0.001)
    monkeypatch.setattr(folder, "update", fail)

    async def watch() -> None:
        watching = asyncio.create_task(folder.watch())
        while len(looks) < 3:
            await asyncio.sleep(0.001)
        watching.cancel()

    asyncio.run(watch())
    assert "could not be looked at" in caplog.text
