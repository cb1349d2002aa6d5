"""Printing never fails a run: narrow encodings, closed pipes, closed streams and full disks."""

import csv
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lince.runs.run_folder import RunFolder
from lince.system import streams

NARROW = {
    "cp1252": {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    "strict-ascii": {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"},
    "C": {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
}
NAMES = ["日本–é.png", "σ.png"]
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/full, and its shell closes no streams")


@pytest.fixture(scope="module")
def foreign(images_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with names that cp1252 cannot write, and one that only pretends."""
    folder = tmp_path_factory.mktemp("foreign")
    for name, path in zip(NAMES, sorted(images_folder.glob("test/*/*.png")), strict=False):
        shutil.copy(path, folder / name)
    (folder / "→.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def data(images_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA with a class that cp1252 cannot write, and a file that cannot be read."""
    source = Path(shutil.copytree(images_folder, tmp_path_factory.mktemp("数据") / "data"))
    for split in ("train", "test"):
        (source / split / "disc").rename(source / split / "日本–")
    (source / "train" / "square" / "→.png").write_bytes(b"no picture")
    return source


@pytest.fixture
def shell(program: str):
    """Runs a line of the shell in which $LINCE is the program: `shell('"$LINCE" inspect cifar10 > /dev/full')`."""

    def run(line: str, **variables: object) -> subprocess.CompletedProcess:
        environment = os.environ | {"LINCE": program} | {name: str(value) for name, value in variables.items()}
        return subprocess.run(["bash", "-c", line], capture_output=True, env=environment, timeout=120, check=False)

    return run


class TestNarrowEncodings:
    @pytest.mark.parametrize("environment", NARROW.values(), ids=NARROW)
    def test_text(self, lince, run, foreign, environment):
        """What the encoding lacks is replaced; everything is printed, and the exit code is that of the answers."""
        done = lince("predict", run.model, foreign, "--top", 2, env=os.environ | environment, errors="replace")
        assert 1 == done.returncode  # of the file that is no picture
        assert 2 == len(done.stdout.splitlines())
        assert "Paths or images without an answer: 1." in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("environment", [NARROW["cp1252"]], ids=["cp1252"])
    def test_json_and_csv_are_utf8(self, lince, run, foreign, environment):
        """For programs the locale does not count: the bytes are those of a UTF-8 locale."""
        for option in ("--json", "--csv"):
            narrow, wide = (
                lince("predict", run.model, foreign, option, env=os.environ | variables, encoding="utf-8").stdout
                for variables in (environment, {"PYTHONUTF8": "1"})
            )
            assert wide == narrow
            assert all(name in narrow for name in NAMES)

    def test_a_whole_run(self, lince, data, recipe_file, tmp_path):
        """Check, train, evaluate, inspect and report: each ends with exit code 0, and the model is published."""
        environment = os.environ | NARROW["cp1252"]
        folder = RunFolder(tmp_path / "runs" / "tiny")
        for arguments in (
            ("data", "check", data),
            ("train", data, "--recipe", recipe_file, "--runs", tmp_path / "runs", "--set", "train.epochs=8", "--force"),
            ("evaluate", folder.path),
            ("inspect", folder.model),
            ("report", folder.path),
        ):
            done = lince(*arguments, env=environment, errors="replace")
            assert 0 == done.returncode, done.stderr
            assert "Traceback" not in done.stderr
        assert folder.model.exists()


@pytest.mark.skipif(os.name == "nt", reason="names on Windows are UTF-16")
class TestNamesThatAreNotUtf8:
    def test_picture(self, lince, run, images_folder, tmp_path):
        """A byte that is not UTF-8 is escaped, in text, JSON and CSV."""
        picture = sorted(images_folder.glob("test/*/*.png"))[0]
        shutil.copy(os.fsencode(picture), os.fsencode(tmp_path) + b"/caf\xe9.png")
        for folder in (tmp_path, Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))):
            text, lines, table = (lince("predict", run.model, folder, *o) for o in ((), ("--json",), ("--csv",)))
            assert [0, 0, 0] == [done.returncode for done in (text, lines, table)], text.stderr + lines.stderr
            name = str(tmp_path / r"caf\udce9.png")
            assert text.stdout.startswith(f"{name}: ")
            assert name == json.loads(lines.stdout)["path"]
            assert name == list(csv.reader(io.StringIO(table.stdout)))[1][0]

    def test_data(self, lince, images_folder, recipe_file, tmp_path):
        """It can be checked; a run, whose record is JSON, is refused before it trains."""
        source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
        shutil.copytree(images_folder, source)
        checked = lince("data", "check", source, "--json")
        assert (0, str(tmp_path / r"caf\udce9")) == (checked.returncode, json.loads(checked.stdout)["source"])
        assert 0 == lince("data", "check", source).returncode
        done = lince("train", source, "--recipe", recipe_file, "--runs", tmp_path / "runs")
        assert (1, "") == (done.returncode, done.stdout)
        assert r"caf\udce9' has bytes that are not UTF-8, and run.json is UTF-8" in done.stderr
        assert "Traceback" not in done.stderr

    def test_model(self, lince, run, images_folder, tmp_path):
        """A model file by such a name is measured."""
        model = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tflite"))
        shutil.copy(run.model, model)
        done = lince("evaluate", model, images_folder, "--json")
        assert (0, str(tmp_path / r"caf\udce9.tflite")) == (done.returncode, json.loads(done.stdout)["model"])


@posix
class TestReaderGone:
    @pytest.mark.parametrize("option", ["", "--csv"])
    def test_predict(self, shell, run, images_folder, option):
        """`| head -1` ends it quietly."""
        line = f'"$LINCE" predict "$MODEL" "$DATA/test" {option} | head -1; exit ${{PIPESTATUS[0]}}'
        done = shell(line, MODEL=run.model, DATA=images_folder)
        assert (streams.READER_GONE, 1) == (done.returncode, len(done.stdout.splitlines()))
        assert b"Error" not in done.stderr
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize("verb", ["inspect", "evaluate", "report --json"])
    def test_other_verbs(self, shell, run, verb):
        """So does a reader that reads nothing."""
        verb, _, option = verb.partition(" ")
        what = run.path if verb == "report" else run.model
        done = shell(f'"$LINCE" {verb} "$WHAT" {option} | true; exit ${{PIPESTATUS[0]}}', WHAT=what)
        assert (streams.READER_GONE, b"") == (done.returncode, done.stdout)
        assert b"Traceback" not in done.stderr

    def test_news(self, shell, run, foreign):
        """Nobody who reads stderr: the answers are whole."""
        done = shell('"$LINCE" predict "$MODEL" "$DATA" 2> >(exec 0<&-); exit $?', MODEL=run.model, DATA=foreign)
        assert (1, 2) == (done.returncode, len(done.stdout.splitlines()))


@posix
class TestFullAndClosed:
    @pytest.mark.parametrize(
        ("verb", "option"),
        [("predict", ""), ("predict", "--csv"), ("inspect", "--json"), ("evaluate", ""), ("data", "")],
    )
    def test_full_disk(self, shell, run, images_folder, verb, option):
        """Results that were asked for and cannot be written are an error, in one sentence."""
        arguments = {
            "predict": '"$MODEL" "$DATA/test"',
            "inspect": '"$MODEL"',
            "evaluate": '"$MODEL" "$DATA"',
            "data": 'check "$DATA"',
        }[verb]
        done = shell(f'"$LINCE" {verb} {arguments} {option} > /dev/full', MODEL=run.model, DATA=images_folder)
        [line] = [line for line in done.stderr.decode().splitlines() if line.startswith("Error: ")]
        assert 1 == done.returncode
        assert line.startswith("Error: The results could not be written to standard output (No space left on device).")
        assert b"Traceback" not in done.stderr

    @pytest.mark.parametrize("streams_of_shell", ["> /dev/full 2>&1", ">&- 2>&- <&-"])
    def test_training_is_published(self, shell, images_folder, recipe_file, tmp_path, streams_of_shell):
        """Whatever becomes of what it prints, the model is there; only the lost results make the exit code 1."""
        done = shell(
            f'"$LINCE" train "$DATA" --recipe "$RECIPE" --runs "$RUNS" {streams_of_shell}',
            **{"DATA": images_folder, "RECIPE": recipe_file, "RUNS": tmp_path / "runs"},
        )
        folder = RunFolder(tmp_path / "runs" / "tiny")
        assert folder.model.exists()
        assert folder.page.exists()
        assert int(" > /dev/full" in f" {streams_of_shell}") == done.returncode

    @pytest.mark.parametrize("closed", [">&-", "2>&- <&-"])
    def test_closed_streams(self, shell, run, images_folder, closed):
        """What is written to a closed stream is thrown away, as with the null device; no file takes its number."""
        done = shell(f'"$LINCE" predict "$MODEL" "$DATA/test" --json {closed}', MODEL=run.model, DATA=images_folder)
        assert 0 == done.returncode
        assert b"Traceback" not in done.stderr
