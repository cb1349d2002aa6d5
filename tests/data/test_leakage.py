"""Test images that are among the others are found, the same as `data check` finds."""

import numpy as np
import pytest
from tests.data.test_duplicates import as_jpeg, pictures

from lince import data
from lince.data import leakage, loading
from lince.types import Split


def split(images: np.ndarray, side: int = 32) -> Split:
    names, sizes = tuple(map(str, range(len(images)))), np.full((len(images), 2), side, np.uint16)
    return Split(images, np.zeros(len(images), np.int64), ("a", "b"), names, sizes)


def test_identical_and_look_alike():
    """Each test image is one or the other or neither, whichever of the other splits holds its copy."""
    train, validation, test = np.split(pictures(60), [20, 40])
    test = test.copy()
    test[0], test[1] = train[3], validation[4]
    test[2], test[3] = as_jpeg(train[5]), as_jpeg(validation[6])
    test[4] = test[2]  # a copy of a near copy
    found = data.leaked(split(test), train=split(train), validation=split(validation))
    assert [0, 1] == np.flatnonzero(found.identical).tolist()
    assert [2, 3, 4] == np.flatnonzero(found.look_alike).tolist()


def test_copies_inside_a_split_are_none():
    """Only across splits is an accuracy raised."""
    train, test = pictures(20), pictures(20, seed=1)
    train[1], test[1], test[2] = train[0], test[0], as_jpeg(test[5])
    found = leakage.find(split(np.concatenate([train, test])), num_test=20)
    assert not found.identical.any()
    assert not found.look_alike.any()


def test_identical_wins():
    """An image that is in training and looks like another one there is identical."""
    train = pictures(10)
    train[1] = as_jpeg(train[0])
    found = leakage.find(split(np.concatenate([train, train[:1]])), num_test=1)
    assert ([True], [False]) == (found.identical.tolist(), found.look_alike.tolist())


def test_small_pictures_look_like_nothing():
    """Below 16 pixels a side only identical ones are told: all 8 × 8 digits of a kind look alike when enlarged."""
    train, test = np.split(pictures(20), 2)
    test = test.copy()
    test[0], test[1] = train[0], as_jpeg(train[1])
    for side, look_alike in ((8, []), (16, [1]), (0, [1])):
        found = data.leaked(split(test, side), train=split(train[:5], side), validation=split(train[5:], side))
        assert [0] == np.flatnonzero(found.identical).tolist()
        assert look_alike == np.flatnonzero(found.look_alike).tolist()


@pytest.mark.parametrize(("most", "is_found"), [(60, True), (59, False)])
def test_too_many_are_not_searched(monkeypatch, most, is_found):
    """It would take minutes: None then says that nothing was looked for."""
    monkeypatch.setattr(loading, "_MOST_LOOKED_FOR_LEAKAGE", most)
    splits = [split(part) for part in np.split(pictures(60), 3)]
    assert is_found == (data.leaked(splits[0], train=splits[1], validation=splits[2]) is not None)
