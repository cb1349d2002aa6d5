"""What the tests of training, quantization and publishing share: Keras set up, and parts of the tiny run."""

import os
import subprocess
from pathlib import Path

import pytest

from lince.runs.run_folder import RunFolder

# As `backend.prepare` does, for the test modules that import Keras at their top: before any of them is collected.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def quantized(model, images) -> bytes:
    """A Keras model in int8, with activation ranges from the given images."""
    from lince.quantization import activation_ranges, export
    from lince.quantization.quantizer import quantize

    network = export.export(model)
    return quantize(network, activation_ranges.measure(network, images))


@pytest.fixture(scope="session")
def trained(
    lince, images_folder: Path, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, subprocess.CompletedProcess]:
    """One run of `lince train` from images to report, and what it printed. Copy the folder before changing it."""
    runs = tmp_path_factory.mktemp("runs")
    done = lince("train", images_folder, "--recipe", recipe_file, "--runs", runs, "--deterministic", "--json")
    assert done.returncode == 0, done.stderr
    return RunFolder(runs / "tiny"), done


@pytest.fixture(scope="session")
def trained_run(trained: tuple[RunFolder, subprocess.CompletedProcess]) -> RunFolder:
    """The folder of a finished run, with its float model. Copy it before changing it."""
    return trained[0]


@pytest.fixture(scope="session")
def recipe(recipe_file):
    """The tiny recipe, resolved."""
    from lince.training import recipes

    return recipes.load(recipe_file)


@pytest.fixture(scope="session")
def splits(dataset):
    """60 images to train on and 15 to validate with, the same share of each class."""
    from lince.data import stratified_split

    kept, held_out = stratified_split(dataset.train.labels, fraction=0.2, seed=0)
    return dataset.train.take(kept), dataset.train.take(held_out)


@pytest.fixture(scope="session")
def trained_model(trained_run):
    """The float model of the tests' run."""
    from lince import pipeline

    return pipeline.trained_model(trained_run)


@pytest.fixture(scope="session")
def int8(trained_model, splits):
    """The same network in int8: a flatbuffer."""
    return quantized(trained_model, splits[0].images[::3])
