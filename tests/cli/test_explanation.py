"""`lince explain`: what it prints, the file that it writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lince import images
from lince.inference.classifier import Classifier
from lince.inference.explanation import explain
from lince.types import ImageSpec


@pytest.fixture(scope="module")
def picture(images_folder: Path) -> Path:
    """One test image."""
    return sorted(images_folder.glob("test/disc/*.png"))[0]


def test_text_and_picture(lince, run, picture, tmp_path):
    """The answer as of `lince predict` and two sentences on stdout; the file, named after the image, on stderr."""
    done = lince("explain", run.model, picture, cwd=tmp_path)
    assert 0 == done.returncode, done.stderr
    answer, evidence = done.stdout.splitlines()
    assert lince("predict", run.model, picture).stdout.splitlines() == [answer]
    assert evidence.startswith("The evidence for '")
    name = f"{picture.stem}.explained.png"
    assert f"Picture: {name}" in done.stderr
    with Image.open(tmp_path / name) as drawn:
        assert ("PNG", "RGB") == (drawn.format, drawn.mode)
    assert [name] == [path.name for path in tmp_path.iterdir()]


def test_json(lince, run, picture, tmp_path):
    """One object: the answer, the class that is explained, and the heat map of `inference.explanation.explain`."""
    done = lince("explain", run.model, picture, "--class", "stripes", "--out", tmp_path / "x.png", "--json")
    assert 0 == done.returncode, done.stderr
    row = json.loads(done.stdout)
    found = explain(Classifier.load(run.model), images.decode(picture.read_bytes(), ImageSpec()), 2)
    np.testing.assert_array_equal(found.heat, np.array(row["heat"], np.float32))
    explained = {"label": "stripes", "index": 2, "probability": found.probability}
    assert explained | {"without_most": found.without_most, "without_least": found.without_least} == row["explained"]
    assert (str(picture), str(tmp_path / "x.png"), "disc") == (row["path"], row["picture"], row["label"])


@pytest.mark.parametrize(
    ("mode", "size", "name"),
    [
        ("L", (7, 5), "grey.png"),
        ("RGB", (900, 300), "wide.jpg"),
        ("RGBA", (1, 1), "dot.webp"),
        ("P", (64, 64), "p.gif"),
    ],
)
def test_any_size_and_mode(lince, run, tmp_path, mode, size, name):
    """Grey, wide, tiny and transparent pictures are explained."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / name)
    done = lince("explain", run.model, name, cwd=tmp_path)
    assert 0 == done.returncode, done.stderr
    assert (tmp_path / f"{Path(name).stem}.explained.png").exists()


def test_model_that_ships(lince, picture, tmp_path):
    """A model is named as everywhere, and an earlier picture is replaced."""
    (tmp_path / "x.png").write_bytes(b"old")
    done = lince("explain", "cifar10", picture, "--out", "x.png", "--class", "cat", cwd=tmp_path)
    assert 0 == done.returncode, done.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "'cat'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            ["in.png", "--class", "dics"],
            "Received --class 'dics'. Did you mean 'disc'? Expected a class of the model: ",
        ),
        (["in.png", "--out", "in.png"], "which is the image itself. Expected another file"),
        (["in.png", "--out", "./link.png"], "which is the image itself"),
        (["in.png", "--out", "x.jpg"], "Received --out 'x.jpg'. Expected the name of a file that ends in .png."),
        (["in.png", "--out", "folder.png"], "Expected the name of a file that ends in .png."),
        (["in.png", "--out", "nowhere/x.png"], "whose folder does not exist."),
        (["nowhere.png"], "Error: nowhere.png: It cannot be read (No such file or directory)."),
        (["folder.png"], "Error: 'folder.png' is a folder. Expected one picture: lince explain MODEL PICTURE."),
        (["text.png"], "Error: text.png: Received 4 bytes that are not an image we read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(lince, run, picture, tmp_path, arguments, match):
    """One sentence, exit code 1, nothing on stdout, no file written, and the image as it was."""
    (tmp_path / "in.png").write_bytes(picture.read_bytes())
    (tmp_path / "link.png").symlink_to("in.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("text")
    before = sorted(tmp_path.iterdir())
    done = lince("explain", run.model, *arguments, cwd=tmp_path)
    assert (1, "") == (done.returncode, done.stdout)
    assert match in " ".join(done.stderr.split())
    assert before == sorted(tmp_path.iterdir())
    assert picture.read_bytes() == (tmp_path / "in.png").read_bytes()
