"""A file of predictions is continued after its last whole row, and no other file is touched."""

import json
from pathlib import Path

import pytest

from lince.cli import prediction_file
from lince.cli.console import csv_header
from lince.errors import LinceError


def row(number: int) -> dict:
    """An answer; its path has what CSV must quote."""
    best = {"label": "cat", "index": 0, "probability": 0.75}
    return {"path": f'a, "b"/{number}.jpg', **best, "top": [best], "prediction_set": ["cat", "dog"], "abstain": False}


def written(path: Path, *numbers: int, resume: bool = False) -> tuple[int, str]:
    """Writes rows, and returns how many were there before, and the path in the last one."""
    with prediction_file.opened(path, resume=resume, top=1) as opened:
        opened.write(map(row, numbers), top=1)
        return opened.rows, opened.last


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "ROWS.CSV"])
@pytest.mark.parametrize("cut", [0, 1, 30])
def test_continued_after_the_last_whole_row(tmp_path: Path, name: str, cut: int):
    """A row of which the end is missing is written again; the file is then as without an interruption."""
    path, whole = tmp_path / name, tmp_path / f"whole-{name}"
    written(whole, 0, 1, 2)
    written(path, 0, 1)
    path.write_bytes(path.read_bytes()[: -cut or None])
    there, last = written(path, *([2] if cut == 0 else [1, 2]), resume=True)
    assert (there, last) == ((2, row(1)["path"]) if cut == 0 else (1, row(0)["path"]))
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("start", [b"", csv_header(1)[:9], csv_header(1)])
def test_continued_before_the_first_row(tmp_path: Path, start: bytes):
    """The header is there once, whatever was written of it; so it is where there is no file."""
    path, new = tmp_path / "rows.csv", tmp_path / "new.csv"
    path.write_bytes(start)
    assert written(path, 0, resume=True) == written(new, 0, resume=True) == (0, "")
    assert path.read_bytes() == new.read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", csv_header(2)),
        ("rows.csv", b"a,b\n"),
        ("rows.jsonl", b"no JSON\n"),
        ("rows.jsonl", b"[1]\nand more"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, name: str, content: bytes):
    """It holds no rows, or rows with other columns."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LinceError, match="does not hold rows of this command"):
        written(path, 0, resume=True)
    assert path.read_bytes() == content


def test_a_file_is_not_overwritten(tmp_path: Path):
    """The sentence names the way to continue it."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row(0)))
    with pytest.raises(LinceError, match=r"rows\.jsonl' is there already\. Expected a new name, or --resume"):
        written(path, 0)
    assert json.loads(path.read_text()) == row(0)


def test_other_formats(tmp_path: Path):
    """Nothing is made."""
    with pytest.raises(LinceError, match=r"Expected a name that ends in \.jsonl or \.csv\."):
        written(tmp_path / "rows.txt", 0)
    assert not list(tmp_path.iterdir())
