"""Every command and every program of README and documentation is run, or stands on a list with its reason.

The blocks of a page are run from the top, in a folder that looks like a clone beside pictures of the user's. `lince
serve` goes on until the page ends or serves something else.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import typer
import yaml
from PIL import Image
from server_process import ServerProcess, running_server

import synthetic
from lince.cli.commands import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLIENTS = ROOT / ".venv" / "clients" / "bin" / "python"
ADDRESS = "127.0.0.1:8000"

# What programs print, trees of files, and formats of bytes: nobody types it.
SHOWN = "text"
DATA = {"json", "toml", "yaml"}

INSTALLS = "installs or downloads packages, or the whole of CIFAR-10"
UNPUBLISHED = "needs data that are not published, and minutes to hours"
TRAINS = "trains for minutes or hours; tests/end_to_end train on small pictures"
ENGINE = "needs a container engine or a cluster"
SYSTEM = "changes the system; tests/end_to_end/test_nginx.py runs nginx with this file"
OPENS = "opens a port to the network"
BENCHMARK = "a benchmark of minutes, in an environment of its own"
CORRECTIONS = "tests/serving/test_feedback.py and tests/cli/test_feedback.py store, delete and export corrections"
PRETRAINED = "needs the features of a run of `photos`; tests/training/transfer/test_label_check.py makes them"

# A regular expression for the beginning of a command, and why it is not run. Options of `lince` are parsed anyway.
NOT_RUN = {
    r"make ": INSTALLS,
    r"pip install ": INSTALLS,
    r"python benchmarks/make_jpeg_dataset.py": INSTALLS,
    r"lince train cifar10\b": INSTALLS,
    r"lince evaluate runs/tiny\b": UNPUBLISHED,
    r"lince train cifar10-jpeg.zip": UNPUBLISHED,
    r"lince compare runs/fast": UNPUBLISHED,
    r"(\.venv/train/bin/)?lince train (my-images/|DATA) ?": TRAINS,
    r"(podman|docker|kubectl) ": ENGINE,
    r"(LINCE_FEEDBACK=.* lince serve|curl .*/feedback|lince feedback export)": CORRECTIONS,
    r"sudo ": SYSTEM,
    r".*lince serve .*--host 0\.0\.0\.0": OPENS,
    r"\.venv/baselines/bin/python benchmarks/few_images.py": BENCHMARK,
    r"lince data check (DATA|my-images/) --model": PRETRAINED,
}

# The dated log tells what was run once. Its commands need not work today.
LOG = ROOT / "docs" / "experiments.md"


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks of a page."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(block: str) -> list[str]:
    """The commands of a block of shell: one may have several lines, by a backslash or within quotes."""
    found, begun = [], ""
    for line in block.splitlines():
        begun += line
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:  # a quotation, or a backslash at the end
            begun += "\n"
            continue
        found += [begun] if words else []
        begun = ""
    assert not begun, f"A command without an end: {begun!r}"
    return found


def reason(command: str) -> str | None:
    """Why a command is not run."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command)), None)


