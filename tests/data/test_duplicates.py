"""Copies are found, other images are not, and neither takes all against all."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lince.data import duplicates
from lince.data.duplicates import difference_hash, exact_groups, first_copies, linked, near_links, near_pairs


def pictures(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """Smooth random pictures, as different from one another as photographs."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 6, 6, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in small])


def as_jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def brighter(image: np.ndarray) -> np.ndarray:
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(1.05))


def as_gif(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).quantize(128).convert("RGB"))


class TestExactGroups:
    def test_groups_equal_pixels(self):
        """In the order of their first; single images are in none."""
        images = pictures(6)
        images[4], images[3], images[5] = images[1], images[0], images[1]
        assert [[0, 3], [1, 4, 5]] == exact_groups(images)

    def test_one_level_is_a_difference(self):
        """Exact means exact."""
        images = pictures(1).repeat(2, axis=0)
        images[1, 5, 5, 1] ^= 1
        assert [] == exact_groups(images)


class TestFirstCopies:
    def test_points_at_the_first(self):
        """At itself where there is no other."""
        images = pictures(6)
        images[4], images[3], images[5] = images[1], images[0], images[1]
        assert [0, 1, 2, 0, 1, 1] == first_copies(images).tolist()

    def test_no_images(self):
        """Nothing is a copy of nothing."""
        assert [] == first_copies(pictures(1)[:0]).tolist()


