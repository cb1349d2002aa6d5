"""The Open Inference Protocol in this process: every point at which a client can keep to it, or not."""

import base64
import gzip
import json
import math
import re
import struct
import time
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from app_client import AppClient, MakeClient, Png

from lince.inference.classifier import Classifier
from lince.types import ImageLimits

BASE = "/v2/models/cifar10"
INFER = f"{BASE}/infer"
LENGTH = "Inference-Header-Content-Length"


def pixels(count: int, seed: int = 0) -> np.ndarray:
    """Noise, u8[count,32,32,3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def tensor(images: np.ndarray, **changes: Any) -> dict[str, Any]:
    """The JSON of an input of pixels, with changes; a change to None removes a key."""
    found = {"name": "pixels", "datatype": "UINT8", "shape": list(images.shape), "data": images.ravel().tolist()}
    return {key: value for key, value in (found | changes).items() if value is not None}


def binary(inputs: list[dict[str, Any]], *blobs: bytes, **rest: Any) -> dict[str, Any]:
    """The options of a request whose data are behind its JSON; each input must say its size."""
    head = json.dumps({"inputs": inputs, **rest}).encode()
    return {"content": head + b"".join(blobs), "headers": {LENGTH: str(len(head))}}


def element(data: bytes) -> bytes:
    """An element of BYTES."""
    return struct.pack("<I", len(data)) + data


def outputs_of(response: httpx.Response) -> dict[str, Any]:
    """The outputs of an answer in JSON: the data by name."""
    assert response.status_code == 200, response.text
    return {one["name"]: one["data"] for one in response.json()["outputs"]}


def binary_outputs(response: httpx.Response) -> dict[str, Any]:
    """The outputs of an answer, of which some are binary: arrays, and lists of bytes."""
    assert response.status_code == 200, response.text
    length = int(response.headers[LENGTH])
    answer, rest, found = json.loads(response.content[:length]), response.content[length:], {}
    for one in answer["outputs"]:
        if "data" in one:
            found[one["name"]] = one["data"]
            continue
        size = one["parameters"]["binary_data_size"]
        blob, rest = rest[:size], rest[size:]
        if one["datatype"] == "BYTES":
            elements = []
            while blob:
                (count,) = struct.unpack("<I", blob[:4])
                elements.append(blob[4 : 4 + count])
                blob = blob[4 + count :]
            found[one["name"]] = elements
            assert len(elements) == math.prod(one["shape"])
        else:
            dtype = {"FP32": "<f4", "BOOL": "?"}[one["datatype"]]
            found[one["name"]] = np.frombuffer(blob, dtype).reshape(one["shape"])
    assert rest == b""
    return found


class TestAddresses:
    def test_of_the_server(self, client: AppClient):
        """Name, version, extensions, and the one model."""
        assert {"binary_tensor_data", "classification"} == set(client.get("/v2").json()["extensions"])
        assert client.get("/v2/models").json() == {"models": ["cifar10"]}

    @pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
    def test_of_health(self, client: AppClient, path: str):
        """Both say both, while the model is loaded."""
        assert client.get(path).json() == {"live": True, "ready": True}

    def test_of_health_before_the_model_is_loaded(self, client: AppClient):
        """The server lives, and is not ready."""
        client.app.state.service.ready = None
        assert client.get("/v2/health/live").status_code == 200
        response = client.get("/v2/health/ready")
        assert (response.status_code, response.json()) == (503, {"live": True, "ready": False})

    @pytest.mark.parametrize("versioned", [False, True])
    def test_of_a_model(self, client: AppClient, classifier: Classifier, versioned: bool):
        """With and without its version."""
        version = classifier.manifest.version
        base = f"{BASE}/versions/{version}" if versioned else BASE
        found = client.get(base).json()
        assert [version] == found["versions"]
        assert [("pixels", "UINT8", [-1, 32, 32, 3]), ("image", "BYTES", [-1])] == [
            (one["name"], one["datatype"], one["shape"]) for one in found["inputs"]
        ]
        assert ["label", "probabilities", "logits", "prediction_set", "abstain"] == [
            one["name"] for one in found["outputs"]
        ]
        assert client.get(f"{base}/ready").json() == {"name": "cifar10", "ready": True}
        assert client.post(f"{base}/infer", json={"inputs": [tensor(pixels(1))]}).status_code == 200

    @pytest.mark.parametrize(
        "path",
        [
            "/v2/",
            "/v2/nothing",
            "/v2/models/other",
            "/v2/models/cifar10/versions/1",
            "/v2/models/cifar10/versions/1/ready",
            "/v2/models/cifar10/nothing",
        ],
    )
    def test_that_do_not_exist(self, client: AppClient, path: str):
        """Text, which tritonclient can read."""
        response = client.get(path)
        assert response.status_code == 404
        assert isinstance(response.json()["error"], str)

    def test_of_another_model(self, client: AppClient):
        """A sentence says which one there is."""
        response = client.post("/v2/models/other/infer", json={"inputs": [tensor(pixels(1))]})
        assert response.status_code == 404
        assert "'other'" in response.json()["error"]

    def test_with_another_method(self, client: AppClient):
        """The error is text, too."""
        response = client.get(INFER)
        assert response.status_code == 405
        assert isinstance(response.json()["error"], str)

    def test_that_only_begin_like_it(self, client: AppClient):
        """These are of the native protocol."""
        assert client.get("/v2x").json()["error"]["code"] == "not_found"


class TestAnswers:
    """The same numbers as the classifier's, in every form of request and answer."""

    @pytest.fixture
    def expected(self, classifier: Classifier) -> Any:
        return classifier.predict(pixels(3))

    def check(self, found: dict[str, Any], expected: Any, classifier: Classifier) -> None:
        count = len(expected.logits)
        np.testing.assert_array_equal(expected.logits, np.reshape(found["logits"], (count, -1)).astype(np.float32))
        np.testing.assert_array_equal(
            expected.probabilities, np.reshape(found["probabilities"], (count, -1)).astype(np.float32)
        )
        np.testing.assert_array_equal(expected.sets, np.reshape(found["prediction_set"], (count, -1)))
        np.testing.assert_array_equal(expected.abstain, found["abstain"])
        labels = [one.decode() if isinstance(one, bytes) else one for one in found["label"]]
        assert [classifier.classes[index] for index in expected.indices] == labels

    @pytest.mark.parametrize("nested", [False, True])
    def test_of_pixels_in_json(self, client: AppClient, expected: Any, classifier: Classifier, nested: bool):
        """One flat list, or lists in lists."""
        images = pixels(3)
        data = images.tolist() if nested else images.ravel().tolist()
        self.check(outputs_of(client.post(INFER, json={"inputs": [tensor(images, data=data)]})), expected, classifier)

    @pytest.mark.parametrize("content_type", [None, "application/octet-stream", "application/json"])
    def test_of_binary_pixels(self, client: AppClient, expected: Any, classifier: Classifier, content_type: str | None):
        """tritonclient sends no Content-Type, kserve's client says that it is bytes."""
        images = pixels(3)
        described = tensor(images, data=None, parameters={"binary_data_size": images.nbytes})
        request = binary([described], images.tobytes(), parameters={"binary_data_output": True})
        if content_type:
            request["headers"]["Content-Type"] = content_type
        response = client.post(INFER, **request)
        assert response.headers["content-type"] == "application/octet-stream"
        self.check(binary_outputs(response), expected, classifier)

    @pytest.mark.parametrize("shape", [[2], [2, 1]])
    @pytest.mark.parametrize("is_binary", [False, True])
    def test_of_encoded_images(self, client: AppClient, png: Png, shape: list[int], is_binary: bool):
        """As `/predict` answers the same bytes."""
        files = [png(1), png(2)]
        described: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": shape}
        if is_binary:
            blob = b"".join(map(element, files))
            request = binary([described | {"parameters": {"binary_data_size": len(blob)}}], blob)
        else:
            data = [base64.b64encode(file).decode() for file in files]
            described |= {"data": [[one] for one in data] if len(shape) == 2 else data}
            request = {"json": {"inputs": [described | {"parameters": {"content_type": "base64"}}]}}
        found = outputs_of(client.post(INFER, **request))
        native = [
            client.post("/predict?logits=true", content=file, headers={"Content-Type": "image/png"}).json()
            for file in files
        ]
        assert [one["predictions"][0]["label"] for one in native] == found["label"]
        assert [value for one in native for value in one["predictions"][0]["logits"]] == found["logits"]

    def test_of_a_raw_request(self, client: AppClient, png: Png):
        """Length 0: the body is one encoded image. As Triton does, all outputs are binary."""
        found = binary_outputs(client.post(INFER, content=png(1), headers={LENGTH: "0"}))
        native = client.post("/predict", content=png(1), headers={"Content-Type": "image/png"}).json()
        assert [native["predictions"][0]["label"].encode()] == found["label"]

    @pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
    def test_of_a_packed_request(self, client: AppClient, expected: Any, classifier: Classifier, name: str, pack: Any):
        """As without packing."""
        body = pack(json.dumps({"inputs": [tensor(pixels(3))]}).encode())
        self.check(
            outputs_of(client.post(INFER, content=body, headers={"Content-Encoding": name})), expected, classifier
        )

    def test_optional_parts_may_be_null(self, client: AppClient):
        """As programs write them that write all fields."""
        body = {"id": None, "inputs": [tensor(pixels(1)) | {"parameters": None}], "outputs": None, "parameters": None}
        assert (
            client.post(INFER, json=body | {"inputs": [{**tensor(pixels(1)), "parameters": None}]}).status_code == 200
        )

    def test_have_the_id_of_the_request(self, client: AppClient):
        """Without one there is none."""
        answer = client.post(INFER, json={"id": "a7", "inputs": [tensor(pixels(1))]}).json()
        assert ("a7", "cifar10") == (answer["id"], answer["model_name"])
        assert "id" not in client.post(INFER, json={"inputs": [tensor(pixels(1))]}).json()

    def test_have_the_outputs_in_the_order_of_the_request(self, client: AppClient):
        """Each has the shape of its kind."""
        wanted = [{"name": "abstain"}, {"name": "label"}, {"name": "logits"}]
        answer = client.post(INFER, json={"inputs": [tensor(pixels(1))], "outputs": wanted}).json()
        assert ["abstain", "label", "logits"] == [one["name"] for one in answer["outputs"]]
        assert [[1], [1], [1, 10]] == [one["shape"] for one in answer["outputs"]]

    def test_an_output_decides_over_the_request_whether_it_is_binary(self, client: AppClient):
        """Its own parameter counts more."""
        wanted = [{"name": "logits", "parameters": {"binary_data": False}}, {"name": "label"}]
        parameters = {"binary_data_output": True}
        response = client.post(INFER, json={"inputs": [tensor(pixels(1))], "outputs": wanted, "parameters": parameters})
        found = binary_outputs(response)
        assert isinstance(found["logits"], list)
        assert isinstance(found["label"][0], bytes)

    @pytest.mark.parametrize(("count", "expected"), [(3, 3), (10, 10), (50, 10)])
    def test_of_the_classification_extension(
        self, client: AppClient, classifier: Classifier, count: int, expected: int
    ):
        """BYTES `[N,count]` of `value:index:label`, the best first."""
        wanted = [{"name": "probabilities", "parameters": {"classification": count}}]
        answer = client.post(INFER, json={"inputs": [tensor(pixels(2))], "outputs": wanted}).json()
        [found] = answer["outputs"]
        assert ("BYTES", [2, expected]) == (found["datatype"], found["shape"])
        row = classifier.predict(pixels(2)).probabilities[0]
        value, index, label = found["data"][0].split(":")
        assert (int(row.argmax()), classifier.classes[row.argmax()]) == (int(index), label)
        assert float(value) == pytest.approx(row.max(), abs=1e-6)


