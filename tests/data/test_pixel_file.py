"""Images that stay in their cache file are as good as an array, and cost no memory."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lince import data
from lince.data import cache, pixel_file
from lince.data.pixel_file import PixelFile, StoredImages, StoredNames, digests
from lince.errors import DataError
from lince.types import ImageSpec

SPEC = ImageSpec(height=8, width=8)
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 5, 4, 3), np.uint8)
ROWS = np.array([4, 5, 6, 29, 0, 0, 7])


@pytest.fixture
def path(tmp_path):
    """A file of `PIXELS`, and some more."""
    path = tmp_path / "images.pixels"
    path.write_bytes(PIXELS.tobytes() + b"more")
    return path


def open_images(path, rows) -> StoredImages:
    with path.open("rb") as file:
        return StoredImages(PixelFile(file, (5, 4, 3), digests(PIXELS)), rows)


@pytest.fixture(params=["preadv", "one position"])
def images(path, request, monkeypatch):
    """All of `PIXELS` as stored images, with the system's calls and without."""
    if request.param == "one position":
        monkeypatch.delattr(os, "preadv")
        monkeypatch.delattr(os, "posix_fadvise")
    return open_images(path, np.arange(30))


class TestStoredImages:
    @pytest.mark.parametrize(
        "index",
        [
            3,
            -1,
            np.int64(7),
            slice(None),
            slice(2, 20),
            slice(20, 2, -3),
            slice(5, 5),
            ROWS,
            ROWS.tolist(),
            np.arange(30) % 3 == 0,
            np.empty(0, np.int64),
        ],
        ids=str,
    )
    def test_is_indexed_like_an_array(self, images, index):
        """By a number, a slice, an index array and a mask; of a view, too."""
        np.testing.assert_array_equal(PIXELS[index], images[index])
        order = np.random.default_rng(1).permutation(30)
        np.testing.assert_array_equal(PIXELS[order][index], images.take(order, axis=0)[index])

    def test_what_it_gives_is_an_array_of_its_own(self, images):
        """Whoever writes to a batch changes no image."""
        images[:][:] = 0
        np.testing.assert_array_equal(PIXELS, images[:])

    @pytest.mark.parametrize("index", [30, -31, [3, 30]])
    def test_refuses_an_index_beyond_the_end(self, images, index):
        """As an array does, by which a loop over it ends, too."""
        with pytest.raises(IndexError):
            images[index]
        assert 30 == len(list(images))

    @pytest.mark.parametrize("index", [(0, 1), ..., None, "a"])
    def test_refuses_what_is_no_index_of_images(self, images, index):
        """A part of an image is not read."""
        with pytest.raises(IndexError, match=r"Received the index .* an array of indices"):
            images[index]

    def test_becomes_an_array_when_asked(self, images):
        """The shape is that of the array; `np.asarray` reads all."""
        assert PIXELS.shape == images.shape
        np.testing.assert_array_equal(PIXELS, np.asarray(images))
        assert np.float32 == np.asarray(images, np.float32).dtype

    def test_taking_reads_nothing(self, images, path):
        """A view needs no file; the digests come along."""
        path.write_bytes(b"")
        view = images.take(ROWS, axis=0).take(np.array([1, 0]), axis=0)
        np.testing.assert_array_equal(digests(PIXELS[[5, 4]]), view.digests)
        with pytest.raises(DataError, match=r"cannot be read \(it has become shorter\)\. Delete the file"):
            view[:]

    def test_a_changed_pixel_is_seen_when_it_is_read(self, images, path):
        """And no other image suffers."""
        content = bytearray(path.read_bytes())
        content[7 * 60 + 1] ^= 1
        path.write_bytes(content)
        np.testing.assert_array_equal(PIXELS[[3, 9]], images[[3, 9]])
        with pytest.raises(DataError, match=r"cannot be read \(its pixels are not those that were written\)"):
            images[ROWS]

    def test_many_threads_read_at_once(self, images):
        """Nobody gets another's images."""
        wrong = []

        def read(seed: int) -> None:
            order = np.random.default_rng(seed).permutation(30)
            wrong.extend(seed for _ in range(50) if not np.array_equal(PIXELS[order], images[order]))

        threads = [threading.Thread(target=read, args=[seed]) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [] == wrong

    def test_joined(self, images, path):
        """Two parts of one file, and not of two."""
        both = images.take(ROWS, axis=0).joined(images.take(ROWS[::-1], axis=0))
        np.testing.assert_array_equal(PIXELS[np.append(ROWS, ROWS[::-1])], both[:])
        other = open_images(path, ROWS)
        with pytest.raises(ValueError, match="images of two files"):
            images.joined(other)

    def test_neighbours_are_read_in_one_piece(self):
        """Offset in the file, begin and end in the answer."""
        runs = list(pixel_file._runs(np.array([4, 5, 6, 9, 8, 8]), 10))
        assert [(40, 0, 30), (90, 30, 40), (80, 40, 50), (80, 50, 60)] == runs


class TestStoredNames:
    NAMES = ("a/1.png", "ähre/2.png", "", "ż")

    @pytest.fixture
    def names(self):
        return StoredNames(np.frombuffer(pixel_file.as_text(self.NAMES), np.uint8))

    def test_are_a_sequence_of_text(self, names):
        """Number, slice, index array, loop, comparison."""
        assert self.NAMES == tuple(names)
        assert ("ähre/2.png", "ż") == (names[1], names[-1])
        assert names == self.NAMES != names[1:]
        assert self.NAMES[1:3] == tuple(names[1:3])
        assert ("ż", "a/1.png") == tuple(names[np.array([3, 0])])
        assert ("ż", "a/1.png", "ż") == tuple(names[np.array([3, 0])].joined(names[3:]))

    def test_become_the_text_that_they_came_from(self, names):
        """All of them, and some."""
        assert "a/1.png\nähre/2.png\n\nż\n".encode() == pixel_file.as_text(names)
        assert "ż\n".encode() == pixel_file.as_text(names[3:])


class TestLoad:
    """A source above the bound, whole."""

    @pytest.fixture
    def files(self, two_classes):
        return two_classes(20, prefix="train/") | two_classes(5, prefix="test/", start=100)

    @staticmethod
    def load_both(monkeypatch, source, tmp_path, **options):
        """The same source in memory and in its file."""
        small = data.load(source, SPEC, seed=0, cache=tmp_path / "small", **options)
        monkeypatch.setattr(cache, "IN_MEMORY_BYTES", 0)
        return small, data.load(source, SPEC, seed=0, cache=tmp_path / "large", **options)

    @pytest.mark.parametrize("has_splits", [True, False])
    def test_is_the_same_as_in_memory(self, make_zip, files, two_classes, tmp_path, monkeypatch, has_splits):
        """Pixels, labels, names, splits, rejected files, fingerprint."""
        source = make_zip(files | {"train/cat/bad.png": b"x"} if has_splits else two_classes(30))
        small, large = self.load_both(monkeypatch, source, tmp_path)
        assert (small.fingerprint, small.rejected, small.test_indices) == (
            large.fingerprint,
            large.rejected,
            large.test_indices,
        )
        for one, other in ((small.train, large.train), (small.test, large.test)):
            assert isinstance(other.images, StoredImages)
            np.testing.assert_array_equal(one.images, other.images[:])
            np.testing.assert_array_equal(one.labels, other.labels)
            assert other.names == one.names
            assert (one.classes, one.images.shape) == (other.classes, other.images.shape)

    def test_split_takes_and_joins_views(self, make_tree, files, tmp_path, monkeypatch):
        """As those in memory."""
        small, large = self.load_both(monkeypatch, make_tree(files), tmp_path)
        sides = [data.hold_out(one.train.labels, one.groups, fraction=0.2, seed=0) for one in (small, large)]
        assert [list(side) for side in sides[0]] == [list(side) for side in sides[1]]
        (one, other) = (data.join(one.train.take(sides[0][1]), one.test) for one in (small, large))
        np.testing.assert_array_equal(one.images, other.images[:])
        assert other.names == one.names
        assert one.labels.tolist() == other.labels.tolist()

    def test_check_finds_the_same(self, make_tree, files, tmp_path, monkeypatch, encode):
        """Copies, exact and near, are looked for in the file."""
        root = make_tree(files | {"test/cat/copy.png": encode(0), "train/dog/copy.jpg": encode(1, "JPEG")})
        in_memory = data.check(root, SPEC, cache=tmp_path / "small")
        monkeypatch.setattr(cache, "IN_MEMORY_BYTES", 0)
        assert in_memory == data.check(root, SPEC, cache=tmp_path / "large")
        assert 1 == len(in_memory.exact_copies)

    def test_full_disk_leaves_nothing_behind(self, make_tree, files, tmp_path):
        """The sentence says what is needed and where; neither half a file nor a temporary one stays."""
        program = """
import resource, signal, sys
from pathlib import Path
from lince import data
from lince.data import cache
from lince.types import ImageSpec

cache.IN_MEMORY_BYTES = 0
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
data.load(Path(sys.argv[1]), ImageSpec(8, 8), seed=0, cache=Path(sys.argv[2]))
"""
        command = [sys.executable, "-c", program, make_tree(files), tmp_path / "full"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "DataError: 50 images of 8 × 8 need 0.0 GiB in the cache folder" in done.stderr
        assert [] == list((tmp_path / "full" / "images").iterdir())

    def test_interrupted_reading_leaves_nothing_behind(self, make_tree, files, tmp_path, monkeypatch):
        """Ctrl-C in the middle."""
        monkeypatch.setattr(cache, "IN_MEMORY_BYTES", 0)

        def interrupt(done: int, total: int, what: str) -> None:
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            data.load(make_tree(files), SPEC, seed=0, cache=tmp_path / "large", progress=interrupt)
        assert [] == list((tmp_path / "large" / "images").iterdir())

    def test_memory_does_not_grow_with_the_pixels(self, make_zip, tmp_path):
        """300 images of 256 × 256, 59 MB, are decoded, opened and read in batches within a third of that."""
        source = make_zip({f"{label}/{index}.png": index for label in ("cat", "dog") for index in range(150)})
        program = """
import sys, tracemalloc
from pathlib import Path
import numpy as np
from lince import data
from lince.data import cache
from lince.data.sources import image_folder as folder
from lince.types import ImageSpec

cache.IN_MEMORY_BYTES, folder._BLOCK, folder._MAX_THREADS = 0, 8, 2
tracemalloc.start()
train = data.load(Path(sys.argv[1]), ImageSpec(256, 256), seed=0, cache=Path(sys.argv[2])).train
train = train.take(np.random.default_rng(0).permutation(len(train)))
for start in range(0, len(train), 20):
    train.images[start : start + 20]
print(tracemalloc.get_traced_memory()[1])
"""
        command = [sys.executable, "-c", program, source, tmp_path / "large"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert 300 * 256 * 256 > int(done.stdout)
