"""Which class and split a file belongs to, by its path alone."""

import pytest

from lince.data.entry import Entry
from lince.data.layout import Layout, arrange
from lince.errors import DataError


def lay_out(*paths: str) -> Layout:
    """Paths that end with "/" are folders."""
    entries = [Entry(path.rstrip("/"), None, is_folder=path.endswith("/")) for path in paths]
    return arrange(entries, name="pictures")


def classes_and_train(layout: Layout) -> tuple[tuple[str, ...], int | None]:
    return layout.classes, layout.num_train


class TestShapes:
    @pytest.mark.parametrize("wrapper", ["", "wrapper/"])
    def test_classes_alone(self, wrapper):
        """A folder for each class, alone or in one folder."""
        layout = lay_out(f"{wrapper}dog/1.jpg", f"{wrapper}cat/2.jpg")
        assert (("cat", "dog"), None) == classes_and_train(layout)
        assert ("cat", "dog") == layout.labels

    @pytest.mark.parametrize("wrapper", ["", "wrapper/"])
    @pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Train", "TEST")])
    def test_train_and_test_trees(self, wrapper, train, test):
        """The files of the train tree come first."""
        files = [f"{wrapper}{split}/{label}/1.jpg" for split in (test, train) for label in ("dog", "cat")]
        layout = lay_out(*files)
        assert (("cat", "dog"), 2) == classes_and_train(layout)
        folders = [entry.path.removeprefix(wrapper).split("/")[:2] for entry in layout.entries]
        assert [[train, "cat"], [train, "dog"], [test, "cat"], [test, "dog"]] == folders

    @pytest.mark.parametrize("wrapper", ["", "wrapper/"])
    def test_train_tree_alone_is_classes_alone(self, wrapper):
        """Without a test tree, train/ is just a folder around the classes."""
        assert (("cat", "dog"), None) == classes_and_train(
            lay_out(f"{wrapper}train/cat/1.jpg", f"{wrapper}train/dog/1.jpg")
        )

    def test_folders_inside_a_class(self):
        """What lies deeper still belongs to the class."""
        assert ("cat", "cat", "dog") == lay_out("cat/2019/1.jpg", "cat/2020/1.jpg", "dog/1.jpg").labels

    def test_a_class_may_be_called_train(self):
        """A folder with images right inside is a class, whatever its name."""
        assert (("bus", "train"), None) == classes_and_train(lay_out("bus/1.jpg", "train/1.jpg"))

    def test_files_that_are_no_pictures_by_their_name(self):
        """Beside the classes nobody takes them for pictures; inside of one they are listed."""
        layout = lay_out("README.md", "cat/1.jpg", "cat/1.json", "cat/more/2", "dog/1.JPEG", "dog/2.jfif")
        assert (("cat", "dog"), 3) == (layout.classes, len(layout.entries))
        assert ["cat/1.json", "cat/more/2"] == [one.path for one in layout.rejected]
        assert "Its name does not end as an image's (.avif, .bmp, " in layout.rejected[0].reason

    def test_pictures_outside_of_classes_are_listed(self):
        """A preview beside the class folders is left out, and said to be."""
        layout = lay_out("preview.png", "cat/1.jpg", "dog/1.jpg")
        assert ["preview.png"] == [one.path for one in layout.rejected]
        assert "lies in no class folder" in layout.rejected[0].reason

    def test_pictures_beside_classes_in_a_split_are_listed(self):
        """So is one in train/ itself, or beside the wrapping folder."""
        layout = lay_out("a.png", "d/train/b.png", *(f"d/{s}/{c}/1.png" for s in ("train", "test") for c in "xy"))
        assert ["a.png", "d/train/b.png"] == [one.path for one in layout.rejected]
        assert ("x", "y", "x", "y") == layout.labels

    def test_unreadable_folder_is_listed(self):
        """It may hold images, so nobody may think that all were read."""
        entries = [
            Entry("cat/1.jpg", None),
            Entry("dog/1.jpg", None),
            Entry("owl", None, "No permission.", is_folder=True),
        ]
        layout = arrange(entries, name="pictures")
        assert ["owl"] == [one.path for one in layout.rejected]
        assert not layout.is_complete

    def test_pictures_in_no_folder_are_counted(self):
        """Nobody has sorted them yet: how many there are, and where each belongs."""
        message = r"holds no images in class folders, and 2 directly in it.*: put each image into a folder named after"
        with pytest.raises(DataError, match=message):
            lay_out("1.jpg", "2.jpg", "notes.txt", "empty/")

    def test_an_empty_folder_is_a_class_without_images(self):
        """It is found, so that the reader can refuse it."""
        assert ("cat", "dog", "owl") == lay_out("cat/1.jpg", "dog/1.jpg", "owl/").classes

    @pytest.mark.parametrize("file", ["owl/1", "owl/1.xyz", "owl/2019/1.xyz"])
    @pytest.mark.parametrize("wrapper", ["", "wrapper/"])
    def test_a_folder_of_other_files_is_a_class_without_images(self, wrapper, file):
        """A class does not disappear because of how its files are named."""
        layout = lay_out(f"{wrapper}cat/1.jpg", f"{wrapper}dog/1.jpg", wrapper + file)
        assert ("cat", "dog", "owl") == layout.classes
        assert [wrapper + file] == [one.path for one in layout.rejected]

    @pytest.mark.parametrize("wrapper", ["", "wrapper/"])
    @pytest.mark.parametrize("left", ["1.xyz", ""])
    def test_a_test_tree_without_images_is_not_drawn_instead(self, wrapper, left):
        """Both splits are there, so that the reader finds the classes of the second empty."""
        files = [f"{wrapper}train/{label}/1.jpg" for label in ("cat", "dog")]
        layout = lay_out(*files, *(f"{wrapper}test/{label}/{left}" for label in ("cat", "dog")))
        assert (("cat", "dog"), 2) == classes_and_train(layout)
        assert 2 == len(layout.entries)


