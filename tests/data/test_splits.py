"""Splits keep every class's share and every group together, and repeat for a seed."""

import numpy as np
import pytest

from lince.data.splits import first_of_group, hold_out, join, sample, split_warnings, stratified_split
from lince.errors import DataError
from lince.types import Split

LABELS = np.repeat(np.arange(4), [100, 50, 7, 2])


class TestStratifiedSplit:
    def test_parts_are_disjoint_sorted_and_complete(self):
        """Every image is on exactly one side."""
        kept, held = stratified_split(LABELS, fraction=0.2, seed=0)
        assert list(range(len(LABELS))) == sorted([*kept, *held])
        assert (sorted(kept), sorted(held)) == (list(kept), list(held))
        assert (np.int64, np.int64) == (kept.dtype, held.dtype)

    def test_every_class_gives_its_share(self):
        """A fifth of 100, 50 and 7, rounded, and at least one of 2."""
        _, held = stratified_split(LABELS, fraction=0.2, seed=0)
        assert [20, 10, 1, 1] == np.bincount(LABELS[held], minlength=4).tolist()

    @pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
    def test_both_sides_have_every_class(self, fraction):
        """Two images are enough, however uneven the shares."""
        for side in stratified_split(LABELS, fraction=fraction, seed=3):
            assert {0, 1, 2, 3} == set(LABELS[side].tolist())

    def test_a_single_image_is_kept(self):
        """There is nothing to split in a class of one."""
        kept, held = stratified_split(np.array([0, 0, 1]), fraction=0.5, seed=0)
        assert 2 in kept
        assert len(held) == 1

    def test_same_seed_same_split_and_another_seed_another(self):
        """The split is a function of labels, fraction and seed."""
        first, again, other = (stratified_split(LABELS, fraction=0.2, seed=seed)[1] for seed in (7, 7, 8))
        assert first.tolist() == again.tolist()
        assert first.tolist() != other.tolist()

    def test_more_of_one_class_moves_no_image_of_another(self):
        """Classes are drawn independently."""
        _, held = stratified_split(LABELS, fraction=0.2, seed=0)
        _, held_of_more = stratified_split(np.append(LABELS, [3] * 40), fraction=0.2, seed=0)
        assert held[LABELS[held] < 3].tolist() == held_of_more[held_of_more < 157].tolist()

    def test_pinned(self):
        """A change of the drawn indices would silently change every run: this one is written down."""
        _, held = stratified_split(np.repeat([0, 1], 10), fraction=0.2, seed=42)
        assert [5, 6, 10, 18] == held.tolist()

    def test_no_labels(self):
        """Nothing splits into nothing."""
        assert [[], []] == [side.tolist() for side in stratified_split(np.empty(0, np.int64), fraction=0.2, seed=0)]

    @pytest.mark.parametrize(("fraction", "seed"), [(0, 0), (1, 0), (-0.1, 0), (float("nan"), 0), (0.2, -1)])
    def test_refuses_what_is_out_of_range(self, fraction, seed):
        """The message says what was received and what was expected."""
        with pytest.raises(DataError, match=r"Received (fraction|seed)=.* Expected"):
            stratified_split(LABELS, fraction=fraction, seed=seed)


def drawn_groups(rng: np.random.Generator, n: int) -> np.ndarray:
    """Groups of very different sizes, of one class and of several, in any order, with any numbers."""
    sizes = rng.geometric(rng.uniform(0.02, 1), n)
    return rng.permutation(np.repeat(rng.permutation(n) + 7, sizes)[:n])


