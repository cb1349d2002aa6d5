"""Deletion and insertion curves: exact areas of a known network, and the whole program on a small model."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lince.types import Prediction

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "explanation.py"
SIZE = 32


@pytest.fixture(scope="module")
def benchmark():
    """The program as a module; by its path, because the package has modules of its name."""
    spec = importlib.util.spec_from_file_location("benchmark_of_explanations", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Corner:
    """A classifier that is sure of its class as far as the top left quarter of the picture is bright."""

    def predict(self, images):
        probability = images[:, : SIZE // 2, : SIZE // 2].mean(axis=(1, 2, 3)).astype(np.float32) / 255
        both = np.stack([probability, 1 - probability], axis=1)
        return Prediction(both, both, both.argmax(axis=1), None, np.zeros(len(images), bool))


@pytest.mark.parametrize(("sign", "deletion", "insertion"), [(1, 2 / 16, 14 / 16), (-1, 14 / 16, 2 / 16)])
def test_areas(benchmark, monkeypatch, sign, deletion, insertion):
    """The right map empties or fills the quarter in the first four of sixteen steps, the opposite one in the last."""
    monkeypatch.setattr(benchmark, "FILLS", {"black": np.zeros_like})
    image = np.full((SIZE, SIZE, 3), 255, np.uint8)
    quarter = np.zeros((SIZE, SIZE))
    quarter[: SIZE // 2, : SIZE // 2] = 1
    found = benchmark.measured(Corner(), image[None], [SimpleNamespace(index=0)], [sign * quarter])
    assert {"deletion, black", "insertion, black"} == found.keys()
    np.testing.assert_allclose([deletion], found["deletion, black"], rtol=1e-6)
    np.testing.assert_allclose([insertion], found["insertion, black"], rtol=1e-6)


def test_program(run, images_folder):
    """It prints one JSON object with every map's curves; an explanation differs from itself by nothing."""
    command = [sys.executable, str(PROGRAM), str(run.model), str(images_folder), "--images", "9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert (9, {"explanation", "random", "other", "centre"}) == (result["images"], result["curves"].keys())
    for curve in result["curves"]["explanation"].values():
        assert (0, [0, 0], 0) == (
            curve["more_than_explanation"],
            curve["interval"],
            curve["share_above_explanation"],
        )
    assert result["curves"]["random"]["deletion, mean colour"]["more_than_explanation"] > 0
