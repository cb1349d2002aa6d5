"""A server as a `Predict`, against a small real server on loopback that answers as Lince does, or does not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.client.fake_servers import CLASSES, MODEL, FakeLince, answer_pixels, serve, some_images

from lince.client import Client
from lince.errors import ServiceError
from lince.evaluation.accuracy import evaluate
from lince.evaluation.evaluated_model import open_server
from lince.evaluation.served_model import server_predict
from lince.types import Calibration, ImageSpec, Outputs, Predict, Split

WEIGHING = MODEL | {"calibration": MODEL["calibration"] | {"distance_weight": 0.5}}


def predict_of(url: str) -> Predict:
    client = Client(url)
    return server_predict(client, client.model())


class TestPredict:
    def test_gives_the_server_s_logits_bit_for_bit(self):
        """PNG loses no pixel and JSON no bit of a float32; a request carries no more parts than the server takes."""
        images, fake = some_images(12), FakeLince()
        with serve(fake) as url:
            found = predict_of(url)(images)
        np.testing.assert_array_equal(answer_pixels(images), found.logits)
        assert (np.float32, None) == (found.logits.dtype, found.distances)
        assert [5, 5, 2] == fake.parts

    def test_evaluation_asks_once_what_is_served(self):
        """The model that is described is the one that answers."""
        fake = FakeLince()
        with serve(fake) as url:
            model = open_server(url)
            assert (3, 3) == model.predict(some_images(3)).logits.shape
        assert ["/model", "/predict?top=1&logits=true"] == fake.paths
        thresholds = Calibration(1.5, coverage=0.9, set_threshold=0.2, abstain_below=0.4, n=100)
        assert (CLASSES, ImageSpec(4, 6, "crop"), thresholds) == (model.classes, model.spec, model.fitted)

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

    def test_no_images_have_no_logits(self):
        """An array without rows, with a column for each class."""
        with serve(FakeLince()) as url:
            assert (0, 3) == predict_of(url)(some_images(0)).logits.shape


def first(change: dict[str, object]) -> Callable[[Any], Any]:
    """Changes the first prediction of an answer."""

    def alter(answer: Any) -> Any:
        return answer | {"predictions": [answer["predictions"][0] | change, *answer["predictions"][1:]]}

    return alter


class TestErrors:
    def predict_fails(self, message: str, fake: FakeLince, images: np.ndarray | None = None):
        with serve(fake) as url:
            predict = predict_of(url)
            with pytest.raises(ServiceError, match=message) as caught:
                predict(some_images(2) if images is None else images)
        assert len(str(caught.value)) < 1000

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
        refused = {"error": {"code": "corrupt_image", "message": "The PNG image\x1b is damaged."}}
        fake = FakeLince(change=lambda answer: answer | {"predictions": [answer["predictions"][0], refused]})
        self.predict_fails(r"The server refused an image: The PNG image\\x1b is damaged\.", fake)

    def test_another_version_is_refused(self):
        """A server may change its model while it is measured: its calibration and classes would be others."""
        fake = FakeLince(change=lambda answer: answer | {"model": {"name": "pets", "version": "2"}})
        self.predict_fails("/predict does not answer as Lince does .version '2' in place of '0123456789ab'", fake)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"logits": [1.0, 2.0]}, "2 logits for 3 classes and .logits=true"),
            ({"logits": [1.0, 2.0, 3.0, 4.0]}, "4 logits for 3 classes"),
            ({"logits": []}, "0 logits for 3 classes"),
            ({"logits": [1e300, 0.0, 0.0]}, ".*logits"),
            ({"label": "cow"}, "the class 'cow' where its logits say '(cat|dog|fox)'"),
            ({"probability": 0.01}, "probability 0.01 where its logits give 0.[3-9]"),
        ],
    )
    def test_an_answer_that_contradicts_itself_is_refused(self, change: dict[str, object], message: str):
        """A server that ignores ?logits=true, or whose label and probability do not follow from its logits."""
        self.predict_fails(f"/predict does not answer as Lince does .*{message}", FakeLince(change=first(change)))
