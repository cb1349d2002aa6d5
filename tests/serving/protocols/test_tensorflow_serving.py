"""TensorFlow Serving's REST API and KServe's version 1, in this process."""

import base64
import re
import time
from typing import Any

import numpy as np
import pytest
from app_client import AppClient, MakeClient, Png

from lince.inference.classifier import Classifier

BASE = "/v1/models/cifar10"
PREDICT = f"{BASE}:predict"
HUGE = "x" * 1_000_000


def pixels(count: int) -> np.ndarray:
    """Noise, u8[count,32,32,3]."""
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def packed(data: bytes) -> dict[str, str]:
    """An encoded image, as a request has it."""
    return {"b64": base64.b64encode(data).decode()}


class TestAddresses:
    @pytest.mark.parametrize("versioned", [False, True])
    def test_of_a_model(self, client: AppClient, classifier: Classifier, versioned: bool):
        """With and without its version; both protocols find what they look for."""
        version = classifier.manifest.version
        base = f"{BASE}/versions/{version}" if versioned else BASE
        found = client.get(base).json()
        [state] = found["model_version_status"]
        assert (version, "AVAILABLE", "OK") == (state["version"], state["state"], state["status"]["error_code"])
        assert ("cifar10", True) == (found["name"], found["ready"])
        assert client.post(f"{base}:predict", json={"instances": pixels(1).tolist()}).status_code == 200

    def test_of_all_models(self, client: AppClient):
        """There is one."""
        assert client.get("/v1/models").json() == {"models": ["cifar10"]}

    @pytest.mark.parametrize(
        "path", ["/v1", "/v1/models/other", f"{BASE}/versions/1", f"{BASE}/metadata", f"{BASE}:classify"]
    )
    def test_that_do_not_exist(self, client: AppClient, path: str):
        """The error is text, as that server has it."""
        response = client.get(path)
        assert response.status_code == 404
        assert isinstance(response.json()["error"], str)


class TestAnswers:
    """Rows answer rows, columns answer columns, with the classifier's numbers."""

    @pytest.mark.parametrize("named", [False, True])
    def test_of_pixels(self, client: AppClient, classifier: Classifier, named: bool):
        """The same in rows and in columns, with and without the name of the input."""
        expected, images = classifier.predict(pixels(3)), pixels(3).tolist()
        rows = [{"pixels": image} for image in images] if named else images
        found = client.post(PREDICT, json={"instances": rows, "signature_name": "serving_default"}).json()[
            "predictions"
        ]
        np.testing.assert_array_equal(expected.logits, np.array([row["logits"] for row in found], np.float32))
        assert [classifier.classes[index] for index in expected.indices] == [row["label"] for row in found]
        columns = client.post(PREDICT, json={"inputs": {"pixels": images} if named else images}).json()["outputs"]
        assert columns == {name: [row[name] for row in found] for name in found[0]}
        assert {"label", "probabilities", "logits", "prediction_set", "abstain"} == set(columns)

    @pytest.mark.parametrize(
        "form",
        [
            lambda images: {"instances": images},
            lambda images: {"instances": [{"image": image} for image in images]},
            lambda images: {"inputs": images},
            lambda images: {"inputs": {"image": images}},
        ],
        ids=["rows", "named rows", "columns", "named columns"],
    )
    def test_of_encoded_images(self, client: AppClient, png: Png, form: Any):
        """As `/predict` answers the same bytes."""
        files = [png(1, size=50), png(2)]
        native = [client.post("/predict", content=one, headers={"Content-Type": "image/png"}).json() for one in files]
        answer = client.post(PREDICT, json=form([*map(packed, files)])).json()
        labels = (
            [row["label"] for row in answer["predictions"]] if "predictions" in answer else answer["outputs"]["label"]
        )
        assert [one["predictions"][0]["label"] for one in native] == labels


ONE = pixels(1).tolist()