class TestGroups:
    @pytest.mark.parametrize("seed", range(100))
    def test_no_group_is_on_both_sides(self, seed):
        """Whatever the groups, the classes and the share are. Every image is on one side, and every class is kept."""
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 200))
        labels, groups = rng.integers(0, rng.integers(1, 9), n), drawn_groups(rng, n)
        kept, held = stratified_split(labels, fraction=rng.uniform(0.01, 0.99), seed=seed, groups=groups)
        assert list(range(n)) == sorted([*kept, *held])
        assert not set(groups[kept].tolist()) & set(groups[held].tolist())
        assert set(labels.tolist()) == set(labels[kept].tolist())

    @pytest.mark.parametrize("seed", range(20))
    def test_groups_of_one_class_leave_the_shares_as_they_are(self, seed):
        """Single images beside the groups fill each class to the wanted number."""
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1, 2], 100)
        groups = np.arange(300)
        for label in range(3):  # half of each class in groups of 5
            groups[label * 100 : label * 100 + 50] = label * 100 + np.arange(50) // 5
        order = rng.permutation(300)
        _, held = stratified_split(labels[order], fraction=0.2, seed=seed, groups=groups[order])
        assert [20, 20, 20] == np.bincount(labels[order][held]).tolist()

    def test_groups_are_as_likely_as_single_images(self):
        """Over many seeds, a group of ten is held out as often as a single image, and not ten times as often."""
        labels, groups = np.zeros(200, np.int64), np.arange(200)
        groups[:100] = np.arange(100) // 10
        shares = []
        for seed in range(200):
            _, held = stratified_split(labels, fraction=0.5, seed=seed, groups=groups)
            shares.append([(held < 100).mean(), (held >= 100).mean()])
        assert np.allclose([0.5, 0.5], np.mean(shares, axis=0), atol=0.03)

    def test_the_smallest_of_large_groups(self):
        """Two films of 30 and 70 frames: one must be tested, and the shorter one is nearer to a fifth."""
        labels, groups = np.zeros(100, np.int64), np.repeat([0, 1], [70, 30])
        _, held = stratified_split(labels, fraction=0.2, seed=0, groups=groups)
        assert list(range(70, 100)) == held.tolist()

    def test_the_only_group_of_a_class_is_kept(self):
        """It is trained on and not tested; the groups of other classes are drawn."""
        labels, groups = np.repeat([0, 1], 10), np.concatenate([np.zeros(10, np.int64), np.arange(10, 20)])
        _, held = stratified_split(labels, fraction=0.2, seed=0, groups=groups)
        assert [0, 2] == np.bincount(labels[held], minlength=2).tolist()

    def test_group_of_several_classes(self):
        """It counts in each of them."""
        labels = np.tile([0, 1], 20)
        groups = np.arange(40) // 4  # two of each class in every group
        for seed in range(10):
            _, held = stratified_split(labels, fraction=0.2, seed=seed, groups=groups)
            assert [4, 4] == np.bincount(labels[held]).tolist()

    def test_single_groups_are_drawn_as_images_are(self):
        """Where each image is its own group, the split is that without groups."""
        found = stratified_split(LABELS, fraction=0.2, seed=3, groups=np.arange(len(LABELS))[::-1] + 5)
        assert stratified_split(LABELS, fraction=0.2, seed=3)[1].tolist() == found[1].tolist()


class TestHoldOut:
    def test_what_is_left_out_is_on_neither_side(self):
        """The rest is split as if it were alone, in the numbers of the whole."""
        left_out = list(range(0, len(LABELS), 3))
        rest = np.delete(np.arange(len(LABELS)), left_out)
        groups = np.arange(len(LABELS))

        kept, held = hold_out(LABELS, groups, fraction=0.2, seed=3, leave_out=left_out)
        expected = stratified_split(LABELS[rest], fraction=0.2, seed=3)

        assert [rest[side].tolist() for side in expected] == [kept.tolist(), held.tolist()]

    def test_groups_of_what_is_left_out_are_too(self):
        """Images that belong to one of them are on no side either."""
        groups = np.arange(len(LABELS))
        groups[[4, 5, 6]] = 4
        kept, held = hold_out(LABELS, groups, fraction=0.2, seed=0, leave_out=[5])
        assert sorted({*range(len(LABELS))} - {4, 5, 6}) == sorted([*kept, *held])


