"""The installed program where it trains, and what it makes of the run: exit codes, stdout for results alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import running_server

from lince.runs.run_folder import RunFolder


def one_sentence(stderr: str) -> str:
    """What the program says when it fails: one line that begins with "Error:", and no traceback."""
    assert "Traceback" not in stderr
    [line] = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    return line


def test_as_a_module():
    """`python -m lince` is the program, under its name."""
    done = subprocess.run([sys.executable, "-m", "lince", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: lince [OPTIONS] COMMAND")


class TestTrain:
    def test_result_is_one_json_object(self, trained):
        """stdout holds the report and nothing else; it is report.json."""
        run, done = trained
        [line] = done.stdout.splitlines()
        assert json.loads(run.report.read_text()) == json.loads(line)

    def test_progress_goes_to_stderr(self, trained):
        """Without a terminal: what it begins with, some of the epochs, and what follows; no control characters."""
        run, done = trained
        assert "60 images to train on, 15 to validate, 45 to test; 3 classes." in done.stderr
        epochs = [line for line in done.stderr.splitlines() if line.startswith("epoch ")]
        assert 1 < len(epochs) <= len(run.read_history())
        assert "Quantizing to int8 with the activation ranges of 24 training images" in done.stderr
        assert "\x1b" not in done.stderr
        assert "WARNING" not in done.stderr.upper().replace("WARNINGS", "")

    def test_recipe_that_is_not_valid(self, lince, images_folder, recipe_file, tmp_path):
        """A mistake in a recipe costs no folder and no waiting."""
        arguments = ["--recipe", recipe_file, "--runs", tmp_path / "runs", "--set", "train.epoch=5"]
        done = lince("train", images_folder, *arguments)
        assert (1, "") == (done.returncode, done.stdout)
        assert "train.epoch is not known. Did you mean 'train.epochs'?" in one_sentence(done.stderr)
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["", "e\x1b[31m", "caf\udce9", "a/b", "a\nb"])
def test_name_of_a_model(lince, trained_run, name):
    """What no file of JSON holds, and what steers a terminal, is no name."""
    done = lince("quantize", trained_run.path, f"--name={name}", errors="surrogateescape")
    assert (1, "") == (done.returncode, done.stdout)
    assert f"Received the model's name {name!r}. Expected letters" in one_sentence(done.stderr)


@pytest.fixture(scope="module")
def reports(lince, trained_run) -> dict[str, dict]:
    """Float and int8 on the run's test images."""
    found = {}
    for name in ("model.keras", "model.tflite"):
        done = lince("evaluate", trained_run.path / name, "--json")
        assert 0 == done.returncode, done.stderr
        [line] = done.stdout.splitlines()
        found[name] = json.loads(line)["report"]
    return found


class TestEvaluate:
    def test_model_file(self, reports, trained_run):
        """Evaluated again, the published file gives the figures of report.json."""
        assert json.loads(trained_run.report.read_text())["int8"] == reports["model.tflite"]

    def test_float_model(self, reports, trained_run):
        """So does the float model; the two hardly differ."""
        expected = json.loads(trained_run.report.read_text())["float32"]
        assert expected["confusion"] == reports["model.keras"]["confusion"]
        assert expected["nll"] == pytest.approx(reports["model.keras"]["nll"], rel=1e-4)
        accuracies = [reports[name]["accuracy"]["value"] for name in reports]
        assert abs(accuracies[0] - accuracies[1]) <= 0.1

    def test_float_model_has_no_thresholds(self, lince, trained_run):
        """Its answers are measured all the same; of abstention nothing is said."""
        done = lince("evaluate", trained_run.path / "model.keras", "--corruptions", "--foreign", "--json")
        assert 0 == done.returncode, done.stderr
        found = json.loads(done.stdout)
        assert found["corruptions"]["mean_accuracy"] > 0
        assert found["corruptions"]["mean_abstained"] is found["ood"]["mean"]["abstained"] is None

    def test_running_server(self, lince, run, images_folder):
        """A server is measured by the same code: its figures are those of the file that it serves."""
        arguments = [images_folder, "--corruptions", "--foreign", "--json"]
        with running_server(model=run.model) as server:
            served = lince("evaluate", server.url, *arguments)
        assert 0 == served.returncode, served.stderr
        found, expected = json.loads(served.stdout), json.loads(lince("evaluate", run.model, *arguments).stdout)
        assert expected["corruptions"] == found["corruptions"]
        assert expected["ood"] == found["ood"]


class TestReport:
    def test_draws_it_anew(self, lince, trained_run, tmp_path):
        """The page and its plots, from what the run folder holds."""
        copy = RunFolder(Path(shutil.copytree(trained_run.path, tmp_path / "tiny")))
        shutil.rmtree(copy.plots)
        copy.page.unlink()
        done = lince("report", copy.path)
        assert 0 == done.returncode, done.stderr
        assert copy.page.stat().st_size > 10_000
        assert {path.name for path in trained_run.plots.iterdir()} == {path.name for path in copy.plots.iterdir()}


class TestBench:
    def test_json(self, lince, run):
        """One object: the machine, and what was measured on it."""
        done = lince("bench", run.model, "--json")
        assert 0 == done.returncode, done.stderr
        found = json.loads(done.stdout)
        assert found["latencies"][0]["median_us"] > 0
        assert found["throughputs"][0]["images_per_second"] > 0
        assert {"processor", "cores", "cpu_quota", "memory_bytes", "system"} <= found["machine"].keys()

    def test_table(self, lince, run):
        """For people: the machine, and a line for each number of threads."""
        done = lince("bench", run.model)
        assert 0 == done.returncode, done.stderr
        assert all(word in done.stdout for word in ("processor", "cores", "threads", "in batches of"))
