"""What a service keeps of its promises while things around it fail.

    python benchmarks/service_faults.py [CASE …] [--seconds 20] [--overload-s 300]

| case | what happens | what must hold |
|---|---|---|
| `killed_workers` | every 3 s one of two workers is killed | only its connections break, /livez takes 1 s at most |
| `stopped_worker` | one of two workers stands still for ever | the other one answers, until it is replaced |
| `stopped_service` | the only process stands still for 5 s | every request is answered afterwards |
| `full_disk` | the log, a line a request, cannot be written | every request is answered, memory stays |
| `unread_log` | the log is a pipe that nobody reads | the same |
| `silent_clients` | 200 clients send requests and read no answer | others keep 80 % of their rate, memory stays |
| `clock` | the wall clock jumps by a day (needs libfaketime) | every request is answered |
| `overload` | twice as many connections as may wait | 90 % of the best rate, /livez within 1 s, memory stays |

The last line of stdout is one JSON object; the exit code is 1 when something does not hold. Linux only; needs `wrk`.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import wrk
from hostile_requests import Input, encoded
from liveness import Probe
from process_tree import processes, resident_bytes
from server_process import COMMAND, free_port, running_server

_CONNECTIONS, _SILENT = 16, 200
_MEMORY_BYTES = 16 * 2**20  # that a case may add
_LIVE_S = 1.0
_SETTLE_S = 2
_FAKETIME = Path("/usr/lib", f"{os.uname().machine}-linux-gnu", "faketime", "libfaketime.so.1")
_REQUEST = Input(encoded(np.random.default_rng(0), "PNG", 32))


def _load(port: int, seconds: float, connections: int = _CONNECTIONS) -> wrk.Load:
    return wrk.load(port, _REQUEST, connections, seconds)


def _workers(pid: int) -> list[int]:
    """The processes that answer: those children that are no helper of Python's."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def killed_workers(seconds: float) -> dict[str, Any]:
    """One of two workers is killed every 3 s, while all connections are loaded."""
    kills = max(1, int(seconds / 3) - 1)
    with running_server(workers=2, model="cifar10-tiny") as server, Probe(server.port) as probe:
        _load(server.port, _SETTLE_S)
        with wrk.loading(server.port, _REQUEST, _CONNECTIONS, 3 * (kills + 1)) as found:
            for number in range(kills):
                time.sleep(3)
                alive = _workers(server.process.pid)
                os.kill(alive[number % len(alive)], signal.SIGKILL)
        back_s = _seconds_until(lambda: len(_workers(server.process.pid)) == 2, 40)
        after = _load(server.port, _SETTLE_S)
    kept = found[0].other == 0 and found[0].broken <= kills * _CONNECTIONS and after.broken == 0
    return _summary(found[0], kept and back_s < 40 and probe.longest_s < _LIVE_S) | {
        "kills": kills,
        "livez_longest_s": round(probe.longest_s, 3),
        "seconds_until_both_are_back": round(back_s, 1),
    }


def stopped_worker(seconds: float) -> dict[str, Any]:
    """One of two workers stands still. New connections reach the other one; the supervisor replaces it."""
    with running_server(workers=2, model="cifar10-tiny") as server:
        _load(server.port, _SETTLE_S)
        stopped = _workers(server.process.pid)[0]
        os.kill(stopped, signal.SIGSTOP)
        answered = sum(_is_answered(server.port, 2) for _ in range(20))
        replaced_s = _seconds_until(lambda: stopped not in processes(server.process.pid), 60)
        time.sleep(3)
        after = _load(server.port, seconds)
    return _summary(after, replaced_s < 30 and answered >= 10 and not after.broken and not after.other) | {
        "answered_of_20_meanwhile": answered,
        "seconds_until_replaced": round(replaced_s, 1),
    }


def stopped_service(seconds: float) -> dict[str, Any]:
    """The process stands still for 5 s, as a machine that is moved does."""
    with running_server(model="cifar10-tiny") as server:
        _load(server.port, _SETTLE_S)
        with wrk.loading(server.port, _REQUEST, _CONNECTIONS, seconds + 7) as found:
            time.sleep(2)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(5)
            server.process.send_signal(signal.SIGCONT)
    # wrk counts an answer that comes after 2 s as broken: one for each connection.
    return _summary(found[0], found[0].busy == found[0].other == 0 and found[0].broken <= _CONNECTIONS)


def full_disk(seconds: float) -> dict[str, Any]:
    """Each line of the log fails with ENOSPC."""
    with open("/dev/full", "wb") as full:
        return _with_log(full, seconds)


