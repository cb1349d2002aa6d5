"""The second start decodes nothing, and a cache file that is broken or of another source is never used."""

import io
import shutil

import numpy as np
import pytest

from lince import data
from lince.data import cache
from lince.errors import DataError
from lince.types import ImageLimits, ImageSpec

SPEC = ImageSpec(height=8, width=8)


def load(source, **options):
    return data.load(source, SPEC, **({"seed": 0} | options))


@pytest.fixture
def stored(monkeypatch):
    """Even the smallest source stays in its cache file."""
    monkeypatch.setattr(cache, "IN_MEMORY_BYTES", 0)


@pytest.fixture(params=["in memory", "stored"])
def size(request):
    """Both ways in which a source is kept."""
    if request.param == "stored":
        request.getfixturevalue("stored")
    return request.param


@pytest.mark.usefixtures("size")
class TestCache:
    @staticmethod
    def steps(source, **options) -> int:
        """How often progress was told: 0 when nothing was decoded."""
        told = []
        load(source, progress=lambda *step: told.append(step), **options)
        return len(told)

    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_second_start_decodes_nothing(self, make, request, two_classes):
        """And gives the very same data."""
        source = request.getfixturevalue(make)(two_classes(5) | {"cat/bad.png": b"x"})
        first = load(source)
        assert self.steps(source) == 0
        second = load(source)
        assert first.train.images[:].tolist() == second.train.images[:].tolist()
        assert first.train.labels.tolist() == second.train.labels.tolist()
        assert (first.train.names, first.train.classes) == (second.train.names, second.train.classes)
        assert (first.fingerprint, first.rejected, first.test_indices) == (
            second.fingerprint,
            second.rejected,
            second.test_indices,
        )
        assert (first.train.images.dtype, first.train.labels.dtype) == (np.uint8, np.int64)
        assert (second.train.images.dtype, second.train.labels.dtype) == (np.uint8, np.int64)

    def test_a_change_is_seen_and_replaces_the_old_file(self, make_tree, two_classes, cache_folder, encode):
        """A source keeps one cache file, however often it changes."""
        root = make_tree(two_classes(5))
        before = load(root)
        (root / "cat" / "000.png").write_bytes(encode(777))
        after = load(root)
        assert before.fingerprint != after.fingerprint
        assert 1 == len(list((cache_folder / "images").iterdir()))

    def test_size_rule_and_limits_have_files_of_their_own(self, make_tree, two_classes, cache_folder):
        """Going back and forth between two sizes decodes each once."""
        root = make_tree(two_classes(5))
        for _ in range(2):
            for spec in (SPEC, ImageSpec(9, 9), ImageSpec(9, 9, "stretch")):
                data.load(root, spec, seed=0)
            load(root, limits=ImageLimits(max_pixels=10_000))
        assert 4 == len(list((cache_folder / "images").iterdir()))

    @pytest.mark.parametrize(
        "damage", ["truncated", "in front", "one pixel", "one digest", "empty", "text", "header", "pickle"]
    )
    def test_broken_file_is_ignored_and_made_again(self, make_tree, two_classes, cache_folder, caplog, damage, size):
        """Whatever happened to it, the data are right and the next start is fast again."""
        root = make_tree(two_classes(5))
        first = load(root)
        (path,) = (cache_folder / "images").iterdir()
        content = bytearray(path.read_bytes())
        if damage == "one pixel":
            content[100] ^= 1
        elif damage == "one digest":
            content[-100] ^= 1
        elif damage == "header":
            content = content.replace(b"|u1", b"|O8")
        elif damage == "pickle":
            file = io.BytesIO()
            np.save(file, np.array([{"key": 1}], object), allow_pickle=True)
            content[-16 - len(file.getvalue()) : -16] = file.getvalue()
            content[-8:] = (len(content) - 16 - len(file.getvalue())).to_bytes(8, "little")
        else:
            content = {"truncated": content[:-50], "in front": content[50:], "empty": b"", "text": b"hello"}[damage]
        path.write_bytes(content)
        if (size, damage) == ("stored", "one pixel"):  # seen only when it is read, in either split
            with pytest.raises(DataError, match="pixels are not those that were written"):
                [split.images[:] for split in (load(root).train, load(root).test)]
            return
        assert first.fingerprint == load(root).fingerprint
        assert "is broken" in caplog.text
        assert self.steps(root) == 0

    def test_file_of_another_key_is_no_error(self, make_tree, two_classes, cache_folder, caplog):
        """Neither is one with the right form for another source."""
        one, other = make_tree(two_classes(5)), make_tree(two_classes(5, start=50), "other")
        load(one)
        (first,) = (cache_folder / "images").iterdir()
        load(other)
        (second,) = set((cache_folder / "images").iterdir()) - {first}
        shutil.copy(first, second)
        assert self.steps(other) > 0
        assert "" == caplog.text

    def test_cache_that_cannot_be_written(self, make_tree, two_classes, tmp_path, caplog, size):
        """A folder that is a file: said once, and training goes on, where the images have another place."""
        (tmp_path / "taken").write_bytes(b"")
        root = make_tree(two_classes(5))
        if size == "stored":
            with pytest.raises(DataError, match=r"10 images of 8 × 8 need 0.0 GiB in .*Make room, set LINCE_CACHE"):
                load(root, cache=tmp_path / "taken")
            return
        assert 8 == len(load(root, cache=tmp_path / "taken").train)
        assert "cannot be cached" in caplog.text

    def test_file_that_could_not_be_reached_is_looked_for_again(self, make_tree, two_classes, encode):
        """A link to a disk that was away says nothing about the picture: the next start tries again."""
        root = make_tree(two_classes(5))
        (root / "cat" / "away.png").symlink_to(root.parent / "disk.png")
        assert ["cat/away.png"] == [one.path for one in load(root).rejected]
        assert self.steps(root) > 0
        (root.parent / "disk.png").write_bytes(encode(5))
        assert () == load(root).rejected

    def test_default_folder_is_the_users(self, monkeypatch, tmp_path):
        """Without LINCE_CACHE, where the operating system keeps caches."""
        monkeypatch.delenv("LINCE_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert "lince" in str(cache.default_folder())
