"""Several workers as real processes: one that dies is replaced, one that cannot start stops nobody, a stop is clean."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from hostile_requests import black_png
from server_process import COMMAND, ServerProcess, running_server

from lince.model_file import artifact

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds the workers in /proc")

PNG = black_png(32, 32)


def workers_of(server: ServerProcess) -> list[int]:
    """Process ids, in the order of their start; the resource tracker of `multiprocessing` is none of them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == server.process.pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, IndexError, ValueError):
            continue
    return sorted(found)


def post(server: ServerProcess) -> int:
    request = urllib.request.Request(f"{server.url}/predict", PNG, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.status


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_until_all_ready(server: ServerProcess, count: int = 2) -> None:
    wait_for(lambda: server.log.read_text().count("is ready.") >= count)


def metrics_folder(server: ServerProcess) -> Path:
    environment = Path(f"/proc/{workers_of(server)[0]}/environ").read_bytes().decode()
    return Path(re.search(r"PROMETHEUS_MULTIPROC_DIR=([^\0]+)", environment)[1])


def test_worker_that_was_killed_is_replaced():
    """With its numbers kept, and without more files: a new worker counts on in the old one's."""
    with running_server(workers=2) as server:
        wait_until_all_ready(server)
        for _ in range(4):
            assert post(server) == 200
        before = workers_of(server)
        wait_for(lambda: len(list(metrics_folder(server).iterdir())) == 8)
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(now := workers_of(server)) == 2 and now != before)
        assert post(server) == 200
        wait_for(lambda: "Another one starts" in server.log.read_text())
        wait_for(lambda: len(list(metrics_folder(server).iterdir())) == 8)
        text = urllib.request.urlopen(f"{server.url}/metrics").read().decode()
        assert 'lince_requests_total{method="POST",model="cifar10",path="/predict",status="200"} 5.0' in text
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("change", ["gone", "damaged", "another"])
def test_worker_that_cannot_start_stops_nobody(tmp_path: Path, change: str):
    """The healthy one serves on, the log has the reason, and a file that comes back is taken."""
    model = tmp_path / "model.tflite"
    shutil.copy(artifact.locate(artifact.SHIPPED), model)
    original = model.read_bytes()
    with running_server(workers=2, model=model) as server:
        wait_until_all_ready(server)
        change_model(model, change)
        victim, healthy = workers_of(server)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: "A worker cannot start" in server.log.read_text())
        for _ in range(5):
            assert post(server) == 200
        log = server.log.read_text()
        reason = {"gone": "No such file", "damaged": "flatbuffer", "another": "was replaced"}[change]
        assert reason in log.partition("A worker cannot start")[2]
        assert "Traceback" not in log
        assert log.count("A worker cannot start") < 5  # a growing pause, no hot loop
        model.write_bytes(original)
        starting = log.count("A worker cannot start")
        wait_for(lambda: len(now := workers_of(server)) == 2 and healthy in now)
        assert server.process.poll() is None
        assert starting >= 1


def change_model(model: Path, change: str) -> None:
    if change == "gone":
        model.unlink()
    elif change == "damaged":
        model.write_bytes(b"not a model")
    else:
        read = artifact.read(model)
        flatbuffer = read.flatbuffer + b"\0" * 16
        manifest = artifact.describe(
            flatbuffer=flatbuffer,
            created=datetime(2026, 1, 1),
            name="other",
            classes=read.manifest.classes,
            image=read.manifest.image,
            calibration=read.manifest.calibration,
            certificate=read.manifest.certificate,
            training={},
            arithmetic=read.manifest.arithmetic,
        )
        model.write_bytes(
            artifact.encode(artifact.Artifact(flatbuffer, manifest, read.golden, read.card, read.familiarity))
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_stop_resets_nobody(workers: int):
    """Whoever is connected and has asked when the signal comes gets an answer; whoever has not, a clean end."""
    for _ in range(2):
        with running_server(workers=workers) as server:
            assert post(server) == 200
            pids = workers_of(server) or [server.process.pid]
            for pid in pids:  # so that those who connect now stay in the backlog
                os.kill(pid, signal.SIGSTOP)
            asking = [ask(server.port) for _ in range(8)]
            silent = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(4)]
            server.process.send_signal(signal.SIGTERM)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            answers = [read_all(connection) for connection in asking]
            assert [b"HTTP/1.1 200"] * 8 == [answer[:12] for answer in answers]
            assert [b""] * 4 == [read_all(connection) for connection in silent]
            assert server.process.wait(20) == 0