def unread_log(seconds: float) -> dict[str, Any]:
    """The pipe of the log is full after some hundred lines."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            return _with_log(pipe, seconds)
    finally:
        os.close(reading)


def _with_log(log: IO[bytes], seconds: float) -> dict[str, Any]:
    with _logging_to(log) as (port, pid), Probe(port) as probe:
        _load(port, _SETTLE_S)
        before = resident_bytes(pid)
        found = _load(port, seconds)
        grown = resident_bytes(pid) - before
    kept = found.ok > 0 and not found.broken + found.other + found.busy and grown < _MEMORY_BYTES
    return _summary(found, kept and probe.longest_s < _LIVE_S) | {"grown_mb": round(grown / 2**20, 1)}


@contextmanager
def _logging_to(log: IO[bytes]) -> Iterator[tuple[int, int]]:
    """A server whose log goes there, and which logs each request: its port and process."""
    port = free_port()
    settings = {"LINCE_PORT": str(port), "LINCE_ACCESS_LOG": "true", "LINCE_MODEL": "cifar10-tiny"}
    process = subprocess.Popen(COMMAND, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=log)
    try:
        if _seconds_until(lambda: _is_answered(port, 1), 60) >= 60:
            raise RuntimeError("The server did not become ready.")
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def silent_clients(seconds: float) -> dict[str, Any]:
    """200 clients send requests in a row, and read nothing."""
    requests = _REQUEST.to_bytes() * 12
    with running_server(model="cifar10-tiny", receive_timeout_s=5) as server:
        _load(server.port, _SETTLE_S)
        alone = _load(server.port, seconds / 2)
        before = server.memory_bytes()
        with ExitStack() as stack:
            ended = threading.Event()
            stack.callback(ended.set)
            for _ in range(_SILENT):
                one = stack.enter_context(socket.socket())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.connect(("127.0.0.1", server.port))
                one.settimeout(0.01)
                with suppress(OSError):
                    while True:
                        one.sendall(requests)
            beside = _load(server.port, seconds / 2)
            grown = server.memory_bytes() - before
        after = _load(server.port, _SETTLE_S)
    share = beside.ok_rate / alone.ok_rate
    kept = share >= 0.8 and grown < _MEMORY_BYTES and not after.broken + after.busy + after.other
    return _summary(beside, kept) | {"of_alone": round(share, 3), "grown_mb": round(grown / 2**20, 1)}


def clock(seconds: float) -> dict[str, Any]:
    """The wall clock jumps; the monotonic one goes on, as on a machine whose clock is set."""
    if not _FAKETIME.exists():
        return {"skipped": "libfaketime is not installed", "kept": False}
    with tempfile.TemporaryDirectory() as folder:
        rate = Path(folder, "time")
        rate.write_text("+0")
        fake = {
            "LD_PRELOAD": str(_FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(rate),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        command = ["env", *(f"{name}={value}" for name, value in fake.items()), *COMMAND]
        dates = []
        with running_server(command=command, model="cifar10-tiny", rate_limit=1e6) as server:
            _load(server.port, _SETTLE_S)
            with wrk.loading(server.port, _REQUEST, _CONNECTIONS, seconds) as found:
                for jump in ("+1d", "-1d", "+0"):
                    time.sleep(seconds / 5)
                    rate.write_text(jump)
                    time.sleep(1.5)
                    dates.append(_date(server.port))
    is_clean = not found[0].broken + found[0].other + found[0].busy
    return _summary(found[0], is_clean and len(set(dates)) == 3) | {"dates": dates}


def overload(seconds: float) -> dict[str, Any]:
    """Twice as many connections as requests may wait; each sends the next request at once."""
    waiting = 64
    with running_server(model="cifar10-tiny", max_waiting=waiting) as server, Probe(server.port) as probe:
        _load(server.port, _SETTLE_S)
        best = max(_load(server.port, 5, connections).ok_rate for connections in (16, 32, 64))
        _load(server.port, 5, 2 * waiting)
        before = server.memory_bytes()
        found = _load(server.port, seconds, 2 * waiting)
        grown = server.memory_bytes() - before
    share = found.ok_rate / best
    # A client that gets 503 is not read from for 1 to 8 s: its next answer is late, and wrk counts it among the broken.
    is_clean = found.other == 0 and found.broken <= found.busy
    kept = share >= 0.9 and grown < _MEMORY_BYTES and probe.longest_s < _LIVE_S and is_clean
    return _summary(found, kept) | {
        "of_best": round(share, 3),
        "livez_longest_s": round(probe.longest_s, 3),
        "grown_mb": round(grown / 2**20, 1),
    }


def _summary(found: wrk.Load, kept: bool) -> dict[str, Any]:
    counts = {"ok": found.ok, "busy": found.busy, "other": found.other, "broken": found.broken}
    return counts | {"ok_per_s": round(found.ok_rate), "p99_ms": round(found.p99_ms, 1), "kept": kept}


def _seconds_until(is_so: Callable[[], bool], limit_s: float) -> float:
    start = time.monotonic()
    while time.monotonic() - start < limit_s and not is_so():
        time.sleep(0.05)
    return time.monotonic() - start


def _is_answered(port: int, timeout_s: float) -> bool:
    return b"200 OK" in _exchange(port, timeout_s)


def _date(port: int) -> str:
    head = _exchange(port, 5).partition(b"\r\n\r\n")[0].decode().splitlines()
    return next(line[6:] for line in head if line.startswith("date: "))[:16]


def _exchange(port: int, timeout_s: float) -> bytes:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout_s) as one:
        one.settimeout(timeout_s)
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return one.recv(4096)
    return b""


_CASES = {
    "killed_workers": killed_workers,
    "stopped_worker": stopped_worker,
    "stopped_service": stopped_service,
    "full_disk": full_disk,
    "unread_log": unread_log,
    "silent_clients": silent_clients,
    "clock": clock,
    "overload": overload,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(_CASES))
    parser.add_argument("--seconds", type=float, default=20, help="of load in most cases")
    parser.add_argument("--overload-s", type=float, default=300)
    options = parser.parse_args()
    if unknown := [name for name in options.cases if name not in _CASES]:
        parser.error(f"Received {unknown[0]!r}. Expected one of {', '.join(_CASES)}.")
    results = {}
    for name in options.cases or _CASES:
        results[name] = _CASES[name](options.overload_s if name == "overload" else options.seconds)
        sys.stderr.write(f"{name}: {json.dumps(results[name])}\n")
    sys.stdout.write(json.dumps({"cores": os.cpu_count()} | results) + "\n")
    return 0 if all(found["kept"] for found in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
