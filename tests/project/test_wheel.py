"""The wheel has what an index and a type checker look for."""

import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from the sources as they are."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", folder, ROOT]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
    [path] = folder.glob("lince-*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """Its `METADATA`."""
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(name))


def test_it_says_that_it_is_typed(wheel: zipfile.ZipFile):
    """A type checker reads annotations of packages with `py.typed` alone."""
    assert "lince/py.typed" in wheel.namelist()


def test_it_holds_models_recipes_and_the_page(wheel: zipfile.ZipFile):
    """Files that are no Python are in it: as many as the sources have."""
    source = ROOT / "src"
    files = {
        path.relative_to(source).as_posix()
        for path in (source / "lince").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files == {name for name in wheel.namelist() if name.startswith("lince/")}


def test_it_names_licences_of_program_and_data(wheel: zipfile.ZipFile, metadata: Message):
    """Apache-2.0, its text, and what the model that ships was trained on."""
    assert "Apache-2.0" == metadata["License-Expression"]
    assert ["LICENSE", "NOTICE"] == metadata.get_all("License-File")
    [notice] = [name for name in wheel.namelist() if name.endswith("licenses/NOTICE")]
    assert "CIFAR-10" in wheel.read(notice).decode()


def test_links_of_its_page_lead_somewhere(metadata: Message):
    """On an index there is no file beside the README: no link or picture is relative."""
    page = metadata.get_payload()
    assert "# Lince" in page
    assert [] == re.findall(r"\]\((?!\w+:|#)[^)]*\)", page)


def test_a_relative_link_is_found():
    """The check above can fail: the README has such links."""
    assert re.findall(r"\]\((?!\w+:|#)[^)]*\)", (ROOT / "README.md").read_text(encoding="utf-8"))
