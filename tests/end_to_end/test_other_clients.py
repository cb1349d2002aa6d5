"""The service through clients that others wrote, unchanged, in an environment of their own."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_client import Png
from server_process import ServerProcess, running_server

from lince import images
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.serving.api_keys import new_key

PROGRAMS = Path(__file__).parent / "clients"
PYTHON = Path(__file__).parents[2] / ".venv" / "clients" / "bin" / "python"


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def pixels_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pixels") / "pixels.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))
    return path


def run(program: str, *arguments: object) -> dict[str, Any]:
    """What a client prints."""
    assert PYTHON.exists(), "The clients' environment is missing: make .venv/clients/ready"
    command = [PYTHON, PROGRAMS / program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, png: Png) -> list[Path]:
    """Three encoded pictures."""
    folder = tmp_path_factory.mktemp("files")
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(png(seed, size=40))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def triton(server: ServerProcess, pixels_file: Path, files: list[Path]) -> dict[str, Any]:
    """What tritonclient got."""
    return run("triton.py", f"127.0.0.1:{server.port}", "cifar10", pixels_file, *files)


@pytest.fixture(scope="module")
def kserve(server: ServerProcess, pixels_file: Path) -> dict[str, Any]:
    """What kserve's client got."""
    return run("kserve_rest.py", server.url, "cifar10", pixels_file)


def check(found: dict[str, Any], images: np.ndarray, classifier: Classifier) -> None:
    """The answers are those of the classifier in this process."""
    expected = classifier.predict(images)
    np.testing.assert_array_equal(expected.logits, np.array(found["logits"], np.float32).reshape(len(images), -1))
    assert [classifier.classes[index] for index in expected.indices] == found["label"]


def test_triton_sees_the_server_and_its_model(triton: dict[str, Any]):
    """Health, readiness and metadata."""
    assert [True] * 3 == [triton[name] for name in ("live", "ready", "model_ready")]
    assert (False, "lince", ["pixels", "image"]) == (triton["other_ready"], triton["server"], triton["inputs"])


@pytest.mark.parametrize("form", ["binary True", "binary False"])
def test_triton_gets_the_answers_for_pixels(
    triton: dict[str, Any], pixels_file: Path, classifier: Classifier, form: str
):
    """Those of this process, bit for bit."""
    check(triton[f"pixels, {form}"], np.load(pixels_file), classifier)


def test_triton_gets_the_answers_for_files(triton: dict[str, Any], files: list[Path], classifier: Classifier):
    """Decoded as the command line decodes them."""
    decoded = [images.decode(file.read_bytes(), classifier.image_spec) for file in files]
    check(triton["image, binary True"], np.stack(decoded), classifier)


def test_triton_gets_the_best_classes(triton: dict[str, Any], pixels_file: Path, classifier: Classifier):
    """By the classification extension."""
    order = (-classifier.predict(np.load(pixels_file)).logits).argsort(axis=1, kind="stable")[:, :2]
    assert [[classifier.classes[index] for index in row] for row in order] == triton["best"]


def test_triton_reads_errors(triton: dict[str, Any]):
    """As its own exception with a sentence."""
    assert ["404", "400"] == [status for status, _ in triton["errors"]]
    assert "There is no model 'other'" in triton["errors"][0][1]
    assert "Output 'softmax' is not known" in triton["errors"][1][1]


@pytest.mark.parametrize("form", ["binary True", "binary False"])
def test_kserve_gets_the_answers(kserve: dict[str, Any], pixels_file: Path, classifier: Classifier, form: str):
    """Binary and in JSON."""
    assert [True] * 3 == [kserve[name] for name in ("live", "ready", "model_ready")]
    check(kserve[form], np.load(pixels_file), classifier)


def test_tritonclient_swaps_a_model(tmp_path: Path):
    """With a key of the role admin."""
    shutil.copy(artifact.shipped_models()["cifar10-tiny"], tmp_path / "pets.tflite")
    key, line = new_key("operator", "admin")
    keys = tmp_path / "keys.txt"
    keys.write_text(line)
    with running_server(models=tmp_path, api_keys=keys) as server:
        found = run("triton_repository.py", f"127.0.0.1:{server.port}", key, "pets")
    [only] = found["index"]
    assert ("pets", "READY", True) == (only["name"], only["state"], found["ready"])


def test_schemathesis_finds_nothing(tmp_path: Path):
    """Requests that it makes from `/openapi.json`, valid and not, are answered as the document says."""
    command = [PYTHON.with_name("schemathesis"), "--config-file", PROGRAMS / "schemathesis.toml", "run"]
    options = ["--checks", "all", "--max-examples", "30", "--seed", "1", "--workers", "1", "--no-color"]
    with running_server(feedback=f"sqlite:///{tmp_path / 'feedback.db'}") as server:
        command += [f"{server.url}/openapi.json", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "8 passed" in done.stdout
