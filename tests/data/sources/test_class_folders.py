"""Which class and split a file belongs to, by its path alone."""

import pytest

from lince.data.sources import folder_structure
from lince.data.sources.base import Entry
from lince.data.sources.class_folders import Layout, arrange
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
        assert "is in no class folder" in layout.rejected[0].reason

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

    @pytest.mark.parametrize(
        "name", ["c\nat", "c\x85at", "c\u2028at", "c\x0bat", "c\x1bat", "caf\udce9", r"caf\udce9", "c\\at"]
    )
    @pytest.mark.parametrize("prefixes", [("",), ("train/", "test/")])
    def test_class_name_that_is_no_line_of_text(self, name, prefixes):
        """The model file could not hold it, which nobody should learn after hours of training."""
        paths = [f"{prefix}{label}/1.jpg" for prefix in prefixes for label in (name, "dog")]
        with pytest.raises(DataError, match=r"^The class folder 'ca?f?\\.*' of 'pictures' has .*rename the folder\.$"):
            lay_out(*paths)


def under(tops: str, folders: str) -> list[str]:
    """A picture in each of the folders of each of the tops."""
    return [f"{top}/{folder}/1.jpg" for top in tops.split() for folder in folders.split()]


def each(tops: str) -> list[str]:
    """A picture right inside of each."""
    return [f"{top}/1.jpg" for top in tops.split()]


SEPARATE = (("cat", "dog"), 2)
ALONE = (("cat", "dog"), None)


class TestSplits:
    @pytest.mark.parametrize("wrapper", ["", "w/", "w/v/"])
    @pytest.mark.parametrize(
        ("train", "test"),
        [
            ("training", "testing"),
            ("seg_train", "seg_test"),
            ("train_images", "TEST-images"),
            ("imagesTrain", "imagesTest"),
            ("trainset", "testset"),
            ("TRAINset", "TESTset"),
            ("segtrain", "segtest"),
            ("train2017", "test2017"),
            ("trainval", "test"),
            ("train", "val"),
            ("train", "valid"),
            ("my-Train_set", "my-Validation_set"),
        ],
    )
    def test_names_with_the_word_for_a_split(self, wrapper, train, test):
        """In any case, with any words around, in any folders around; validation images alone are to test on."""
        layout = lay_out(*under(f"{wrapper}{test} {wrapper}{train}", "dog cat"))
        assert SEPARATE == classes_and_train(layout)
        assert ("cat", "dog", "cat", "dog") == layout.labels
        assert f"'{train}' to train on, '{test}' to test on." == layout.reading

    def test_validation_beside_test_is_trained_on(self):
        """New validation images are drawn from both; it is said."""
        layout = lay_out(*under("train val test", "cat dog"))
        assert (("cat", "dog"), 4) == classes_and_train(layout)
        assert "'train', 'val' to train on (validation images are drawn from all of these), 'test' to test on." == (
            layout.reading
        )

    @pytest.mark.parametrize(
        ("splits", "reading"),
        [
            ("train test", "'CLASS/train' to train on, 'CLASS/test' to test on."),
            ("a_Train a_Val", "'CLASS/a_Train' to train on, 'CLASS/a_Val' to test on."),
        ],
    )
    def test_splits_inside_of_classes(self, splits, reading):
        """They are kept as they are."""
        layout = lay_out(*under("cat dog", splits))
        assert (SEPARATE, reading) == (classes_and_train(layout), layout.reading)

    def test_splits_inside_of_many_classes(self, monkeypatch):
        """The folders are not gone through again for each class: 20,000 classes took three minutes."""
        looked, level = [], folder_structure._Tree.level
        monkeypatch.setattr(
            folder_structure._Tree, "level", lambda tree, wrapper: looked.append(wrapper) or level(tree, wrapper)
        )
        layout = lay_out(*(f"{number}/{split}/1.jpg" for number in range(50) for split in ("train", "test")))
        assert (50, 50) == (len(layout.classes), layout.num_train)
        assert len(looked) < 5

    def test_a_split_in_a_folder_of_its_own_name(self):
        """As Kaggle's archives have it; what is no split beside is not read, and said not to be."""
        files = [f"seg_{split}/seg_{split}/{label}/1.jpg" for split in ("train", "test") for label in ("cat", "dog")]
        layout = lay_out(*files, "seg_pred/seg_pred/1.jpg")
        assert SEPARATE == classes_and_train(layout)
        assert layout.reading.endswith("Not read: 'seg_pred'.")
        assert ["seg_pred/seg_pred/1.jpg"] == [one.path for one in layout.rejected]

    def test_pictures_to_test_on_without_classes(self):
        """What has no class folder is listed, and a test split is drawn."""
        layout = lay_out(*under("train", "cat dog"), *each("test"))
        assert (ALONE, ["test/1.jpg"]) == (classes_and_train(layout), [one.path for one in layout.rejected])

    def test_a_test_split_alone(self):
        """There is nothing to train on, which the reader of it may not mind."""
        assert (("cat", "dog"), 0) == classes_and_train(lay_out(*under("test", "cat dog")))

    def test_several_folders_to_train_on(self):
        """They are one split."""
        assert (("cat", "dog"), 4) == classes_and_train(lay_out(*under("train1 train2 test", "cat dog")))


