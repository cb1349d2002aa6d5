"""CIFAR-10's binary archive, as small ones made here and served on the loopback."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest

from lince import data
from lince.data.sources import cifar10
from lince.errors import DataError, DownloadError
from lince.types import ImageSpec

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def batch(seed: int, n: int = 4) -> bytes:
    """Records as published: a label, then 32 × 32 red, green and blue values."""
    records = np.random.default_rng(seed).integers(0, 256, (n, 3073), np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def members() -> dict[str, bytes]:
    files = {f"cifar-10-batches-bin/{name}.bin": batch(seed) for seed, name in enumerate(BATCHES)}
    return {"cifar-10-batches-bin/batches.meta.txt": b"airplane\n"} | files


@pytest.fixture
def serve(server, monkeypatch):
    """`serve(archive)` makes `cifar10` mean this archive."""

    def offer(content: bytes, checksum: str | None = None) -> None:
        server.content = content
        monkeypatch.setenv("LINCE_CIFAR10_URL", server.url)
        monkeypatch.setattr(cifar10, "CHECKSUM", checksum or hashlib.sha256(content).hexdigest())

    return offer


def load(**options):
    return data.load("cifar10", ImageSpec(**options), seed=0)


class TestCifar10:
    def test_is_read_as_published(self, serve):
        """Planes become channels, batches keep their order, names say where an image came from."""
        serve(archive(members()))
        dataset = load()
        assert (20, 4) == (len(dataset.train), len(dataset.test))
        assert ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"] == list(
            dataset.train.classes
        )
        assert ("data_batch_1/00000", "data_batch_5/00003") == (dataset.train.names[0], dataset.train.names[-1])
        assert "test_batch/00003" == dataset.test.names[-1]
        record = np.frombuffer(batch(5), np.uint8).reshape(4, 3073)[3]
        assert record[0] == dataset.test.labels[3]
        assert record[1 + 1024 + 32 * 7 + 9] == dataset.test.images[3, 7, 9, 1]
        assert () == dataset.test_indices

    def test_order_in_the_archive_does_not_matter(self, serve):
        """Batches are found by name."""
        serve(archive(dict(reversed(members().items()))))
        assert "data_batch_1/00000" == load().train.names[0]

    def test_second_start_is_offline(self, serve, server):
        """Neither arrays nor archive are fetched again, at this size or another."""
        serve(archive(members()))
        first = load()
        server.statuses = [500] * 99
        assert first.fingerprint == load().fingerprint
        assert (20, 16, 16, 3) == load(height=16, width=16).train.images.shape
        assert len(server.requests) == 1

    def test_other_sizes_go_through_decode(self, serve):
        """An image of one colour stays that colour; the fingerprint is another."""
        even = bytes([3]) + bytes([200]) * 1024 + bytes([100]) * 1024 + bytes([50]) * 1024
        serve(archive(dict.fromkeys(members(), even)))
        dataset = load(height=20, width=24)
        assert {(200, 100, 50)} == set(map(tuple, dataset.train.images.reshape(-1, 3).tolist()))
        assert dataset.fingerprint != load().fingerprint

    def test_stopped_server_is_resumed(self, serve, server):
        """The first answer ends in the middle; the second brings the rest."""
        serve(archive(members()))
        server.cuts = [10_000]
        assert 20 == len(load().train)
        assert ["bytes=10000-"] == [r["Range"] for r in server.requests if "Range" in r]

    def test_wrong_archive_is_named_and_never_used(self, serve, cache_folder):
        """Not even a valid archive with other content, and no arrays of it are cached."""
        serve(archive(members()), checksum="0" * 64)
        with pytest.raises(DownloadError, match=r"sent another file than expected.*cifar-10-binary.tar.gz.wrong"):
            load()
        assert ["cifar-10-binary.tar.gz.wrong"] == [path.name for path in cache_folder.rglob("*.*")]

    def test_truncated_archive_is_never_used(self, serve):
        """A mirror that holds half of the file, and announces that half."""
        whole = archive(members())
        serve(whole[: len(whole) // 2], checksum=hashlib.sha256(whole).hexdigest())
        with pytest.raises(DownloadError, match=f"sent another file than expected: {len(whole) // 2:,} bytes"):
            load()


class TestContent:
    """Archives with the right checksum and the wrong content: what the checksum vouches for is still looked at."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"cifar-10-batches-bin/test_batch.bin": None}, "lacks test_batch"),
            ({"cifar-10-batches-bin/test_batch.bin": b""}, "test_batch.bin of CIFAR-10 has a wrong size"),
            ({"cifar-10-batches-bin/data_batch_2.bin": batch(0)[:-1]}, "data_batch_2.bin of CIFAR-10 has a wrong size"),
            ({"cifar-10-batches-bin/data_batch_2.bin": bytes(3073 * 10_001)}, "has a wrong size"),
            ({"cifar-10-batches-bin/data_batch_2.bin": b"\x0a" + bytes(3072)}, "holds the label 10. Expected 0 to 9"),
        ],
        ids=["missing", "empty", "cut", "too many", "label"],
    )
    def test_batches_that_are_not_right(self, serve, change, message):
        """Each is a sentence."""
        files = members() | change
        serve(archive({name: content for name, content in files.items() if content is not None}))
        with pytest.raises(DataError, match=message):
            load()

    @pytest.mark.parametrize(
        "content",
        [b"no archive", gzip.compress(b"no tar" * 500, mtime=0), archive(members())[:9000]],
        ids=["no gzip", "no tar", "cut"],
    )
    def test_no_archive(self, serve, content):
        """Neither gzip nor tar, or cut."""
        serve(content)
        with pytest.raises(DataError, match=r"is not a readable archive|lacks data_batch"):
            load()

    def test_nothing_is_unpacked(self, serve, tmp_path, cache_folder):
        """Members with hostile names and links write nothing anywhere, and stand in for no batch."""
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for name in ("../../evil.bin", "/evil.bin", "cifar-10-batches-bin/../evil.bin"):
                info = tarfile.TarInfo(name)
                info.size = 4
                tar.addfile(info, io.BytesIO(b"evil"))
            link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        serve(file.getvalue())
        before = {path for path in tmp_path.rglob("*") if cache_folder not in path.parents}
        with pytest.raises(DataError, match="lacks data_batch_1"):
            load()
        after = {path for path in tmp_path.rglob("*") if cache_folder not in path.parents}
        assert before | {cache_folder} == after | {cache_folder}
        assert ["cifar-10-binary.tar.gz"] == [path.name for path in cache_folder.rglob("*.*")]


def test_checksum_is_that_of_the_official_archive():
    """What the world downloads is pinned; a changed constant must be meant."""
    assert cifar10.CHECKSUM == "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    assert cifar10.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
