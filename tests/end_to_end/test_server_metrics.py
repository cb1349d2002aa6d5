"""Two real workers: whoever is asked answers for both, and each request is in the log under the id of its answer."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from app_client import Png
from counted import Value, values_of
from server_process import ServerProcess, running_server

from lince import drift
from lince.model_file import artifact
from lince.runs.run_folder import RunFolder
from lince.serving.metrics import STAGES

GOOD, BAD = 40, 5


@pytest.fixture(scope="module")
def server(run: RunFolder) -> Iterator[ServerProcess]:
    with running_server(workers=2, model=run.model, access_log=True, log_format="json") as process:
        yield process


@pytest.fixture(scope="module")
def ids(server: ServerProcess, png: Png) -> list[str]:
    """Those of the answers to pictures, and to bytes that are none."""

    def ask(data: bytes) -> str:
        request = urllib.request.Request(f"{server.url}/predict", data, {"Content-Type": "image/png"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.headers["x-request-id"]
        except urllib.error.HTTPError as error:
            with error:
                return error.headers["x-request-id"]

    bodies = [*(png(seed) for seed in range(GOOD)), *[b"no picture"] * BAD]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, bodies))
        while len({one.rpartition("-")[0] for one in found}) < 2:  # one of both may still be starting
            found += threads.map(ask, bodies)
    return found


@pytest.fixture(scope="module")
def value(server: ServerProcess, ids: list[str]) -> Value:
    """What one of the workers says, once the last request is counted and logged: both follow its answer."""
    end = time.monotonic() + 10
    while True:
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=20) as answer:
            found = values_of(answer.read().decode())
        logged = server.log.read_text().count('"path": "/predict"')
        if found("lince_request_seconds_count", path="/predict") == logged == len(ids) or time.monotonic() > end:
            return found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def rounds(ids: list[str]) -> int:
    """How often all bodies were sent."""
    return len(ids) // (GOOD + BAD)


def test_requests_of_both_workers_are_summed(value: Value, rounds: int):
    """By status and by reason, and none is left in the queue."""
    labels = {"path": "/predict", "method": "POST", "model": "tiny"}
    assert value("lince_requests_total", status="200", **labels) == GOOD * rounds
    assert value("lince_requests_total", status="415", **labels) == BAD * rounds
    assert value("lince_rejections_total", code="unsupported_format") == BAD * rounds
    assert value("lince_request_seconds_count", path="/predict") == (GOOD + BAD) * rounds
    assert value("lince_queue_depth") == 0


def test_stages_of_both_workers_are_summed(value: Value, rounds: int):
    """Of every fourth request of each worker: one more when neither has answered a multiple of four."""
    [count] = {value("lince_stage_seconds_count", stage=stage) for stage in STAGES}
    assert GOOD * rounds / 4 <= count <= GOOD * rounds / 4 + 1.5


def test_answers_of_both_workers_are_summed(value: Value, rounds: int, run: RunFolder):
    """Every picture is in one class, in one bin of each statistic, and has a confidence."""
    classes = artifact.read(run.model).manifest.classes
    predicted = [value("lince_predictions_total", **{"model": "tiny", "class": label}) for label in classes]
    assert sum(predicted) == GOOD * rounds
    assert value("lince_confidence_count", model="tiny") == GOOD * rounds
    for statistic in drift.STATISTICS:
        bins = [
            value("lince_drift_images_total", model="tiny", statistic=statistic, bin=str(place))
            for place in range(drift.BINS)
        ]
        assert sum(bins) == GOOD * rounds


def test_the_reference_is_not_summed(value: Value, run: RunFolder):
    """Both workers serve the same model, whose shares are together 1."""
    manifest = artifact.read(run.model).manifest
    assert value("lince_model_info", name="tiny", version=manifest.version) == 1
    assert value("lince_drift_reference_images", model="tiny") == manifest.drift_reference.n
    for statistic in drift.STATISTICS:
        shares = [
            value("lince_drift_reference_share", model="tiny", statistic=statistic, bin=str(place))
            for place in range(drift.BINS)
        ]
        assert sum(shares) == pytest.approx(1)


def test_every_answer_is_in_the_log(server: ServerProcess, ids: list[str], value: Value):
    """Each line is JSON, with the id that the client has; no id is given twice."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    logged = [line["request_id"] for line in lines if line.get("path") == "/predict"]
    assert sorted(logged) == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {"INFO"} == {line["level"] for line in lines}
