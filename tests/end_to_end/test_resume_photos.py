"""`lince train --recipe photos` as a process: killed in every stage and continued, it publishes the same network."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lince.model_file import artifact
from lince.runs.run_folder import RunFolder
from lince.types import EpochRecord

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither kill -9 nor SIGINT to one process")

EPOCHS = 4
# 60 images to train on and 15 to validate with: the network is trained again on all 75. Frozen blocks compile faster.
SMALL = ("image_size=64", "augment.translate=6", "train.batch_size=16", f"train.epochs={EPOCHS}", "model.frozen=12")
TIMEOUT_S = 300

Reached = Callable[[RunFolder, str], bool]
"""Says from the run folder, and what the process printed on stderr, whether it is to be stopped."""

# In the order in which a run reaches them.
POINTS: dict[str, Reached] = {
    "features": lambda run, stderr: any(run.path.glob(f".{run.features.name}.*")),
    "head": lambda run, stderr: run.head.exists(),
    "fine-tuning": lambda run, stderr: "epoch   1/" in stderr,
    "refit": lambda run, stderr: run.refit.exists(),
    "publishing": lambda run, stderr: "Measuring what each of" in stderr,
}


@dataclass(frozen=True)
class Stopped:
    """A process that got a signal.

    Attributes:
        status: its exit status; minus the number of the signal that ended it.
        stderr: what it printed there.
        modified: the times of the files in the run folder, by name.
        trained: the history of each checkpoint in the folder, by name.
    """

    status: int
    stderr: str
    modified: dict[str, int]
    trained: dict[str, tuple[EpochRecord, ...]]


@pytest.fixture(scope="module")
def command(program: str, images_folder: Path) -> Callable[..., list[str]]:
    """The command line of a new run, into a folder of runs."""

    def build(runs: Path, *options: str) -> list[str]:
        settings = [f"--set={one}" for one in SMALL]
        return [program, "train", str(images_folder), "--recipe=photos", f"--runs={runs}", "--deterministic",
                *settings, *options]  # fmt: skip

    return build


@pytest.fixture(scope="module")
def whole(command: Callable, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run that nobody stopped."""
    runs = tmp_path_factory.mktemp("whole")
    finish(command(runs))
    return RunFolder(runs / "photos")


def finish(command: list[str]) -> None:
    """Runs the program to its end."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert 0 == done.returncode, done.stderr


def stop(command: list[str], run: RunFolder, is_reached: Reached, number: int) -> Stopped:
    """Starts the program, and sends it a signal as soon as the point is reached."""
    log = run.path.parent / "stderr.txt"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
        deadline = time.monotonic() + TIMEOUT_S
        try:
            while not is_reached(run, log.read_text()):
                assert process.poll() is None, f"It ended before the point was reached. {log.read_text()}"
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.005)
            process.send_signal(number)
            status = process.wait(timeout=60)
        finally:
            process.kill()
    checkpoints = [path for path in (run.checkpoint, run.refit) if path.exists()]
    return Stopped(
        status=status,
        stderr=log.read_text(),
        modified={path.name: path.stat().st_mtime_ns for path in run.path.iterdir()},
        trained={path.name: history(path) for path in checkpoints},
    )


def history(path: Path) -> tuple[EpochRecord, ...]:
    """The history of a checkpoint."""
    from lince.training import checkpoint

    return checkpoint.read(path).history


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, without the history, which has times."""
    if path.suffix == ".npy":
        return {"features": np.load(path, allow_pickle=False)}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "history"}


def assert_same_arrays(expected: Path, found: Path) -> None:
    """Both files have the same arrays, bit for bit."""
    one, other = arrays(expected), arrays(found)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=f"{expected.name}: {name}")


