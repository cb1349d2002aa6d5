"""A server as a `Predict`, against a small real server on loopback that answers as Lince does, or does not."""

import email
import email.policy
import io
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from lince import calibration
from lince.client import ServedModel, served_model, server_predict
from lince.errors import ServiceError
from lince.evaluation.accuracy import evaluate
from lince.evaluation.evaluated_model import open_server
from lince.inference.answers import answer
from lince.types import Calibration, ImageSpec, Outputs, Predict, Split

CLASSES = ("cat", "dog", "fox")
MODEL = {
    "name": "pets",
    "version": "0123456789ab",
    "classes": list(CLASSES),
    "image": {"height": 4, "width": 6, "resize": "crop"},
    "limits": {"max_parts": 5, "max_bytes": 1000},
    "calibration": {"temperature": 1.5, "coverage": 0.9, "set_threshold": 0.2, "abstain_below": 0.4, "n": 100},
    "extra": "ignored",
}
WEIGHING = MODEL | {"calibration": MODEL["calibration"] | {"distance_weight": 0.5}}


def answer_pixels(pixels: np.ndarray) -> np.ndarray:
    """A network: logits f32[n,3], from the mean of each colour."""
    return pixels.mean(axis=(1, 2)).astype(np.float32) / 20


@dataclass
class FakeLince:
    """What the server says, and what it was asked."""

    model: Any = field(default_factory=lambda: MODEL)
    prefix: str = ""
    change: Any = lambda answer: answer  # last touch to the answer of /predict
    status: int = 200
    raw: bytes | None = None  # sent in place of any JSON
    parts: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def get(self, path: str) -> Any:
        assert path == f"{self.prefix}/model"
        return self.model

    def post(self, path: str, content_type: str, body: bytes) -> Any:
        assert path == f"{self.prefix}/predict?top=1&logits=true"
        message = email.message_from_bytes(
            f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP
        )
        parts = list(message.iter_parts())
        self.parts.append(len(parts))
        self.names |= {part.get_param("name", header="content-disposition") for part in parts}
        images = [Image.open(io.BytesIO(part.get_payload(decode=True))) for part in parts]
        assert {image.format for image in images} == {"PNG"}
        logits = answer_pixels(np.stack([np.asarray(image) for image in images]))
        fitted = msgspec.convert(self.model["calibration"], Calibration)
        distances = np.arange(len(logits), dtype=np.float32) if fitted.distance_weight else None
        prediction = calibration.apply(logits, fitted, distances=distances)
        rows = [answer(prediction, row, tuple(self.model["classes"]), top=1, logits=True) for row in range(len(logits))]
        return self.change({"model": {"name": "pets"}, "predictions": rows})


@contextmanager
def serve(fake: FakeLince):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(fake.get(self.path))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(fake.post(self.path, self.headers["Content-Type"], body))

        def answer(self, content: Any):
            data = json.dumps(content).encode() if fake.raw is None else fake.raw
            self.send_response(fake.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{fake.prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def some_images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 4, 6, 3), np.uint8)


def predict_of(url: str) -> Predict:
    return server_predict(url, served_model(url, timeout_s=5), timeout_s=5)


class TestServedModel:
    def test_reads_what_is_served(self):
        """Name, version, classes, size and limit come from GET /model."""
        with serve(FakeLince()) as url:
            found = served_model(url, timeout_s=5)
        thresholds = Calibration(1.5, coverage=0.9, set_threshold=0.2, abstain_below=0.4, n=100)
        assert ServedModel("pets", "0123456789ab", CLASSES, ImageSpec(4, 6, "crop"), 5, thresholds) == found

    def test_reads_a_model_without_sets(self):
        """Its threshold is null, and so few images leave a share to all classes."""
        without = MODEL["calibration"] | {"set_threshold": None, "uniform_share": 0.04}
        with serve(FakeLince(model=MODEL | {"calibration": without})) as url:
            found = served_model(url, timeout_s=5).calibration
        assert found == Calibration(1.5, coverage=0.9, abstain_below=0.4, n=100, uniform_share=0.04)

    @pytest.mark.parametrize("key", ["name", "version", "classes", "image", "limits", "calibration"])
    def test_names_what_is_missing(self, key):
        """A JSON service of another kind is told apart, and what it lacks named."""
        model = {name: value for name, value in MODEL.items() if name != key}
        with serve(FakeLince(model=model)) as url, pytest.raises(ServiceError, match=f"/model does not answer.*{key}"):
            served_model(url, timeout_s=5)


