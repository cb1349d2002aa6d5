"""Corrections in a real SQLite file and a real PostgreSQL server."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lince.serving.feedback_store import Correction, FeedbackStore, StoreError, StoreFullError

DAY_S = 86_400


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The address of a database, in a server that lives as long as this module's tests."""
    [programs] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:] or [None]
    if programs is None:
        pytest.skip("No PostgreSQL here: apt-get install postgresql")
    is_root = os.geteuid() == 0  # as whom PostgreSQL does not run
    who = {"user": "postgres", "group": "postgres", "extra_groups": []} if is_root else {}
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
        if is_root:
            shutil.chown(folder, "postgres", "postgres")
        data, port = Path(folder, "data"), taken.getsockname()[1]
        options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]
        subprocess.run([programs / "initdb", "-D", data, *options], check=True, capture_output=True, cwd=folder, **who)
        taken.close()
        server = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-F"]
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([*server, "-c", "listen_addresses=127.0.0.1"], stderr=log, cwd=folder, **who)
        try:
            _wait(programs, port)
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # ends open connections
            process.wait(30)


def _wait(programs: Path, port: int) -> None:
    ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
    end = time.monotonic() + 60
    while subprocess.run(ready).returncode:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.waits)])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'feedback.db'}"
        return
    address = request.getfixturevalue("postgresql")
    yield address
    store = FeedbackStore(address, days=1, most=1)
    for one in list(store):
        store.delete(one.id)
    store.close()


@pytest.fixture
def store(address: str) -> Iterator[FeedbackStore]:
    """Of 30 days and three corrections."""
    store = FeedbackStore(address, days=30, most=3)
    yield store
    store.close()


def correction(label: str = "gato", **options: int) -> Correction:
    return Correction("cifar10", "b957598fa5f3", label, b"\x89PNG\x00pixels", **options)


def test_corrections_come_back_as_they_were(address: str, store: FeedbackStore):
    """All bytes and letters, the oldest first, also for another process that opens the database."""
    now_s = int(time.time())
    young, old = correction("pássaro 鳥"), correction(created_s=now_s - DAY_S)
    store.add(young)
    store.add(old)
    other = FeedbackStore(address, days=30, most=3)
    assert [old, young] == list(other)
    other.close()


def test_ids_cannot_be_guessed():
    """They are 128 random bits, and differ."""
    ids = {correction().id for _ in range(100)}
    assert (100, {32}) == (len(ids), {len(one) for one in ids})


def test_a_correction_is_deleted_by_its_id(store: FeedbackStore):
    """Once; another id deletes nothing."""
    first, second = correction(), correction()
    store.add(first)
    store.add(second)
    assert [False, True, False] == [store.delete(one) for one in ("f" * 32, first.id, first.id)]
    assert [second] == list(store)


def test_old_corrections_are_deleted(store: FeedbackStore):
    """After as many days as the settings say, and before the next is counted."""
    now_s = int(time.time())
    kept = correction(created_s=now_s - 29 * DAY_S)
    store.add(kept)
    store.add(correction(created_s=now_s - 31 * DAY_S))
    store.purge()
    assert [kept] == list(store)


def test_the_table_is_bounded(store: FeedbackStore):
    """One more than it may hold is refused; after a deletion there is room again."""
    first = correction()
    for one in (first, correction(), correction()):
        store.add(one)
    with pytest.raises(StoreFullError, match=r"stores 3 corrections already. Expected at most 3\."):
        store.add(correction())
    store.delete(first.id)
    store.add(correction())
    assert 3 == len(list(store))


def test_a_file_is_for_its_owner_alone_and_forgets(tmp_path: Path):
    """Nobody else reads the pictures, and a deleted one is no longer in the file."""
    path = tmp_path / "feedback.db"
    store = FeedbackStore(f"sqlite:///{path}", days=30, most=3)
    one = Correction("cifar10", "b957598fa5f3", "cat", b"a picture that must go" * 500)
    store.add(one)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert b"that must go" in path.read_bytes()
    store.delete(one.id)
    store.close()
    assert b"that must go" not in path.read_bytes()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("feedback.db", "cannot be read"),
        ("mysql://root:secret@127.0.0.1/a", "of the kind 'mysql'"),
        ("postgresql://root:secret@127.0.0.1:1/a", r"root:\*\*\*@127.0.0.1:1/a' cannot be used"),
        ("sqlite:////proc/no/feedback.db", "cannot be used"),
    ],
)
def test_an_address_that_does_not_work_is_explained(address: str, words: str):
    """What was received without its password, and what was expected."""
    with pytest.raises(StoreError, match=words) as caught:
        FeedbackStore(address, days=30, most=3)
    assert "Expected sqlite:///FILE.db or postgresql://USER@HOST/DATABASE." in str(caught.value)
    assert "secret" not in str(caught.value)
