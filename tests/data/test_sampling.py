"""Some images of a split, as many of each class as its share is."""

import numpy as np
import pytest

from lince.data.sampling import sample
from lince.types import Split


def split_of(*labels: int) -> Split:
    """Black images with these labels."""
    images = np.zeros((len(labels), 1, 1, 3), np.uint8)
    return Split(images, np.array(labels), ("a", "b", "c"), tuple(map(str, range(len(labels)))))


def test_the_same_share_of_each_class_in_random_order():
    """30, 20 and 10 images, half of them asked for; sorted by class they would be of no use to a running mean."""
    split = split_of(*[0] * 30, *[1] * 20, *[2] * 10)
    found = sample(split, 30, seed=0)
    assert 30 == len(set(found.tolist()))
    assert [15, 10, 5] == np.bincount(split.labels[found]).tolist()
    assert np.any(np.diff(split.labels[found]) < 0)


@pytest.mark.parametrize("count", [3, 5])
def test_all_where_there_are_no_more(count):
    """Each once."""
    assert {0, 1, 2} == set(sample(split_of(0, 1, 2), count, seed=0).tolist())


def test_classes_of_one_image():
    """No class can spare one: some are drawn all the same."""
    assert 2 == len(set(sample(split_of(0, 1, 2), 2, seed=0).tolist()))


def test_by_seed():
    """The same again, and others for another seed."""
    split = split_of(*[0] * 50, *[1] * 50)
    first, again, other = (sample(split, 20, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())
