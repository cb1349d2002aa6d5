"""Answers of servers that lie: whatever one says, it ends with one sentence."""

import json

import msgspec
import numpy as np
import pytest
from tests.client.fake_servers import CLASSES, MODEL

from lince.client.answers import (
    Answer,
    ClassProbability,
    Failure,
    Limits,
    Reply,
    read_answers,
    read_explanation,
    read_model,
)
from lince.errors import ServiceError
from lince.types import Calibration, ImageSpec

URL = "http://127.0.0.1:8000"
IMAGE = MODEL["image"]
HUGE = "9" * 400


def changed(**fields: object) -> bytes:
    return json.dumps(MODEL | fields).encode()


LIMIT_LIES = ("Infinity", "-Infinity", "NaN", "1e999", "-1", "0", "1.5", HUGE, '"5"', "null", "[]", "2000000000000")
LIES = {
    "deep list": b"[" * 200_000,
    "deep list in a field that is skipped": changed(extra=0).replace(b'"extra": 0', b'"extra": ' + b"[" * 200_000),
    "deep object": b'{"a":' * 200_000,
    "deep and closed": changed(extra=0).replace(b'"extra": 0', b'"extra": ' + b"[" * 99_999 + b"]" * 99_999),
    "deep verdict": changed(verdict={"x": 0}).replace(b'"x": 0', b'"x": ' + b"[" * 99_999 + b"]" * 99_999),
    **{f"height {value!r}": changed(image=IMAGE | {"height": value}) for value in ("4", -1, 0, 1025, 4000, None, True)},
    **{f"width {value!r}": changed(image=IMAGE | {"width": value}) for value in ([], 1.5, 2**63, 2**70, {})},
    "height of digits": changed(image=IMAGE | {"height": 0}).replace(b'"height": 0', b'"height": ' + HUGE.encode()),
    "resize": changed(image=IMAGE | {"resize": "x"}),
    "image": changed(image=[4, 6]),
    **{
        f"{field} {value}": changed(limits=MODEL["limits"] | {field: "X"}).replace(b'"X"', value.encode())
        for field in ("max_parts", "max_body_bytes")
        for value in LIMIT_LIES
    },
    **{
        f"{field} {value}": changed(calibration=MODEL["calibration"] | {field: "X"}).replace(b'"X"', value.encode())
        for field in ("temperature", "coverage", "set_threshold", "abstain_below", "distance_weight", "n")
        for value in ("NaN", "-1", "1e999", '"1"', "null")
        if (field, value) != ("set_threshold", "null")  # a model without sets
    },
    "uniform share 2": changed(calibration=MODEL["calibration"] | {"uniform_share": 2}),
    "temperature 0": changed(calibration=MODEL["calibration"] | {"temperature": 0}),
    "no class": changed(classes=[]),
    "one class": changed(classes=["cat"]),
    "a class twice": changed(classes=["cat", "cat"]),
    "a number among classes": changed(classes=["cat", 3]),
    "classes as text": changed(classes="cat"),
    "a million classes": changed(classes=[f"{number}" for number in range(1_000_000)]),
    "a long class": changed(classes=["cat", "d" * 100_000]),
    "a long name": changed(name="x" * 100_000),
    "name as a number": changed(name=3),
    "not UTF-8": b'{"name": "\xff"}',
    "half a surrogate": changed().replace(b"pets", b"\\ud800"),
    "nothing": b"",
    "a null character": b"\0",
    "a page": b"<html>",
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
}