def ask(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n%b"
        % (len(PNG), PNG)
    )
    return connection


def read_all(connection: socket.socket) -> bytes:
    """All until the end; raises ConnectionResetError when the connection was reset."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_stop_kills_a_worker_that_hangs():
    """After shutdown_s and two seconds at the latest; the exit code is that of a stop."""
    with running_server(workers=2, shutdown_s=1) as server:
        wait_until_all_ready(server)
        pids = workers_of(server)
        os.kill(pids[0], signal.SIGSTOP)
        began = time.monotonic()
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 1 + 2 + 1  # a second for a busy machine
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_who_waits_for_workers_that_hang_is_turned_away():
    """The supervisor answers in their place, in the shape of every error."""
    with running_server(workers=2, shutdown_s=0) as server:
        wait_until_all_ready(server)
        for pid in workers_of(server):
            os.kill(pid, signal.SIGSTOP)
        asking = [ask(server.port) for _ in range(8)]
        server.process.terminate()
        for connection in asking:
            answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'{"error":{"code":"shutting_down"' in answer
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_second_signal_ends_at_once(workers: int):
    """Although a request is on its way and shutdown_s is not over."""
    with running_server(workers=workers, shutdown_s=60) as server:
        connection = ask_for_ever(server.port)
        server.process.terminate()
        time.sleep(1.5)
        assert server.process.poll() is None
        server.process.terminate()
        assert server.process.wait(10) == 0
        connection.close()


def ask_for_ever(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\nhalf"
    )
    time.sleep(0.5)
    return connection


def test_workers_stop_when_the_supervisor_is_killed():
    """Nobody would be left to stop them, and the port would stay taken."""
    with running_server(workers=2) as server:
        wait_until_all_ready(server)
        assert post(server) == 200
        pids = workers_of(server)
        server.process.kill()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_metrics_folder_gone():
    """/metrics says so in the shape of every error, and predictions go on, in a new worker as well."""
    with running_server(workers=2) as server:
        wait_until_all_ready(server)
        shutil.rmtree(metrics_folder(server))
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{server.url}/metrics", timeout=20)
        with caught.value as answer:
            assert answer.code == 503
            assert b'{"error":{"code":"metrics_unavailable"' in answer.read()
        with ThreadPoolExecutor(4) as threads:
            assert [200] * 20 == list(threads.map(lambda _: post(server), range(20)))
        os.kill(workers_of(server)[0], signal.SIGKILL)
        wait_for(lambda: "Another one starts" in server.log.read_text())
        wait_for(lambda: len(workers_of(server)) == 2)
        assert post(server) == 200
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text()


def test_native_greeting_is_held_back():
    """LiteRT's line about its delegate appears in no worker."""
    with running_server(workers=2) as server:
        wait_until_all_ready(server)
        assert post(server) == 200
        assert "XNNPACK" not in server.log.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_temporary_folder(workers: str):
    """One worker needs none; several say in one sentence what to set."""
    code = (
        "import tempfile, sys\n"
        "def none(): raise FileNotFoundError(2, 'No usable temporary directory found')\n"
        "tempfile.gettempdir = tempfile._gettempdir = none\n"
        "from lince.cli.commands import main; main()"
    )
    command = [str(Path(COMMAND[0]).with_name("python")), "-c", code, "serve", "--port", "0", "--workers", workers]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        first = process.stderr.readline()
        if workers == "1":
            port = int(re.search(r"Serving .+ on http://127\.0\.0\.1:(\d+)", first)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/readyz")
            assert connection.getresponse().status == 200
            connection.close()
            process.terminate()
            assert process.wait(20) == 0
        else:
            assert process.wait(20) == 3
            assert "TMPDIR" in first
            assert process.stderr.read() == ""