class TestPredict:
    def test_gives_the_server_s_logits_bit_for_bit(self):
        """PNG loses no pixel and JSON no bit of a float32; a request carries no more parts than the server takes."""
        images, fake = some_images(12), FakeLince()
        with serve(fake) as url:
            found = predict_of(url)(images)
        np.testing.assert_array_equal(answer_pixels(images), found.logits)
        assert (np.float32, None) == (found.logits.dtype, found.distances)
        assert ([5, 5, 2], {"file"}) == (fake.parts, fake.names)

    def test_sends_at_most_sixteen_parts(self):
        """A server that would take more is not asked to."""
        fake = FakeLince(model=MODEL | {"limits": {"max_parts": 1000}})
        with serve(fake) as url:
            predict_of(url)(some_images(20))
        assert fake.parts == [16, 4]

    def test_evaluation_asks_once_what_is_served(self):
        """The model that is described is the one that answers."""
        fake, asked = FakeLince(), []
        get = fake.get
        fake.get = lambda path: (asked.append(path), get(path))[1]
        with serve(fake) as url:
            assert CLASSES == open_server(url).classes
        assert ["/model"] == asked

    def test_works_below_a_path(self):
        """A service behind a proxy may live below a path, with or without a slash at its end."""
        with serve(FakeLince(prefix="/pets")) as url:
            assert predict_of(url + "/")(some_images(1)).logits.shape == (1, 3)

    def test_is_a_predict_for_evaluate(self):
        """The same code evaluates a server and a function, with the same report."""
        images = some_images(9)
        split = Split(images, np.arange(9) % 3, CLASSES, tuple(map(str, range(9))))
        with serve(FakeLince()) as url:
            found = evaluate(predict_of(url), split)
        assert evaluate(lambda pixels: Outputs(answer_pixels(pixels)), split) == found

    def test_gives_the_distances_that_the_calibration_weighs(self):
        """They come with the logits, image by image, over several requests."""
        with serve(FakeLince(model=WEIGHING)) as url:
            found = predict_of(url)(some_images(7)).distances
        np.testing.assert_array_equal(np.array([0, 1, 2, 3, 4, 0, 1], np.float32), found)


