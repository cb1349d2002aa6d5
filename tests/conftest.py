"""What every room may use: a cache of the tests' own, drawn images, the program itself, and one small trained run."""

import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import synthetic
from lince.runs.run_folder import RunFolder
from lince.types import Dataset, ImageSpec

# Small enough to train in a second, large enough to learn `synthetic`'s classes; keys that a test leans on are named.
RECIPE = """\
# tiny: for the tests.
#
#   command    lince train DATA --recipe tiny.toml --deterministic

name = "tiny"
image_size = 32

[model]
family = "vgg"
blocks = [[8], [16]]
block_dropout = [0.1, 0.1]
dense = [16]
dense_dropout = 0.1

[augment]
rotation_degrees = 5
zoom = 0.05
horizontal_flip = "random"

[train]
epochs = 12
batch_size = 8
learning_rate = 3e-3
patience = 10
precision = "float32"

[quantize]
calibration_images = 24
max_drop_points = 10

[calibrate]
coverage = 0.8  # 15 images to validate are too few for 0.95
"""

Lince = Callable[..., subprocess.CompletedProcess]

pytest_plugins = ["training_fixtures"]  # for all packages of what trains


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from, or written to, the user's cache; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINCE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def images_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-per-folder tree: 75 images to train on, 45 to test, three classes, PNG and some JPEG."""
    return synthetic.write_tree(tmp_path_factory.mktemp("images"), train=75, test=45)


@pytest.fixture(scope="session")
def dataset(images_folder: Path) -> Dataset:
    """The same images in memory."""
    from lince import data

    return data.load(images_folder, ImageSpec(), seed=0)


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny.toml`: a network that trains in a second."""
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(RECIPE)
    return path


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
def trained(
    lince: Lince, images_folder: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, subprocess.CompletedProcess]:
    """One run of `lince train` from images to report, and what it printed. Copy the folder before changing it."""
    runs = tmp_path_factory.mktemp("runs")
    done = lince("train", images_folder, "--recipe", recipe_file, "--runs", runs, "--deterministic", "--json")
    assert done.returncode == 0, done.stderr
    return RunFolder(runs / "tiny"), done


@pytest.fixture(scope="session")
def run(trained: tuple[RunFolder, subprocess.CompletedProcess]) -> RunFolder:
    """The folder of a finished run. Copy it before changing it."""
    return trained[0]
