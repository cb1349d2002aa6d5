"""The clients, against a small real server on loopback that answers as Lince does, or almost."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.client.fake_servers import (
    CLASSES,
    MODEL,
    FakeLince,
    answer_pixels,
    closes,
    lying_server,
    says,
    says_busy,
    says_json,
    serve,
    some_images,
)

import lince.client
from lince.client import Answer, AsyncClient, Client, Failure
from lince.errors import ServiceError


class Waiting:
    """An `AsyncClient` that is used as a `Client`: each call runs on an event loop of its own."""

    def __init__(self, url: str, **options: Any):
        self._make = lambda: AsyncClient(url, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_: object):
        pass

    def __getattr__(self, name: str):
        async def call(*arguments: Any, **options: Any) -> Any:
            async with self._make() as client:
                return await getattr(client, name)(*arguments, **options)

        return lambda *arguments, **options: asyncio.run(call(*arguments, **options))


@pytest.fixture(params=[Client, Waiting], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Any:
    """Makes a client: both kinds pass the same tests."""
    return request.param


def logits_of(answers: list[Answer]) -> np.ndarray:
    return np.array([answer.logits for answer in answers], np.float32)


class TestPredict:
    def test_one_image_has_one_answer(self, make, tmp_path: Path):
        """A path, its text, bytes, an array and a PIL image have the same."""
        pixels = some_images(1)[0]
        path = tmp_path / "a.png"
        Image.fromarray(pixels).save(path)
        with serve(FakeLince()) as url, make(url) as client:
            images = [str(path), path.read_bytes(), pixels, Image.fromarray(pixels)]
            expected = client.predict(path, logits=True)
            assert [expected] * 4 == [client.predict(image, logits=True) for image in images]
        np.testing.assert_array_equal(answer_pixels(pixels[None])[0], np.array(expected.logits, np.float32))
        assert ("pets", "0123456789ab", True) == (expected.model, expected.version, expected.label in CLASSES)

    def test_several_have_a_list_in_their_order(self, make, tmp_path: Path):
        """Of mixed kinds, over several requests with as many parts as the server takes."""
        pixels, fake = some_images(12), FakeLince()
        Image.fromarray(pixels[0]).save(tmp_path / "a.png")
        mixed = [tmp_path / "a.png", Image.fromarray(pixels[1]), *pixels[2:]]
        with serve(fake) as url, make(url) as client:
            for images in (pixels, mixed, tuple(mixed)):
                np.testing.assert_array_equal(
                    answer_pixels(pixels), logits_of(client.predict(images, top=1, logits=True))
                )
            assert 1 == len(client.predict(pixels[:1]))
        assert ([5, 5, 2] * 3 + [1], {"file"}) == (fake.parts, fake.names)
        assert "/predict?top=1&logits=true" in fake.paths

    def test_nothing_is_asked_about_no_images(self, make):
        """An empty list has an empty list of answers."""
        fake = FakeLince()
        with serve(fake) as url, make(url) as client:
            assert [] == client.predict([]) == client.predict(some_images(0))
        assert [] == fake.paths

    def test_limits_are_asked_once(self):
        """And kept for later calls."""
        fake = FakeLince()
        with serve(fake) as url, Client(url) as client:
            client.predict(some_images(2))
            client.predict(some_images(2))
        assert ["/model", "/predict", "/predict"] == fake.paths

    def test_works_below_a_path(self, make):
        """A service behind a proxy may live below a path, with or without a slash at its end."""
        fake = FakeLince(prefix="/pets")
        with serve(fake) as url, make(url + "/") as client:
            client.predict(some_images(1))
        assert ["/pets/model", "/pets/predict"] == fake.paths

    def test_a_model_by_its_name(self, make):
        """The name goes with each request; another model's answers are not taken for its."""
        fake = FakeLince()
        with serve(fake) as url:
            with make(url, model="pets") as client:
                client.predict(some_images(1))
            with (
                make(url, model="cars") as client,
                pytest.raises(ServiceError, match=r"Expected 'cars': it is not served"),
            ):
                client.predict(some_images(1))
        assert ["/model?model=pets", "/predict?model=pets", "/model?model=cars"] == fake.paths

    def test_many_at_the_same_time(self):
        """Calls of one asynchronous client may overlap."""

        async def run(url: str) -> list[Answer]:
            async with AsyncClient(url) as client:
                return await asyncio.gather(*(client.predict(image, logits=True) for image in some_images(30)))

        with serve(FakeLince()) as url:
            np.testing.assert_array_equal(answer_pixels(some_images(30)), logits_of(asyncio.run(run(url))))


DAMAGED = {"code": "corrupt_image", "message": "The PNG image is damaged."}
REFUSED = says_json({"error": DAMAGED}, b"HTTP/1.1 400 Bad\r\n")
ENTRY = {"label": "cat", "index": 0, "probability": 0.5, "abstain": False}


def predictions(*entries: object):
    return says_json({"model": {"name": "pets", "version": "1"}, "predictions": entries})


