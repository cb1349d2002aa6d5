"""Which names speak of a split."""

import pytest

from lince.data.sources.split_names import Role, have_one_frame, is_word, may_be_splits, roles


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Train", Role.TRAIN),
        ("training_set", Role.TRAIN),
        ("ABCTrain", Role.TRAIN),
        ("train_val", Role.TRAIN),
        ("X_TEST", Role.TEST),
        ("Test-Data", Role.TEST),
        ("my-Validation_set", Role.VALIDATION),
        ("imagesVal", Role.VALIDATION),
        ("dev", Role.VALIDATION),
        ("food-evaluation", Role.TEST),
    ],
)
def test_names_that_do(name, role):
    """The word stands for itself: by a sign, a digit, a change of case or an attached word."""
    assert {name: role} == roles([name, "cat"])


@pytest.mark.parametrize(
    "name", ["trains", "strain", "contest", "testudo", "latest", "valley", "interval", "invalid", "train_test_split"]
)
def test_names_that_do_not(name):
    """A word inside of a word is another word; of two splits a name speaks of none."""
    assert {} == roles([name, "cat"])


def test_names_that_differ_in_the_word_alone():
    """Together they do, where one is to train on."""
    assert {"segtrain": Role.TRAIN, "segtest": Role.TEST} == roles(["segtrain", "segtest", "strain", "contest"])
    assert {"segtrain2": Role.TRAIN, "segtest_v1": Role.TEST} == roles(["segtrain2", "segtest_v1"])
    assert {} == roles(["train_test", "test_train"])
    assert have_one_frame(["segtrain", "segtest"])
    assert not have_one_frame(["train_station", "test_tube"])


def test_words_inside_of_all_names():
    """Where each has one, it cannot be told; one name without, or one role alone, tells that they are others."""
    assert may_be_splits(["segtrain", "imgtest"])
    assert may_be_splits(["my_train", "my_tests"])
    assert not may_be_splits(["trains", "planes"])
    assert not may_be_splits(["contest", "latest"])
    assert not may_be_splits(["trained", "untrained"])


def test_the_word_alone():
    """In any case."""
    assert [True, True, False] == list(map(is_word, ("VAL", "train", "train2")))