class TestNearPairs:
    @pytest.mark.parametrize("change", [as_jpeg, brighter, as_gif])
    @pytest.mark.parametrize("side", [32, 96])
    def test_finds_what_was_encoded_again(self, change, side):
        """All of 20 pictures with their altered copies among 300 others, and nothing else."""
        images = pictures(300, side=side)
        copies = np.stack([change(image) for image in images[:20]])
        pairs = near_pairs(np.concatenate([images, copies]))
        assert {(index, 300 + index) for index in range(20)} == set(
            zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
        )
        assert sorted(pairs.distance) == pairs.distance.tolist()

    def test_small_things_in_an_even_sky_are_no_copies(self):
        """The distance alone would call them so: what differs is little, but it is all there is."""
        images = np.full((20, 32, 32, 3), (120, 170, 220), np.uint8)
        for index, image in enumerate(images):
            image[12 + index % 5 : 16 + index % 5, 4 + index : 8 + index] = 40
        pairs = near_pairs(images)
        assert 0 == len([pair for pair in zip(pairs.first, pairs.second, strict=True) if abs(pair[0] - pair[1]) > 1])

    def test_agrees_with_comparing_all(self):
        """The search by bytes finds each pair within 7 bits exactly once."""
        rng = np.random.default_rng(0)
        hashes = rng.integers(0, 2**64, 200, np.uint64)
        for index in range(1, 200, 2):  # copies with 0 to 9 bits turned
            bits = rng.choice(64, index % 20 // 2, replace=False)
            hashes[index] = int(hashes[index - 1]) ^ sum(1 << int(bit) for bit in bits)
        found = [
            pair
            for first, second in duplicates._Candidates(hashes, progress=lambda *step: None)
            for pair in zip(first.tolist(), second.tolist(), strict=True)
        ]
        distance = np.bitwise_count(hashes[:, None] ^ hashes)
        assert {0, 7, 8, 9} <= set(distance[range(0, 200, 2), range(1, 200, 2)].tolist())
        expected = {(i, j) for i in range(200) for j in range(i + 1, 200) if distance[i, j] <= 7}
        assert len(found) == len(set(found))
        assert expected == set(found)

    @pytest.mark.parametrize("limit", ["_MAX_COMPARISONS", "_MAX_LOOKS"])
    def test_search_without_end_is_capped(self, monkeypatch, limit):
        """Pictures of one outline in many shades propose all pairs: the search ends, and says so."""
        monkeypatch.setattr(duplicates, limit, 100)
        monkeypatch.setattr(duplicates, "_BATCH", 50)
        images = pictures(1).repeat(60, axis=0) // 4 + np.arange(0, 180, 3, dtype=np.uint8)[:, None, None, None]
        assert near_pairs(images).is_capped

    def test_film_is_capped(self, monkeypatch):
        """Hundreds of frames that are all alike end at the limit, and say so."""
        monkeypatch.setattr(duplicates, "MAX_PAIRS", 100)
        frames = pictures(1).repeat(300, axis=0)
        frames[np.arange(300), 0, np.arange(300) % 32, 0] = np.arange(300) % 256
        pairs = near_pairs(frames)
        assert (100, True) == (len(pairs.first), pairs.is_capped)

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_to_compare(self, n):
        """No pairs, no error."""
        assert 0 == len(near_pairs(pictures(2)[:n]).first)


class TestNearLinks:
    def test_connects_what_all_pairs_connect(self):
        """Copies of copies, some of them connected from the start."""
        images = np.concatenate(
            [pictures(40)]
            + [np.stack([change(image) for image in pictures(10)]) for change in (as_jpeg, brighter, as_gif)]
        )
        everything, groups = np.ones(70, bool), np.arange(70)
        groups[[3, 43]] = 3
        links, pairs = near_links(images, groups, everything), near_pairs(images)
        connected = linked(groups, links.first, links.second).tolist()
        assert connected == linked(groups, pairs.first, pairs.second).tolist()
        assert 40 == len(set(connected))
        assert (3, 43) not in set(zip(links.first.tolist(), links.second.tolist(), strict=True))

    def test_images_that_are_not_compared(self):
        """They are in no pair; indices are those of all images."""
        images = pictures(20)
        images[[5, 15]] = [as_jpeg(images[4]), as_jpeg(images[14])]
        is_compared = np.ones(20, bool)
        is_compared[[0, 1, 5]] = False
        links = near_links(images, np.arange(20), is_compared)
        assert [(14, 15)] == list(zip(links.first.tolist(), links.second.tolist(), strict=True))

    def test_few_and_many_images_are_compared_alike(self, monkeypatch):
        """Whether what is compared of them is kept or computed anew for each pair."""
        images = np.concatenate([pictures(40, side=96), np.stack([as_jpeg(image) for image in pictures(20, side=96)])])
        kept = near_pairs(images)
        monkeypatch.setattr(duplicates, "_KEPT", 10)
        anew = near_pairs(images)
        assert (kept.first.tolist(), kept.second.tolist()) == (anew.first.tolist(), anew.second.tolist())
        np.testing.assert_allclose(kept.distance, anew.distance, atol=1e-4)


class TestLinked:
    @pytest.mark.parametrize("seed", range(50))
    def test_connected_components(self, seed):
        """As a walk through the neighbours finds them, each numbered by its lowest index."""
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 60))
        first, second = rng.integers(0, n, (2, rng.integers(0, n)))
        neighbours = [{index} for index in range(n)]
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            neighbours[one].add(other)
            neighbours[other].add(one)
        expected = []
        for index in range(n):
            reached, waiting = {index}, [index]
            while waiting:
                waiting += (new := neighbours[waiting.pop()] - reached)
                reached |= new
            expected.append(min(reached))
        assert expected == linked(np.arange(n), first, second).tolist()

    def test_long_chain(self):
        """A film in an unlucky order takes a few rounds, not one for each frame."""
        order = np.random.default_rng(0).permutation(100_000)
        assert [0] * 100_000 == linked(np.arange(100_000), order[1:], order[:-1]).tolist()


class TestDifferenceHash:
    def test_rising_falling_and_even(self):
        """Grey that rises to the right sets all bits; falling and even set none."""
        rising = np.broadcast_to(np.arange(0, 256, 8, np.uint8)[None, :, None], (32, 32, 3))
        images = np.stack([rising, rising[:, ::-1], np.full((32, 32, 3), 99, np.uint8)])
        assert [2**64 - 1, 0, 0] == difference_hash(images).tolist()

    def test_chunks_do_not_matter(self, monkeypatch):
        """Memory is bounded by working in steps, which change nothing."""
        images = pictures(50)
        whole = difference_hash(images)
        monkeypatch.setattr(duplicates, "_WORKING_BYTES", 3 * 32 * 32 * 3 * 4)
        assert whole.tolist() == difference_hash(images).tolist()
