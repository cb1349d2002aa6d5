"""Does any damaged input crash the package, make it hang, or raise an error that is not one of Lince's?

    python benchmarks/mutants.py [--mutants 1000000] [--kinds image form wire archive answer] [--first-seed 0]

The inputs are mutants of images, forms, raw HTTP, archives and the answers of a service. The last line of stdout is one
JSON object: counts, failures with their seeds, memory before and after. The exit code is 1 when anything failed. To
repeat one seed: `--kinds image --first-seed SEED --mutants 1`. For model files see `model_mutants.py`.
"""

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path

import mutant_requests
import mutant_targets
import process_tree
from server_process import COMMAND, running_server

# Parts of the whole, so that a million take half an hour on two cores: an image takes 0.2 ms, an archive 5.
_SHARES = {"image": 0.72, "form": 0.08, "wire": 0.08, "archive": 0.04, "answer": 0.08}
_ONLINE = ("form", "wire")
_CPU_BOUND_S = 1.0
_HANG_S = 60
_SHOWN = 50
_KEPT_BYTES = 40 * 2**20  # what a service's allocator may keep


def _target(kind: str, port: int):
    if kind == "image":
        return nullcontext(mutant_targets.try_image)
    made = {
        "archive": mutant_targets.Archives,
        "answer": mutant_targets.Answers,
        "form": lambda: mutant_requests.Forms(port),
        "wire": lambda: mutant_requests.Wires(port),
    }
    return closing(made[kind]())


def work(kind: str, first: int, count: int, port: int, progress: str) -> None:
    """Runs in a process of its own: tries each seed, prints failures, and records the current seed."""
    warnings.simplefilter("ignore")
    with _target(kind, port) as target, Path(progress).open("r+b", buffering=0) as file:
        for seed in range(first, first + count):
            os.pwrite(file.fileno(), struct.pack("<q", seed), 0)
            signal.alarm(_HANG_S)  # ends the process: the seed is known
            start = time.process_time()
            try:
                target(seed)
            except Exception as error:
                _say(kind, seed, _where(error))
            if (used := time.process_time() - start) > _CPU_BOUND_S:
                _say(kind, seed, f"{used:.2f} CPU seconds")


def _where(error: Exception) -> str:
    """What was raised, and the last line of the package or the benchmark that led to it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "lince" in frame.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "the benchmark"
    return f"{type(error).__name__}: {str(error)[:300]} ({place})"


def _say(kind: str, seed: int, what: str) -> None:
    sys.stdout.write(json.dumps({"kind": kind, "seed": seed, "what": what}) + "\n")
    sys.stdout.flush()


def _failures(kind: str, first: int, count: int, port: int) -> Iterator[dict]:
    """Runs workers until all seeds are tried. A worker that dies is a failure; the next continues after its seed."""
    end = first + count
    with tempfile.NamedTemporaryFile() as progress:
        while first < end:
            progress.truncate(8)
            arguments = ["--work", kind, str(first), str(end - first), str(port), progress.name]
            done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
            yield from (json.loads(line) for line in done.stdout.splitlines())
            if done.returncode == 0:
                return
            seed = max(first, struct.unpack("<q", Path(progress.name).read_bytes())[0])
            yield {"kind": kind, "seed": seed, "what": f"worker ended with {done.returncode}: {done.stderr[-600:]}"}
            first = seed + 1


def _parts(kinds: list[str], count: int, first: int, workers: int) -> Iterator[tuple[str, int, int]]:
    """Kind, first seed and number of seeds, for each worker and kind."""
    total = sum(_SHARES[kind] for kind in kinds)
    for kind in kinds:
        number = max(1, round(count * _SHARES[kind] / total))
        for index in range(workers):
            start, end = number * index // workers, number * (index + 1) // workers
            if end > start:
                yield kind, first + start, end - start


def _tried(parts: list[tuple[str, int, int]], port: int, workers: int) -> list[dict]:
    with ThreadPoolExecutor(workers) as threads:
        return [failure for found in threads.map(lambda part: list(_failures(*part, port)), parts) for failure in found]


def _online(parts: list[tuple[str, int, int]], command: list[str]) -> tuple[list[dict], dict]:
    """The kinds that need a service: more clients than cores; its memory after a third of the run and at the end."""
    with running_server(command=command) as server:
        pid, third = server.process.pid, [(kind, first, max(1, count // 3)) for kind, first, count in parts]
        rest = [(kind, first + count // 3, count - count // 3) for kind, first, count in parts]
        failures = _tried(third, server.port, len(parts))
        before = process_tree.resident_bytes(pid)
        failures += _tried(rest, server.port, len(parts))
        after, lost = process_tree.resident_bytes(pid), server.process.poll() is not None
        tracebacks = server.log.read_bytes().count(b"Traceback")
    memory = {
        "server_mb_before": round(before / 2**20, 1),
        "server_mb_after": round(after / 2**20, 1),
        "server_lost": lost,
        "server_tracebacks": tracebacks,
    }
    found = {"leak": after > before + _KEPT_BYTES, "service lost": lost, "tracebacks": tracebacks > 0}
    return failures + [{"kind": "service", "seed": -1, "what": name} for name, is_so in found.items() if is_so], memory


def main() -> int:
    if sys.argv[1:2] == ["--work"]:
        kind, first, count, port, progress = sys.argv[2:]
        work(kind, int(first), int(count), int(port), progress)
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="+", choices=list(_SHARES), default=list(_SHARES))
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--server", default=COMMAND[0])
    options = parser.parse_args()
    start = time.perf_counter()
    offline = [kind for kind in options.kinds if kind not in _ONLINE]
    parts = list(_parts(options.kinds, options.mutants, options.first_seed, options.workers))
    failures = _tried([part for part in parts if part[0] in offline], 0, options.workers)
    memory: dict = {}
    if online := [part for part in parts if part[0] in _ONLINE]:
        found, memory = _online(online, [options.server, *COMMAND[1:]])
        failures += found
    counts = {kind: sum(count for name, _, count in parts if name == kind) for kind in options.kinds}
    result = {"mutants": counts, "failed": len(failures), "failures": failures[:_SHOWN], **memory}
    result |= {"seconds": round(time.perf_counter() - start, 1), "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
