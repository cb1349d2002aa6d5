"""From a source to two splits: what is read, what is left out, what is refused, what is kept for the next start."""

import os
import re

import numpy as np
import pytest

from lince import data
from lince.errors import DataError
from lince.types import ImageLimits, ImageSpec

SPEC = ImageSpec(height=8, width=8)


def load(source, **options):
    return data.load(source, SPEC, **({"seed": 0} | options))


@pytest.fixture
def trees(two_classes):
    """Five training and two test images a class."""
    return two_classes(5, prefix="train/") | two_classes(2, prefix="test/", start=100)


class TestSplits:
    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_train_and_test_trees(self, make, request, trees):
        """Pixels, labels and names belong together, in the order of the names."""
        dataset = load(request.getfixturevalue(make)(trees))
        assert (10, 4) == (len(dataset.train), len(dataset.test))
        assert [0] * 5 + [1] * 5 == dataset.train.labels.tolist()
        assert ("test/cat/000.png", "test/cat/001.png", "test/dog/000.png", "test/dog/001.png") == dataset.test.names
        for split in (dataset.train, dataset.test):
            for image, name in zip(split.images, split.names, strict=True):
                pixels = np.random.default_rng(trees[name]).integers(0, 256, (8, 8, 3), np.uint8)
                assert pixels.tolist() == image.tolist()
        assert ((), ()) == (dataset.test_indices, dataset.rejected)

    def test_classes_alone_are_split_and_written_down(self, make_tree, two_classes):
        """A fifth of each class is set aside; the indices count all images by name."""
        files = two_classes(10)
        dataset = load(make_tree(files))
        assert [8, 8] == np.bincount(dataset.train.labels).tolist()
        assert [2, 2] == np.bincount(dataset.test.labels).tolist()
        assert dataset.test.names == tuple(sorted(files)[index] for index in dataset.test_indices)
        assert sorted(files) == sorted(dataset.train.names + dataset.test.names)

    def test_split_depends_on_the_seed_and_the_content_does_not(self, make_tree, two_classes):
        """Another draw of the same images has the same fingerprint."""
        root = make_tree(two_classes(10))
        first, again, other = load(root), load(root), load(root, seed=1)
        assert first.test_indices == again.test_indices
        assert first.test_indices != other.test_indices
        assert 4 == len(first.test) == len(other.test)
        assert first.fingerprint == other.fingerprint

    def test_folder_and_zip_are_the_same_data(self, make_tree, make_zip, trees):
        """Same paths inside, same fingerprint."""
        assert load(make_tree(trees)).fingerprint == load(make_zip(trees)).fingerprint

    @pytest.mark.parametrize(("wrapper", "has_splits"), [("pictures/", False), ("pictures/", True), ("a/b/", True)])
    def test_wrapped_in_a_folder(self, make_tree, make_zip, two_classes, trees, wrapper, has_splits):
        """`zip -r pictures.zip pictures`: rejected files are wrapped, too, and a note for readers lies beside."""
        files = (trees if has_splits else two_classes(5)) | {("train/" if has_splits else "") + "cat/bad.png": b"?"}
        wrapped = {f"{wrapper}{path}": content for path, content in files.items()} | {"README.txt": b"?"}
        plain, within = load(make_tree(files)), load(make_zip(wrapped))
        assert plain.fingerprint == within.fingerprint == load(make_tree(wrapped, "wrapped")).fingerprint
        assert plain.test_indices == within.test_indices

    def test_folders_that_some_names_begin_with_are_no_wrapper(self, make_tree):
        """Moved into a subfolder, one class is other data."""
        files = {f"{label}/{number}.png": number for label in ("a", "b") for number in range(3)}
        moved = {f"{label}/a/{number}.png": number for label in ("a", "b") for number in range(3)}
        assert load(make_tree(files)).fingerprint != load(make_tree(moved, "moved")).fingerprint

    def test_fingerprint_does_not_follow_the_encoding_of_names(self, make_tree, make_zip, make_raw_zip, two_classes):
        """A folder and its zip, by whichever program, with accents composed and not, flagged and not."""
        composed, decomposed = "caf\u00e9", "cafe\u0301"

        def files(name: str) -> dict[str, int]:
            return (
                {f"{name}/{name}{number}.png": 900 + number for number in range(3)} | two_classes(3) | {f"{name}/x": 1}
            )

        def raw(name: str, encoding: str) -> dict[bytes, int]:
            return {path.encode(encoding): seed for path, seed in files(name).items()}

        sources = [
            make_tree(files(composed)),
            make_tree(files(decomposed), "decomposed"),
            make_zip(files(composed)),
            make_zip(files(decomposed), "decomposed.zip"),
            make_raw_zip(raw(composed, "utf-8")),
            make_raw_zip(raw(decomposed, "utf-8"), "finder.zip"),
            make_raw_zip(raw(composed, "cp437"), "old.zip"),
        ]
        datasets = [load(source) for source in sources]
        assert 1 == len({dataset.fingerprint for dataset in datasets})
        assert 1 == len({dataset.test_indices for dataset in datasets})
        assert {(composed, "cat", "dog")} == {dataset.train.classes for dataset in datasets}

    def test_fingerprint_does_not_follow_the_wording_of_errors(self, make_tree, two_classes, encode):
        """Another version of a library may say otherwise why a file is damaged; which one it is, counts."""
        broken = {"cat/a.png": b"broken", "cat/b.png": encode(999)}
        damaged = broken | {"cat/a.png": encode(1)[:50]}
        other = {"cat/a.png": encode(999), "cat/b.png": b"broken"}
        fingerprints, reasons = [], []
        for number, files in enumerate((broken, damaged, other)):
            dataset = load(make_tree(two_classes(2) | files, str(number)))
            fingerprints.append(dataset.fingerprint)
            reasons.append(dataset.rejected[0].reason)
        assert reasons[0] != reasons[1]
        assert fingerprints[0] == fingerprints[1] != fingerprints[2]

    @pytest.mark.parametrize("change", [{"train/cat/000.png": 999}, {"train/cat/new.png": 0}])
    def test_fingerprint_follows_the_content(self, make_tree, trees, change):
        """One other image or one more is other data."""
        assert load(make_tree(trees)).fingerprint != load(make_tree(trees | change, "other")).fingerprint

    def test_images_are_brought_to_size(self, make_tree, encode):
        """Whatever size they come in, by the one `decode`."""
        files = {f"{label}/{side}.png": encode(side, side=side) for label in "ab" for side in (1, 9, 40)}
        dataset = data.load(make_tree(files), ImageSpec(12, 20), seed=0)
        assert (12, 20, 3) == dataset.train.images.shape[1:]

    def test_every_format(self, make_tree, encode):
        """All five, and none is left out."""
        kinds = {
            "jpg": "JPEG",
            "jpeg": "JPEG",
            "PNG": "PNG",
            "webp": "WEBP",
            "bmp": "BMP",
            "gif": "GIF",
            "jfif": "JPEG",
        }
        files = {
            f"{label}/{end}.{end}": encode(100 * ord(label) + place, kind)
            for label in "ab"
            for place, (end, kind) in enumerate(kinds.items())
        }
        dataset = load(make_tree(files))
        assert (14, ()) == (len(dataset.train) + len(dataset.test), dataset.rejected)

    def test_tells_its_progress(self, make_tree, two_classes):
        """Images, from 0 to all, from the caller's thread."""
        steps = []
        load(make_tree(two_classes(100)), progress=lambda *step: steps.append(step))
        assert [(0, 200, "Reading images"), (200, 200, "Reading images")] == [steps[0], steps[-1]]
        assert sorted(steps) == steps


