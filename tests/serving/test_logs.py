"""The log is text, or one JSON object a line; a request has its id in both, and never its query."""

import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator

import pytest
from app_client import RAW, AppClient, MakeClient, Png

from lince.serving import logs
from lince.serving.inference_queue import Inference

Lines = Callable[[], list[str]]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Lines]]:
    """`logged("json")` configures the log as the server does, and gives what reads its lines so far."""
    stream = io.StringIO()
    names = ("lince", "uvicorn.error", "asyncio", "python_multipart", "PIL")
    before = {name: (one.handlers, one.propagate, one.level) for name in names if (one := logging.getLogger(name))}

    def configure(log_format: str) -> Lines:
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure(log_format)

        def lines() -> list[str]:
            logs.flush(10)
            return stream.getvalue().splitlines()

        return lines

    with warnings.catch_warnings():
        yield configure
    for name, (handlers, propagate, level) in before.items():
        one = logging.getLogger(name)
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def test_access_log_in_json(logged: Callable[[str], Lines], make_client: MakeClient, png: Png):
    """Id, method, path, status, time and client; the query, which may hold secrets, is nowhere."""
    lines = logged("json")
    client = make_client(access_log=True)
    client.post("/predict?top=1&token=secret", content=png(), headers=RAW | {"x-request-id": "abc-1"})
    client.get("/page/%0Aforged%20line:é")
    first, second = map(json.loads, lines())
    assert first.pop("milliseconds") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first.pop("time"))
    assert first.pop("message").startswith('127.0.0.1:123 "POST /predict" 200 ')
    assert first == {
        "level": "INFO",
        "request_id": "abc-1",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "client": "127.0.0.1:123",
    }
    assert (second["path"], second["status"]) == ("/page/%0Aforged%20line:%C3%A9", 404)


def test_access_log_in_text(logged: Callable[[str], Lines], make_client: MakeClient):
    """The same in one line for people; an id that the service has made is that of the answer."""
    lines = logged("text")
    answer = make_client(access_log=True).get("/livez?query")
    [line] = lines()
    request_id = re.escape(answer.headers["x-request-id"])
    assert re.fullmatch(rf'\S+ \S+ INFO 127\.0\.0\.1:123 "GET /livez" 200 [\d.]+ ms {request_id}', line)


def test_no_access_log_by_default(logged: Callable[[str], Lines], client: AppClient):
    """Requests are logged where the setting asks for it."""
    lines = logged("json")
    client.get("/livez")
    assert lines() == []


def test_a_traceback_is_one_line(logged: Callable[[str], Lines]):
    """It would otherwise be thirty objects that are none."""
    lines = logged("json")
    try:
        raise ValueError("half of a pair: \ud800")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    [line] = map(json.loads, lines())
    assert (line["level"], line["message"]) == ("ERROR", "Exception in ASGI application\n")
    assert line["traceback"].startswith("Traceback (most recent call last):\n")
    assert "half of a pair" in line["traceback"]
    assert "request_id" not in line


def test_lines_about_a_request_have_its_id(
    logged: Callable[[str], Lines], client: AppClient, png: Png, monkeypatch: pytest.MonkeyPatch
):
    """What the service logs while it answers can be found by the id of the answer."""
    lines = logged("json")

    async def fail(*_: object, **__: object) -> None:
        logging.getLogger("lince.serving").warning("It fails.")
        raise ZeroDivisionError

    monkeypatch.setattr(Inference, "answer", fail)
    answer = client.post("/predict", content=png(), headers=RAW | {"x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
    assert [("It fails.", "mine")] == [(one["message"], one["request_id"]) for one in map(json.loads, lines())]


def test_a_log_that_nobody_reads_stops_nothing(logged: Callable[[str], Lines], monkeypatch: pytest.MonkeyPatch):
    """Lines wait, then they are lost; when it is read again, the log says how many."""
    full, read = threading.Event(), threading.Event()
    lines = logged("text")
    writelines = sys.stderr.writelines

    def wait_and_write(text: Iterable[str]) -> None:
        full.set()
        assert read.wait(30)
        writelines(text)

    monkeypatch.setattr(sys.stderr, "writelines", wait_and_write)
    monkeypatch.setattr(logs, "_MOST_LINES", 100)
    logs.configure("text")
    log = logging.getLogger("lince")
    log.info("Line 0.")
    assert full.wait(10)
    for number in range(1, 200):
        log.info("Line %d.", number)
    logs.flush(0.01)
    read.set()
    found = lines()
    [lost] = [line for line in found if "WARNING" in line]
    assert "99 lines of the log are lost" in lost
    found.remove(lost)
    assert [line.partition(" INFO ")[2] for line in found] == [f"Line {number}." for number in range(101)]


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), ValueError("I/O operation on closed file")]
)
def test_a_log_that_cannot_be_written_stops_nothing(
    logged: Callable[[str], Lines], monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    """The next line is tried again."""
    lines = logged("text")
    with monkeypatch.context() as full:

        def fail(_: str) -> None:
            raise failure

        full.setattr(sys.stderr, "write", fail)
        logging.getLogger("lince").info("This is lost.")
        assert lines() == []
    logging.getLogger("lince").info("This is not.")
    assert lines()[-1].endswith("This is not.")
