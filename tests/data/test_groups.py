"""Images that belong together are found: copies, look-alikes of look-alikes, and what the user names."""

import numpy as np
import pytest
from tests.data.test_duplicates import as_jpeg, brighter, pictures
from tests.data.test_similarity import cropped, photograph

from lince.data import duplicates, groups
from lince.data.groups import find_groups
from lince.data.splits import stratified_split
from lince.types import Split


def split_of(images: np.ndarray, labels: list[int] | None = None, side: int = 32) -> Split:
    sizes = np.full((len(images), 2), side, np.uint16)
    found = np.zeros(len(images), np.int64) if labels is None else np.array(labels)
    return Split(images, found, ("a", "b"), tuple(map(str, range(len(images)))), sizes)


def burst(seed: int) -> list[np.ndarray]:
    """Five pictures of one thing: encoded again, brighter, shifted a little, cropped a little."""
    whole = photograph(seed)
    views = [whole, cropped(whole, 0.02, 0, 0.5), cropped(whole, 0.02, 1, 0.5)]
    first, left, right = (np.asarray(view.resize((32, 32))) for view in views)
    return [first, as_jpeg(first), brighter(first), left, right]


class TestFindGroups:
    def test_bursts(self):
        """Each is a group, of one class or of two, among pictures that are none."""
        images = np.stack([*(image for seed in range(8) for image in burst(seed)), *pictures(60, seed=3)])
        labels = [*[0] * 20, *[0, 1] * 10, *[0, 1] * 30]
        found = find_groups(split_of(images, labels))
        assert [*np.repeat(np.arange(0, 40, 5), 5).tolist(), *range(40, 100)] == found.groups.tolist()
        assert () == found.warnings

    def test_frames_that_change_slowly(self):
        """The first frame and the last do not look alike, but each does look like the next one."""
        one, other = pictures(2).astype(float)
        frames = np.stack([one + (other - one) * step / 40 for step in range(41)]).astype(np.uint8)
        images = np.concatenate([frames, pictures(60, seed=5)])
        assert 0 == len(duplicates.near_pairs(frames[[0, 40]]).first)
        assert [0] * 41 == find_groups(split_of(images)).groups[:41].tolist()

    def test_film_needs_few_comparisons(self, monkeypatch):
        """300 frames have 44,850 pairs; those that are connected already are not compared."""
        monkeypatch.setattr(duplicates, "_MAX_LOOKS", 2000)
        monkeypatch.setattr(duplicates, "_BATCH", 500)
        frames = pictures(1).repeat(300, axis=0)
        frames[np.arange(300), 0, np.arange(300) % 32, 0] = np.arange(300) % 256
        found = find_groups(split_of(np.concatenate([frames, pictures(310, seed=5)])))
        assert [0] * 300 == found.groups[:300].tolist()
        assert () == found.warnings

    def test_copies_and_named_groups_join(self):
        """A named group that holds a copy, and one that holds a look-alike, are one group with them."""
        images = pictures(40)
        images[10], images[20] = images[0], as_jpeg(images[1])
        named = np.arange(40)
        named[[10, 11]], named[[20, 21]] = 10, 20
        found = find_groups(split_of(images), named).groups
        assert ([0, 10, 11], [1, 20, 21]) == (np.flatnonzero(found == 0).tolist(), np.flatnonzero(found == 1).tolist())
        assert 36 == len(set(found.tolist()))

    def test_small_pictures_look_like_nothing(self):
        """As everywhere, below 16 pixels a side only identical ones are told."""
        images = pictures(20)
        images[5], images[6] = images[0], as_jpeg(images[1])
        assert [5] == np.flatnonzero(find_groups(split_of(images, side=15)).groups != np.arange(20)).tolist()

    def test_where_everything_looks_alike(self):
        """Look-alikes join at most half of a class, and it is said; so there is something to hold out."""
        images = (pictures(1).repeat(40, axis=0) // 4 * 3 + np.arange(40, dtype=np.uint8)[:, None, None, None]) & 0xFF
        labels = np.repeat([0, 1], 20)
        found = find_groups(split_of(images, labels.tolist()))
        for label in (0, 1):
            assert 10 >= np.bincount(found.groups[labels == label]).max()
        (sentence,) = found.warnings
        assert sentence.startswith("40 images look alike, each like another, and are more than half of a class.")
        assert all(map(len, stratified_split(labels, fraction=0.2, seed=0, groups=found.groups)))

    def test_closest_look_alikes_stay_together(self):
        """Where a chain is divided, its weakest links give way."""
        one, other = pictures(2).astype(float)
        places = [0, 1, 2, 3, 6, 7, 8, 9]  # on the way from one picture to another, in fortieths
        images = np.stack([one + (other - one) * place / 40 for place in places]).astype(np.uint8)
        found = find_groups(split_of(images))
        assert [0, 0, 0, 0, 4, 4, 4, 4] == found.groups.tolist()
        assert 1 == len(found.warnings)

    def test_named_groups_are_never_divided(self):
        """Half of a class is the bound for evidence alone, not for what the user says."""
        named = np.zeros(10, np.int64)
        found = find_groups(split_of(pictures(10)), named)
        assert ([0] * 10, ()) == (found.groups.tolist(), found.warnings)

    def test_too_many_are_not_searched(self, monkeypatch):
        """Identical ones and named ones are still together, and it is said."""
        monkeypatch.setattr(groups, "MAX_SEARCHED", 19)
        images = pictures(20)
        images[5], images[6] = images[0], as_jpeg(images[1])
        found = find_groups(split_of(images))
        assert [5] == np.flatnonzero(found.groups != np.arange(20)).tolist()
        assert found.warnings[0].startswith("20 images are too many to search for look-alikes (at most 19): near")

    def test_search_that_is_stopped(self, monkeypatch):
        """It is said."""
        monkeypatch.setattr(duplicates, "_MAX_COMPARISONS", 10)
        found = find_groups(
            split_of(pictures(1).repeat(60, axis=0) + np.arange(60, dtype=np.uint8)[:, None, None, None])
        )
        assert "Very many images look alike, and the search for them was stopped" in found.warnings[0]

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_to_compare(self, n):
        """Each is its own group."""
        assert list(range(n)) == find_groups(split_of(pictures(1)[:n])).groups.tolist()

    @pytest.mark.parametrize("seed", range(5))
    def test_no_look_alike_is_across_a_split(self, seed):
        """Of random bursts and copies in random order, none is on both sides, as a search of all pairs confirms."""
        rng = np.random.default_rng(seed)
        images = pictures(120, seed=seed)
        for index in rng.permutation(120)[:40]:
            source = images[rng.integers(120)]
            images[index] = rng.choice([lambda image: image, as_jpeg, brighter])(source)
        labels = rng.integers(0, 2, 120)
        found = find_groups(split_of(images, labels.tolist()))
        assert () == found.warnings
        _, held = stratified_split(labels, fraction=0.3, seed=seed, groups=found.groups)
        is_held = np.isin(np.arange(120), held)
        pairs = duplicates.near_pairs(images)
        assert 10 < len(pairs.first)
        assert (is_held[pairs.first] == is_held[pairs.second]).all()
