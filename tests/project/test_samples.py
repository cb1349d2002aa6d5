"""The drawn pictures of the documentation: as their program draws them, and answered with their names."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lince import images
from lince.inference.classifier import Classifier

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"


@pytest.fixture(scope="module")
def model() -> Classifier:
    """The one that `make demo` serves."""
    return Classifier.load(Path(images.__file__).parent / "models" / "cifar10.tflite")


@pytest.mark.parametrize("name", ["airplane", "ship"])
def test_a_sample_is_answered_with_its_name(model: Classifier, name: str):
    """Whoever copies the README's command sees the right answer, and is sure of it."""
    pixels = images.decode((SAMPLES / f"{name}.jpg").read_bytes(), model.image_spec)
    prediction = model.predict(pixels[None])
    assert name == model.classes[prediction.indices[0]]
    assert prediction.probabilities[0].max() > 0.95
    assert not prediction.abstain[0]


def test_samples_are_drawn_by_their_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another version of the JPEG library may change single pixels a little."""
    monkeypatch.setattr(sys, "argv", ["draw.py", str(tmp_path)])
    runpy.run_path(str(SAMPLES / "draw.py"), run_name="__main__")
    for name in ("airplane.jpg", "ship.jpg"):
        drawn, stored = (np.asarray(Image.open(folder / name), int) for folder in (tmp_path, SAMPLES))
        assert abs(drawn - stored).mean() < 1
