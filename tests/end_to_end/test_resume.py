"""`lince train` as a process: killed, interrupted, out of disk; and going on as if nothing had happened."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lince.runs.run_folder import RunFolder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither kill -9 nor SIGINT to one process")

# Fifteen epochs of fifteen steps: when the third is over, a second of work is left for the signal to arrive in.
SLOWER = ("--set", "train.batch_size=4", "--set", "train.epochs=15", "--set", "train.patience=15")


@pytest.fixture(scope="module")
def command(program: str, images_folder: Path, recipe_file: Path) -> Callable[[Path], list[str]]:
    """The command line of the slower run, into a folder of runs."""

    def build(runs: Path) -> list[str]:
        options = ["--recipe", str(recipe_file), "--runs", str(runs), "--deterministic", "--until", "train", *SLOWER]
        return [program, "train", str(images_folder), *options]

    return build


@pytest.fixture(scope="module")
def whole(command: Callable, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run that nobody stopped."""
    runs = tmp_path_factory.mktemp("whole")
    subprocess.run(command(runs), check=True, capture_output=True, timeout=120)
    return RunFolder(runs / "tiny")


def signal_after_epochs(command: list[str], epochs: int, number: int) -> tuple[int, str]:
    """Starts the program, sends it a signal after that many lines of epochs; its exit status and stderr."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        seen = []
        for line in process.stderr:
            seen.append(line)
            if sum(text.startswith("epoch ") for text in seen) == epochs:
                break
        os.kill(process.pid, number)
        seen.append(process.stderr.read())
        return process.wait(timeout=60), "".join(seen)


@pytest.fixture(scope="module")
def killed(command: Callable, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run, killed when its third epoch was printed as the second line. Copy the folder before going on with it."""
    runs = tmp_path_factory.mktemp("killed")
    status, stderr = signal_after_epochs(command(runs), 2, signal.SIGKILL)
    assert -signal.SIGKILL == status, stderr
    return RunFolder(runs / "tiny")


@pytest.fixture
def copy(killed: RunFolder, tmp_path: Path) -> RunFolder:
    """The killed run, to continue."""
    return RunFolder(Path(shutil.copytree(killed.path, tmp_path / "tiny")))


def checkpoint(run: RunFolder) -> dict[str, np.ndarray]:
    with np.load(run.checkpoint, allow_pickle=False) as arrays:
        return dict(arrays)


class TestKill:
    def test_leaves_a_whole_checkpoint(self, killed, whole):
        """After kill -9 the finished epochs are there, and fewer than the run wanted: it was stopped in the middle."""
        assert 2 <= len(killed.read_history()) < len(whole.read_history()) == 15
        assert checkpoint(killed).keys() == checkpoint(whole).keys()
        assert not killed.keras_model.exists()

    def test_resumed_run_is_the_uninterrupted_run(self, lince, copy, whole):
        """Weights, optimizer, random state and best weights are equal bit for bit; the history, but for times."""
        done = lince("train", "--resume", copy.path, "--until", "train")
        assert 0 == done.returncode, done.stderr
        expected, found = checkpoint(whole), checkpoint(copy)
        assert expected.keys() == found.keys()
        for name in expected.keys() - {"history"}:
            np.testing.assert_array_equal(expected[name], found[name], err_msg=name)
        figures = [
            [(row.epoch, row.loss, row.accuracy, row.val_loss, row.val_accuracy, row.learning_rate) for row in history]
            for history in (whole.read_history(), copy.read_history())
        ]
        assert figures[0] == figures[1]
        assert copy.keras_model.exists()

    def test_seed_matters(self, whole, trained_run):
        """Another recipe ends in other weights, so that the test above can fail."""
        expected, found = checkpoint(whole), checkpoint(trained_run)
        assert not np.array_equal(expected["variable_0"], found["variable_0"])


class TestInterrupt:
    def test_ctrl_c(self, command, tmp_path):
        """SIGINT: exit code 130, the best weights in model.keras, and the command that goes on."""
        # Whatever else the machine does, the signal comes before the end.
        endless = ["--set", "train.epochs=5000", "--set", "train.patience=5000"]
        status, stderr = signal_after_epochs([*command(tmp_path), *endless], 1, signal.SIGINT)
        run = RunFolder(tmp_path / "tiny")
        assert 130 == status, stderr
        assert f"Stopped. Continue with: lince train --resume {run.path} --until=train\n" in stderr
        assert "Traceback" not in stderr
        assert 1 <= len(run.read_history()) < 5000
        import keras

        weights = keras.models.load_model(run.keras_model, compile=False).get_weights()
        for index, found in enumerate(weights):
            np.testing.assert_array_equal(checkpoint(run)[f"kept_{index}"], found)


class TestFullDisk:
    def test_one_sentence_and_the_last_checkpoint(self, lince, copy):
        """No file can grow past 64 kB: exit code 1, one sentence, and everything is as it was before."""
        resource = pytest.importorskip("resource")

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))

        before = {path.name: path.read_bytes() for path in copy.path.iterdir()}
        # Coverage's own file would not fit either; it is not measured in this process.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        done = lince("train", "--resume", copy.path, preexec_fn=limit, env=environment)
        assert (1, "") == (done.returncode, done.stdout), done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert 1 == len(errors), done.stderr
        assert "could not be written (File too large)" in errors[0]
        assert f"lince train --resume {copy.path}" in errors[0]
        assert "Traceback" not in done.stderr
        after = {path.name: path.read_bytes() for path in copy.path.iterdir()}
        assert before == after
