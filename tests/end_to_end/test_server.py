"""The server as a process: it starts, answers, stops, and says why when it cannot."""

import hashlib
import io
import json
import signal
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
from hostile_requests import black_png, form
from PIL import Image
from server_process import COMMAND, running_server

from lince.serving.settings import shipped_model

FORM = "multipart/form-data; boundary=b0undary"


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def post(url: str, body: bytes, content_type: str = "image/png") -> dict:
    request = urllib.request.Request(f"{url}/predict?logits=true", body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_raw_form_and_concurrent_requests_agree():
    """The same picture gets the same answer alone, in a form, and in a crowd."""
    datas = [png(seed) for seed in range(16)]
    with running_server() as server, ThreadPoolExecutor(8) as threads:
        alone = [post(server.url, data)["predictions"][0] for data in datas]
        in_form = post(server.url, form(*[("file", data) for data in datas]), FORM)["predictions"]
        crowd = [answer["predictions"][0] for answer in threads.map(lambda data: post(server.url, data), datas * 4)]
    assert in_form == alone
    assert crowd == alone * 4


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_ends_with_success(stop: signal.Signals, workers: int):
    """A stop that was asked for is no failure: exit code 0, no traceback."""
    with running_server(workers=workers) as server:
        post(server.url, png(0))
        server.process.send_signal(stop)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text()


def test_request_in_flight_is_answered_before_the_stop():
    """A client that was being served when the signal came gets its answer."""
    slow = black_png(5_000, 5_000)
    with running_server() as server, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(post, server.url, slow)
        _wait_until_busy(server.process.pid)
        server.process.terminate()
        assert len(answer.result()["predictions"]) == 1
        assert server.process.wait(20) == 0


def test_a_stop_is_obeyed_under_attack():
    """Whatever is being decoded, the process ends in time; every request that is cut gets an error in our shape."""
    body = form(*[("file", black_png(4_900, 4_900))] * 32)
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    with running_server(shutdown_s=1, decode_cpu_s=30) as server, ExitStack() as connections:
        crowd = [
            connections.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            for _ in range(8)
        ]
        for connection in crowd:
            connection.sendall(head.encode() + body)
        _wait_until_busy(server.process.pid)
        start = time.monotonic()
        server.process.terminate()
        answers = [b"".join(iter(lambda: connection.recv(65_536), b"")) for connection in crowd]  # noqa: B023
        assert server.process.wait(20) == 0
        assert time.monotonic() - start < 1 + 2
        assert "Traceback" not in server.log.read_text()
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 503")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "shutting_down"


def test_a_stop_passes_over_who_was_refused_already():
    """A client that sent no HTTP and keeps its connection open takes nobody's answer away."""
    picture = black_png(4_000, 4_000)
    with running_server() as server, ThreadPoolExecutor(3) as threads:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as refused:
            refused.sendall(b"BLAH\r\n\r\n")
            answers = [threads.submit(post, server.url, picture) for _ in range(3)]
            _wait_until_busy(server.process.pid)
            time.sleep(0.2)  # so that all of them are in line
            server.process.terminate()
            assert [1, 1, 1] == [len(answer.result()["predictions"]) for answer in answers]
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_server_that_is_killed_leaves_no_process():
    """The process that decodes large pictures ends with its service, however that ends."""
    with running_server() as server:
        post(server.url, black_png(2_000, 2_000))
        [decoder] = psutil.Process(server.process.pid).children()
        server.process.kill()
        decoder.wait(20)


def test_client_that_leaves_is_no_bug():
    """A connection that breaks in the middle of a body is counted, and not logged as ours."""
    with running_server() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\n"
            connection.sendall(head + b"half")
        counted = 'lince_requests_total{method="POST",model="cifar10",path="/predict",status="400"} 1.0'
        _wait_for(lambda: counted in urllib.request.urlopen(f"{server.url}/metrics").read().decode())
        assert "Traceback" not in server.log.read_text()


def test_workers_share_their_metrics():
    """Whichever worker is asked, /metrics counts the requests of all."""
    with running_server(workers=2) as server:
        for seed in range(10):
            post(server.url, png(seed))
        text = urllib.request.urlopen(f"{server.url}/metrics").read().decode()
    assert 'lince_requests_total{method="POST",model="cifar10",path="/predict",status="200"} 10.0' in text


def test_port_in_use_is_a_failed_start():
    """Exit code 3 and one sentence that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _serve("--port", str(port))
    assert done.returncode == 3
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_model_that_is_none_is_a_failed_start(tmp_path: Path, workers: str):
    """The same for a file that is not a model."""
    (tmp_path / "model.tflite").write_bytes(b"not a model")
    done = _serve(str(tmp_path / "model.tflite"), "--port", "0", "--workers", workers)
    assert done.returncode == 3
    assert "not a LiteRT flatbuffer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_pinned_model_is_served(workers: int):
    """By each worker, which hashes what it loads."""
    digest = hashlib.sha256(shipped_model().read_bytes()).hexdigest()
    with running_server(sha256=digest, workers=workers) as server:
        assert post(server.url, png(0))["model"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_another_model_than_the_pinned_one_is_a_failed_start(workers: str):
    """Exit code 3 and one sentence that names both."""
    digest = hashlib.sha256(shipped_model().read_bytes()).hexdigest()
    done = _serve("--port", "0", "--workers", workers, "--sha256", "0" * 64)
    assert done.returncode == 3
    assert f"its SHA-256 is {digest}. Expected the pinned one, {'0' * 64}" in done.stderr
    assert "Traceback" not in done.stderr


def _serve(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def _wait_until_busy(pid: int) -> None:
    """Until the server has started the process that decodes large pictures."""
    _wait_for(lambda: psutil.Process(pid).children())


def _wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