class TestRefusals:
    @pytest.mark.parametrize("paths", [(), ("1.txt", "2.txt"), ("cat/1.txt",), ("cat/", "dog/")])
    def test_no_images_in_class_folders(self, paths):
        """The message shows both shapes, and the extensions."""
        with pytest.raises(DataError, match=r"holds no images in class folders.*CLASS/….*train/CLASS/….*\.jpg"):
            lay_out(*paths)

    @pytest.mark.parametrize("paths", [("cat/1.jpg", "cat/2.jpg"), ("w/train/cat/1.jpg", "w/test/cat/1.jpg")])
    def test_one_class(self, paths):
        """Nothing can be told apart."""
        with pytest.raises(DataError, match="holds one class only, 'cat'"):
            lay_out(*paths)

    @pytest.mark.parametrize(
        "name", ["c\nat", "c\x85at", "c\u2028at", "c\x0bat", "c\x1bat", "caf\udce9", r"caf\udce9", "c\\at"]
    )
    @pytest.mark.parametrize("prefixes", [("",), ("train/", "test/")])
    def test_class_name_that_is_no_line_of_text(self, name, prefixes):
        """The model file could not hold it, which nobody should learn after hours of training."""
        paths = [f"{prefix}{label}/1.jpg" for prefix in prefixes for label in (name, "dog")]
        with pytest.raises(DataError, match=r"^The class folder 'ca?f?\\.*' of 'pictures' has .*rename the folder\.$"):
            lay_out(*paths)

    @pytest.mark.parametrize(("extra", "has", "lacks"), [("test", "test", "train"), ("train", "train", "test")])
    def test_trees_with_different_classes(self, extra, has, lacks):
        """It is said which class lacks where."""
        paths = [f"{split}/{label}/1.jpg" for split in ("train", "test") for label in ("cat", "dog")]
        with pytest.raises(DataError, match=f"no images of 'owl' in {lacks}/, but has in {has}/"):
            lay_out(*paths, f"{extra}/owl/1.jpg")

    @pytest.mark.parametrize("splits", [("train", "val"), ("train", "test", "val"), ("test",), ("training", "testing")])
    def test_other_splits(self, splits):
        """They are not taken for classes, and not guessed at."""
        with pytest.raises(DataError, match=r"folders of classes named .*Expected 'train' and 'test'"):
            lay_out(*(f"{split}/{label}/1.jpg" for split in splits for label in ("cat", "dog")))
