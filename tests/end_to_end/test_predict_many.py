"""`lince predict` on many pictures: it is interrupted, killed and continued, and no row is lost or doubled."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import synthetic

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc names a process's children")

COUNT = 3000


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture under many names."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(synthetic.batch(1, seed=0)[0][0]).save(folder / "0000.png")
    for number in range(1, COUNT):
        os.link(folder / "0000.png", folder / f"{number:04}.png")
    return folder


def children(pid: int) -> list[int]:
    """The processes that a process has started, on Linux."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_running(pid: int) -> bool:
    """Whether a process is there and is not one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(found: Callable[[], bool]) -> None:
    """Waits until something is so, for a minute at most."""
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("send", "number", "status"),
    [(os.kill, signal.SIGINT, 130), (os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGKILL, -signal.SIGKILL)],
    ids=["SIGINT", "Ctrl-C", "SIGKILL"],
)
def test_interrupted_and_continued(
    program: str, pictures: Path, tmp_path: Path, send: Callable[[int, int], None], number: int, status: int
):
    """The file is then as without an interruption, no process is left, and one sentence says how to go on."""
    file, said = tmp_path / "rows.jsonl", tmp_path / "stderr"
    command = [program, "predict", "cifar10-tiny", str(pictures), "--workers", "2"]
    with said.open("wb") as stderr:
        process = subprocess.Popen([*command, "--output", file], stderr=stderr, start_new_session=True)
    wait_for(lambda: file.exists() and file.stat().st_size > 0)
    wait_for(lambda: len(children(process.pid)) >= 2)
    others = children(process.pid)
    send(process.pid, number)
    assert process.wait(30) == status
    wait_for(lambda: not any(map(is_running, others)))
    rows = file.read_bytes().count(b"\n")
    assert 0 < rows < COUNT
    expected = f"Interrupted. {rows:,} rows are kept: the same command with --resume goes on.\n"
    assert number == signal.SIGKILL or said.read_text() == expected
    subprocess.run([*command, "--output", file, "--resume"], check=True, timeout=60)
    expected = subprocess.run([*command, "--json"], check=True, timeout=60, capture_output=True).stdout
    assert file.read_bytes() == expected
    assert expected.count(b"\n") == COUNT


@pytest.mark.parametrize("changed", [["cifar10"], ["cifar10-tiny", "--top", "2"], ["cifar10-tiny", "--logits"]])
def test_continued_with_another_model_or_option(program: str, pictures: Path, tmp_path: Path, changed: list[str]):
    """It is refused, since the rows would not go together, and the file stays as it is."""
    file = tmp_path / "rows.jsonl"
    some = sorted(pictures.iterdir())[:5]
    subprocess.run([program, "predict", "cifar10-tiny", *some[:3], "--output", file], check=True, timeout=60)
    content = file.read_bytes()
    model, *options = changed
    command = [program, "predict", model, *some, "--output", file, "--resume", *options]
    done = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1
    assert "The answer number 3 of the file is another one now." in done.stderr
    assert file.read_bytes() == content
