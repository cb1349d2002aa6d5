"""What `lince data check` finds: copies, copies across train and test, conflicting labels."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from lince import data
from lince.errors import DataError
from lince.types import ImageSpec

SPEC = ImageSpec(height=8, width=8)


@pytest.fixture
def trees(two_classes):
    """Five training and two test images a class."""
    return two_classes(5, prefix="train/") | two_classes(2, prefix="test/", start=100)


class TestCheck:
    def test_finds_copies_leaks_and_conflicts(self, make_tree, trees, encode):
        """One exact copy across splits, one of another class, one near copy within a split."""
        picture = np.asarray(Image.open(io.BytesIO(encode(0))).resize((32, 32), Image.Resampling.BICUBIC))
        files = {
            "train/cat/000.png": png(picture),
            "train/dog/same.png": png(picture),
            "test/cat/000.png": png(picture),
            "test/dog/near.png": png(np.clip(picture.astype(int) + 3, 0, 255)),
            "train/cat/bad.png": b"x",
        }
        report = data.check(make_tree(trees | files))
        assert [["train/cat/000.png", "train/dog/same.png", "test/cat/000.png"]] == [
            [copy.name for copy in group] for group in report.exact_copies
        ]
        (near,) = report.near_copies
        assert ("train/cat/000.png", "test/dog/near.png") == (near.first.name, near.second.name)
        assert near.distance < 0.01
        assert [True, False] == [pair.is_identical for pair in report.across_splits]
        assert [("train/cat/000.png", "test/cat/000.png"), ("train/cat/000.png", "test/dog/near.png")] == [
            (pair.first.name, pair.second.name) for pair in report.across_splits
        ]
        assert 2 == len(report.conflicting_labels)
        assert {"train": {"cat": 5, "dog": 6}, "test": {"cat": 2, "dog": 3}} == report.counts
        assert (1.2, 16, False) == (report.imbalance, report.n, report.near_copies_capped)
        assert ["train/cat/bad.png"] == [one.path for one in report.rejected]
        assert report.drawn_seed is None

    def test_clean_source(self, make_zip, two_classes):
        """Noise has no copies; classes alone are counted together."""
        report = data.check(make_zip(two_classes(30)))
        assert ((), (), (), ()) == (
            report.exact_copies,
            report.near_copies,
            report.across_splits,
            report.conflicting_labels,
        )
        assert ({"all": {"cat": 30, "dog": 30}}, 1.0, 0) == (report.counts, report.imbalance, report.drawn_seed)

    def test_classes_alone_are_checked_as_they_will_be_split(self, make_tree, two_classes):
        """Copies that would be drawn into both splits stay on one side, the same one for `load` and for `check`."""
        files = two_classes(10)
        root = make_tree(files)
        for seed in (0, 1):
            dataset = data.load(root, SPEC, seed=seed)
            kept, held = dataset.train.names[0], dataset.test.names[0]
            copies = make_tree(files | {held: files[kept]}, f"copies-{seed}")
            tested = data.load(copies, SPEC, seed=seed).test.names
            report = data.check(copies, SPEC, seed=seed)
            ((first, second),) = report.exact_copies
            side = "test" if kept in tested else "train"
            assert [(kept, side), (held, side)] == [(first.name, first.split), (second.name, second.split)]
            assert (kept in tested) == (held in tested)
            assert () == report.across_splits

    def test_groups_are_named(self, make_tree, two_classes):
        """How many there are is part of how the source was read; those in both splits are a warning."""
        files = two_classes(4, prefix="train/") | two_classes(2, prefix="test/", start=50)
        files |= {"train/cat/film/1.png": 100, "train/cat/film/2.png": 101, "test/cat/film/3.png": 102}
        report = data.check(make_tree(files), SPEC, groups="folder")
        assert "3 of 15 images are in 1 group of --groups folder, such as 'train/cat/film/1.png' in 'cat/film'." in (
            report.reading
        )
        assert report.warnings[0].startswith("1 group ('cat/film') with 1 test image are in both splits of the source")

    def test_official_archive_has_no_groups(self):
        """Refused before anything is downloaded."""
        with pytest.raises(DataError, match=r"Received --groups folder for 'cifar10'\. Its images are not files"):
            data.check("cifar10", groups="folder")

    def test_near_copies_speak_for_their_exact_groups(self, make_tree, trees, encode):
        """Every test image that is near one of train is named, though only one of its group was compared."""
        picture = np.asarray(Image.open(io.BytesIO(encode(777))).resize((32, 32), Image.Resampling.BICUBIC))
        nearly = png(np.clip(picture.astype(int) + 3, 0, 255))
        files = {
            "train/cat/a.png": png(picture),
            "train/dog/a.png": png(picture),
            "test/cat/near.png": nearly,
            "test/dog/near.png": nearly,
        }
        report = data.check(make_tree(trees | files))
        assert 1 == len(report.near_copies)
        assert [("train/cat/a.png", "test/cat/near.png"), ("train/cat/a.png", "test/dog/near.png")] == [
            (pair.first.name, pair.second.name) for pair in report.across_splits
        ]

    def test_pictures_below_16_pixels(self, make_tree, encode):
        """Are not searched for what looks alike, only for what is identical; larger ones beside them are."""
        picture = np.asarray(Image.open(io.BytesIO(encode(0))).resize((32, 32), Image.Resampling.BICUBIC))
        nearly = np.clip(picture.astype(int) + 3, 0, 255)
        small = [png(np.asarray(Image.fromarray(one.astype(np.uint8)).resize((15, 40)))) for one in (picture, nearly)]
        files = {"cat/1.png": small[0], "cat/2.png": small[1], "dog/1.png": small[0], "dog/2.png": png(picture)}
        report = data.check(make_tree(files | {"dog/3.png": png(nearly)}))
        assert [("dog/2.png", "dog/3.png")] == [(pair.first.name, pair.second.name) for pair in report.near_copies]
        assert (3, 1) == (report.num_too_small, len(report.exact_copies))

    def test_becomes_json(self, make_tree, trees):
        """Everything in it is a JSON type already."""
        report = data.check(make_tree(trees | {"train/cat/bad.png": b"x", "train/cat/copy.png": 0}))
        again = json.loads(json.dumps(asdict(report)))
        assert (report.fingerprint, "train/cat/bad.png") == (again["fingerprint"], again["rejected"][0]["path"])
        assert "train/cat/000.png" == again["exact_copies"][0][0]["name"]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
