"""A machine that answers needs neither TensorFlow nor Keras nor JAX: a prediction imports none of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

FRAMEWORKS = {"tensorflow", "keras", "jax", "torch"}

PREDICT = """
import sys
from pathlib import Path

from lince.inference.classifier import Classifier
from lince.inference.folder_prediction import RowOptions, predict_paths

[row] = predict_paths(Classifier.load(sys.argv[1]), [Path(sys.argv[2])], RowOptions(top=1))
assert "label" in row, row
"""

COMMANDS = """
import contextlib, sys

from lince.cli.commands import main

for command in (
    *(["predict", sys.argv[1], sys.argv[2]], ["inspect", sys.argv[1]]),
    *(["models"], ["--help"], ["serve", "--help"]),
):
    sys.argv[1:], kept = command, sys.argv[1:]
    with contextlib.suppress(SystemExit):
        main()
    sys.argv[1:] = kept
"""


MEASURE = """
import contextlib, sys
from pathlib import Path

sys.modules.update(dict.fromkeys(sys.argv[3].split()))  # an import of these fails, as where they are not installed
from lince.cli.commands import main

model, data, _, picture = sys.argv[1:]
image = str(min(Path(data).glob("test/disc/*.png")))
for command in (
    ["evaluate", model, data],
    ["evaluate", model, "--foreign"],
    ["explain", model, image, "--out", picture],
    ["data", "check", data],
    ["bench", model],
    ["models"],
    ["models", "--json"],
):
    sys.argv[1:] = command
    try:
        main()
    except SystemExit as done:
        assert not done.code, command
"""


def imported(program: str, *arguments: object) -> set[str]:
    """Top-level packages that a program has imported when it ends."""
    program += "\nimport sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))\n"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert 0 == done.returncode, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def image(images_folder: Path) -> Path:
    """One picture."""
    return sorted(images_folder.glob("test/disc/*.png"))[0]


def test_prediction_needs_no_framework(run, image):
    """A file is classified by LiteRT and NumPy; what serves alone is not loaded either."""
    found = imported(PREDICT, run.model, image)
    assert set() == found & (FRAMEWORKS | {"fastapi", "matplotlib", "ai_edge_quantizer"})
    assert {"ai_edge_litert", "numpy", "PIL"} <= found


def test_commands_need_no_framework(run, image):
    """`lince predict`, `lince inspect`, `lince models` and help load no framework."""
    assert set() == imported(COMMANDS, run.model, image) & FRAMEWORKS


def test_measuring_needs_no_training_extra(run, images_folder, tmp_path, tmp_path_factory, monkeypatch):
    """What measures and explains works with the serve extra alone, and uses the cache folder that the user names."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [re.match(r"[\w-]+", line)[0].replace("-", "_") for line in project["optional-dependencies"]["train"]]
    missing = {*extra, "jax", "psutil", "scipy"} - {"ai_edge_litert"}
    monkeypatch.delenv("LINCE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    picture = tmp_path_factory.mktemp("explained") / "picture.png"
    imported(MEASURE, run.model, images_folder, " ".join(missing), picture)
    assert not sys.platform.startswith("linux") or [tmp_path / "lince"] == list(tmp_path.iterdir())


@pytest.mark.parametrize("framework", ["keras"])
def test_the_check_can_fail(run, image, framework):
    """A program that imports a framework before it predicts is caught."""
    found = imported(f"import {framework}\n{PREDICT}", run.model, image)
    assert framework in found & FRAMEWORKS


def test_recipes_need_no_framework(run):
    """A recipe can be read and checked where nothing can be trained."""
    found = imported("from lince.training import recipes\nrecipes.load('classic')")
    assert set() == found & FRAMEWORKS
