"""A download is whole and verified, or it is an error that says why; what has arrived is not fetched twice."""

import hashlib
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lince.data.sources.download import download
from lince.errors import DownloadError

CONTENT = np.random.default_rng(0).bytes(100_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def get(server, tmp_path):
    """`get()` downloads CONTENT from the loopback server, without pauses."""
    server.content = CONTENT

    def run(url: str = server.url, **options) -> bytes:
        settings = {"checksum": CHECKSUM, "limit_bytes": len(CONTENT), "pause_s": 0.0, "timeout_s": 5.0} | options
        return download(url, tmp_path / "files" / "data.bin", **settings).read_bytes()

    return run


@pytest.fixture
def names(tmp_path):
    """`names()`: what lies in the folder of the download."""
    return lambda: sorted(path.name for path in (tmp_path / "files").iterdir())


def ranges(server) -> list[str | None]:
    return [request.get("Range") for request in server.requests]


class TestWhole:
    def test_arrives_and_leaves_nothing_beside_it(self, get, server, names):
        """One request, one file."""
        assert get() == CONTENT
        assert ["data.bin"] == names()
        assert [None] == ranges(server)

    def test_second_time_needs_no_network(self, get, server):
        """A file with the right checksum is used as it is."""
        get()
        server.statuses = [500] * 9
        assert get() == CONTENT
        assert len(server.requests) == 1

    def test_tells_its_progress(self, get):
        """From 0 to all of it, never backwards."""
        steps = []
        get(progress=lambda *step: steps.append(step))
        done = [step[0] for step in steps]
        assert (0, len(CONTENT)) == (done[0], done[-1])
        assert sorted(done) == done
        assert {(len(CONTENT), "Downloading data.bin (bytes)")} == {step[1:] for step in steps}

    def test_from_a_file_address(self, get, tmp_path):
        """An archive that was carried here by hand."""
        (tmp_path / "carried.bin").write_bytes(CONTENT)
        assert get((tmp_path / "carried.bin").as_uri()) == CONTENT

    def test_server_that_does_not_announce_a_size(self, get, server):
        """The checksum tells that it is whole."""
        server.has_length = False
        assert get() == CONTENT


class TestInterrupted:
    def test_goes_on_where_it_stopped(self, get, server):
        """The second attempt asks for the rest, and only if the file is still the same version."""
        server.cuts = [30_000, 50_000]
        assert get() == CONTENT
        assert [None, "bytes=30000-", "bytes=80000-"] == ranges(server)
        assert [None, '"v1"', '"v1"'] == [request.get("If-Range") for request in server.requests]

    def test_later_call_goes_on(self, get, server, names):
        """What came before a failed call is kept for the next."""
        server.cuts = [30_000]
        with pytest.raises(DownloadError, match=r"after 30,000 of 100,000 bytes.*30,000 bytes that arrived are kept"):
            get(attempts=1)
        assert ["data.bin.part", "data.bin.part.json"] == names()
        assert get() == CONTENT
        assert [None, "bytes=30000-"] == ranges(server)
        assert ["data.bin"] == names()

    def test_server_without_ranges(self, get, server):
        """It sends all of it again, which replaces the part."""
        server.has_ranges, server.cuts = False, [30_000]
        assert get() == CONTENT

    def test_file_that_changed_in_between(self, get, server):
        """Another ETag: the server sends the new file whole, nothing of the old one is left in it."""
        server.content, server.cuts = b"o" * 100_000, [30_000]
        with pytest.raises(DownloadError, match="ended after"):
            get(attempts=1)
        server.content, server.tag = CONTENT, '"v2"'
        assert get() == CONTENT

    def test_file_that_changed_without_a_sign(self, get, server):
        """Without an ETag two versions are mixed; the checksum finds out, and a whole one is fetched."""
        server.content, server.cuts, server.tag = b"o" * 100_000, [30_000], None
        with pytest.raises(DownloadError, match="ended after"):
            get(attempts=1)
        server.content = CONTENT
        assert get() == CONTENT
        assert [None, "bytes=30000-", None] == ranges(server)

    def test_part_from_another_address_is_dropped(self, get, server, tmp_path):
        """So is one of which nobody knows where it came from."""
        for note in ({"url": "http://other/", "validator": None, "total": 0}, None, []):
            (tmp_path / "files").mkdir(exist_ok=True)
            (tmp_path / "files" / "data.bin").unlink(missing_ok=True)
            (tmp_path / "files" / "data.bin.part").write_bytes(b"foreign")
            if note is not None:
                (tmp_path / "files" / "data.bin.part.json").write_text(json.dumps(note))
            assert get() == CONTENT
        assert [None] * 3 == ranges(server)

    def test_complete_part_is_not_fetched_again(self, get, server, tmp_path):
        """Killed between the last byte and the renaming."""
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "data.bin.part").write_bytes(CONTENT)
        note = {"url": server.url, "validator": '"v1"', "total": len(CONTENT)}
        (tmp_path / "files" / "data.bin.part.json").write_text(json.dumps(note))
        assert get() == CONTENT
        assert [] == server.requests

    def test_complete_part_of_unknown_size_is_fetched_again(self, get, server, tmp_path):
        """The server, asked for what follows its last byte, answers 416; the part must not stay in the way for ever."""
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "data.bin.part").write_bytes(CONTENT)
        note = {"url": server.url, "validator": '"v1"', "total": 0}
        (tmp_path / "files" / "data.bin.part.json").write_text(json.dumps(note))
        assert get() == CONTENT
        assert ["bytes=100000-", None] == ranges(server)

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
    def test_two_at_once_share_one_download(self, get, server, names, caplog):
        """The second waits for the first, and finds its file; a lock of the system holds between processes as well."""
        server.delay_s = 0.2
        with ThreadPoolExecutor(2) as pool:
            assert [CONTENT, CONTENT] == list(pool.map(lambda _: get(), range(2)))
        assert [None] == ranges(server)
        assert ["data.bin"] == names()
        assert "Another process is downloading" in caplog.text

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_busy_server_is_asked_again(self, get, server, status):
        """These answers mean: later."""
        server.statuses = [status, status]
        assert get() == CONTENT
        assert len(server.requests) == 3

    def test_attempts_are_bounded(self, get, server):
        """Five in all, then it is said how to go on; nothing has arrived that could be kept."""
        server.statuses = [503] * 99
        with pytest.raises(DownloadError, match=r"503 Service Unavailable; 5 attempts\)\. Check your network, then"):
            get()
        assert len(server.requests) == 5

    def test_nobody_listens(self, get):
        """A refused connection is a sentence."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            with pytest.raises(DownloadError, match=r"Cannot download http://127.0.0.1:\d+/ \(.*refused"):
                get(f"http://127.0.0.1:{free.getsockname()[1]}/")

    def test_silent_server_ends_by_the_timeout(self, get):
        """One that accepts and never answers does not hang."""
        with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(DownloadError, match="timed out"):
            get(f"http://127.0.0.1:{mute.getsockname()[1]}/", timeout_s=0.1, attempts=2)


class TestWrong:
    def test_other_content_is_named_and_not_used(self, get, server, names):
        """It is set aside under another name, and the next call starts afresh."""
        server.content = b"<html>Please log in</html>"
        with pytest.raises(DownloadError, match=rf"sent another file .* 26 bytes .* expected {CHECKSUM}.*\.wrong"):
            get()
        assert ["data.bin.wrong"] == names()
        server.content = CONTENT
        assert get() == CONTENT

    def test_file_that_rotted_on_disk_is_fetched_again(self, get, tmp_path, names, caplog):
        """The checksum is verified at every use."""
        get()
        (tmp_path / "files" / "data.bin").write_bytes(CONTENT[:-1] + b"?")
        assert get() == CONTENT
        assert ["data.bin", "data.bin.wrong"] == names()
        assert "does not have its checksum" in caplog.text

    @pytest.mark.parametrize("has_length", [True, False])
    def test_endless_file_stops_at_the_limit(self, get, server, has_length, names):
        """Announced or not, no more than the limit is kept."""
        server.content, server.has_length = CONTENT + b"!", has_length
        with pytest.raises(DownloadError, match="sends more than the 100,000 bytes expected"):
            get()
        assert [] == names()

    def test_missing_file_is_not_asked_for_again(self, get, server):
        """404 will not go away by itself."""
        server.statuses = [404]
        with pytest.raises(DownloadError, match=r"answered 404 Not Found. Check the address"):
            get()
        assert len(server.requests) == 1

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "/etc/passwd", ""])
    def test_other_schemes(self, get, url):
        """Only addresses of the web, and files."""
        with pytest.raises(DownloadError, match="Expected an address that begins with https://"):
            get(url)

    def test_folder_that_cannot_be_made(self, server, tmp_path):
        """A cache folder that is a file is named."""
        (tmp_path / "taken").write_bytes(b"")
        with pytest.raises(DownloadError, match=r"Cannot keep the download at .*taken.*LINCE_CACHE"):
            download(server.url, tmp_path / "taken" / "x", checksum=CHECKSUM, limit_bytes=10)
