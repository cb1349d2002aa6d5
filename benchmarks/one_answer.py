"""Do four ways to ask give the same answer? Compares labels and logits of the same files.

    evaluation      lince.data.load, then the model file in this process, as `lince evaluate` does
    files           `lince predict MODEL FOLDER --json --logits`, a process
    raw             POST /predict to `lince serve`, a process: one image a request, its bytes as the body
    multipart       the same, sixteen images a request

    python benchmarks/one_answer.py MODEL DATA --images 2000

DATA is a .zip with a test tree. The last line of stdout is one JSON object: images, and for each way how many labels
and logits differ from evaluation's. The exit code is 1 when any does.
"""

import argparse
import json
import secrets
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from server_process import running_server

from lince import data
from lince.inference.classifier import Classifier

PARTS = 16


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
        ways = {"files": _predict(options.model, files)}
        with running_server(model=options.model) as server:
            url = server.url
            ways["raw"] = [_ask(url, path.read_bytes(), "application/octet-stream")[0] for path in files]
            ways["multipart"] = [row for batch in _batches(files) for row in _ask(url, *_form(batch))]
    differences = {
        way: {
            "labels": int((np.array([row["index"] for row in rows]) != expected.argmax(1)).sum()),
            "logits": int((np.array([row["logits"] for row in rows], np.float32) != expected).any(1).sum()),
        }
        for way, rows in ways.items()
    }
    result = {"images": len(names), "different_from_evaluation": differences, "model": classifier.manifest.version}
    sys.stdout.write(f"{json.dumps(result)}\n")
    return int(any(count for counts in differences.values() for count in counts.values()))


def _copy(source: Path, names: list[str], folder: Path) -> list[Path]:
    """Copies the encoded files as `000000.jpg` and so on: every way gets the same bytes in one order."""
    paths = []
    with zipfile.ZipFile(source) as archive:
        for index, name in enumerate(names):
            path = folder / f"{index:06}{Path(name).suffix}"
            path.write_bytes(archive.read(name))
            paths.append(path)
    return paths


def _predict(model: Path, files: list[Path]) -> list[dict]:
    command = [
        str(Path(sysconfig.get_path("scripts"), "lince")),
        "predict",
        str(model),
        str(files[0].parent),
        "--json",
        "--logits",
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = {Path(row["path"]).name: row for row in map(json.loads, output.splitlines())}
    return [rows[path.name] for path in files]


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
