"""Files are whole or as they were."""

import os

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