class TestErrors:
    def predict_fails(self, message: str, fake: FakeLince, images: np.ndarray | None = None):
        with serve(fake) as url:
            predict = predict_of(url)
            with pytest.raises(ServiceError, match=message):
                predict(some_images(2) if images is None else images)

    @pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host/", "http://", "http://host:port", "http://[::1"])
    def test_what_is_no_address_is_refused(self, url):
        """An address begins with http:// or https://."""
        with pytest.raises(
            ServiceError, match=r"Received '.*'\. Expected the address of a server, such as 'http://127"
        ):
            served_model(url, timeout_s=5)

    def test_nobody_there_is_said(self):
        """A port where nothing listens."""
        with serve(FakeLince()) as url:
            pass
        with pytest.raises(ServiceError, match=r"No answer from http://127\.0\.0\.1:.*start `lince serve`"):
            served_model(url, timeout_s=5)

    def test_a_silent_server_is_not_waited_for(self):
        """A server that takes the connection and says nothing is given up after the time asked for."""
        with serve(FakeLince()) as url:
            release = threading.Event()
            fake = FakeLince()
            fake.get = lambda path: release.wait(5)
            with serve(fake) as silent:
                try:
                    with pytest.raises(ServiceError, match=r"No answer from .*timed out"):
                        served_model(silent, timeout_s=0.2)
                finally:
                    release.set()
            assert served_model(url, timeout_s=5).name == "pets"

    @pytest.mark.parametrize(("raw", "status"), [(b"<html>", 200), (b"\xff\xfe", 200), (b"Not found", 404)])
    def test_what_is_no_json_is_foreign(self, raw, status):
        """Some other web server."""
        message = (
            f"/model does not answer as Lince does .status {status}, {'It is not' if status == 200 else 'no'} JSON"
        )
        with serve(FakeLince(raw=raw, status=status)) as url, pytest.raises(ServiceError, match=message):
            served_model(url, timeout_s=5)

    @pytest.mark.parametrize("raw", [b"[]", b"3", b"null", b'{"classes": 3}'])
    def test_other_json_is_foreign(self, raw):
        """JSON of another shape."""
        with serve(FakeLince(raw=raw)) as url, pytest.raises(ServiceError, match="/model does not answer as Lince"):
            served_model(url, timeout_s=5)

    def test_the_server_s_own_words_are_passed_on(self):
        """An error of Lince's shape carries the sentence to show."""
        raw = json.dumps({"error": {"code": "busy", "message": "Come back later."}}).encode()
        message = r"/model answered with status 503: Come back later\."
        with serve(FakeLince(raw=raw, status=503)) as url, pytest.raises(ServiceError, match=message):
            served_model(url, timeout_s=5)

    def test_an_error_of_another_shape_is_foreign(self):
        """A JSON error that is not Lince's."""
        message = r"/model does not answer as Lince does \(status 422\)"
        with serve(FakeLince(raw=b'{"detail": "no"}', status=422)) as url, pytest.raises(ServiceError, match=message):
            served_model(url, timeout_s=5)

    def test_images_of_another_size_are_refused(self):
        """The server would resize them, and the answers would not be for the same pixels."""
        message = r"Received images of 4 × 6 pixels for http.*model sees 6 × 4\. Expected this size"
        self.predict_fails(message, FakeLince(), np.zeros((1, 6, 4, 3), np.uint8))

    def test_a_missing_distance_is_refused(self):
        """A server whose calibration weighs distances must give one for each image."""

        def forget(answer: dict[str, Any]) -> dict[str, Any]:
            return answer | {"predictions": [one | {"distance": None} for one in answer["predictions"]]}

        message = "0 distances for 2 images and a calibration that weighs them"
        self.predict_fails(message, FakeLince(model=WEIGHING, change=forget))

    def test_a_missing_answer_is_refused(self):
        """One prediction an image."""
        fake = FakeLince(change=lambda answer: answer | {"predictions": answer["predictions"][:1]})
        self.predict_fails("/predict does not answer as Lince does .1 predictions for 2 images", fake)

    def test_a_refused_image_is_said(self):
        """An image that the server could not read has an error in its place, whose sentence is passed on."""

        def refuse(answer):
            answer["predictions"][1] = {"error": {"code": "corrupt_image", "message": "The PNG image is damaged."}}
            return answer

        self.predict_fails(r"The server refused an image: The PNG image is damaged\.", FakeLince(change=refuse))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"logits": [1.0, 2.0]}, "2 logits for 3 classes and .logits=true"),
            ({"logits": []}, "0 logits for 3 classes"),
            ({"logits": [1e300, 0.0, 0.0]}, ".*logits"),
            ({"label": "cow"}, "the class 'cow' where its logits say '(cat|dog|fox)'"),
            ({"probability": 0.01}, "probability 0.01 where its logits give 0.[3-9]"),
        ],
    )
    def test_an_answer_that_contradicts_itself_is_refused(self, change, message):
        """A server that ignores ?logits=true, or whose label and probability do not follow from its logits."""

        def alter(answer):
            answer["predictions"][0] |= change
            return answer

        self.predict_fails(f"/predict does not answer as Lince does .{message}", FakeLince(change=alter))
