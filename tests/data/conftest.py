"""Small labelled sources, made of noise: every image differs from every other."""

import io
import struct
import threading
import time
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image


def _encode(seed: int, kind: str = "PNG", side: int = 8) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def encode():
    """`encode(seed, kind="PNG", side=8)`: the bytes of one image of noise."""
    return _encode


@pytest.fixture
def make_tree(tmp_path):
    """`make_tree({path: content})`: a folder; content is bytes, a seed for an image, or None for an empty folder."""

    def make(files: dict[str, bytes | int | None], name: str = "pictures") -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for path, content in files.items():
            target = root / path
            (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                target.write_bytes(_encode(content) if isinstance(content, int) else content)
        return root

    return make


@pytest.fixture
def make_zip(tmp_path):
    """`make_zip({path: content})`: the same as a .zip."""

    def make(files: dict[str, bytes | int], name: str = "pictures.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                archive.writestr(member, _encode(content) if isinstance(content, int) else content or b"")
        return path

    return make


@pytest.fixture
def make_raw_zip(tmp_path):
    """`make_raw_zip({bytes: content})`: a .zip whose names are these bytes, without the flag that says UTF-8.

    So do `zip` on Linux and macOS, macOS's Finder, and old programs in code page 437. `unicode_paths` gives members the
    extra field with their name in UTF-8: {bytes: (name, its CRC-32 of which bytes)}.
    """

    def make(files: dict[bytes, bytes | int], name: str = "raw.zip", unicode_paths=MappingProxyType({})) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                info = _RawName(member)
                if member in unicode_paths:
                    utf8, of = unicode_paths[member]
                    field = struct.pack("<BL", 1, zlib.crc32(of)) + utf8
                    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
                archive.writestr(info, _encode(content) if isinstance(content, int) else content)
        return path

    return make


class _RawName(zipfile.ZipInfo):
    def __init__(self, raw: bytes):
        super().__init__(raw.decode("latin-1"))
        self._raw = raw

    # The name that zipfile looks for.
    def _encodeFilenameFlags(self):  # noqa: N802
        return self._raw, self.flag_bits


@pytest.fixture
def two_classes():
    """`two_classes(n, *, prefix="", start=0)`: n images each of cat and dog, for `make_tree` and `make_zip`."""

    def make(n: int, *, prefix: str = "", start: int = 0) -> dict[str, int]:
        places = [f"{prefix}{label}/{index:03d}.png" for label in ("cat", "dog") for index in range(n)]
        return {place: start + seed for seed, place in enumerate(places)}

    return make


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Nothing is ever written to the user's own cache."""
    monkeypatch.setenv("LINCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class FileServer(ThreadingHTTPServer):
    """Serves one file at every path, the way a real server does, or as badly as a test asks.

    Attributes:
        content: the file. tag: its ETag, or None. has_ranges: whether `Range` is honoured.
        cuts: for each of the first answers, after how many bytes of the body the connection ends.
        statuses: for each of the first answers, an error to give instead.
        has_length: whether the size is announced.
        delay_s: seconds before each answer.
        requests: the headers received.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content, self.tag, self.has_ranges, self.has_length = b"", '"v1"', True, True
        self.delay_s = 0.0
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.requests: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/file"


class _Answer(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self):  # noqa: N802: the name that http.server looks for
        self.server.requests.append(dict(self.headers))
        time.sleep(self.server.delay_s)
        if self.server.statuses:
            self.send_error(self.server.statuses.pop(0))
            return
        start = self._start()
        if start >= len(self.server.content) > 0:
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            last = len(self.server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(self.server.content)}")
        if self.server.has_length:
            self.send_header("Content-Length", str(len(body)))
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def _start(self) -> int:
        wanted, version = self.headers.get("Range"), self.headers.get("If-Range")
        if not self.server.has_ranges or not wanted or version not in (None, self.server.tag):
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *arguments: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def server(monkeypatch):
    """A `FileServer` on a free port of the loopback, which always ends."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
