"""Servers that lie: whatever one answers, the client ends with one sentence, in bounded time and memory."""

import json
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec
import numpy as np
import pytest
from tests.test_client import MODEL

from lince import calibration
from lince.client import served_model, server_predict
from lince.errors import ServiceError
from lince.types import Calibration

Talk = Callable[[socket.socket], None]


@contextmanager
def lying_server(*talks: Talk) -> Iterator[str]:
    """Answers connection after connection, each by the next of `talks`; the last one is used again."""
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def run() -> None:
            count = 0
            while not stopping.is_set():
                with suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(5)
                        read_request(connection)
                        talks[min(count, len(talks) - 1)](connection)
                    count += 1

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopping.set()
            thread.join()


def read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if found := re.search(rb"Content-Length: (\d+)", head):
        while len(body) < int(found[1]):
            body += connection.recv(65536)


def says(content: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> Talk:
    return lambda connection: connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(content) + content)


def says_json(content: object) -> Talk:
    return says(json.dumps(content).encode())


def repeats(head: bytes, piece: bytes, pause_s: float = 0.0) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause_s)

    return talk


def changed(**fields: object) -> bytes:
    return json.dumps(MODEL | fields).encode()


IMAGE = MODEL["image"]
HUGE = "9" * 400
LIES = {
    "deep list": b"[" * 200_000,
    "deep list in a field that is skipped": changed(extra=0).replace(b'"extra": 0', b'"extra": ' + b"[" * 200_000),
    "deep object": b'{"a":' * 200_000,
    "deep and closed": changed(extra=0).replace(b'"extra": 0', b'"extra": ' + b"[" * 99_999 + b"]" * 99_999),
    **{f"height {value!r}": changed(image=IMAGE | {"height": value}) for value in ("4", -1, 0, 1025, 4000, None, True)},
    **{f"width {value!r}": changed(image=IMAGE | {"width": value}) for value in ([], 1.5, 2**63, 2**70, {})},
    "height of digits": changed(image=IMAGE | {"height": 0}).replace(b'"height": 0', b'"height": ' + HUGE.encode()),
    "resize": changed(image=IMAGE | {"resize": "x"}),
    "image": changed(image=[4, 6]),
    **{
        f"max_parts {value}": changed(limits={"max_parts": "X"}).replace(b'"X"', value.encode())
        for value in (
            "Infinity",
            "-Infinity",
            "NaN",
            "1e999",
            "-1",
            "0",
            "1.5",
            HUGE,
            '"5"',
            "null",
            "[]",
            "2000000000",
        )
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
}


class TestModel:
    @pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
    def test_lies(self, content):
        """Every wrong type and range, and JSON that no parser likes; the sentence stays one."""
        with (
            lying_server(says(content)) as url,
            pytest.raises(ServiceError, match="/model does not answer as Lince") as caught,
        ):
            served_model(url, timeout_s=20)
        assert len(str(caught.value)) < 1000
        assert str(caught.value).isprintable()

    def test_a_float_that_is_whole(self):
        """32.0 is a number of pixels in JSON, which has one kind of number; it becomes an int, or is refused."""
        with lying_server(says(changed(image=IMAGE | {"height": 4.0}))) as url:
            try:
                found = served_model(url, timeout_s=5)
            except ServiceError:
                return
        assert isinstance(found.image.height, int)

    def test_a_key_twice(self):
        """The last one counts, as nearly everywhere."""
        content = changed().replace(b'"name": "pets"', b'"name": 3, "name": "pets"')
        with lying_server(says(content)) as url:
            try:
                found = served_model(url, timeout_s=5)
            except ServiceError:
                return
        assert found.name == "pets"

    def test_words_that_move_the_cursor(self):
        """What a server says reaches a terminal escaped, and is cut."""
        content = json.dumps({"error": {"message": "\x1b[2J" + "x" * 100_000}}).encode()
        talk = says(content, b"HTTP/1.1 503 Busy\r\n")
        with lying_server(talk) as url, pytest.raises(ServiceError, match="answered with status 503") as caught:
            served_model(url, timeout_s=5)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "a byte now and then": repeats(OK + b"Content-Length: 100000\r\n\r\n", b" ", 0.05),
    "a head now and then": repeats(OK, b"X: y\r\n", 0.05),
    "a line without end": repeats(b"", b"H", 0.05),
    "continue": repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "chunks now and then": repeats(CHUNKED, b"1\r\n \r\n", 0.05),
    "trailers": repeats(CHUNKED + b"0\r\n", b"X: y\r\n" * 100, 0.01),
    "silence": lambda connection: time.sleep(1.5),
}
WRONG = {
    "headers": repeats(OK, b"X: y\r\n"),
    "a header": repeats(OK + b"X: ", b"y" * 65536),
    "a body": repeats(OK + b"\r\n", b" " * 65536),
    "chunks": repeats(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "a chunk's size": repeats(CHUNKED, b"f" * 65536),
    "a huge chunk": repeats(CHUNKED + b"fffffffffffffff\r\n", b" " * 65536),
    "too short": lambda connection: connection.sendall(OK + b"Content-Length: 1000\r\n\r\n{}"),
    "a negative length": lambda connection: connection.sendall(OK + b"Content-Length: -5\r\n\r\n{}"),
    "a length of digits": repeats(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", b" " * 65536),
    "a chunk's size that is none": lambda connection: connection.sendall(CHUNKED + b"xyz\r\n"),
    "no HTTP": lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n"),
    "a status that is none": lambda connection: connection.sendall(b"HTTP/1.1 2000 x\r\n\r\n"),
    "a close": lambda connection: None,
}


@pytest.mark.waits
class TestTransport:
    @pytest.mark.parametrize("talk", ENDLESS.values(), ids=ENDLESS.keys())
    def test_time(self, talk):
        """A server that always sends a little more is left after the time given, not after its silence."""
        with lying_server(talk) as url:
            began = time.monotonic()
            with pytest.raises(ServiceError, match="No answer from"):
                served_model(url, timeout_s=0.7)
            assert time.monotonic() - began < 5  # 0.7 s and a busy machine

    @pytest.mark.parametrize("talk", WRONG.values(), ids=WRONG.keys())
    def test_bytes(self, talk):
        """A server that sends without end is left after the bytes that an answer may have."""
        with lying_server(talk) as url:
            tracemalloc.start()
            try:
                with pytest.raises(ServiceError, match=r"No answer from|does not answer as Lince"):
                    served_model(url, timeout_s=20)
                assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
            finally:
                tracemalloc.stop()


def entry(**changes: object) -> dict:
    """A prediction whose label and probability follow from its logits, but for the changes."""
    logits = np.log(np.array([[0.5, 0.25, 0.25]], np.float32))
    answered = calibration.apply(logits, served_calibration())
    probability = float(answered.probabilities[0, 0])
    return {"label": "cat", "probability": probability, "logits": logits[0].tolist()} | changes


def served_calibration() -> Calibration:
    return msgspec.convert(MODEL["calibration"], Calibration)


GOOD = entry()
WRONG_ANSWERS = {
    "not finite": {"predictions": [entry(logits=[float("nan"), 0, 0])]},
    "infinite": {"predictions": [entry(logits=[float("inf"), 0, 0])]},
    "too large": {"predictions": [entry(logits=[1e300, 0, 0])]},
    "text": {"predictions": [entry(logits=["2", 0, 0])]},
    "a class less": {"predictions": [entry(logits=GOOD["logits"][:2])]},
    "a class more": {"predictions": [entry(logits=[*GOOD["logits"], 0])]},
    "another label": {"predictions": [entry(label="dog")]},
    "a foreign label": {"predictions": [entry(label="cow")]},
    "another probability": {"predictions": [entry(probability=GOOD["probability"] / 2)]},
    "no logits": {"predictions": [{key: value for key, value in GOOD.items() if key != "logits"}]},
    "nothing": {"predictions": [{}]},
    "logits as an object": {"predictions": [entry(logits={})]},
    "an answer more": {"predictions": [GOOD, GOOD]},
    "none": {"predictions": []},
    "a list": [GOOD],
    "an error that is none": {"predictions": [{"error": "no"}]},
    "a million": {"predictions": [{}] * 1_000_000},
}


class TestAnswers:
    @pytest.mark.parametrize("answer", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
    def test_lies(self, answer):
        """Each answer has one finite logit for each class, and the label and probability that follow from them."""
        images = np.zeros((1, 4, 6, 3), np.uint8)
        with lying_server(says_json(MODEL), says_json(answer)) as url:
            predict = server_predict(url, served_model(url, timeout_s=20), timeout_s=20)
            with pytest.raises(ServiceError, match=r"/predict.* does not answer as Lince") as caught:
                predict(images)
        assert len(str(caught.value)) < 1000

    def test_a_good_one(self):
        """The server of these tests can tell the truth, too."""
        with lying_server(says_json(MODEL), says_json({"predictions": [GOOD]})) as url:
            found = server_predict(url, served_model(url, timeout_s=20), timeout_s=20)(np.zeros((1, 4, 6, 3), np.uint8))
        assert [GOOD["logits"]] == found.logits.tolist()
