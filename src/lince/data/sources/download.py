"""Downloads a large file once: resumable, limited in size, and verified before it is used.

NAME            verified, ready to use
NAME.part       what was received so far; NAME.part.json says from where, and which version of the file
NAME.wrong      a file that was not the expected one, kept for inspection

One process at a time downloads into a folder; others wait, and then find the file.
"""

import hashlib
import http.client
import json
import logging
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lince.errors import DownloadError
from lince.progress import Progress, silent
from lince.system.files import open_regular, read_bounded

if sys.platform != "win32":
    import fcntl

_log = logging.getLogger(__name__)

_SCHEMES = ("http", "https", "file")
_CHUNK_BYTES = 2**18  # at most this much in one step of progress: 650 steps for CIFAR-10's 170 MB
_MAX_NOTE_BYTES = 2**16  # an address and a validator, each a header's line
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # status codes after which another attempt may succeed


def download(
    url: str,
    path: Path,
    *,
    checksum: str,
    limit_bytes: int,
    progress: Progress = silent,
    attempts: int = 5,
    timeout_s: float = 30.0,
    pause_s: float = 0.5,
) -> Path:
    """Downloads a file unless it exists; the checksum is verified in both cases.

    What was received is kept, so that the next attempt, in this call or a later one, only requests the rest.

    Args:
        url: http, https or file.
        path: the file to write.
        checksum: SHA-256, 64 hex digits.
        limit_bytes: the largest size that is accepted from the server.
        progress: called with bytes.
        attempts: how often to try.
        timeout_s: seconds without a byte after which an attempt ends; a slow download goes on.
        pause_s: seconds before the second attempt; doubled before each further one.

    Returns:
        `path`.

    Raises:
        DownloadError: when the file cannot be downloaded, or is not the expected one.
    """
    transfer = _Transfer(url, path, limit_bytes, progress, attempts, timeout_s, pause_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            _get(transfer, checksum)
    except OSError as error:
        message = f"Cannot keep the download at {str(path)!r} ({error.strerror or error})."
        raise DownloadError(f"{message} Free the disk, or set LINCE_CACHE to another folder.") from error
    return path


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits for other processes that download into the folder; the system releases the lock of a killed process."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)  # the folder itself, because a lock file could never be removed safely
    try:
        with suppress(OSError):  # some network file systems cannot lock a folder; there, as on Windows
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("Another process is downloading into %s: waiting for it.", folder)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _get(transfer: "_Transfer", checksum: str) -> None:
    path = transfer.path
    if path.exists():
        if _sha256(path) == checksum:
            return
        message = "%s does not have its checksum: it is kept as %s, and downloaded again."
        _log.warning(message, path, _set_aside(path, path))
    transfer.finish()
    if transfer.was_resumed and _sha256(transfer.part) != checksum:
        # The server's file may have changed since the first part was received: verify a whole one.
        transfer.forget()
        transfer.finish()
    received, size = _sha256(transfer.part), transfer.size
    if received != checksum:
        wrong = _set_aside(transfer.part, path)
        transfer.forget()
        raise DownloadError(
            f"{transfer.url} sent another file than expected: {size:,} bytes with SHA-256 {received}, expected "
            f"{checksum}. It is kept as {str(wrong)!r} and not used. Check the address and your network (a login "
            "page?), then try again."
        )
    with transfer.part.open("rb+") as file:
        os.fsync(file.fileno())
    transfer.part.replace(path)
    transfer.forget()


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _set_aside(file: Path, path: Path) -> Path:
    wrong = path.with_name(f"{path.name}.wrong")
    file.replace(wrong)
    return wrong


class _TransferError(Exception):
    """An attempt ended early. It is caught in this module, and another attempt is made."""


class _PartError(_TransferError):
    """The received part cannot be used: the next attempt starts from the beginning."""


@dataclass
class _Transfer:
    """One download in progress. `was_resumed`: some of it was received before the last answer."""

    url: str
    path: Path
    limit_bytes: int
    progress: Progress
    attempts: int
    timeout_s: float
    pause_s: float
    was_resumed: bool = False

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")

    @property
    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Completes `part`, in several attempts if necessary."""
        if urllib.parse.urlsplit(self.url).scheme not in _SCHEMES:
            raise DownloadError(f"Cannot download from {self.url!r}. Expected an address that begins with https://.")
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.pause_s * 2 ** (attempt - 1))
            try:
                self._attempt()
                return
            except _TransferError as error:
                reason = str(error)
                if isinstance(error, _PartError):
                    self.forget()
        kept = f"The {self.size:,} bytes that arrived are kept: check" if self.size else "Check"
        raise DownloadError(
            f"Cannot download {self.url} ({reason}; {self.attempts} attempts). {kept} your network, then run the same "
            "command again."
        )

    def _attempt(self) -> None:
        note = self._read_note()
        start = self.size
        self.was_resumed = start > 0
        if start and start == note.get("total"):
            return
        with _answer(self.url, start=start, validator=note.get("validator"), timeout_s=self.timeout_s) as response:
            if start and response.status == 206:
                total = self._total_of_rest(response, start)
            else:
                start, self.was_resumed = 0, False
                length = response.headers.get("Content-Length") or ""
                total = int(length) if length.isdecimal() else 0
                self._write_note({"url": self.url, "validator": _validator(response), "total": total})
            self._receive(response, start=start, total=total)

    def _receive(self, response: http.client.HTTPResponse, *, start: int, total: int) -> None:
        done, what = start, f"Downloading {self.path.name} (bytes)"
        with self.part.open("ab" if start else "wb") as file:
            self.progress(done, total, what)
            for chunk in _chunks(response):
                done += len(chunk)
                if max(done, total) > self.limit_bytes:
                    self.forget()
                    message = f"{self.url} sends more than the {self.limit_bytes:,} bytes expected. Check the address."
                    raise DownloadError(message)
                file.write(chunk)
                self.progress(done, total, what)
        if done < total:
            raise _TransferError(f"the connection ended after {done:,} of {total:,} bytes")

    def _total_of_rest(self, response: http.client.HTTPResponse, start: int) -> int:
        """The size of the whole file, from `Content-Range: bytes START-END/TOTAL` (RFC 9110, section 14.4)."""
        unit, _, content = response.headers.get("Content-Range", "").partition(" ")
        span, _, total = content.partition("/")
        if unit != "bytes" or not span.startswith(f"{start}-") or not total.isdecimal():
            raise _PartError("the server sent another part than the one requested")
        return int(total)

    def _read_note(self) -> dict[str, Any]:
        """What is known about `part`; a part from another address, or without a note, is deleted."""
        try:
            note: dict[str, Any] = json.loads(read_bounded(self.note, _MAX_NOTE_BYTES))
            if note["url"] == self.url:
                return note
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        self.forget()
        return {}

    def _write_note(self, note: dict[str, Any]) -> None:
        self.note.write_text(json.dumps(note), encoding="utf-8")


def _answer(url: str, *, start: int, validator: str | None, timeout_s: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": "lince"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:  # a changed file is then sent whole (RFC 9110, section 13.1.5)
            headers["If-Range"] = validator
    request = urllib.request.Request(url, headers=headers)
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)
        return response
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing follows: the part is complete, or of another version
            raise _PartError("the server has no more than the part that came before") from error
        if error.code in _TRY_AGAIN:
            raise _TransferError(f"the server answered {error.code} {error.reason}") from error
        message = f"{url} answered {error.code} {error.reason}. Check the address."
        raise DownloadError(message) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError is an OSError
        raise _TransferError(str(getattr(error, "reason", error))) from error


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _TransferError(str(error) or type(error).__name__) from error
        if not chunk:
            return
        yield chunk


def _validator(response: http.client.HTTPResponse) -> str | None:
    """The value for `If-Range`: a strong entity tag, or a date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