PAGES_THAT_RUN = [
    page
    for page in PAGES
    if page != LOG
    and any(
        language == "python" or (language == "sh" and not all(map(reason, commands(code))))
        for language, code in blocks(page)
    )
]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_have_a_known_language(page: Path):
    """Only then is it known how to try them."""
    assert {language for language, _ in blocks(page)} <= {"sh", "python", SHOWN} | DATA
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert [] == re.findall(r"\n\n(    \S.*)", re.sub(r"^( *)- .*\n( +.*\n)*", "", prose, flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_data_can_be_read(page: Path):
    """JSON, in which `…` stands for more of the same, TOML and YAML."""
    for language, code in blocks(page):
        if language == "json":
            json.loads(re.sub(r"(, )?…", "", code))
        elif language == "toml":
            tomllib.loads(code)
        elif language == "yaml":
            yaml.safe_load(code)


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_the_list_has_no_old_entries(pattern: str):
    """What is on the list is somewhere in the documentation."""
    written = [one for page in PAGES for language, code in blocks(page) if language == "sh" for one in commands(code)]
    assert [one for one in written if re.match(pattern, one)]


@pytest.mark.parametrize("page", [page for page in PAGES if page != LOG], ids=name_of)
def test_options_of_commands_that_are_not_run(page: Path):
    """`lince` reads their verbs, options and values; paths need not be there."""
    program = typer.main.get_command(app)
    for language, code in blocks(page):
        for command in commands(code) if language == "sh" else ():
            words = shlex.split(command, comments=True)
            words = [word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)]
            if reason(command) and words[0].endswith("lince"):
                group, words = program, words[1:]
                while hasattr(group, "commands"):
                    group, words = group.commands[words[0]], words[1:]
                group.make_context("lince", words)


@pytest.fixture(scope="module")
def served() -> Iterator[ServerProcess]:
    """What `make demo` serves."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, program: str) -> Path:
    """A folder with the parts of a clone that examples name, pictures of a user, and a run that they trained."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("docs", "src", "tests", "deploy"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv" / "train").mkdir(parents=True)
    (folder / ".venv" / "train" / "bin").symlink_to(sysconfig.get_path("scripts"))
    synthetic.write_tree(folder / "my-images", train=75, test=45)
    for split in ("train", "test"):
        for drawn, name in zip(synthetic.CLASSES, ("cat", "dog", "scratched"), strict=True):
            (folder / "my-images" / split / drawn).rename(folder / "my-images" / split / name)
    shutil.copytree(folder / "my-images" / "test", folder / "other-images")
    shutil.copytree(folder / "my-images" / "test" / "dog", folder / "textures")
    shutil.copytree(folder / "my-images" / "test", folder / "known", ignore=lambda *_: ["scratched"])
    shutil.make_archive(str(folder / "my-images"), "zip", folder / "known")
    shutil.make_archive(str(folder / "faces"), "zip", folder / "textures")
    (folder / "new-pictures").mkdir()
    ship = Image.open(ROOT / "docs" / "samples" / "ship.jpg")
    for name in ("cat.png", "cat.jpg", "dog.jpg", "part.jpg", "new-pictures/1.jpg"):
        ship.save(folder / name)
    (folder / "notes.txt").write_text("Feed the cat.", encoding="utf-8")
    trained = [program, "train", "my-images", "--recipe", "tests/tiny.toml", "--name", "parts"]
    done = subprocess.run(trained, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("pets", "fast"):
        shutil.copytree(folder / "runs" / "parts", folder / "runs" / name)
    shutil.copy(folder / "runs" / "parts" / "model.tflite", folder / "model.tflite")
    return folder


class Reader:
    """Somebody who types what a page says."""

    def __init__(self, clone: Path, served: ServerProcess, stack: ExitStack):
        self._clone = clone
        self._stack = stack
        self._address = f"127.0.0.1:{served.port}"
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        self._environment = {**os.environ, "PATH": path}

    def shell(self, command: str) -> None:
        """Runs a command, or starts what it serves."""
        if "lince serve" in command:
            self._serve(shlex.split(command, comments=True))
            return
        # curl is content with any answer, and a reader is not.
        self._run(["bash", "-c", f'curl() {{ command curl -sS --fail-with-body "$@"; }}\n{self._here(command)}'])

    def python(self, program: str) -> None:
        """Runs a program; one that needs a client of others, in their environment."""
        self._run([CLIENTS if "tritonclient" in program else sys.executable, "-c", self._here(program)])

    def _serve(self, words: list[str]) -> None:
        self._stack.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self._clone)
            patch.setenv("PATH", self._environment["PATH"])
            server = self._stack.enter_context(running_server(command=words))
        self._address = f"127.0.0.1:{server.port}"

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, self._address)

    def _run(self, command: list[object]) -> None:
        done = subprocess.run(
            list(map(str, command)),
            cwd=self._clone,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        if key := re.search(r"Key, shown this once: (\S+)", done.stderr):
            self._environment["KEY"] = key[1]


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=name_of)
def test_page_runs(page: Path, clone: Path, served: ServerProcess):
    """From its first block to its last, except what is on the list."""
    with ExitStack() as stack:
        reader = Reader(clone, served, stack)
        for language, code in blocks(page):
            if language == "python":
                reader.python(code)
            elif language == "sh":
                for command in commands(code):
                    if reason(command) is None:
                        reader.shell(command)


def test_a_command_that_fails_is_found(clone: Path, served: ServerProcess):
    """An answer of curl that is an error, an unknown file, and a program that raises."""
    with ExitStack() as stack:
        reader = Reader(clone, served, stack)
        for command in (f"curl http://{ADDRESS}/nothing", "lince predict cifar10 nothing.jpg"):
            with pytest.raises(AssertionError, match="nothing"):
                reader.shell(command)
        with pytest.raises(AssertionError, match="ZeroDivisionError"):
            reader.python("1 / 0")


def test_commands_of_several_lines():
    """A backslash and a quotation go on; comments and empty lines are none."""
    block = "# first\n\nlince models   # what ships\ncurl -d '{\n}' a\nlince \\\n  --version\n"
    assert ["lince models   # what ships", "curl -d '{\n}' a", "lince \\\n  --version"] == commands(block)


def test_answer_in_the_readme_is_the_service_s(served: ServerProcess, clone: Path):
    """The JSON that the README prints below its command, with fewer digits."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [(command, printed)] = re.findall(r"```sh\n(curl .*)\n```\n+```json\n(.*?)```", text, re.DOTALL)
    asked = ["bash", "-c", command.replace(ADDRESS, f"127.0.0.1:{served.port}")]
    done = subprocess.run(asked, cwd=clone, capture_output=True, text=True, timeout=60, check=True)
    assert _rounded(json.loads(done.stdout)) == _rounded(json.loads(printed))


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 3) if isinstance(value, float) else value
