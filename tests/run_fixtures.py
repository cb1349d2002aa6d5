"""What every package may use: a cache of the tests' own, drawn images, the program, and one small run, stored."""

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import make_stored_run
import synthetic
from lince.errors import LinceError
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder
from lince.types import Dataset, ImageSpec

Lince = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from, or written to, the user's cache; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINCE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def images_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-per-folder tree: 75 images to train on, 45 to test, three classes, PNG and some JPEG."""
    return synthetic.write_tree(tmp_path_factory.mktemp("images"), **make_stored_run.IMAGES)


@pytest.fixture(scope="session")
def dataset(images_folder: Path) -> Dataset:
    """The same images in memory."""
    from lince import data

    return data.load(images_folder, ImageSpec(), seed=0)


@pytest.fixture(scope="session")
def recipe_file() -> Path:
    """`tiny.toml`: a network that trains in a second."""
    return make_stored_run.RECIPE


@pytest.fixture(scope="session")
def program() -> str:
    """The installed `lince`."""
    name = "lince.exe" if os.name == "nt" else "lince"
    return str(Path(sysconfig.get_path("scripts")) / name)


@pytest.fixture(scope="session")
def lince(program: str) -> Lince:
    """Runs the program to its end: `lince("inspect", path)` → a CompletedProcess with text."""

    def run(*arguments: object, timeout_s: float = 120, **options: object) -> subprocess.CompletedProcess:
        command = [program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **options)

    return run


@pytest.fixture(scope="session")
def run(images_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a finished run, as it is stored beside the tests: no float model. Copy it before changing it."""
    folder = RunFolder(Path(shutil.copytree(make_stored_run.STORED_RUN, tmp_path_factory.mktemp("stored") / "tiny")))
    record = folder.record.read_text(encoding="utf-8")
    folder.record.write_text(record.replace(make_stored_run.SOURCE, str(images_folder)), encoding="utf-8")
    try:
        artifact.read(folder.model)
        folder.read_record()
        folder.read_report()
    except LinceError as error:
        pytest.fail(f"{error} The stored run is of another format. Write it anew: python tests/make_stored_run.py")
    return folder
