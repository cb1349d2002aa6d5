"""How large is the service? Measures its environment, seconds from start to ready, and memory after some work.

    .venv/serve/bin/python benchmarks/service_footprint.py

Run it with the Python of the serving environment, since it measures that environment. Linux only. The last line of
stdout is one JSON object.
"""

import io
import json
import os
import platform
import statistics
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image
from server_process import running_server

_STARTS = 5
_REQUESTS = 200


def main() -> int:
    starts = [_start_seconds() for _ in range(_STARTS)]
    with running_server() as server:
        ready = server.memory_bytes()
        for index in range(_REQUESTS):
            _ask(server.url, np.random.default_rng(index))
        worked, highest = server.memory_bytes(), server.memory_bytes("VmHWM")
    result = {
        "environment_mb": round(_size_bytes(Path(sys.prefix)) / 2**20, 1),
        "start_to_ready_s": round(statistics.median(starts), 3),
        "start_to_ready_s_all": [round(seconds, 3) for seconds in starts],
        "rss_ready_mb": round(ready / 2**20, 1),
        f"rss_after_{_REQUESTS}_requests_mb": round(worked / 2**20, 1),
        "max_rss_mb": round(highest / 2**20, 1),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _start_seconds() -> float:
    """Seconds from the start of the process to a 200 from /readyz."""
    start = time.perf_counter()
    with running_server():
        return time.perf_counter() - start


def _ask(url: str, rng: np.random.Generator) -> None:
    """Sends PNGs of the size of the network's input, and sometimes one of a camera's size."""
    size = (32, 32, 3) if rng.integers(20) else (1200, 1600, 3)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(file, "PNG", compress_level=1)
    request = urllib.request.Request(f"{url}/predict", file.getvalue(), {"Content-Type": "image/png"})
    urllib.request.urlopen(request, timeout=30).close()


def _size_bytes(folder: Path) -> int:
    """The bytes of all files, as `du --apparent-size` counts them; links are not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))


if __name__ == "__main__":
    sys.exit(main())