class TestClasses:
    @pytest.mark.parametrize("inside", ["", "2023 2024"])
    @pytest.mark.parametrize("names", ["trains planes contest valley strain testudo", "cat dog", "contest valley"])
    def test_words_inside_of_words(self, names, inside):
        """And folders of years in each."""
        layout = lay_out(*(under(names, inside) if inside else each(names)))
        assert tuple(sorted(names.split())) == layout.classes

    @pytest.mark.parametrize("wrapper", ["a/b/", "home/user/data/"])
    def test_folders_around_classes(self, wrapper):
        """As `zip -r data.zip /home/user/data` writes them; it is said where the classes are."""
        layout = lay_out(f"{wrapper}cat/1.jpg", f"{wrapper}dog/1.jpg", f"{wrapper}owl/")
        assert ("cat", "dog", "owl") == layout.classes
        assert f"Each folder in {wrapper[:-1]!r} is a class; test images are drawn from each." == layout.reading
        assert ("cat",) == lay_out("w/cat/2023/1.jpg").classes

    @pytest.mark.parametrize(
        "paths",
        [
            each("train bus car"),
            under("train test", "train bus car"),
            under("train", "steam diesel") + under("bus", "city coach") + under("car", "small"),
            under("train bus car", "train test"),
        ],
        ids=["alone", "in splits", "with kinds", "with splits inside"],
    )
    def test_vehicles(self, paths):
        """A train is a class where its neighbours are no splits."""
        assert ("bus", "car", "train") == lay_out(*paths).classes

    def test_a_word_in_the_name_of_one_class(self):
        """The others hold the same folders, but are no splits."""
        assert ("beaker", "flask", "test_tube") == lay_out(*under("test_tube flask beaker", "day night")).classes

    def test_composed_and_decomposed_names_are_one_class(self):
        """In splits and in one folder; the name is the composed one, and it is said that there are two folders."""
        paths = ["train/caf\u00e9/1.jpg", "test/cafe\u0301/1.jpg", *under("train test", "dog")]
        layout = lay_out(*paths)
        assert (("caf\u00e9", "dog"), 2) == classes_and_train(layout)
        layout = lay_out("caf\u00e9/1.jpg", "cafe\u0301/2.jpg", "dog/1.jpg")
        assert ("caf\u00e9", "caf\u00e9", "dog") == layout.labels
        (warning,) = layout.warnings
        assert "Folders named 'caf\u00e9' are written in two forms of Unicode; they are read as one class." == warning

    def test_order_does_not_depend_on_the_form(self):
        """Composed, it comes behind `caff`; decomposed, it would come before."""
        for name in ("caf\u00e9", "cafe\u0301"):
            assert ("caff", "caf\u00e9") == lay_out(f"{name}/1.jpg", "caff/1.jpg").labels


class TestAmbiguous:
    @pytest.mark.parametrize(
        ("paths", "seen"),
        [
            (under("train test extra", "cat dog"), "'extra' holds 'cat', 'dog'"),
            (under("train bus", "2023 2024"), "'train' holds '2023', '2024'; 'bus' holds '2023', '2024'"),
            (under("train", "cat dog") + each("samples"), "'train' holds 'cat', 'dog'; 'samples' holds pictures"),
            (under("seg_train", "cat dog") + under("seg_test", "x y"), "'seg_test' holds 'x', 'y'"),
            (under("segtrain imgtest", "cat dog") + each("preview"), "'segtrain' holds 'cat', 'dog'"),
            (under("my_train my_tests", "cat dog"), "'my_tests' holds 'cat', 'dog'"),
            (under("strain contest", "2023 2024"), "'contest' holds '2023', '2024'"),
        ],
    )
    def test_splits_or_classes(self, paths, seen):
        """What was seen, what was expected, and what to do."""
        with pytest.raises(DataError, match=f"It is unclear whether .*{seen}.*Expected CLASS/… alone, or .*rename"):
            lay_out(*paths)

    @pytest.mark.parametrize("more", [["owl/1.jpg"], ["cat/1.jpg"], ["cat/misc/1.jpg"]])
    def test_splits_in_some_classes(self, more):
        """Half of a rule is none."""
        with pytest.raises(DataError, match=r"It is unclear how 'pictures' is split: 'cat' holds .*Expected the same"):
            lay_out(*under("cat dog", "train test"), *more)

    @pytest.mark.parametrize("splits", ["train test", "train val test"])
    def test_splits_without_classes(self, splits):
        """Their names are not what a network should tell apart."""
        with pytest.raises(DataError, match=r"'test', 'train'.* with pictures directly in them\. Expected class"):
            lay_out(*each(splits))

    def test_nothing_to_train_on(self):
        """Two splits, neither of which is."""
        with pytest.raises(DataError, match=r"holds 'test', 'val' and nothing to train on\. Expected CLASS.* as DATA"):
            lay_out(*under("val test", "cat dog"))

    def test_two_datasets(self):
        """They are not one with the classes A and B."""
        with pytest.raises(
            DataError, match=r"holds 'A', 'B', each with splits in it that hold 'cat', 'dog'\. Expected one"
        ):
            lay_out(*(path for top in "AB" for path in under(f"{top}/train {top}/test", "cat dog")))

    def test_a_dataset_in_two_folders(self):
        """One holds the training images, the other the test images: they are no classes."""
        with pytest.raises(DataError, match=r"holds 'a', 'b', each with splits in it that hold 'cat', 'dog'\."):
            lay_out(*under("a/train b/test", "cat dog"))
