"""Files are whole or as they were."""

import os
import time

import pytest

from lince.files import write_atomically


class TestWriteAtomically:
    def test_writes_and_replaces(self, tmp_path):
        """New content takes the place of the old, and nothing else is left in the folder."""
        path = tmp_path / "report.json"
        for content in (b"old", b"new and longer", b""):
            write_atomically(path, content)
            assert content == path.read_bytes()
        assert [path] == list(tmp_path.iterdir())

    def test_leaves_the_old_file_when_it_fails(self, tmp_path):
        """What cannot be written leaves the old content, and no temporary file."""
        path = tmp_path / "report.json"
        path.write_bytes(b"old")
        with pytest.raises(TypeError):
            write_atomically(path, "text is not bytes")
        assert path.read_bytes() == b"old"
        assert [path] == list(tmp_path.iterdir())

    def test_leaves_nothing_when_the_rename_fails(self, tmp_path):
        """A folder of that name cannot be replaced by a file; the temporary file goes."""
        path = tmp_path / "taken"
        path.mkdir()
        with pytest.raises(OSError, match="taken"):
            write_atomically(path, b"new")
        assert [path] == list(tmp_path.iterdir())

    def test_needs_the_folder(self, tmp_path):
        """A missing folder is the caller's to make."""
        with pytest.raises(FileNotFoundError):
            write_atomically(tmp_path / "missing" / "file", b"new")

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
    def test_keeps_to_the_umask(self, tmp_path):
        """The file is as readable as any other new file, not by its owner alone."""
        plain, atomic = tmp_path / "plain", tmp_path / "atomic"
        plain.write_bytes(b"")
        write_atomically(atomic, b"")
        assert plain.stat().st_mode == atomic.stat().st_mode

    def test_takes_chunks(self, tmp_path):
        """A large content need not be in memory at once; what fails between two chunks leaves the old one."""
        path = tmp_path / "images.npy"
        write_atomically(path, (chunk for chunk in (b"one ", memoryview(b"two"))))
        assert path.read_bytes() == b"one two"
        with pytest.raises(ZeroDivisionError):
            write_atomically(path, (b"x" * (1 // count) for count in (1, 0)))
        assert path.read_bytes() == b"one two"
        assert [path] == list(tmp_path.iterdir())

    def test_removes_what_killed_processes_left(self, tmp_path):
        """Of the same target only, and only what nobody can be writing any more."""
        path = tmp_path / "report.json"
        names = [".report.json.00.tmp", ".report.json.11.tmp", ".other.json.00.tmp", "report.json.tmp"]
        for name in names:
            (tmp_path / name).write_bytes(b"half")
        two_days_ago = time.time() - 2 * 24 * 3600
        for name in set(names) - {".report.json.11.tmp"}:
            os.utime(tmp_path / name, (two_days_ago, two_days_ago))
        write_atomically(path, b"whole")
        assert {"report.json", *names[1:]} == {left.name for left in tmp_path.iterdir()}
