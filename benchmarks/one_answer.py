"""Is it the same answer everywhere? Labels and logits of the same files through four doors.

    evaluation      lince.data.load, then the model file in this process, as `lince evaluate` does
    files           `lince predict MODEL FOLDER --json --logits`, a process
    raw             POST /predict to `lince serve`, a process: one image a request, its bytes as the body
    multipart       the same, sixteen images a request

    python benchmarks/one_answer.py MODEL DATA --images 2000

DATA is a .zip or folder with a test tree. The last line of stdout is one JSON object: images, and for each door how
many labels and logits differ from evaluation's; the exit code is 1 when any does.
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lince import data
from lince.classifier import Classifier

PARTS = 16
START_SECONDS = 30


def main() -> int:
    """Compares; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    classifier = Classifier.load(options.model)
    test = data.load(options.data, classifier.image_spec, seed=0).test
    chosen = np.random.default_rng(0).permutation(len(test))[: options.images]
    names = sorted(test.names[index] for index in chosen)
    place = {name: index for index, name in enumerate(test.names)}
    expected = classifier.logits(test.images[[place[name] for name in names]])
    with tempfile.TemporaryDirectory() as folder:
        files = _copy(options.data, names, Path(folder))
        doors = {"files": _predict(options.model, files)}
        with _server(options.model) as url:
            doors["raw"] = [_ask(url, path.read_bytes(), "application/octet-stream")[0] for path in files]
            doors["multipart"] = [row for batch in _batches(files) for row in _ask(url, *_form(batch))]
    differences = {
        door: {
            "labels": int((np.array([row["index"] for row in rows]) != expected.argmax(1)).sum()),
            "logits": int((np.array([row["logits"] for row in rows], np.float32) != expected).any(1).sum()),
        }
        for door, rows in doors.items()
    }
    result = {"images": len(names), "different_from_evaluation": differences, "model": classifier.manifest.version}
    sys.stdout.write(f"{json.dumps(result)}\n")
    return int(any(count for counts in differences.values() for count in counts.values()))


def _copy(source: Path, names: list[str], folder: Path) -> list[Path]:
    """The encoded files themselves, as `000000.jpg` and so on: every door gets the same bytes in one order."""
    paths = []
    with zipfile.ZipFile(source) if source.suffix == ".zip" else _tree(source) as archive:
        for index, name in enumerate(names):
            path = folder / f"{index:06}{Path(name).suffix}"
            path.write_bytes(archive.read(name))
            paths.append(path)
    return paths


@contextmanager
def _tree(source: Path) -> Iterator["_Tree"]:
    yield _Tree(source)


class _Tree:
    """A folder, read as an archive is."""

    def __init__(self, root: Path):
        self._root = root

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()


def _predict(model: Path, files: list[Path]) -> list[dict]:
    command = [*_lince(), "predict", str(model), str(files[0].parent), "--json", "--logits"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = {Path(row["path"]).name: row for row in map(json.loads, output.splitlines())}
    return [rows[path.name] for path in files]


def _lince() -> list[str]:
    return [sys.executable, "-c", "from lince.cli import main; main()"]


@contextmanager
def _server(model: Path) -> Iterator[str]:
    """`lince serve` on a free port, stopped at the end."""
    process = subprocess.Popen([*_lince(), "serve", str(model), "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        url = next(word for line in process.stderr for word in line.split() if word.startswith("http://")).rstrip(".")
        _wait(f"{url}/readyz")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


def _wait(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _ask(url: str, body: bytes, content_type: str) -> list[dict]:
    request = urllib.request.Request(f"{url}/predict?logits=true", body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def _batches(files: list[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(files), PARTS):
        yield files[start : start + PARTS]


def _form(files: list[Path]) -> tuple[bytes, str]:
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'.encode()
        + path.read_bytes()
        + b"\r\n"
        for path in files
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


if __name__ == "__main__":
    sys.exit(main())