class TestRejected:
    @pytest.fixture
    def bad(self, make_tree, two_classes, encode):
        """Five good images a class, and one of each kind of bad."""
        root = make_tree(
            two_classes(5)
            | {
                "cat/empty.png": b"",
                "cat/text.jpg": b"this is no picture",
                "dog/cut.jpg": encode(1, "JPEG", side=64)[:2000],
                "dog/scan.tif": b"II*\0",
                "dog/large.png": encode(2, side=100),
                "preview.png": encode(3),
            }
        )
        (root / "cat" / "nowhere.png").symlink_to(root / "gone.png")
        return root

    def test_bad_files_are_listed_and_the_rest_is_used(self, bad):
        """Path and reason of each, sorted; the labels of the others are right."""
        dataset = load(bad, limits=ImageLimits(max_pixels=64 * 64))
        reasons = {one.path: one.reason for one in dataset.rejected}
        assert [
            "cat/empty.png",
            "cat/nowhere.png",
            "cat/text.jpg",
            "dog/cut.jpg",
            "dog/large.png",
            "dog/scan.tif",
            "preview.png",
        ] == list(reasons)
        assert "Received 0 bytes" in reasons["cat/empty.png"]
        assert "No such file" in reasons["cat/nowhere.png"]
        assert "not an image we read" in reasons["cat/text.jpg"]
        assert "damaged" in reasons["dog/cut.jpg"]
        assert "Expected at most 4,096" in reasons["dog/large.png"]
        for split in (dataset.train, dataset.test):
            assert [["cat", "dog"][label] for label in split.labels] == [name[:3] for name in split.names]
        assert 10 == len(dataset.train) + len(dataset.test)

    @pytest.mark.parametrize("start", ["first", "from the cache"])
    def test_strict_refuses(self, bad, start):
        """The count and the first few, whether they are found now or were found before."""
        (bad / "cat" / "nowhere.png").unlink()
        if start == "from the cache":
            load(bad)
        with pytest.raises(
            DataError, match=r"holds 5 files that cannot be used\. .*\ncat/empty.png: Received 0(.*\n){3}…$"
        ):
            load(bad, strict=True)

    def test_strict_accepts_good_files(self, make_tree, two_classes):
        """Nothing rejected, nothing refused."""
        assert 8 == len(load(make_tree(two_classes(5)), strict=True).train)

    def test_class_without_a_usable_image(self, make_tree, two_classes):
        """In either split; the first reason is told."""
        files = two_classes(2, prefix="train/") | {"test/cat/1.png": 1, "test/dog/1.png": b"x", "test/dog/2.png": b""}
        dataset = load(make_tree(files))
        assert (("cat", "dog"), [0, 0, 1, 1], [0]) == (
            dataset.train.classes,
            dataset.train.labels.tolist(),
            dataset.test.labels.tolist(),
        )
        (warning,) = dataset.warnings
        assert re.match(
            "No image in 'test/dog' can be used, so the class is trained on and not tested: all of its 2 files were "
            "rejected, the first because: Received 1 bytes",
            warning,
        )

    @pytest.mark.parametrize("left", [{}, {"train/cow/1.png": b"x"}])
    def test_class_without_an_image_to_train_on(self, make_tree, two_classes, left):
        """It is left out of the test, too: a network cannot answer what it was not shown."""
        files = two_classes(2, prefix="train/") | two_classes(1, prefix="test/", start=50)
        files |= {"test/cow/1.png": 99, "train/cow": None}
        dataset = load(make_tree(files | left))
        assert (("cat", "dog"), ("test/cat/000.png", "test/dog/000.png")) == (dataset.test.classes, dataset.test.names)
        assert [0, 1] == dataset.test.labels.tolist()
        assert dataset.warnings[0].startswith("No image in 'train/cow' can be used: ")

    @pytest.mark.parametrize("start", ["first", "from the cache"])
    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_class_with_an_empty_folder(self, make, request, two_classes, start):
        """It is listed, and the others are used; with strict it is an error."""
        source = request.getfixturevalue(make)(two_classes(5) | {"owl" if make == "make_tree" else "owl/": None})
        if start == "from the cache":
            load(source)
        dataset = load(source)
        assert ("cat", "dog") == dataset.train.classes
        assert dataset.warnings[0].startswith("No image in 'owl' can be used: it holds no file named .avif, ")
        assert ["owl"] == [one.path for one in data.check(source).empty]
        with pytest.raises(DataError, match=r"holds 1 folder that cannot be used\. .*\nowl: It holds no file named"):
            load(source, strict=True)

    @pytest.mark.parametrize(
        ("files", "empty", "classes"),
        [
            ({"val/cow": None}, [("val/cow", "train")], ("cat", "cow", "dog")),
            ({"val/cow/1.png": b"x"}, [("val/cow", "train")], ("cat", "cow", "dog")),
            ({"test2/cow": None}, [("test2/cow", "test")], ("cat", "cow", "dog")),
        ],
    )
    def test_class_with_an_empty_folder_in_one_of_several_splits(self, make_tree, two_classes, files, empty, classes):
        """It is listed although the class has images elsewhere, and nothing is said to be untested."""
        whole = two_classes(2, prefix="train/") | two_classes(1, prefix="test/", start=50)
        whole |= {"train/cow/1.png": 98, "test/cow/1.png": 99, "val/cat/1.png": 100, "test2/cat/1.png": 101}
        source = make_tree(whole | files)
        report = data.check(source)
        assert (empty, classes) == ([(one.path, one.split) for one in report.empty], report.classes)
        assert "tested" not in report.warnings[0]
        with pytest.raises(DataError, match=rf"{empty[0][0]}: It"):
            load(source, strict=True)

    @pytest.mark.parametrize(
        ("files", "path"),
        [
            ({"owl": None}, "owl"),
            ({"owl/train": None, "owl/test": None}, "owl"),
            ({"owl/train/1.png": 98, "owl/train/2.png": 99, "owl/test": None}, "owl/test"),
            ({"owl/notes.txt": b"x"}, "owl"),
        ],
    )
    def test_class_with_an_empty_folder_beside_classes_with_splits_inside(self, make_tree, two_classes, files, path):
        """It is listed as the others are, the outermost folder alone."""
        inside = {
            f"{label}/{split}/1.png": 2 * i + j
            for i, label in enumerate(("cat", "dog"))
            for j, split in enumerate(("train", "test"))
        }
        source = make_tree(inside | files)
        assert [path] == [one.path for one in data.check(source).empty]
        with pytest.raises(DataError, match=rf"{path}: It holds no file"):
            load(source, strict=True)

    def test_nothing_left_to_train_on(self, make_tree, two_classes):
        """One class and an empty folder are one class, and it is said why."""
        with pytest.raises(
            DataError, match=r"holds one class only, 'cat'.* No image in 'dog' can be used: it holds no"
        ):
            load(make_tree({"cat/1.png": 1, "cat/2.png": 2, "dog": None}))

    def test_no_usable_image(self, make_tree):
        """The first reason is told."""
        with pytest.raises(
            DataError, match=r"No image of .* can be used\. All of its 2 files were rejected, the first because"
        ):
            load(make_tree({"cat/1.png": b"x", "dog/1.png": b"y"}))

    def test_class_names_that_are_not_utf8(self, make_tree, two_classes, encode):
        """Two that would look the same are not merged, and none gets as far as a model file."""
        root = make_tree(two_classes(2))
        for name in (b"caf\xe8", b"caf\xe9"):
            (root / os.fsdecode(name)).mkdir()
            (root / os.fsdecode(name) / "1.png").write_bytes(encode(9))
        with pytest.raises(DataError, match=r"The class folder 'caf\\udce8' of .* bytes that are not UTF-8"):
            load(root)

    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_class_of_other_files(self, make, request, two_classes):
        """A class does not disappear because its files are named in a way that is not read."""
        source = request.getfixturevalue(make)(two_classes(2) | {"owl/1": 1, "owl/2.xyz": 2})
        dataset = load(source)
        assert dataset.warnings[0].startswith("No image in 'owl' can be used: it holds no file named .avif, ")
        assert ["owl/1", "owl/2.xyz"] == [one.path for one in dataset.rejected]

    @pytest.mark.parametrize("name", ["missing", "missing.zip", "cifar-10", "a\0b"])
    def test_nothing_there(self, tmp_path, name):
        """The message says what could be there."""
        with pytest.raises(DataError, match=r"Cannot read .*Expected a folder or a .zip of images, or the word 'ci"):
            load(tmp_path / name)

    def test_file_that_is_no_zip(self, make_tree):
        """Such as a picture: what DATA is instead, and what classifies one picture."""
        message = r"a\.png' is a file and no zip archive\. Expected a folder with a folder .*: lince predict\."
        with pytest.raises(DataError, match=message):
            load(make_tree({"a.png": 1}) / "a.png")

    def test_path_named_cifar10_is_a_path(self, tmp_path, monkeypatch, make_tree, two_classes):
        """The word is a word only as a string."""
        root = make_tree(two_classes(5), "cifar10")
        monkeypatch.chdir(tmp_path)
        assert 8 == len(load(root.relative_to(tmp_path)).train)

    def test_images_that_do_not_fit_on_the_disk(self, make_tree, two_classes):
        """How much they need, and what to do, before anything is decoded."""
        with pytest.raises(DataError, match=r"^4 images of 50000000 × 50000000 need [\d,.]+ GiB in .* LINCE_CACHE"):
            data.load(make_tree(two_classes(2)), ImageSpec(50_000_000, 50_000_000), seed=0)


