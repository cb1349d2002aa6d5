"""Files are whole or as they were."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lince.system.files import meant, read_bounded, write_atomically

# Begins to write REPORT, says so, and then waits in the middle of it.
_SLOW_WRITE = """
import sys, time
from pathlib import Path
from lince.system.files import write_atomically

def chunks():
    yield b"half"
    print("writing", flush=True)
    time.sleep(60)

write_atomically(Path(sys.argv[1]), chunks())
"""


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

    def test_leaves_temporary_files_of_other_programs(self, tmp_path):
        """Only a file named as Lince names its own is removed, however old the others are."""
        names = [".report.json.00.tmp", "report.json.tmp"]
        for name in (*names, f".report.json.{'0' * 16}.lince.tmp"):
            (tmp_path / name).write_bytes(b"half")
            os.utime(tmp_path / name, (0, 0))
        write_atomically(tmp_path / "report.json", b"whole")
        assert {"report.json", *names} == {left.name for left in tmp_path.iterdir()}

    @pytest.mark.skipif(os.name == "nt", reason="Windows cannot lock files in this way")
    def test_removes_at_once_what_a_killed_process_left(self, tmp_path):
        """A process that was killed while it wrote leaves a file; the next write into the folder removes it."""
        writer = _begin_to_write(tmp_path / "report.json")
        assert len(_temporary_files(tmp_path)) == 1
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        write_atomically(tmp_path / "another.json", b"whole")
        assert ["another.json"] == [left.name for left in tmp_path.iterdir()]

    @pytest.mark.skipif(os.name == "nt", reason="Windows cannot lock files in this way")
    def test_leaves_what_a_living_process_writes(self, tmp_path):
        """Another writer of the same file goes on, however long it takes."""
        writer = _begin_to_write(tmp_path / "report.json")
        try:
            before = _temporary_files(tmp_path)
            os.utime(before[0], (0, 0))
            write_atomically(tmp_path / "report.json", b"whole")
            assert before == _temporary_files(tmp_path)
        finally:
            writer.kill()
            writer.wait()


class TestReadBounded:
    def test_reads_a_file_of_just_the_limit(self, tmp_path):
        """The limit itself is allowed; a link to a file is a file."""
        (tmp_path / "file").write_bytes(b"12345")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        assert read_bounded(tmp_path / "link", 5) == b"12345"

    def test_refuses_a_byte_more(self, tmp_path):
        """A sparse file of 2 GiB is refused as well, and not read."""
        with (tmp_path / "file").open("wb") as file:
            file.truncate(2**31)
        with pytest.raises(OSError, match="more than 5 bytes") as caught:
            read_bounded(tmp_path / "file", 5)
        assert caught.value.errno == errno.EFBIG

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
    @pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "folder", "socket"])
    def test_refuses_what_never_ends_or_never_begins(self, tmp_path, kind):
        """Without waiting: nobody writes into the pipe."""
        path = tmp_path / "it"
        {
            "pipe": lambda: os.mkfifo(path),
            "device": lambda: None,
            "link to a device": lambda: path.symlink_to("/dev/zero"),
            "folder": path.mkdir,
            "socket": lambda: _make_socket(path),
        }[kind]()
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            read_bounded(Path("/dev/zero") if kind == "device" else path, 10)

    def test_a_null_character_is_an_os_error(self):
        """Python raises ValueError, which nobody expects of a path."""
        with pytest.raises(OSError, match="null"):
            read_bounded(Path("a\0b"), 10)


def _begin_to_write(path: Path) -> subprocess.Popen:
    writer = subprocess.Popen([sys.executable, "-c", _SLOW_WRITE, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"writing\n"
    writer.stdout.close()
    return writer


def _temporary_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.tmp"))


def _make_socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


class TestMeant:
    def test_inside_the_folder(self, tmp_path):
        """One or several; other folders are not named."""
        (tmp_path / "other").mkdir()
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "run.json").touch()
            expected = "one of " if name == "b" else ""
            assert meant(str(tmp_path), "run.json").startswith(f" Did you mean {expected}'{tmp_path / 'a'}'")
        assert "other" not in meant(str(tmp_path), "run.json")
        assert "" == meant(str(tmp_path), "model.tflite")

    def test_inside_runs(self, tmp_path, monkeypatch):
        """Where the path itself leads nowhere."""
        monkeypatch.chdir(tmp_path)
        assert "" == meant("parts", "run.json")
        (tmp_path / "runs" / "parts").mkdir(parents=True)
        (tmp_path / "runs" / "parts" / "run.json").touch()
        assert " Did you mean 'runs/parts'?" == meant("parts", "run.json")

    def test_what_is_no_path(self):
        """A null character."""
        assert "" == meant("a\0", "run.json")
