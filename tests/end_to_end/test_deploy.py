"""The service as `deploy/` starts it: without root's rights, on a read-only root, under its health check."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from app_client import Png
from hostile_requests import black_png
from server_process import COMMAND, running_server

CONTAINERFILE = Path(__file__).parents[2] / "deploy" / "Containerfile"
USER = 65532

# A mount namespace in which nothing can be written but, with an argument, into /tmp; then another user's server.
_SANDBOX = """
set -eu
while read -r _ place _; do
  case "$place" in
    /proc*) ;;
    *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;;
  esac
done < /proc/self/mounts
if [ -n "$1" ]; then mount -t tmpfs -o size=16m,mode=1777 tmpfs /tmp; fi
for place in "$2" /var/tmp /dev/shm "$HOME"; do
  if touch "$place/probe" 2>/dev/null; then echo "$place can be written" >&2; exit 1; fi
done
shift 2
exec unshare --user --map-user=65532 --map-group=65532 "$@"
"""


def sandbox(*, tmp: bool) -> list[str]:
    """A command that starts the server in it."""
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _SANDBOX, "sh"]
    return [*own, "tmp" if tmp else "", str(Path(__file__).parent), *COMMAND]


def can_unshare() -> bool:
    """Whether this system lets a user make namespaces."""
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def no_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement of coverage would write a file at the end of the server."""
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)


@pytest.mark.skipif(not can_unshare(), reason="user and mount namespaces are not allowed here")
@pytest.mark.usefixtures("no_coverage")
@pytest.mark.parametrize(("workers", "tmp"), [(1, False), (2, True)])
def test_read_only_root(workers: int, tmp: bool, png: Png):
    """One worker writes nothing at all, several write into /tmp alone; large pictures and metrics work, too."""
    with running_server(command=sandbox(tmp=tmp), workers=workers) as server:
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
        assert "0" * 16 == re.search(r"^CapEff:\s+(\w+)$", status, re.MULTILINE)[1]
        for body in (png(), black_png(2_000, 2_000)):
            request = urllib.request.Request(f"{server.url}/predict", body, {"Content-Type": "image/png"})
            with urllib.request.urlopen(request, timeout=30) as response:
                assert 1 == len(json.load(response)["predictions"])
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as response:
            counted = 'lince_requests_total{method="POST",model="cifar10",path="/predict",status="200"} 2.0'
            assert counted in response.read().decode()
        server.process.terminate()
        assert 0 == server.process.wait(20)


@pytest.mark.skipif(not can_unshare(), reason="user and mount namespaces are not allowed here")
@pytest.mark.usefixtures("no_coverage")
def test_several_workers_without_a_temporary_folder():
    """The start fails with one sentence, which names TMPDIR."""
    environment = os.environ | {"LINCE_WORKERS": "2", "LINCE_PORT": "0"}
    done = subprocess.run(sandbox(tmp=False), env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert 3 == done.returncode
    assert "Set TMPDIR to a folder that can be written, such as an emptyDir volume, or use 1 worker." in " ".join(
        done.stderr.split()
    )


def health(environment: Mapping[str, str]) -> int:
    """The exit code of the Containerfile's health check."""
    [command] = re.findall(
        r"HEALTHCHECK [^\n]*\\\n\s+CMD (\[.*\])$", CONTAINERFILE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return subprocess.run(json.loads(command), env=environment, capture_output=True, timeout=30, check=False).returncode


def test_health_check():
    """It is 0 while the server answers, and 1 once it is gone."""
    with running_server() as server:
        environment = os.environ | {"LINCE_PORT": str(server.port)}
        assert 0 == health(environment)
    assert 1 == health(environment)
