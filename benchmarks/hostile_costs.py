"""What each costly image costs the real service, alone, in a form of 32 and six at once."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fnmatch import fnmatch

import process_tree
from hostile_http import exchange
from hostile_images import COSTLY
from hostile_requests import FORM, Input, form
from liveness import Probe
from server_process import ServerProcess, running_server

IMAGE_CPU_S, FORM_CPU_S, MEMORY_MB = 1.0, 2.0, 300
LOG_KB = 64  # a body of 800 kB wrote 13 MB to the log
_PARTS = 32
_AT_ONCE = 6
_BODY_BYTES = 10 * 2**20
_SETTLED_S = 0.1
_KEPT_BYTES = 40 * 2**20


@dataclass(frozen=True)
class Kind:
    """What is sent: `requests` equal bodies at the same time."""

    name: str
    make: Callable[[], Input]
    requests: int = 1
    cpu_bound_s: float = IMAGE_CPU_S


@dataclass(frozen=True)
class Cost:
    """What one kind cost. Memory is that of the service and its children, counted from 0."""

    kind: str
    body_bytes: int
    cpu_s: float
    resident_mb: float
    share_mb: float
    kept_mb: float
    silent_s: float
    seconds: float
    answers: dict[str, int]
    tracebacks: int
    log_kb: float
    exceeded: tuple[str, ...]


def _single(name: str) -> Kind:
    return Kind(name, lambda: Input(COSTLY[name]()))


def _crowd(name: str) -> Kind:
    return Kind(f"crowd_{name}", lambda: Input(COSTLY[name]()), _AT_ONCE, _AT_ONCE * IMAGE_CPU_S)


def _form(name: str) -> Kind:
    """As many copies as fit into a body, at most the 32 that a form may have."""

    def make() -> Input:
        image = COSTLY[name]()
        parts = min(_PARTS, _BODY_BYTES // (len(image) + 200))
        return Input(form(*[("file", image)] * max(1, parts)), FORM)

    return Kind(f"form_{name}", make, cpu_bound_s=FORM_CPU_S)


def kinds(patterns: Sequence[str]) -> list[Kind]:
    """The kinds whose names match one of the patterns."""
    everything = [make(name) for make in (_single, _form, _crowd) for name in COSTLY]
    return [kind for kind in everything if any(fnmatch(kind.name, pattern) for pattern in patterns)]


def costs(chosen: Sequence[Kind], command: Sequence[str], timeout_s: float) -> list[Cost]:
    """Sends each kind to one service; a service that hangs is killed and replaced."""
    found: list[Cost] = []
    remaining = list(chosen)
    while remaining:
        with running_server(command=command) as server:
            first = process_tree.resident_bytes(server.process.pid)
            while remaining and _is_fresh(server, first):
                found.append(_cost(remaining.pop(0), server, timeout_s))
                sys.stderr.write(json.dumps(asdict(found[-1])) + "\n")
    return found


def _is_fresh(server: ServerProcess, first: int) -> bool:
    """Whether the service is alive and holds little memory of an earlier kind, which would count for the next."""
    pid = server.process.pid
    return server.process.poll() is None and process_tree.resident_bytes(pid) < first + _KEPT_BYTES


def _cost(kind: Kind, server: ServerProcess, timeout_s: float) -> Cost:
    sent = kind.make()
    data, pid, log_before = sent.to_bytes(), server.process.pid, server.log.stat().st_size
    tracebacks = _tracebacks(server)
    start, cpu, resident = time.perf_counter(), process_tree.cpu_s(pid), process_tree.resident_bytes(pid)
    with ExitStack() as stack:
        probe, watch = stack.enter_context(Probe(server.port)), stack.enter_context(process_tree.Watch(pid))
        answers = _answers(server, data, kind.requests, timeout_s)
        used = _settled_cpu_s(server, start + timeout_s) - cpu
    cost = Cost(
        kind=kind.name,
        body_bytes=len(sent.body),
        cpu_s=round(used, 2),
        resident_mb=round(watch.peak_resident / 2**20, 1),
        share_mb=round(watch.peak_share / 2**20, 1),
        kept_mb=round((process_tree.resident_bytes(pid) - resident) / 2**20, 1),
        silent_s=round(probe.longest_s, 3),
        seconds=round(time.perf_counter() - start, 2),
        answers=dict(answers),
        tracebacks=_tracebacks(server) - tracebacks,
        log_kb=round((server.log.stat().st_size - log_before) / 1024, 1),
        exceeded=(),
    )
    return Cost(**(asdict(cost) | {"exceeded": tuple(_exceeded(kind, cost))}))


def _tracebacks(server: ServerProcess) -> int:
    return server.log.read_bytes().count(b"Traceback")


def _answers(server: ServerProcess, data: bytes, count: int, timeout_s: float) -> Counter[str]:
    """Status and code of each answer. A server that does not answer in time is killed."""
    with ThreadPoolExecutor(count) as clients:
        waiting = [clients.submit(exchange, server.port, data) for _ in range(count)]
        end = time.monotonic() + timeout_s
        try:
            return Counter(_word(*answer.result(max(0.0, end - time.monotonic()))) for answer in waiting)
        except (FutureTimeout, OSError, ValueError) as error:
            server.process.kill()
            return Counter([f"none: {type(error).__name__}"])


def _word(status: int, answer: dict) -> str:
    """`413 decode_timeout`; for a form that was answered, the codes of its images too."""
    codes = {failed["error"]["code"] for failed in answer.get("predictions", []) if "error" in failed}
    code = answer.get("error", {}).get("code", "")
    return " ".join([str(status), code, *sorted(codes)]).strip()


def _settled_cpu_s(server: ServerProcess, end: float) -> float:
    """CPU of the process tree once it is idle: an answer may be sent before its work has ended."""
    last = process_tree.cpu_s(server.process.pid)
    while time.perf_counter() < end:
        time.sleep(_SETTLED_S)
        now = process_tree.cpu_s(server.process.pid)
        if now - last < _SETTLED_S / 3:
            return now
        last = now
    server.process.kill()
    return last


def _exceeded(kind: Kind, cost: Cost) -> list[str]:
    five_xx = any(word[0] in "5n0" and not (kind.requests > 1 and word.startswith("503")) for word in cost.answers)
    broken = {
        "cpu": cost.cpu_s > kind.cpu_bound_s,
        "memory": (cost.share_mb or cost.resident_mb) > MEMORY_MB,
        "answer": five_xx,
        "traceback": cost.tracebacks > 0,
        "log": cost.log_kb > LOG_KB,
    }
    return [name for name, is_broken in broken.items() if is_broken]


def summary(found: Sequence[Cost]) -> dict:
    """The largest of all costs, and the cases that exceed a bound."""
    if not found:
        return {}
    worst = max(found, key=lambda cost: cost.cpu_s)
    return {
        "kinds": len(found),
        "max_cpu_s": worst.cpu_s,
        "max_cpu_kind": worst.kind,
        "max_cpu_s_single": max((c.cpu_s for c in found if c.kind in COSTLY), default=0.0),
        "max_cpu_s_form": max((c.cpu_s for c in found if c.kind.startswith("form_")), default=0.0),
        "max_resident_mb": max(cost.resident_mb for cost in found),
        "max_share_mb": max(cost.share_mb for cost in found),
        "max_memory_kind": max(found, key=lambda cost: cost.share_mb or cost.resident_mb).kind,
        "max_silent_s": max(cost.silent_s for cost in found),
        "tracebacks": sum(cost.tracebacks for cost in found),
        "exceeded": {cost.kind: cost.exceeded for cost in found if cost.exceeded},
        "costs": [asdict(cost) for cost in found],
    }
