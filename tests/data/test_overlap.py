"""What is tested on elsewhere is left out of training and validation, file by file."""

import pytest

from lince import data
from lince.data import cache
from lince.errors import DataError
from lince.types import ImageSpec

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
        sides = data.hold_out(train.images, train.labels, fraction=0.2, seed=0, leave_out=dataset.left_out)
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
        with pytest.raises(DataError, match=r"to leave out of 'cifar10', whose images are no files with names"):
            load("cifar10", leave_out=tmp_path)

    def test_official_archive_cannot_be_left_out(self, tmp_path):
        """Nor told to be a word that was expected."""
        with pytest.raises(DataError, match=r"Received 'cifar10' to leave out, whose images are no files with names\."):
            load(tmp_path, leave_out="cifar10")
