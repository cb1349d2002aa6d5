"""Images that are tested on, too: left out by their names, or found by their pixels."""

import numpy as np
import pytest
from tests.data.test_duplicates import as_jpeg, pictures

from lince import data
from lince.data import cache, overlap
from lince.errors import DataError
from lince.types import ImageSpec, Split

SPEC = ImageSpec(height=8, width=8)


def load(source, **options):
    return data.load(source, SPEC, seed=0, **options)


@pytest.fixture
def trees(two_classes):
    """Ten training and two test images a class."""
    return two_classes(10, prefix="train/") | two_classes(2, prefix="test/", start=100)


class TestLeaveOut:
    @pytest.mark.parametrize("bound", [cache.IN_MEMORY_BYTES, 0])
    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_same_class_and_name_whatever_the_suffix(self, make, request, make_tree, trees, encode, bound, monkeypatch):
        """Images of the training part alone, of the same class, by the name of the file; folders and wrappers apart."""
        monkeypatch.setattr(cache, "IN_MEMORY_BYTES", bound)
        other = {
            "originals/cat/003.bmp": encode(1, "BMP"),
            "originals/cat/deeper/005.png": encode(2),
            "originals/dog/new.png": encode(3),
            "originals/dog/000.jpeg": encode(4, "JPEG"),
        }
        dataset = load(make_tree(trees), leave_out=request.getfixturevalue(make)(other, "other.zip"))
        assert ["train/cat/003.png", "train/cat/005.png", "train/dog/000.png"] == [
            dataset.train.names[index] for index in dataset.left_out
        ]
        assert (20, 4) == (len(dataset.train), len(dataset.test))

    def test_accents_in_any_form(self, make_tree, make_raw_zip, two_classes):
        """Composed here, decomposed in Finder's zip there."""
        root = make_tree(two_classes(5) | {f"caf\u00e9/\u00e9{number}.png": 50 + number for number in range(10)})
        other = make_raw_zip({f"cafe\u0301/e\u0301{number}.png".encode(): number for number in range(5)})
        assert 5 > len(load(root, leave_out=other).left_out) > 0

    def test_nothing_else_changes(self, make_tree, trees):
        """Neither splits nor fingerprint: a run that wrote its indices down goes on without the other source."""
        root = make_tree(trees)
        plain, without = load(root), load(root, leave_out=make_tree({"cat/001.png": 1, "dog/001.png": 2}, "other"))
        assert plain.train.names == without.train.names
        assert (plain.fingerprint, ()) == (without.fingerprint, plain.left_out)

    def test_a_drawn_test_split_is_not_searched(self, make_tree, two_classes):
        """What was set aside for the test is not trained on anyway."""
        root = make_tree(two_classes(10))
        dataset = load(root)
        other = dict.fromkeys((*dataset.test.names, *dataset.train.names[::5]), 1)
        without = load(root, leave_out=make_tree(other, "other"))
        assert dataset.train.names[::5] == tuple(without.train.names[index] for index in without.left_out)

    def test_neither_trained_nor_validated_on(self, make_tree, two_classes):
        """With `hold_out` they are on no side."""
        other = make_tree(
            {f"{label}/00{number}.png": number for label in ("cat", "dog") for number in range(5)}, "other"
        )
        dataset = load(make_tree(two_classes(20, prefix="train/") | two_classes(1, prefix="test/")), leave_out=other)
        train = dataset.train
        sides = data.hold_out(train.labels, dataset.groups, fraction=0.2, seed=0, leave_out=dataset.left_out)
        assert (24, 6) == tuple(map(len, sides))
        assert not {*dataset.left_out} & {*sides[0].tolist(), *sides[1].tolist()}

    def test_nothing_in_common_is_an_error(self, make_tree, trees):
        """Both kinds of names are shown."""
        message = r"No training image of .* \(such as 'cat/000'\) is named as one of .* \(such as 'cat/elsewhere'\)"
        with pytest.raises(DataError, match=message):
            load(make_tree(trees), leave_out=make_tree({"cat/elsewhere.png": 1, "owl/000.png": 2}, "other"))

    def test_a_class_that_is_left_out_whole_is_an_error(self, make_tree, trees, two_classes):
        """It is named."""
        with pytest.raises(DataError, match=r"leaves no training image of 'cat', 'dog'\. Expected some of each"):
            load(make_tree(trees), leave_out=make_tree(two_classes(10), "other"))

    def test_source_that_is_not_there(self, make_tree, trees, tmp_path):
        """The usual sentence."""
        with pytest.raises(DataError, match=r"Cannot read .*gone"):
            load(make_tree(trees), leave_out=tmp_path / "gone")

    def test_official_archive_has_no_names(self, tmp_path):
        """Refused before anything is downloaded."""
        with pytest.raises(DataError, match=r"to leave out of 'cifar10'\. Its images are not files with names"):
            load("cifar10", leave_out=tmp_path)

    def test_official_archive_cannot_be_left_out(self, tmp_path):
        """Nor told to be a word that was expected."""
        with pytest.raises(DataError, match=r"Received 'cifar10' to leave out\. Its images are not files with names\."):
            load(tmp_path, leave_out="cifar10")


