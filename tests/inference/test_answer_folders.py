"""Pictures in a folder for each answer: none is lost, none is overwritten, and a second time changes nothing."""

import os
import zipfile
from pathlib import Path

import pytest

from lince.data.sources.image_files import find_images
from lince.errors import ImageError, LinceError
from lince.inference import answer_folders
from lince.inference.answer_folders import AnswerFolders

CLASSES = ("cat", "dog")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """A folder, an archive with the same names, and a single file."""
    folder = tmp_path / "pictures"
    (folder / "in").mkdir(parents=True)
    for name in ("1.jpg", "in/1.jpg", "in/2.jpg"):
        (folder / name).write_text(f"folder {name}")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("1.jpg", "zip 1.jpg")
        archive.writestr("in/2.jpg", "folder in/2.jpg")
    (tmp_path / "1.jpg").write_text("single")
    return [folder, tmp_path / "more.zip", tmp_path / "1.jpg"]


def sort(root: Path, paths: list[Path], *, label: str = "cat", abstain: bool = False) -> dict[str, str]:
    """Adds all pictures with one answer, and returns the files of the folder with their contents."""
    folders = AnswerFolders(root, CLASSES, paths)
    for name, found in find_images(paths):
        folders.add(found, {"path": name, "label": label, "abstain": abstain})
    return {str(file.relative_to(root)): file.read_text() for file in root.rglob("*") if file.is_file()}


def test_a_folder_for_each_answer(pictures: list[Path], tmp_path: Path):
    """Names go on as in the source; of the same name, another picture has a number, and the same one is there once."""
    expected = {
        "cat/1.jpg": "folder 1.jpg",
        "cat/1-2.jpg": "zip 1.jpg",
        "cat/1-3.jpg": "single",
        "cat/in/1.jpg": "folder in/1.jpg",
        "cat/in/2.jpg": "folder in/2.jpg",
    }
    assert sort(tmp_path / "sorted", pictures) == expected
    assert sort(tmp_path / "sorted", pictures) == expected
    unsure = {f"_not_sure/{name.removeprefix('cat/')}": content for name, content in expected.items()}
    assert sort(tmp_path / "sorted", pictures, abstain=True) == expected | unsure
    assert os.path.samefile(tmp_path / "sorted/cat/1.jpg", pictures[0] / "1.jpg")


def test_copies_where_links_are_not_possible(pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on another file system."""
    linked = sort(tmp_path / "linked", pictures)
    monkeypatch.setattr(answer_folders.os, "link", lambda *_: (_ for _ in ()).throw(OSError("cross-device")))
    assert sort(tmp_path / "copied", pictures) == linked
    assert not os.path.samefile(tmp_path / "copied/cat/1.jpg", pictures[0] / "1.jpg")


def test_errors_have_no_folder(tmp_path: Path):
    """There is no answer, or no picture."""
    folders = AnswerFolders(tmp_path / "sorted", CLASSES, [])
    folders.add(tmp_path / "bad.jpg", {"path": "bad.jpg", "error": "It is none."})
    folders.add(ImageError("corrupt_image", "It is none."), {"path": "bad.jpg", "error": "It is none."})
    assert not (tmp_path / "sorted").exists()


@pytest.mark.parametrize("label", ["../out", "..", ".", "a/b", "/etc", "_not_sure", "nul\0"])
def test_a_class_that_leads_elsewhere(tmp_path: Path, label: str):
    """A model file of a stranger names its classes."""
    with pytest.raises(LinceError, match="cannot be the name of a folder"):
        AnswerFolders(tmp_path, ["cat", label], [])


@pytest.mark.parametrize("inside", [".", "sorted", "in/sorted"])
def test_a_folder_among_the_pictures(pictures: list[Path], inside: str):
    """The next command would read its own files."""
    with pytest.raises(LinceError, match=r"lies in .*pictures'\. Expected a folder outside"):
        AnswerFolders(pictures[0] / inside, CLASSES, pictures)
