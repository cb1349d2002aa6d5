"""Splits keep every class's share and repeat for a seed."""

import numpy as np
import pytest

from lince.data.splits import hold_out, sample, stratified_split
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


class TestHoldOut:
    def test_copies_stay_on_one_side(self):
        """No picture that is held out is kept as well, whatever its label; the others are held out as drawn."""
        images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), dtype=np.uint8)
        images[1::2] = images[::2]  # every picture is there twice, under two labels
        labels = np.tile([0, 1], 50)

        kept, held = hold_out(images, labels, fraction=0.5, seed=0)

        assert list(range(100)) == sorted([*kept, *held])
        assert not {images[index].tobytes() for index in kept} & {images[index].tobytes() for index in held}
        assert 0 < len(held)

    def test_pictures_of_their_own_are_drawn_as_ever(self):
        """Where nothing is there twice, it is the stratified split."""
        images = np.random.default_rng(0).integers(0, 256, (len(LABELS), 4, 4, 3), dtype=np.uint8)

        found = hold_out(images, LABELS, fraction=0.2, seed=3)

        assert [list(side) for side in stratified_split(LABELS, fraction=0.2, seed=3)] == [list(side) for side in found]

    def test_what_is_left_out_is_on_neither_side(self):
        """The rest is split as if it were alone, in the numbers of the whole."""
        images = np.random.default_rng(0).integers(0, 256, (len(LABELS), 4, 4, 3), dtype=np.uint8)
        left_out = list(range(0, len(LABELS), 3))
        rest = np.delete(np.arange(len(LABELS)), left_out)

        kept, held = hold_out(images, LABELS, fraction=0.2, seed=3, leave_out=left_out)
        expected = hold_out(images[rest], LABELS[rest], fraction=0.2, seed=3)

        assert [rest[side].tolist() for side in expected] == [kept.tolist(), held.tolist()]

    def test_copies_of_what_is_left_out_are_too(self):
        """The same pixels under another name are the same picture; nothing else changes sides."""
        images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
        labels = np.repeat([0, 1], 10)
        copied = np.concatenate([images, images[[3, 14]]])
        kept, held = hold_out(copied, np.append(labels, [0, 1]), fraction=0.2, seed=0, leave_out=[20, 21])
        rest = np.delete(np.arange(20), [3, 14])
        expected = hold_out(images[rest], labels[rest], fraction=0.2, seed=0)
        assert [rest[side].tolist() for side in expected] == [kept.tolist(), held.tolist()]


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