class TestModel:
    def test_reads_what_is_served(self):
        """Name, version, classes, size, limits and calibration; what the service does not say is empty."""
        found = read_model(URL, Reply(200, changed(card="# Pets")), name="pets")
        thresholds = Calibration(1.5, coverage=0.9, set_threshold=0.2, abstain_below=0.4, n=100)
        assert (CLASSES, ImageSpec(4, 6, "crop"), thresholds) == (found.classes, found.image, found.calibration)
        assert (Limits(5, 10_000), "# Pets", None) == (found.limits, found.card, found.verdict)
        assert ("pets", "0123456789ab") == (found.name, found.version)

    def test_reads_a_model_without_sets(self):
        """Its threshold is null, and so few images leave a share to all classes."""
        without = MODEL["calibration"] | {"set_threshold": None, "uniform_share": 0.04}
        found = read_model(URL, Reply(200, changed(calibration=without)), name=None).calibration
        assert found == Calibration(1.5, coverage=0.9, abstain_below=0.4, n=100, uniform_share=0.04)

    @pytest.mark.parametrize("key", ["name", "version", "classes", "image", "limits", "calibration"])
    def test_names_what_is_missing(self, key: str):
        """A JSON service of another kind is told apart, and what it lacks named."""
        model = {name: value for name, value in MODEL.items() if name != key}
        with pytest.raises(ServiceError, match=f"/model does not answer.*{key}"):
            read_model(URL, Reply(200, json.dumps(model).encode()), name=None)

    @pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
    def test_lies(self, content: bytes):
        """Every wrong type and range, and JSON that no parser likes; the sentence stays one."""
        with pytest.raises(ServiceError, match="/model does not answer as Lince") as caught:
            read_model(URL, Reply(200, content), name=None)
        assert len(str(caught.value)) < 1000
        assert str(caught.value).isprintable()

    def test_a_float_that_is_whole(self):
        """32.0 is a number of pixels in JSON, which has one kind of number; it becomes an int, or is refused."""
        try:
            found = read_model(URL, Reply(200, changed(image=IMAGE | {"height": 4.0})), name=None)
        except ServiceError:
            return
        assert isinstance(found.image.height, int)

    def test_another_model_is_refused(self):
        """A server that does not know the parameter answers with the model that it has."""
        with pytest.raises(ServiceError, match=r"/model answered with the model 'pets'. Expected 'cars'"):
            read_model(URL, Reply(200, changed()), name="cars")


ENTRY = {"label": "cat", "index": 0, "probability": 0.5, "abstain": False}
EXPLANATION = {
    "model": {"name": "pets", "version": "1"},
    "prediction": ENTRY,
    "explained": {"label": "dog", "index": 1, "probability": 0.5, "without_most": 0.1, "without_least": 0.6},
    "sentences": "It is the ear.",
    "heat": {"rows": 2, "columns": 3, "values": [[0, 1, 2], [3, 4, -5.5]]},
}


class TestExplanation:
    def test_reads_the_heat_of_a_class(self):
        """As an array, beside the answer."""
        found = read_explanation(URL, Reply(200, json.dumps(EXPLANATION).encode()), name="pets")
        assert (found.label, found.answer.label, found.without_most) == ("dog", "cat", 0.1)
        np.testing.assert_array_equal(found.heat, [[0, 1, 2], [3, 4, -5.5]])

    @pytest.mark.parametrize(
        "lie",
        [
            *({"heat": {"values": values}} for values in ([], [[]], [[0, 1], [2]], [["a"]], [[1e39]], 5, [[0] * 2000])),
            {"explained": {}},
            {"prediction": {}},
            {"sentences": "x" * 20_000},
            {"sentences": 5},
            {"model": {"name": "cars", "version": "1"}},
        ],
        ids=lambda lie: str(lie)[:40],
    )
    def test_lies(self, lie: dict):
        """One sentence, whatever is wrong."""
        with pytest.raises(
            ServiceError, match=r"/explain (does not answer as Lince|answered with the model)"
        ) as caught:
            read_explanation(URL, Reply(200, json.dumps(EXPLANATION | lie).encode()), name="pets")
        assert len(str(caught.value)) < 1000

    def test_words_that_move_the_cursor(self):
        """They reach a terminal escaped."""
        content = json.dumps(EXPLANATION | {"sentences": "\x1b[2J"}).encode()
        assert read_explanation(URL, Reply(200, content), name=None).sentences.isprintable()


class TestErrors:
    def test_the_service_s_own_words_are_passed_on(self):
        """An error of Lince's shape carries the sentence to show, code and status."""
        content = json.dumps({"error": {"code": "overloaded", "message": "Come back later."}}).encode()
        with pytest.raises(ServiceError, match=r"/model answered with status 503: Come back later\.") as caught:
            read_model(URL, Reply(503, content), name=None)
        assert ("overloaded", 503) == (caught.value.code, caught.value.status)

    def test_words_that_move_the_cursor(self):
        """What a server says reaches a terminal escaped, and is cut."""
        content = json.dumps({"error": {"code": "x", "message": "\x1b[2J" + "x" * 100_000}}).encode()
        with pytest.raises(ServiceError, match="answered with status 503") as caught:
            read_model(URL, Reply(503, content), name=None)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"Not found", "status 404, no JSON"),
            (b"\xff\xfe", "status 404, no JSON"),
            (b'{"error": ' * 200_000, "status 404, no JSON"),
            (b'{"detail": "no"}', "status 404"),
            (b'{"error": "text"}', "status 404"),
        ],
    )
    def test_an_error_of_another_shape_is_foreign(self, content: bytes, reason: str):
        """Some other web server, in JSON or not."""
        with pytest.raises(ServiceError, match=rf"/model does not answer as Lince does \({reason}\)") as caught:
            read_model(URL, Reply(404, content), name=None)
        assert (None, 404) == (caught.value.code, caught.value.status)