SIZE = pixels(1).nbytes
ONE = tensor(pixels(1))
IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1]}
BASE64 = {"parameters": {"content_type": "base64"}}


class TestErrors:
    """400 and a sentence, as text."""

    @pytest.mark.parametrize(
        ("inputs", "sentence"),
        [
            ([], "Received no input"),
            ([ONE | {"name": "input_1"}], "Received 'input_1'"),
            ([ONE, ONE], "Received 'pixels', 'pixels'"),
            ([ONE, IMAGE | {"data": ["aa=="], **BASE64}], "Received 'pixels', 'image'"),
            ([ONE | {"datatype": "FP32"}], r"is 'FP32' \[1, 32, 32, 3\]. Expected UINT8 \[-1, 32, 32, 3\]"),
            ([ONE | {"datatype": "BYTES", "data": ["aGk="], **BASE64, "shape": [1]}], "is 'BYTES' .* Expected UINT8"),
            ([ONE | {"datatype": "x" * 2000}], "JSON of the request is not valid"),
            ([ONE | {"shape": [32, 32, 3]}], r"is 'UINT8' \[32, 32, 3\]"),
            ([ONE | {"shape": [1, 3, 32, 32]}], r"is 'UINT8' \[1, 3, 32, 32\]"),
            ([ONE | {"shape": [0, 32, 32, 3], "data": []}], "has 0 images. Expected 1 to 64"),
            ([ONE | {"shape": [65, 32, 32, 3], "data": [0] * 65 * SIZE}], "has 65 images"),
            ([ONE | {"shape": [2, 32, 32, 3]}], "does not have 6,144 numbers"),
            ([ONE | {"shape": [2**31] * 8}], "Expected UINT8"),
            ([ONE | {"shape": [2**31, 32, 32, 3]}], "has 2,147,483,648 images. Expected 1 to 64"),
            ([ONE | {"shape": [0, 2**31, 2**31, 2**31]}], "Expected UINT8"),
            ([ONE | {"shape": [-1, 32, 32, 3]}], "JSON of the request is not valid"),
            ([ONE | {"data": [256] * SIZE}], "is not UINT8"),
            ([ONE | {"data": [0.5] * SIZE}], "is not UINT8"),
            ([ONE | {"data": [[0] * SIZE]}], "does not have 3,072 numbers"),
            ([ONE | {"data": [[], *[0] * (SIZE - 1)]}], "does not have 3,072 numbers"),
            ([ONE | {"data": "0"}], "does not have 3,072 numbers"),
            ([{key: value for key, value in ONE.items() if key != "data"}], "has neither 'data' nor"),
            ([ONE | {"parameters": {"binary_data_size": SIZE}}], "has both 'data' and 'binary_data_size'"),
            ([IMAGE | {"data": ["aGVsbG8="]}], "Expected base64, and the parameter 'content_type'"),
            ([IMAGE | {"data": ["*"], **BASE64}], "not a list of base64 texts"),
            ([IMAGE | {"data": ["aGk=", "aGk="], **BASE64}], "does not have 1 texts"),
            ([IMAGE | {"shape": [2], "data": [["aGk=", "aGk="], []], **BASE64}], "does not have 2 texts"),
            ([IMAGE | {"shape": [2, 1], "data": [[], ["aGk="]], **BASE64}], "has 1 elements. Expected 2"),
            ([IMAGE | {"shape": [1], "data": [["aGk="]], **BASE64}], "does not have 1 texts"),
            ([IMAGE | {"data": [[], [], []], **BASE64}], "does not have 1 texts"),
            ([IMAGE | {"data": [7], **BASE64}], "not a list of base64 texts"),
            ([IMAGE | {"shape": [1, 2], "data": ["aGk=", "aGk="], **BASE64}], r"Expected BYTES \[-1\] or \[-1, 1\]"),
            ([IMAGE | {"shape": [], "data": ["aGk="], **BASE64}], r"Expected BYTES \[-1\] or \[-1, 1\]"),
            ("pixels", "JSON of the request is not valid"),
        ],
    )
    def test_of_inputs(self, client: AppClient, inputs: Any, sentence: str):
        """Names, types, shapes, numbers of elements."""
        self.check(client.post(INFER, json={"inputs": inputs}), sentence)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"outputs": [{"name": "softmax"}]}, "Output 'softmax' is not known"),
            ({"outputs": [{"name": "logits", "parameters": {"shared_memory_region": "x"}}]}, "in shared memory"),
            ({"outputs": [{"name": "logits"}] * 2}, "two outputs 'logits'"),
            (
                {"outputs": [{"name": "label", "parameters": {"classification": 2}}]},
                "has the parameter 'classification'",
            ),
            (
                {"outputs": [{"name": "logits", "parameters": {"classification": -1}}]},
                "JSON of the request is not valid",
            ),
            (
                {"outputs": [{"name": "logits", "parameters": {"binary_data": "yes"}}]},
                "JSON of the request is not valid",
            ),
            ({"parameters": {"binary_data_output": 1}}, "JSON of the request is not valid"),
            ({"outputs": [{"name": "logits"}] * 17}, "JSON of the request is not valid"),
            ({"id": "x" * 1001}, "JSON of the request is not valid"),
            ({"id": 7}, "JSON of the request is not valid"),
        ],
    )
    def test_of_the_rest(self, client: AppClient, changes: dict[str, Any], sentence: str):
        """Outputs, parameters and the id."""
        self.check(client.post(INFER, json={"inputs": [ONE], **changes}), sentence)

    @pytest.mark.parametrize("length", ["-1", "x", "", "1e3", "²", "999999999", "9" * 30])
    def test_of_the_length_of_the_json(self, client: AppClient, length: str):
        """No number, a negative one, or more than the body has."""
        body = json.dumps({"inputs": [ONE]}).encode()
        response = client.post(INFER, content=body, headers={LENGTH: length.encode("latin-1")})
        self.check(response, "Inference-Header-Content-Length is")

    @pytest.mark.parametrize(
        ("size", "blob", "sentence"),
        [
            (SIZE, bytes(SIZE - 1), "is 3,072. Only 3,071 bytes follow the JSON"),
            (SIZE, bytes(SIZE + 1), "1 bytes follow the last tensor"),
            (SIZE - 1, bytes(SIZE - 1), "has 3,071 bytes of data. Expected 3,072"),
            (-1, b"", "JSON of the request is not valid"),
            (True, b"", "JSON of the request is not valid"),
            (0.5, b"", "JSON of the request is not valid"),
        ],
    )
    def test_of_binary_data(self, client: AppClient, size: Any, blob: bytes, sentence: str):
        """Too few bytes, too many, or no number of bytes."""
        described = tensor(pixels(1), data=None, parameters={"binary_data_size": size})
        self.check(client.post(INFER, **binary([described], blob)), sentence)

    @pytest.mark.parametrize(
        ("blob", "sentence"),
        [
            (b"\xff\xff\xff\xff", "Element 0 of input 'image' ends behind the data"),
            (b"\x01\x00", "Element 0 of input 'image' ends behind the data"),
            (element(b"a") + b"\x09\0\0\0b", "Element 1 of input 'image' ends behind the data"),
            (element(b"a") * 2, "more than 1 elements"),
            (b"", "has 0 elements. Expected 1"),
        ],
    )
    def test_of_elements(self, client: AppClient, blob: bytes, sentence: str):
        """Lengths that overrun, and another number of elements than the shape has."""
        self.check(
            client.post(INFER, **binary([IMAGE | {"parameters": {"binary_data_size": len(blob)}}], blob)), sentence
        )

    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            (b"", "JSON of the request is not valid"),
            (b"\xff", "JSON of the request is not valid"),
            (b"[" * 100_000, "JSON of the request is not valid"),
            (b"{}", "JSON of the request is not valid"),
            (b'{"inputs": [{"name": "pixels"}]}', "JSON of the request is not valid"),
        ],
    )
    def test_of_json(self, client: AppClient, body: bytes, sentence: str):
        """No object, or one that lacks something."""
        self.check(client.post(INFER, content=body), sentence)

    def test_of_an_image_among_others(self, client: AppClient, png: Png):
        """A tensor has no place for an error, so that the whole answer is one; it names the image."""
        blob = element(png()) + element(b"no picture")
        described = IMAGE | {"shape": [2], "parameters": {"binary_data_size": len(blob)}}
        response = client.post(INFER, **binary([described], blob))
        assert response.status_code == 415
        assert response.json()["error"].startswith("Image 1, counted from 0: ")

    @pytest.mark.parametrize(
        ("content", "encoding", "status"),
        [
            (gzip.compress(bytes(10**6), mtime=0), "gzip", 413),
            (gzip.compress(b"{}", mtime=0)[:-4], "gzip", 400),
            (gzip.compress(b"{}", mtime=0) + b"more", "gzip", 400),
            (b"{}", "gzip", 400),
            (b"{}", "br", 415),
            (b"{}", "gzip, gzip", 415),
        ],
    )
    def test_of_packed_bodies(self, make_client: MakeClient, content: bytes, encoding: str, status: int):
        """No more is unpacked than a body may have."""
        client = make_client(max_body_bytes=100_000)
        response = client.post(INFER, content=content, headers={"Content-Encoding": encoding})
        assert response.status_code == status
        assert isinstance(response.json()["error"], str)

    def test_of_a_full_queue(self, make_client: MakeClient, png: Png):
        """Some are answered, the others are told to come back."""
        client = make_client(max_waiting=1)
        responses = client.together(8, "POST", INFER, content=png(), headers={LENGTH: "0"})
        assert {200, 503} == {response.status_code for response in responses}
        assert all(isinstance(one.json()["error"], str) for one in responses if one.status_code == 503)

    def check(self, response: httpx.Response, sentence: str) -> None:
        assert response.status_code == 400
        assert re.search(sentence, response.json()["error"]), response.json()


