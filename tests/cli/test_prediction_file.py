"""A file of predictions is continued after its last whole row, and no other file is touched."""

import importlib
import json
import sys
from pathlib import Path

import pytest

import lince.cli
from lince.cli import prediction_file
from lince.cli.console import csv_header
from lince.errors import LinceError


def row(number: int) -> dict:
    """An answer; its path has what CSV must quote."""
    best = {"label": "cat", "index": 0, "probability": 0.75}
    return {"path": f'a, "b"/{number}.jpg', **best, "top": [best], "prediction_set": ["cat", "dog"], "abstain": False}


def written(path: Path, *numbers: int, resume: bool = False) -> list[str]:
    """Writes rows, and returns the paths of those that were there before."""
    with prediction_file.opened(path, resume=resume, top=1) as opened:
        before = list(opened.paths())
        opened.write(map(row, numbers))
        return before


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "ROWS.CSV"])
@pytest.mark.parametrize("cut", [0, 1, 30])
def test_continued_after_the_last_whole_row(tmp_path: Path, name: str, cut: int):
    """A row of which the end is missing is written again; the file is then as without an interruption."""
    path, whole = tmp_path / name, tmp_path / f"whole-{name}"
    written(whole, 0, 1, 2)
    written(path, 0, 1)
    path.write_bytes(path.read_bytes()[: -cut or None])
    there = written(path, *([2] if cut == 0 else [1, 2]), resume=True)
    assert there == [row(number)["path"] for number in range(2 if cut == 0 else 1)]
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("start", [b"", csv_header(1)[:9], csv_header(1)])
def test_continued_before_the_first_row(tmp_path: Path, start: bytes):
    """The header is there once, whatever was written of it; so it is where there is no file."""
    path, new = tmp_path / "rows.csv", tmp_path / "new.csv"
    path.write_bytes(start)
    assert written(path, 0, resume=True) == written(new, 0, resume=True) == []
    assert path.read_bytes() == new.read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", csv_header(2)),
        ("rows.csv", b"a,b\n"),
        ("rows.jsonl", b"no JSON\n"),
        ("rows.jsonl", b"[1]\nand more"),
        ("rows.jsonl", b'[{"id": 1}]'),
        ("rows.jsonl", b'{"id": 1}'),
        ("rows.csv", b"path,label\rcat.jpg,cat\r"),
        ("rows.csv", csv_header(1).replace(b"\n", b"\r\n")),
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
    with pytest.raises(LinceError, match=r"Expected a name that ends in \.jsonl, \.csv, \.parquet\."):
        written(tmp_path / "rows.txt", 0)
    assert not list(tmp_path.iterdir())


def test_errors_of_all_rows_are_counted(tmp_path: Path):
    """Those that the file holds too, in both formats; the last answer is told from them."""
    for path in (tmp_path / "rows.jsonl", tmp_path / "rows.csv"):
        bad = {"path": "bad.jpg", "error": "It is none."}
        with prediction_file.opened(path, resume=False, top=1) as opened:
            assert opened.write(iter([bad, row(1), bad])) == 2
        with prediction_file.opened(path, resume=True, top=1) as opened:
            assert (opened.count, opened.errors, opened.last_answer) == (3, 2, (1, opened.line(row(1))))
            assert opened.write(iter([bad])) == 3


def test_an_error_before_the_first_row_changes_nothing(tmp_path: Path):
    """Not even a row that is half written."""
    path = tmp_path / "rows.jsonl"
    written(path, 0, 1)
    content = path.read_bytes()[:-7]
    path.write_bytes(content)

    def rows():
        raise LinceError("Other images.")
        yield

    with prediction_file.opened(path, resume=True, top=1) as opened, pytest.raises(LinceError, match="Other images"):
        opened.write(rows())
    assert path.read_bytes() == content


def test_a_link_to_nothing(tmp_path: Path):
    """`open` would say that it exists."""
    path = tmp_path / "rows.jsonl"
    path.symlink_to(tmp_path / "nowhere" / "rows.jsonl")
    with pytest.raises(LinceError, match=r"is a link to nothing"):
        written(path, 0)


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All rows are there once it is, in order; until then they are in a file that can be continued."""
    pq = pytest.importorskip("pyarrow.parquet")  # the environment of unit tests has none
    parquet = importlib.import_module("lince.cli.parquet")
    monkeypatch.setattr(parquet, "_BATCH", 2)
    path, lines = tmp_path / "rows.parquet", tmp_path / "rows.parquet.jsonl"

    def interrupted():
        yield row(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), prediction_file.opened(path, resume=False, top=1) as opened:
        opened.write(interrupted())
    assert [file.name for file in tmp_path.iterdir()] == [lines.name]
    with pytest.raises(LinceError, match=r"rows\.parquet\.jsonl' is there already\. Expected a new name, or --resume"):
        written(path, 0)
    with prediction_file.opened(path, resume=True, top=1) as opened:
        assert list(opened.paths()) == [row(0)["path"]]
        opened.write(iter([{"path": "bad.jpg", "error": "It is none."}, *map(row, range(1, 4))]))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    table = pq.read_table(path)
    assert table.schema == parquet.SCHEMA
    assert pq.read_metadata(path).num_row_groups == 3
    rows = [{key: value for key, value in one.items() if value is not None} for one in table.to_pylist()]
    assert rows == [row(0), {"path": "bad.jpg", "error": "It is none."}, *map(row, range(1, 4))]
    with pytest.raises(LinceError, match=r"rows\.parquet' is there already, and holds all its rows"):
        written(path, 0, resume=True)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is said before any work."""
    monkeypatch.delitem(sys.modules, "lince.cli.parquet", raising=False)
    monkeypatch.delattr(lince.cli, "parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LinceError, match=r"needs pyarrow\. Install it with pip install '\.\[batch\]'"):
        written(tmp_path / "rows.parquet", 0)
    assert not list(tmp_path.iterdir())
