"""Writes `tests/stored_run/`: a finished run of the tests' recipe on images that the tests draw, about 60 kB.

    .venv/test/bin/python tests/make_stored_run.py

Tests that need no TensorFlow read it. Write it anew when the format of the model file or of the run folder changes;
`tests/project/test_stored_run.py` says when that is. The float model, the checkpoint and the plots are left out:
tests that need those train a run of their own (`trained_run`).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import synthetic

STORED_RUN = Path(__file__).parent / "stored_run"
RECIPE = Path(__file__).parent / "tiny.toml"
KEPT = ("run.json", "splits.npz", "history.csv", "report.json", "answers.npz", "model.tflite")
IMAGES = {"train": 75, "test": 45}

# Stands in `run.json` for the folder of the images; the fixture `run` puts the folder of its session there.
SOURCE = "IMAGES"


def main() -> None:
    """Draws the images, trains, publishes, and keeps what tests read."""
    with tempfile.TemporaryDirectory() as folder:
        images = synthetic.write_tree(Path(folder, "images"), **IMAGES)
        command = [sys.executable, "-m", "lince", "train", images, "--recipe", RECIPE, "--runs", Path(folder, "runs")]
        subprocess.run([*map(str, command), "--deterministic"], check=True)
        shutil.rmtree(STORED_RUN, ignore_errors=True)
        STORED_RUN.mkdir()
        for name in KEPT:
            shutil.copy(Path(folder, "runs", "tiny", name), STORED_RUN / name)
        record = STORED_RUN / "run.json"
        record.write_text(record.read_text(encoding="utf-8").replace(str(images), SOURCE), encoding="utf-8")


if __name__ == "__main__":
    main()