HEAD = b'{"inputs": [{"name": "%s", "datatype": "%s", "shape": %s, "parameters": {"content_type": "base64"}, "data": ['


@pytest.mark.parametrize(
    "body",
    [
        HEAD % (b"pixels", b"UINT8", b"[1, 32, 32, 3]") + b"[]," * 3_000_000 + b"[]]}]}",
        HEAD % (b"pixels", b"UINT8", b"[1000000,1,1,1,1,1,1,1]") + b"[[[[[[[[0]]]]]]]," * 500_000 + b"0]}]}",
        HEAD % (b"image", b"BYTES", b"[1]") + b'"",' * 3_000_000 + b'""]}]}',
        HEAD % (b"image", b"BYTES", b"[3000000]") + b'[""],' * 1_500_000 + b'""]}]}',
        b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "data": [1], "shape": [' + b"9," * 4_000_000 + b"9]}]}",
        b'{"inputs": [' + b"{}," * 3_000_000 + b"{}]}",
        b'{"inputs": [], "parameters": {' + b'"a":{},' * 1_000_000 + b'"b":1}}',
    ],
    ids=["lists", "nested lists", "texts", "texts in lists", "shape", "inputs", "objects"],
)
def test_a_large_body_does_not_become_objects(client: AppClient, body: bytes):
    """10 MB of `[],` would be 200 MB of lists. What a request may have is counted first."""
    start = time.process_time()
    assert client.post(INFER, content=body).status_code == 400
    assert time.process_time() - start < 0.5
    assert ImageLimits().max_bytes >= len(body)


def test_many_elements_are_not_read(client: AppClient):
    """Ten megabytes of empty elements, packed into ten kilobytes: the shape says that they are too many."""
    size = 9 * 2**20
    request = binary([IMAGE | {"shape": [size // 4], "parameters": {"binary_data_size": size}}], bytes(size))
    start = time.process_time()
    headers = request["headers"] | {"Content-Encoding": "gzip"}
    response = client.post(INFER, content=gzip.compress(request["content"], mtime=0), headers=headers)
    assert response.status_code == 400
    assert time.process_time() - start < 0.5
