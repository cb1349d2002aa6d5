"""What a second worker gains, and what a batch of pixels costs beside the bare runtime.

    python benchmarks/serving_scale.py workers    # CPU time a request, and how busy the cores are
    python benchmarks/serving_scale.py batch      # u8[64,H,W,3] by the Open Inference Protocol beside LiteRT's own loop

The last line of stdout is one JSON object; the exit code is 1 when a bound is missed. Needs `wrk` for the first, and an
idle machine.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np
import wrk
from ai_edge_litert.interpreter import Interpreter
from hostile_requests import Input, encoded
from process_tree import cpu_s
from server_process import running_server

from lince.model_file import artifact

_CONNECTIONS, _SIDE, _WARM_UP_S = 16, 28, 1
_BATCH = 64
_CPU_RATIO, _BUSY, _BATCH_SHARE = 1.1, 0.95, 0.9


def workers(model: Path, rounds: int, seconds: float) -> dict:
    """One worker and two, in turns."""
    request = Input(encoded(np.random.default_rng(0), "PNG", _SIDE))
    cpu_us: dict[int, list[float]] = {1: [], 2: []}
    rates: dict[int, list[float]] = {1: [], 2: []}
    busy: list[float] = []
    with running_server(model=model, workers=1) as one, running_server(model=model, workers=2) as two:
        for server in (one, two):
            wrk.load(server.port, request, _CONNECTIONS, _WARM_UP_S)
        for _ in range(rounds):
            for count, server in ((1, one), (2, two)):
                before, idle_before = cpu_s(server.process.pid), _idle_s()
                start = time.monotonic()
                found = wrk.load(server.port, request, _CONNECTIONS, seconds)
                elapsed = time.monotonic() - start
                cpu_us[count].append((cpu_s(server.process.pid) - before) / found.ok * 1e6)
                rates[count].append(found.ok_rate)
                if count == 2:
                    busy.append(1 - (_idle_s() - idle_before) / elapsed / (os.cpu_count() or 1))
    ratio = statistics.median(b / a for a, b in zip(cpu_us[1], cpu_us[2], strict=True))
    return {
        "cpu_us": {count: round(statistics.median(values)) for count, values in cpu_us.items()},
        "cpu_ratio": round(ratio, 3),
        "requests_per_s": {count: round(statistics.median(values), 1) for count, values in rates.items()},
        "cores_busy": round(statistics.median(busy), 3),
        "kept": ratio <= _CPU_RATIO and statistics.median(busy) >= _BUSY,
    }


def _idle_s() -> float:
    """Seconds that all cores together have been idle."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def batch(model: Path, rounds: int, seconds: float) -> dict:
    """Images a second through the service and through the runtime's loop on one thread, in turns.

    The service uses two threads for a batch by default (`LINCE_THREADS`); it is measured with one as well.
    """
    read = artifact.read(model)
    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, *read.manifest.image.shape), dtype=np.uint8)
    run = _bare(read.flatbuffer)
    given = {"name": "pixels", "datatype": "UINT8", "shape": pixels.shape}
    head = json.dumps(
        {
            "inputs": [given | {"parameters": {"binary_data_size": pixels.nbytes}}],
            "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    rates: dict[str, list[float]] = {"service": [], "service_on_one_thread": [], "runtime": []}

    def ask(client: http.client.HTTPConnection) -> None:
        client.request("POST", f"/v2/models/{read.manifest.name}/infer", head + pixels.tobytes(), headers)
        response = client.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {content[:500]!r}")

    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", server.port)))
            for name, server in (
                ("service", stack.enter_context(running_server(model=model))),
                ("service_on_one_thread", stack.enter_context(running_server(model=model, threads=1))),
            )
        }
        for _ in range(rounds):
            rates["runtime"].append(_rate(lambda: [run(image[None]) for image in pixels], seconds))
            for name, client in clients.items():
                rates[name].append(_rate(partial(ask, client), seconds))
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates[name], rates["runtime"], strict=True)) for name in clients
    }
    return {
        "images_per_s": {name: round(statistics.median(values)) for name, values in rates.items()},
        "ratio": round(ratios["service"], 3),
        "ratio_on_one_thread": round(ratios["service_on_one_thread"], 3),
        "kept": ratios["service"] >= _BATCH_SHARE,
    }


def _bare(flatbuffer: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """The runtime's own three calls for an image."""
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    interpreter.allocate_tensors()
    given, wanted = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, image)
        interpreter.invoke()
        return interpreter.get_tensor(wanted)

    return run


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Images a second, of work on a batch done over and over."""
    work()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        count += _BATCH
    return count / (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", choices=["workers", "batch"])
    parser.add_argument("--model", default="cifar10-tiny", help="a model file, or a model that ships")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    question = {"workers": workers, "batch": batch}[options.question]
    found = question(artifact.locate(options.model), options.rounds, options.seconds)
    about = {"question": options.question, "model": options.model, "rounds": options.rounds, "cores": os.cpu_count()}
    sys.stdout.write(json.dumps(about | found) + "\n")
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