class TestWarnings:
    def test_similar_names(self, make_tree, two_classes):
        """Told by `load` and `check`; they stay two classes."""
        root = make_tree(two_classes(3) | {f"Cat/{number}.png": 90 + number for number in range(3)})
        (sentence,) = load(root).warnings
        assert sentence.startswith("The classes 'Cat', 'cat' differ only in case or blanks, ")
        assert (sentence,) == data.check(root).warnings

    def test_similar_names_in_two_splits(self, make_tree, two_classes):
        """What is lacking is said to be there under another name."""
        files = two_classes(2, prefix="train/") | {"test/Cat/1.png": 8, "test/dog/1.png": 9}
        with pytest.raises(
            DataError, match=r"no images of 'cat' in test/.*The classes 'Cat', 'cat' differ only in case"
        ):
            load(make_tree(files))

    @pytest.mark.parametrize("start", ["first", "from the cache"])
    def test_how_it_was_read(self, make_tree, two_classes, start):
        """Told by `load` and `check`, also when nothing is decoded."""
        root = make_tree(two_classes(5, prefix="seg_train/") | two_classes(2, prefix="seg_test/", start=100))
        if start == "from the cache":
            load(root)
        dataset = load(root)
        assert "'seg_train' to train on, 'seg_test' to test on." == dataset.reading == data.check(root).reading
        assert (10, 4) == (len(dataset.train), len(dataset.test))