class TestUnreadableImages:
    def test_one_among_others_has_an_error_in_its_place(self, make):
        """As the service gives it."""
        with (
            lying_server(says_json(MODEL), predictions(ENTRY, {"error": DAMAGED})) as server,
            make(server.url) as client,
        ):
            found = client.predict([b"a", b"b"])
        assert [None, Failure(**DAMAGED)] == [answer.error for answer in found]
        assert [False, True] == [answer.abstain for answer in found]

    def test_a_request_without_a_readable_image_is_divided(self, make):
        """Its answer is the first one's error: the others are asked about alone."""
        talks = [says_json(MODEL), REFUSED, REFUSED, predictions(ENTRY)]
        with lying_server(*talks) as server, make(server.url) as client:
            found = client.predict([b"a", b"b"])
        assert [Failure(**DAMAGED), None] == [answer.error for answer in found]
        assert ["", "cat"] == [answer.label for answer in found]
        assert 4 == len(server.requests)

    def test_a_single_one_raises(self, make):
        """With the service's code, status and sentence."""
        damaged = pytest.raises(ServiceError, match=r"status 400: The PNG image is damaged\.")
        with lying_server(says_json(MODEL), REFUSED) as server, make(server.url) as client, damaged as caught:
            client.predict(b"a")
        assert ("corrupt_image", 400) == (caught.value.code, caught.value.status)

    def test_one_larger_than_a_request(self, make):
        """It is not sent: a single one raises, and one of several has an error in its place."""
        fake = FakeLince()
        with serve(fake) as url, make(url) as client:
            with pytest.raises(ServiceError, match=r"more than 10,000 bytes, the limit of a request") as caught:
                client.predict(bytes(10_001))
            found = client.predict([*some_images(1), bytes(10_001), *some_images(1)])
        assert "body_too_large" == caught.value.code
        assert [None, "body_too_large", None] == [one.error and one.error.code for one in found]
        assert [1, 1] == fake.parts

    def test_an_error_that_is_about_no_image_raises(self, make):
        """Several images or one: the request was wrong, or not allowed."""
        denied = says_json({"error": {"code": "unauthorized", "message": "Who?"}}, b"HTTP/1.1 401 No\r\n")
        for images in ([b"a", b"b"], [b"a"], b"a"):
            with lying_server(says_json(MODEL), denied) as server, make(server.url) as client:
                with pytest.raises(ServiceError, match=r"status 401: Who\?") as caught:
                    client.predict(images)
                assert ("unauthorized", 401) == (caught.value.code, caught.value.status)
            assert 2 == len(server.requests)


@pytest.mark.waits
def test_a_busy_service_is_asked_again(make):
    """503, 429 and an ended connection, and then the answer."""
    talks = [says_busy(503), says_json(MODEL), says_busy(429), closes, predictions(ENTRY)]
    with lying_server(*talks) as server, make(server.url) as client:
        assert "cat" == client.predict(b"a").label
    assert 5 == len(server.requests)


@pytest.mark.waits
def test_retries_end(make):
    """The service's own sentence remains."""
    busy = pytest.raises(ServiceError, match=r"/model answered with status 503: Come back later\.")
    with lying_server(says_busy()) as server, make(server.url, retries=1) as client, busy as caught:
        client.predict(b"a")
    assert ("overloaded", 503, 2) == (caught.value.code, caught.value.status, len(server.requests))


class TestReady:
    def test_is_a_truth_value(self, make):
        """True for 200, false for 503 and where nothing listens; it is asked once."""
        with lying_server(says_json({"status": "ready"}), says_busy()) as server, make(server.url) as client:
            assert [True, False] == [client.ready(), client.ready()]
        with make(server.url) as client:
            assert not client.ready()
        assert [b"GET /readyz"] * 2 == [request[:11] for request in server.requests]

    def test_something_else_is_no_service(self, make):
        """A server that has no such address is said, not waited for."""
        foreign = pytest.raises(ServiceError, match=r"/readyz does not answer as Lince does \(status 404, no JSON\)")
        talk = says(b"Not found", b"HTTP/1.1 404 No\r\n")
        with lying_server(talk) as server, make(server.url) as client, foreign:
            client.ready()


def test_model_is_asked_anew(make):
    """A service may have another model by now."""
    with lying_server(says_json(MODEL), says_json(MODEL | {"version": "2"})) as server, make(server.url) as client:
        assert ["0123456789ab", "2"] == [client.model().version, client.model().version]


def test_both_clients_have_the_same_calls():
    """Each public method of one is a method of the other, with the same parameters."""

    def calls(kind: type) -> dict[str, Any]:
        return {name: value.__annotations__ for name, value in vars(kind).items() if callable(value) and name[0] != "_"}

    theirs, ours = calls(AsyncClient), calls(Client)
    assert theirs.keys() - {"aclose"} == ours.keys() - {"close"}
    assert [theirs[name] for name in ours.keys() - {"close"}] == [ours[name] for name in ours.keys() - {"close"}]
    assert AsyncClient.__init__.__annotations__ == Client.__init__.__annotations__


PROGRAM = """
import json, sys
sys.modules["httpx"] = None  # as where it is not installed
from lince.client import Client
try:
    Client("http://127.0.0.1:8000")
except Exception as error:
    print(type(error).__name__, error)
print(json.dumps(sorted(sys.modules)))
"""


def test_httpx_is_an_extra():
    """Without it, one sentence says how to install it."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    error, modules = done.stdout.splitlines()
    assert "LinceError The client needs 'httpx', which is not installed: pip install \"lince[client]\"." == error
    assert set() == {"fastapi", "tensorflow", "ai_edge_litert", "keras", "pydantic"} & set(json.loads(modules))


def test_public_names_are_there():
    """What the package says that others may use."""
    assert set() == {name for name in lince.client.__all__ if not hasattr(lince.client, name)}
