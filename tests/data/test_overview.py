"""A look at a source: how many training images, in how many classes, of what size, and whether in colour."""

import io

import numpy as np
import pytest
from PIL import Image

from lince import data
from lince.errors import DataError


def picture(seed: int, *, mode: str = "RGB", size: tuple[int, int] = (40, 30), kind: str = "PNG", **options) -> bytes:
    """One image of noise."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(file, kind, **options)
    return file.getvalue()


def classes(count: int, *, prefix: str = "", **options) -> dict[str, bytes]:
    """So many images in each of two classes."""
    return {f"{prefix}{label}/{n}.png": picture(n, **options) for label in ("cat", "dog") for n in range(count)}


class TestCounts:
    def test_a_drawn_test_split_is_subtracted(self, make_tree):
        """Of 2 × 10 images a fifth is set aside."""
        found = data.survey(make_tree(classes(10)))
        assert (16, 2, 8) == (found.num_train, found.num_classes, found.per_class)

    def test_the_sources_own_training_images(self, make_zip):
        """Its test images are neither counted nor looked at."""
        files = classes(5, prefix="train/", mode="L") | classes(3, prefix="test/")
        found = data.survey(make_zip(files))
        assert (10, 10, True) == (found.num_train, found.num_sampled, found.is_grey)

    def test_the_sample_is_bounded(self, make_tree):
        """Of 160 images 64 are decoded."""
        assert 64 == data.survey(make_tree(classes(80, size=(8, 8)))).num_sampled


class TestPictures:
    def test_side(self, make_tree):
        """The median of the shorter sides: here of 30, 30, 30 and 600."""
        files = classes(2) | {"cat/0.png": picture(0, size=(900, 600))}
        assert 30 == data.survey(make_tree(files)).side

    @pytest.mark.parametrize("options", [{"mode": "L"}, {"mode": "L", "kind": "JPEG", "quality": 30}])
    def test_grey(self, make_tree, options):
        """One channel, in a format with and without loss."""
        assert data.survey(make_tree(classes(3, **options))).is_grey

    def test_grey_saved_as_colour(self, make_tree):
        """Three channels, equal but for the rounding of a JPEG."""
        grey = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
        file = io.BytesIO()
        Image.fromarray(grey).convert("RGB").save(file, "JPEG", quality=50, subsampling=0)
        assert data.survey(make_tree(classes(3, mode="L") | {"dog/rgb.png": file.getvalue()})).is_grey

    def test_one_in_colour(self, make_tree):
        """Is enough for a source in colour, wherever it is."""
        assert not data.survey(make_tree(classes(3, mode="L") | {"dog/2.png": picture(9)})).is_grey

    def test_a_damaged_file_is_left_out_of_the_sample(self, make_tree):
        """Reading all images lists it; here it only is not seen."""
        found = data.survey(make_tree(classes(3, mode="L") | {"cat/0.png": b"no image"}))
        assert (5, True) == (found.num_sampled, found.is_grey)

    def test_no_picture_that_can_be_read(self, make_tree):
        """Nothing is claimed about it."""
        found = data.survey(make_tree({"cat/0.png": b"no image", "dog/0.png": b"none"}))
        assert (0, 0, False) == (found.num_sampled, found.side, found.is_grey)

    def test_no_classes(self, make_tree):
        """The error is that of reading."""
        with pytest.raises(DataError, match="holds no images in class folders"):
            data.survey(make_tree({"0.png": picture(0)}))
