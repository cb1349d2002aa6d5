"""Every error has the one shape, the right status, and says nothing of our insides."""

import re
from typing import get_args

import pytest
from app_client import RAW, AppClient, MakeClient, Png

from lince.errors import ImageErrorCode
from lince.inference.classifier import Classifier
from lince.serving.app import create_app
from lince.serving.errors import STATUS
from lince.serving.inference_queue import Inference
from lince.serving.settings import ServeSettings

BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'


def test_every_image_error_has_a_client_status():
    """An image that cannot be read is never the server's fault."""
    assert {STATUS[code] // 100 for code in get_args(ImageErrorCode)} == {4}


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "words"),
    [
        ("GET", "/nowhere", 404, "not_found", "nothing at '/nowhere'"),
        ("GET", "/page/../app.py", 404, "not_found", "nothing at"),
        ("GET", "/predict", 405, "method_not_allowed", "GET is not answered at '/predict'"),
        ("POST", "/model", 405, "method_not_allowed", "POST is not answered at '/model'"),
        (
            "POST",
            "/predict?top=0",
            422,
            "invalid_parameter",
            "'top' received '0'. Expected a whole number of at least 1",
        ),
        (
            "POST",
            "/predict?top=all",
            422,
            "invalid_parameter",
            "'top' received 'all'. Expected a whole number of at least 1",
        ),
        ("POST", "/predict?logits=2", 422, "invalid_parameter", "'logits' received '2'. Expected true or false"),
    ],
)
def test_routing_errors_have_our_shape(client: AppClient, method: str, path: str, status: int, code: str, words: str):
    """404, 405 and 422 are not the framework's own answers."""
    response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    assert response.json()["error"]["code"] == code
    assert re.search(words, response.json()["error"]["message"])


def test_method_not_allowed_says_what_is(client: AppClient):
    """A 405 keeps its Allow header."""
    assert client.get("/predict").headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("text/plain", "Received 'text/plain'. Expected the bytes of one image"),
        ("application/xml", "Received 'application/xml'"),
        ("", "Received 'no type'"),
        ("multipart/mixed; boundary=b", "Received 'multipart/mixed"),
        ("image/png" + ";" * 1_000, "more than 100 parameters"),
    ],
)
def test_wrong_content_types_are_refused(client: AppClient, png: Png, content_type: str, words: str):
    """Only images and forms are read; the message shows how to send them."""
    response = client.post("/predict", content=png(), headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert words in response.json()["error"]["message"]


def test_compressed_bodies_are_refused(client: AppClient, png: Png):
    """Nothing is unpacked: a small body could become any size."""
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    response = client.post("/predict", content=png(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("headers", "body", "code", "words"),
    [
        ({"Content-Type": "multipart/form-data"}, PART, "malformed_form", "names no boundary"),
        (
            {"Content-Type": f"multipart/form-data; boundary={'b' * 300}"},
            PART,
            "malformed_form",
            "The boundary has 300 bytes",
        ),
        (BOUNDARY, b"", "malformed_form", "lacks its closing boundary"),
        (BOUNDARY, PART + b"picture", "malformed_form", "lacks its closing boundary"),
        (BOUNDARY, b"--c\r\n", "malformed_form", "malformed"),
        (BOUNDARY, b"--b\r\nno colon\r\n\r\n", "malformed_form", "malformed"),
        (BOUNDARY, PART[:-2] + b"X: " + b"y" * 9_000, "malformed_form", "header size"),
        (BOUNDARY, PART[:-2] + b"X: y\r\n" * 20, "malformed_form", "header count"),
        (BOUNDARY, PART[:-4] + b";" * 200 + b"\r\n\r\n", "malformed_form", "more than 100 parameters"),
        (BOUNDARY, b"--b--\r\n", "no_image", "holds no part"),
        (BOUNDARY, PART.replace(b'"file"', b'"picture"'), "wrong_field", "Part 0 of the form has 'picture'"),
        (BOUNDARY, PART + b"\r\n--b\r\nX: y\r\n\r\n", "wrong_field", "Part 1 of the form has no name"),
    ],
)
def test_malformed_forms_are_refused(client: AppClient, headers: dict, body: bytes, code: str, words: str):
    """A form that is not one, or not ours, is a 400 that says what is wrong with it."""
    response = client.post("/predict", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)
    assert words in response.json()["error"]["message"]


def test_a_bug_is_not_told(client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch):
    """A 500 has our shape and none of the exception's words."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Inference, "_decode_small", broken)
    response = client.post("/predict", content=png(), headers=RAW)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in response.text


def test_nothing_is_answered_before_the_model_is_ready(classifier: Classifier, png: Png):
    """Until the app has started, /readyz and /predict say 503, /livez 200."""
    app = create_app(classifier, ServeSettings())
    with AppClient(app, start=False) as client:
        responses = [client.get("/readyz"), client.get("/model"), client.post("/predict", content=png(), headers=RAW)]
        assert [response.status_code for response in responses] == [503] * 3
        assert [response.json()["error"]["code"] for response in responses] == ["not_ready"] * 3
        assert client.get("/livez").status_code == 200
    with AppClient(app) as client:
        assert client.get("/readyz").status_code == 200


def test_unknown_hosts_are_refused_on_loopback(make_client: MakeClient):
    """A web site that gives its name our address (DNS rebinding) reads nothing."""
    client = make_client()
    statuses = [
        client.get("/model", headers={"Host": host}).status_code
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost:9000", "LOCALHOST", "[::1]:80", "127.0.0.1")
    ]
    assert statuses == [400, 400, 200, 200, 200, 200]


def test_hosts_can_be_allowed(make_client: MakeClient):
    """Behind a proxy the public name is set; a server for the network takes any name."""
    host = {"Host": "cats.example"}
    assert make_client(allowed_hosts=["Cats.example"]).get("/model", headers=host).status_code == 200
    assert make_client(allowed_hosts=["dogs.example"]).get("/model", headers=host).status_code == 400
    assert make_client(allowed_hosts=["*"]).get("/model", headers=host).status_code == 200
    assert make_client(host="0.0.0.0").get("/model", headers=host).status_code == 200