@pytest.fixture(scope="module")
def repeatedly_killed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of the run that is killed at every point."""
    return RunFolder(tmp_path_factory.mktemp("killed") / "photos")


@pytest.fixture(scope="module")
def killed(command: Callable, program: str, repeatedly_killed: RunFolder) -> Callable[[str], Stopped]:
    """What that run was like when it was killed at a point. It has been killed and continued at each point before."""
    run, stopped = repeatedly_killed, {}

    def at(point: str) -> Stopped:
        for name, is_reached in POINTS.items():
            if point in stopped:
                break
            if name not in stopped:
                start = [program, "train", "--resume", str(run.path)] if stopped else command(run.path.parent)
                stopped[name] = stop(start, run, is_reached, signal.SIGKILL)
        return stopped[point]

    return at


@pytest.fixture(scope="module")
def resumed(killed: Callable, program: str, repeatedly_killed: RunFolder) -> RunFolder:
    """The run that was killed at every point, at its end."""
    for point in POINTS:
        killed(point)
    finish([program, "train", "--resume", str(repeatedly_killed.path)])
    return repeatedly_killed


class TestKill:
    """One run is killed at each point in turn, and continued after each: that takes a third of a run for each point."""

    @pytest.mark.parametrize(
        ("point", "present", "absent", "trained"),
        [
            ("features", {"run.json", "splits.npz"}, {"features.npy"}, {}),
            ("head", {"features.npy", "head.npz"}, {"checkpoint.npz"}, {}),
            ("fine-tuning", {"checkpoint.npz"}, {"model.keras"}, {"checkpoint.npz": range(1, EPOCHS)}),
            ("refit", {"model.keras"}, {"held_out.npz"},
             {"checkpoint.npz": [EPOCHS], "refit.npz": range(1, EPOCHS)}),
            ("publishing", {"held_out.npz"}, {"report.json", "model.tflite"},
             {"checkpoint.npz": [EPOCHS], "refit.npz": [EPOCHS]}),
        ],
    )  # fmt: skip
    def test_in_the_middle(self, killed, point, present, absent, trained):
        """The process died in this stage: the stages before are finished, and this one is not."""
        found = killed(point)
        assert -signal.SIGKILL == found.status, found.stderr
        assert present <= found.modified.keys()
        assert not absent & found.modified.keys()
        assert trained.keys() == found.trained.keys()
        for name, allowed in trained.items():
            assert found.trained[name][-1].epoch in allowed

    @pytest.mark.parametrize("name", ["features", "head", "checkpoint", "refit", "held_out"])
    def test_every_stage_ends_as_in_an_uninterrupted_run(self, resumed, whole, name):
        """Features, head, weights, optimizer and held-out answers are equal bit for bit."""
        assert_same_arrays(getattr(whole, name), getattr(resumed, name))

    def test_same_model_file(self, resumed, whole):
        """Network, calibration and the Gaussian of the features are those of the run that nobody stopped."""
        expected, found = artifact.read(whole.model), artifact.read(resumed.model)
        assert expected.manifest.flatbuffer_sha256 == found.manifest.flatbuffer_sha256
        assert expected.manifest.calibration == found.manifest.calibration
        np.testing.assert_equal(vars(expected.familiarity), vars(found.familiarity))

    def test_what_is_finished_is_not_done_again(self, killed, resumed):
        """Features and head are those files; the epochs before a kill, with their durations, stay in the history."""
        for name in ("features.npy", "head.npz"):
            assert killed("head").modified[name] == (resumed.path / name).stat().st_mtime_ns
        for point, path in (("fine-tuning", resumed.checkpoint), ("refit", resumed.refit)):
            before = killed(point).trained[path.name]
            assert before == history(path)[: len(before)]
        assert list(range(EPOCHS + 1)) == [record.epoch for record in history(resumed.checkpoint)]
        assert list(range(1, EPOCHS + 1)) == [record.epoch for record in history(resumed.refit)]

    def test_nothing_is_left_over(self, resumed, whole):
        """Temporary files of the killed processes are gone."""
        assert {path.name for path in whole.path.iterdir()} == {path.name for path in resumed.path.iterdir()}


class TestDeterministic:
    def test_two_runs_are_equal(self, command, whole, tmp_path):
        """Every array that training writes is the same, to the bit."""
        finish(command(tmp_path, "--until=train"))
        run = RunFolder(tmp_path / "photos")
        for name in ("features", "head", "checkpoint", "refit", "held_out"):
            assert_same_arrays(getattr(whole, name), getattr(run, name))

    def test_refit_is_another_network(self, whole):
        """The comparison can fail: the two trainings of a run end in different weights."""
        with pytest.raises(AssertionError):
            assert_same_arrays(whole.checkpoint, whole.refit)


class TestInterrupt:
    def test_ctrl_c_in_fine_tuning(self, command, program, whole, tmp_path):
        """SIGINT: exit code 130, a network in model.keras, and a command that ends as the uninterrupted run does."""
        run = RunFolder(tmp_path / "photos")
        found = stop(command(tmp_path, "--until=train"), run, POINTS["fine-tuning"], signal.SIGINT)
        assert 130 == found.status, found.stderr
        assert "Traceback" not in found.stderr
        assert "model.keras" in found.modified
        assert {"checkpoint.npz"} == found.trained.keys()
        assert found.trained["checkpoint.npz"][-1].epoch in range(1, EPOCHS)
        [line] = [one for one in found.stderr.splitlines() if one.startswith("Stopped. Continue with: ")]
        lince, *arguments = shlex.split(line.removeprefix("Stopped. Continue with: "))
        assert ("lince", ["train", "--resume", str(run.path), "--until=train"]) == (lince, arguments)
        finish([program, *arguments])
        for name in ("checkpoint", "refit", "held_out"):
            assert_same_arrays(getattr(whole, name), getattr(run, name))
        before = found.trained["checkpoint.npz"]
        assert before == history(run.checkpoint)[: len(before)]
        assert not run.model.exists()
