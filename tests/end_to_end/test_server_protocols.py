"""Every protocol of a real server: the same bytes give the same logits, and no request makes it fail."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from app_client import Png, form
from protocol_fuzz import PROTOCOLS, drawn, is_answered
from server_process import ServerProcess, running_server

from lince import images
from lince.inference.classifier import Classifier

COUNT, MODEL = 1000, "cifar10"
Ask = Callable[[httpx.Client, list[bytes], np.ndarray], list[Any]]


@pytest.fixture(scope="module")
def files(png: Png) -> list[bytes]:
    """A thousand encoded pictures."""
    return [png(seed, size=32 + seed % 9) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def pixels(files: list[bytes], classifier: Classifier) -> np.ndarray:
    """The same pictures, decoded: u8[N,32,32,3]."""
    return np.stack([images.decode(file, classifier.image_spec) for file in files])


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with running_server(workers=request.param) as server:
        yield server


def native(client: httpx.Client, some: list[bytes], _: np.ndarray) -> list[Any]:
    """By a form."""
    answers = client.post("/predict?logits=true", **form(*some)).json()["predictions"]
    return [answer["logits"] for answer in answers]


def open_inference_pixels(client: httpx.Client, _: list[bytes], pixels: np.ndarray) -> list[Any]:
    """By a binary tensor of pixels, with binary logits."""
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": pixels.shape}
    tensor["parameters"] = {"binary_data_size": pixels.nbytes}
    wanted = [{"name": "logits", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": wanted}).encode()
    sent = {"Inference-Header-Content-Length": str(len(head))}
    answer = client.post(f"/v2/models/{MODEL}/infer", content=head + pixels.tobytes(), headers=sent)
    blob = answer.content[int(answer.headers["inference-header-content-length"]) :]
    return np.frombuffer(blob, "<f4").reshape(len(pixels), -1).tolist()


def open_inference_files(client: httpx.Client, some: list[bytes], _: np.ndarray) -> list[Any]:
    """By base64 in JSON."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(some)], "parameters": {"content_type": "base64"}}
    tensor["data"] = [base64.b64encode(one).decode() for one in some]
    answer = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor], "outputs": [{"name": "logits"}]})
    return np.reshape(answer.json()["outputs"][0]["data"], (len(some), -1)).tolist()


def tensorflow_serving(client: httpx.Client, some: list[bytes], _: np.ndarray) -> list[Any]:
    """By columns."""
    given = [{"b64": base64.b64encode(one).decode()} for one in some]
    return client.post(f"/v1/models/{MODEL}:predict", json={"inputs": given}).json()["outputs"]["logits"]


@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("ask", [native, open_inference_pixels, open_inference_files, tensorflow_serving])
def test_the_same_bytes_give_the_same_logits(
    server: ServerProcess, files: list[bytes], pixels: np.ndarray, classifier: Classifier, ask: Ask, batch: int
):
    """Those of this process, to the last bit, in batches of any size and with any number of workers."""
    expected = classifier.logits(pixels)
    count = COUNT if batch == 32 else 100
    with httpx.Client(base_url=server.url) as client:
        found = [
            row
            for first in range(0, count, batch)
            for row in ask(client, files[first : min(first + batch, count)], pixels[first : min(first + batch, count)])
        ]
    np.testing.assert_array_equal(expected[:count], np.array(found, np.float32))


def test_damaged_requests_are_no_fault_of_the_server(server: ServerProcess):
    """As `benchmarks/protocol_fuzz.py` draws them, by the hundred thousand: every answer is 200, or a clear 4xx."""
    with httpx.Client(base_url=server.url) as client:
        for index in range(100 * len(PROTOCOLS)):
            name, request = drawn(7, index)
            answer = client.post(request.path, content=request.body, headers=request.headers)
            assert is_answered(request.path, answer.status_code, answer.content), (index, name, answer.text)
    assert "Traceback" not in Path(server.log).read_text()
