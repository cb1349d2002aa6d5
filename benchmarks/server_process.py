"""Runs the real server as a process for the benchmarks and the tests, and always ends it."""

import os
import re
import socket
import ssl
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = [str(Path(sysconfig.get_path("scripts"), "lince")), "serve"]

_START_TIMEOUT_S = 60  # a cold disk under load; a warm one needs half a second
_STOP_TIMEOUT_S = 20  # twice what requests in flight are given


@dataclass(frozen=True)
class ServerProcess:
    """A server that is ready. `url` is http://127.0.0.1:PORT, or https://… with a certificate."""

    process: subprocess.Popen
    port: int
    log: Path
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def memory_bytes(self, field: str = "VmRSS") -> int:
        """Resident memory now (`VmRSS`) or at its highest (`VmHWM`). Linux only."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024


@contextmanager
def running_server(*, command: Sequence[str] = COMMAND, **settings: object) -> Iterator[ServerProcess]:
    """Starts a server on a free port of 127.0.0.1, yields it when it is ready, and ends it.

    Args:
        command: starts the server; it may be that of another version, to compare.
        settings: fields of `ServeSettings`.

    Raises:
        RuntimeError: the server does not become ready; the message has its log.
    """
    environment = (
        os.environ | {"LINCE_PORT": "0"} | {f"LINCE_{key.upper()}": str(value) for key, value in settings.items()}
    )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as file:
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            scheme, port = _wait_until_ready(process, log)
            yield ServerProcess(process, port, log, scheme)
        finally:
            _stop(process)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_until_ready(process: subprocess.Popen, log: Path) -> tuple[str, int]:
    """Reads scheme and port from the log, then asks until the server is ready."""
    anybody = ssl._create_unverified_context()  # the certificates of tests are signed by nobody
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"Serving .+ on (https?)://127\.0\.0\.1:(\d+)", log.read_text()):
            url = f"{found[1]}://127.0.0.1:{found[2]}/readyz"
            urllib.request.urlopen(url, timeout=_START_TIMEOUT_S, context=anybody).close()
            return found[1], int(found[2])
        time.sleep(0.002)
    raise RuntimeError(f"The server did not become ready; its log says:\n{log.read_text()}")


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
