"""Load from `wrk`, a client in C that uses little of the cores that it shares with the service."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hostile_requests import Input

# `response` runs in each thread, `done` in the main one: thread:get brings the counters over.
_SCRIPT = """
local file = io.open(os.getenv("WRK_BODY"), "rb")
wrk.method, wrk.body = "POST", file:read("*a")
wrk.headers["Content-Type"] = os.getenv("WRK_TYPE")
file:close()
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() ok, busy, other = 0, 0, 0 end
function response(status)
  if status == 200 then ok = ok + 1 elseif status == 503 then busy = busy + 1 else other = other + 1 end
end
function done(summary, latency)
  local sums = {ok = 0, busy = 0, other = 0}
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
  end
  local errors = summary.errors
  io.write(string.format(
    '\\n{"ok":%d,"busy":%d,"other":%d,"seconds":%f,"median_ms":%f,"p99_ms":%f,"broken":%d}\\n',
    sums.ok, sums.busy, sums.other, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """The counts of answers. `broken` counts connections that failed and answers later than 2 s."""

    ok: int
    busy: int
    other: int
    seconds: float
    median_ms: float
    p99_ms: float
    broken: int

    @property
    def ok_rate(self) -> float:
        return self.ok / self.seconds


@contextmanager
def _started(port: int, request: Input, connections: int, seconds: float) -> Iterator[subprocess.Popen]:
    with tempfile.TemporaryDirectory() as folder:
        script, body = Path(folder, "post.lua"), Path(folder, "body")
        script.write_text(_SCRIPT)
        body.write_bytes(request.body)
        environment = {"WRK_BODY": str(body), "WRK_TYPE": request.headers["Content-Type"], "PATH": "/usr/bin:/bin"}
        process = subprocess.Popen(
            [
                "wrk",
                "-t1",
                f"-c{connections}",
                f"-d{seconds:.0f}s",
                "-s",
                script,
                f"http://127.0.0.1:{port}{request.path}",
            ],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def load(port: int, request: Input, connections: int, seconds: float) -> Load:
    """Sends the same request from all connections, each again as soon as it is answered. Retry-After is ignored."""
    with _started(port, request, connections, seconds) as process:
        return Load(**json.loads(process.communicate(timeout=seconds + 60)[0].splitlines()[-1]))


@contextmanager
def loading(port: int, request: Input, connections: int, seconds: float) -> Iterator[list[Load]]:
    """Runs the same load during the block; its result is in the list once the block has ended."""
    found: list[Load] = []
    with _started(port, request, connections, seconds) as process:
        yield found
        found.append(Load(**json.loads(process.communicate(timeout=seconds + 60)[0].splitlines()[-1])))