class TestSplitWarnings:
    def warnings(self, labels: list[int], held: list[int]) -> tuple[str, ...]:
        arrays = np.array(labels), np.array(held, np.int64)
        return split_warnings(*arrays, classes=("cat", "dog"), fraction=0.2, purpose="test")

    def test_nothing_to_say(self):
        """A fifth of each class is what was wanted; the only image of a class is never held out."""
        assert () == self.warnings([0] * 10 + [1] * 10, [1, 2, 11, 12])
        assert () == self.warnings([0] * 10 + [1], [1, 2])

    def test_class_of_one_group(self):
        """It is named."""
        (sentence,) = self.warnings([0] * 10 + [1] * 3, [1, 2])
        assert sentence.startswith("No image of 'dog' is held out to test: all images of the class are in one group")

    def test_another_share(self):
        """What was drawn and what was wanted are both said."""
        (sentence,) = self.warnings([0] * 10 + [1] * 10, [*range(1, 6), *range(11, 16)])
        assert sentence.startswith("50% of the images are held out to test, and 20% were wanted: the groups are too")


def test_first_of_group():
    """Any numbers become those of the first images."""
    assert [0, 1, 0, 3, 1] == first_of_group(np.array([9, 2, 9, 5, 2])).tolist()
    assert [] == first_of_group(np.empty(0, np.int64)).tolist()


class TestSample:
    def test_the_same_share_of_each_class_in_random_order(self):
        """30, 20 and 10 images, half of them asked for; sorted by class they would be of no use to a running mean."""
        split = split_of(*[0] * 30, *[1] * 20, *[2] * 10)
        found = sample(split, 30, seed=0)
        assert 30 == len(set(found.tolist()))
        assert [15, 10, 5] == np.bincount(split.labels[found]).tolist()
        assert np.any(np.diff(split.labels[found]) < 0)

    @pytest.mark.parametrize("count", [3, 5])
    def test_all_where_there_are_no_more(self, count):
        """Each once."""
        assert {0, 1, 2} == set(sample(split_of(0, 1, 2), count, seed=0).tolist())

    def test_classes_of_one_image(self):
        """No class can spare one: some are drawn all the same."""
        assert 2 == len(set(sample(split_of(0, 1, 2), 2, seed=0).tolist()))

    def test_by_seed(self):
        """The same again, and others for another seed."""
        split = split_of(*[0] * 50, *[1] * 50)
        first, again, other = (sample(split, 20, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert set(first.tolist()) != set(other.tolist())


def split_of(*labels: int) -> Split:
    """Black images with these labels."""
    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    return Split(images, np.array(labels), ("a", "b", "c"), tuple(map(str, range(len(labels)))))


class TestJoin:
    PIXELS = np.random.default_rng(0).integers(0, 256, (7, 2, 3, 3), np.uint8)

    def joined(self):
        """Seven images as splits of 3, 0 and 4."""
        parts = (self.PIXELS[:3], self.PIXELS[3:3], self.PIXELS[3:])
        return join(*(Split(part, np.arange(len(part)), ("a",), ("n",) * len(part)) for part in parts)).images

    @pytest.mark.parametrize(
        "index",
        [
            5,
            -1,
            slice(None),
            slice(1, 6, 2),
            slice(3, 3),
            np.array([6, 0, 6]),
            np.array([], int),
            np.arange(7) % 2 == 0,
        ],
        ids=str,
    )
    def test_indexes_as_one_array(self, index):
        """Numbers, slices, indices and masks, also after a selection."""
        order = np.array([6, 1, 5, 0, 2, 4, 3])
        images = self.joined()
        np.testing.assert_array_equal(self.PIXELS[index], images[index])
        np.testing.assert_array_equal(self.PIXELS[order][index], images.take(order, axis=0)[index])
        assert self.PIXELS.shape == images.shape

    def test_copies_nothing(self):
        """A change of a part shows: 10,000 photographs would otherwise be in memory twice."""
        parts = [np.zeros((2, 1, 1, 3), np.uint8) for _ in range(2)]
        images = join(*(Split(part, np.zeros(2, int), ("a",), ("n", "m")) for part in parts)).images
        taken = images.take(np.array([3]), axis=0)
        parts[1][1] = 9
        assert (9, 9) == (images[3].max(), taken[0].max())