class TestLeaked:
    def test_identical_and_look_alike(self):
        """Each test image is one or the other or neither, whichever of the other splits holds its copy."""
        train, validation, test = np.split(pictures(60), [20, 40])
        test = test.copy()
        test[0], test[1] = train[3], validation[4]
        test[2], test[3] = as_jpeg(train[5]), as_jpeg(validation[6])
        test[4] = test[2]  # a copy of a near copy
        found = data.leaked(split(test), train=split(train), validation=split(validation))
        assert [0, 1] == np.flatnonzero(found.identical).tolist()
        assert [2, 3, 4] == np.flatnonzero(found.look_alike).tolist()
        assert [3, 20 + 4, 5, 20 + 6, 5, -1] == found.copies[:6].tolist()

    def test_copies_inside_a_split_are_none(self):
        """Only across splits is an accuracy raised."""
        train, test = pictures(20), pictures(20, seed=1)
        train[1], test[1], test[2] = train[0], test[0], as_jpeg(test[5])
        found = data.leaked(split(test), train=split(train[:10]), validation=split(train[10:]))
        assert not found.identical.any()
        assert not found.look_alike.any()

    def test_identical_wins(self):
        """An image that is in training and looks like another one there is identical."""
        train = pictures(10)
        train[1] = as_jpeg(train[0])
        found = data.leaked(split(train[:1]), train=split(train[:5]), validation=split(train[5:]))
        assert ([True], [False], [0]) == (found.identical.tolist(), found.look_alike.tolist(), found.copies.tolist())

    def test_small_pictures_look_like_nothing(self):
        """Below 16 pixels a side only identical ones are told: all 8 × 8 digits of a kind look alike when enlarged."""
        train, test = np.split(pictures(20), 2)
        test = test.copy()
        test[0], test[1] = train[0], as_jpeg(train[1])
        for side, look_alike in ((8, []), (16, [1]), (0, [1])):
            found = data.leaked(split(test, side), train=split(train[:5], side), validation=split(train[5:], side))
            assert [0] == np.flatnonzero(found.identical).tolist()
            assert look_alike == np.flatnonzero(found.look_alike).tolist()

    @pytest.mark.parametrize(("most", "is_found"), [(60, True), (59, False)])
    def test_too_many_are_not_searched(self, monkeypatch, most, is_found):
        """It would take minutes: None then says that nothing was looked for."""
        monkeypatch.setattr(overlap, "_MAX_SEARCHED", most)
        splits = [split(part) for part in np.split(pictures(60), 3)]
        assert is_found == (data.leaked(splits[0], train=splits[1], validation=splits[2]) is not None)


def split(images: np.ndarray, side: int = 32) -> Split:
    names, sizes = tuple(map(str, range(len(images)))), np.full((len(images), 2), side, np.uint16)
    return Split(images, np.zeros(len(images), np.int64), ("a", "b"), names, sizes)