GOOD = {
    "label": "cat",
    "index": 0,
    "probability": 0.5,
    "top": [{"label": "cat", "index": 0, "probability": 0.5}],
    "prediction_set": ["cat"],
    "abstain": False,
    "logits": [1.0, 0.5, 0.25],
    "distance": 1.5,
}
WRONG_ENTRIES = {
    "not finite": {"logits": [float("nan"), 0, 0]},
    "infinite": {"logits": [float("inf"), 0, 0]},
    "too large": {"logits": [1e300, 0, 0]},
    "text": {"logits": ["2", 0, 0]},
    "logits as an object": {"logits": {}},
    "no label": {"label": None},
    "an empty label": {"label": ""},
    "a long label": {"label": "x" * 1001},
    "no abstention": {"abstain": None},
    "a probability of 2": {"probability": 2},
    "a negative index": {"index": -1},
    "a set of numbers": {"prediction_set": [1]},
    "a top without labels": {"top": [{"index": 0, "probability": 0.5}]},
    "a negative distance": {"distance": -1},
    "an error that is none": {"error": "no"},
}


def predictions(*entries: object) -> Reply:
    return Reply(200, json.dumps({"model": {"name": "pets", "version": "1"}, "predictions": entries}).encode())


class TestPredictions:
    def test_a_good_one(self):
        """Each field of the service's answer is a field of the record."""
        expected = Answer(
            *("pets", "1", "cat", 0, 0.5, (ClassProbability("cat", 0, 0.5),), ("cat",), False, (1.0, 0.5, 0.25), 1.5)
        )
        assert [expected] == read_answers(URL, predictions(GOOD), count=1, name="pets")

    def test_an_image_that_was_not_read(self):
        """It has the service's error in its place, and abstains."""
        [found] = read_answers(URL, predictions({"error": {"code": "x", "message": "No."}}), count=1, name=None)
        assert (Failure("x", "No."), True, "") == (found.error, found.abstain, found.label)

    @pytest.mark.parametrize("change", WRONG_ENTRIES.values(), ids=WRONG_ENTRIES.keys())
    def test_lies(self, change: dict[str, object]):
        """Types and ranges are checked, and the sentence stays one."""
        with pytest.raises(ServiceError, match="/predict does not answer as Lince") as caught:
            read_answers(URL, predictions(GOOD | change), count=1, name=None)
        assert len(str(caught.value)) < 1000

    @pytest.mark.parametrize("entries", [[], [GOOD, GOOD], [{}] * 1_000_000], ids=["none", "two", "a million"])
    def test_another_number_of_answers(self, entries: list[object]):
        """One prediction an image."""
        with pytest.raises(ServiceError, match=f"{len(entries)} predictions for 1 images"):
            read_answers(URL, predictions(*entries), count=1, name=None)

    @pytest.mark.parametrize("content", [[GOOD], {"predictions": [GOOD]}, {"model": {"name": "pets", "version": "1"}}])
    def test_another_shape(self, content: object):
        """A list, and answers without a model or without predictions."""
        with pytest.raises(ServiceError, match="/predict does not answer as Lince"):
            read_answers(URL, Reply(200, json.dumps(content).encode()), count=1, name=None)

    def test_another_model(self):
        """The answers must be of the model that was asked for."""
        with pytest.raises(ServiceError, match=r"/predict answered with the model 'pets'. Expected 'cars'"):
            read_answers(URL, predictions(GOOD), count=1, name="cars")

    def test_float32_is_kept(self):
        """JSON loses no bit of a logit."""
        logits = np.array([0.1, 1 / 3, 3e38 / 7], np.float32)
        [found] = read_answers(URL, predictions(GOOD | {"logits": logits.tolist()}), count=1, name=None)
        np.testing.assert_array_equal(logits, np.array(found.logits, np.float32))


def test_records_are_those_of_the_service():
    """A field that the service adds to an answer is a field of ours."""
    from lince.serving import schemas

    theirs, ours = schemas.ImageAnswer.__dataclass_fields__, Answer.__dataclass_fields__
    assert ours.keys() - theirs.keys() == {"model", "version", "error"}
    assert theirs.keys() <= ours.keys()
    assert msgspec.inspect.type_info(schemas.Failure).fields == msgspec.inspect.type_info(Failure).fields