class TestErrors:
    """400 and a sentence, as text."""

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            ([], "Expected `object`, got `array`"),
            ({}, "neither 'instances' nor 'inputs'"),
            ({"instances": ONE, "inputs": ONE}, "or both"),
            ({"instances": ONE, "signature_name": "other"}, "Signature 'other'"),
            ({"instances": ONE, "signature_name": [HUGE]}, "signature_name"),
            ({"instances": ONE, "signature_name": HUGE}, "Signature 'x"),
            ({"instances": []}, "Received 0 images. Expected a list of 1 to 64"),
            ({"instances": [{"b64": ""}] * 65}, "Received 65 images"),
            ({"instances": {"image": []}}, "Expected `array`, got `object`"),
            ({"instances": 7}, "Expected `array`, got `int`"),
            ({"instances": [None]}, "got `null`"),
            ({"instances": [HUGE, *[""] * 31]}, "got `str`"),
            ({"instances": [{"input_1": ONE[0]}]}, "unknown field `input_1`"),
            ({"instances": [{"image": {"b64": ""}, "pixels": ONE[0]}]}, "Row 0, counted from 0, has 2 images"),
            ({"instances": [{}]}, "Row 0, counted from 0, has 0 images"),
            ({"instances": [{"image": ONE[0]}]}, "Expected `object"),
            ({"inputs": {"pixels": [{"b64": ""}]}}, "Expected `array`, got `object`"),
            ({"inputs": {"other": ONE}}, "unknown field `other`"),
            ({"inputs": {}}, "no column of images, or two"),
            ({"instances": [[[[256, 0, 0]]]]}, "<= 255"),
            ({"instances": [[[[0.5, 0, 0]]]]}, "Expected `int`, got `float`"),
            ({"instances": [[[[0, 0, 0]]]]}, r"Received pixels \[1, 1, 1, 3\]"),
            ({"instances": [ONE[0], ONE[0][:-1]]}, "lists of different lengths"),
            ({"instances": [{"b64": "*"}]}, "Invalid base64"),
            ({"instances": [{"b64": 7}]}, "got `int`"),
            ({"instances": [{"b64": "", "more": 1}]}, "unknown field `more`"),
            ({"instances": [{"b64": ""}, ONE[0]]}, "Some images are encoded, and others are pixels"),
        ],
    )
    def test_of_json(self, client: AppClient, body: Any, sentence: str):
        """Forms that are neither rows nor columns of images."""
        response = client.post(PREDICT, json=body)
        assert response.status_code == 400
        assert re.search(sentence, response.json()["error"]), response.json()
        assert len(response.json()["error"]) < 1000

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"\xff",
            b"[" * 1000,
            b"[" * 100_000,
            b'{"instances": [' + b"[]," * 3_000_000,
            b'{"instances": [' + b"2.47032822920623272088e-324," * 97_000 + b"1]}",
        ],
        ids=["empty", "cut", "no text", "deep", "deeper", "lists", "costly numbers"],
    )
    def test_of_bytes(self, client: AppClient, body: bytes):
        """No JSON, and lists that would take much memory; refused at once."""
        start = time.process_time()
        response = client.post(PREDICT, content=body)
        assert (response.status_code, str) == (400, type(response.json()["error"]))
        assert time.process_time() - start < 0.5

    @pytest.mark.parametrize(("content", "status"), [(b"", 400), (b"no picture", 415)])
    def test_of_an_image(self, client: AppClient, png: Png, content: bytes, status: int):
        """There is no place for an error among answers, so that the whole answer is one; it names the image."""
        response = client.post(PREDICT, json={"instances": [packed(png()), packed(content)]})
        assert response.status_code == status
        assert response.json()["error"].startswith("Image 1, counted from 0: ")

    def test_of_a_full_queue(self, make_client: MakeClient, png: Png):
        """Some are answered, the others are told to come back."""
        client = make_client(max_waiting=1)
        responses = client.together(8, "POST", PREDICT, json={"instances": [packed(png())]})
        assert {200, 503} == {response.status_code for response in responses}
        assert all(isinstance(one.json()["error"], str) for one in responses if one.status_code == 503)