class TestToAnswer:
    """Images that nothing is trained on."""

    def test_one_class(self, make_tree):
        """Is enough."""
        dataset = load(make_tree({"cat/1.png": 1}), trains=False)
        assert (("cat",), 1, 0) == (dataset.train.classes, len(dataset.train), len(dataset.test))

    def test_splits_of_other_classes(self, make_tree, two_classes):
        """Those of either are there."""
        dataset = load(make_tree(two_classes(1, prefix="train/") | {"test/owl/1.png": 5}), trains=False)
        assert (("cat", "dog", "owl"), [2]) == (dataset.test.classes, dataset.test.labels.tolist())

    def test_a_test_tree_alone(self, make_tree, two_classes):
        """There is something to test on; to train on it is refused."""
        root = make_tree(two_classes(2, prefix="test/"))
        dataset = load(root, trains=False)
        assert (0, 4) == (len(dataset.train), len(dataset.test))
        with pytest.raises(
            DataError, match=r"has no image in train/ that can be used\. Expected images in both splits"
        ):
            load(root)


class TestSizes:
    """From the smallest source to many classes."""

    def test_nothing_but_copies(self, make_tree):
        """Neither can copies of what is trained on."""
        with pytest.raises(DataError, match=r"no image to spare .* all images of a class are in one group"):
            load(make_tree({f"{label}/{number}.png": 1 for label in ("cat", "dog") for number in range(5)}))

    def test_one_image_in_a_class(self, make_tree, two_classes):
        """It cannot be trained on and tested on; with a test split of the source's own, one in each is enough."""
        files = two_classes(10) | {"owl/1.png": 999}
        with pytest.raises(DataError, match=r"has one image only of 'owl'\. Expected two or more of each class"):
            load(make_tree(files))
        split = {f"{split}/{path}": seed for path, seed in files.items() for split in ("train", "test")}
        assert ("cat", "dog", "owl") == load(make_tree(split, "split")).train.classes

    def test_a_thousand_classes(self, make_zip):
        """In the order of their names, each in train and test, under its own label."""
        classes = [f"class {number:03d}" for number in range(1000)]
        files = {f"{label}/{i}.png": 2 * number + i for number, label in enumerate(classes) for i in range(2)}
        dataset = load(make_zip(files))
        assert tuple(classes) == dataset.train.classes
        assert list(range(1000)) == dataset.train.labels.tolist() == dataset.test.labels.tolist()
        assert classes == [name.split("/")[0] for name in dataset.test.names]

    def test_fifty_images(self, make_tree, two_classes):
        """40 to train on, of which 4 validate, and 10 to test."""
        dataset = load(make_tree(two_classes(25)))
        kept, held = data.hold_out(dataset.train.labels, dataset.groups, fraction=0.1, seed=0)
        assert (36, 4, 10) == (len(kept), len(held), len(dataset.test))
