"""One rule makes squares of pictures, from training to the service: what --fit says is in the model file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lince import images
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder

WIDE = (93, 31)


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures three times as wide as tall, whose class is a colour at their left end."""
    root, rng = tmp_path_factory.mktemp("wide"), np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 30)):
        for label, colour in {"blue": (0, 0, 255), "red": (255, 0, 0)}.items():
            folder = root / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                picture = Image.fromarray(rng.integers(0, 256, (WIDE[1], WIDE[0], 3), np.uint8))
                picture.paste(colour, (0, 0, 25, WIDE[1]))
                picture.save(folder / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def padded(
    lince: Callable, wide_folder: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    runs = tmp_path_factory.mktemp("runs")
    options = ("--recipe", recipe_file, "--fit", "pad", "--runs", runs, "--set", "train.epochs=2")
    done = lince("train", wide_folder, *options, "--until", "train")
    assert done.returncode == 0, done.stderr
    assert "to fit into the middle of a grey square of 32" in " ".join(done.stderr.split())
    resumed = lince("train", "--resume", runs / "tiny", "--force")
    assert resumed.returncode == 0, resumed.stderr
    return RunFolder(runs / "tiny")


def test_rule_is_in_recipe_and_model_file(padded: RunFolder):
    """Whoever has the model file prepares pictures as training did."""
    assert "pad" == padded.read_record().recipe["fit"]
    assert "pad" == artifact.read(padded.model).manifest.image.resize


def test_predict_pads_as_training_did(lince: Callable, padded: RunFolder, wide_folder: Path):
    """The probabilities are those of the padded pixels."""
    path = wide_folder / "test" / "red" / "0.png"
    classifier = Classifier.load(padded.model)
    pixels = images.decode(path.read_bytes(), classifier.image_spec)
    assert {128} == set(np.concatenate([pixels[:10], pixels[-10:]]).ravel().tolist())
    done = lince("predict", padded.model, path, "--json", "--logits")
    assert done.returncode == 0, done.stderr
    expected = classifier.logits(pixels[None])[0]
    assert f'"{classifier.classes[int(expected.argmax())]}"' in done.stdout


def test_crop_says_what_it_cuts_off(lince: Callable, padded: RunFolder, wide_folder: Path, recipe_file: Path):
    """Training with the default rule on wide pictures says how much of them is lost."""
    options = ("--recipe", recipe_file, "--runs", padded.path.parent, "--name", "cropped", "--set", "train.epochs=1")
    done = lince("train", wide_folder, *options, "--until", "train")
    assert done.returncode == 0, done.stderr
    assert "38 of 38 pictures are not square; a crop to the centre cuts off 67 %" in " ".join(done.stderr.split())


def test_data_check_says_which_fit(lince: Callable, wide_folder: Path):
    """All are wide alike: two thirds would be cut off, and stretching keeps them comparable."""
    done = lince("data", "check", wide_folder)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "108 of 108; a crop to the centre cuts off 67 % of a picture" in said
    assert "train with --fit stretch" in said
