"""Proportions of the pictures: as they are seen, from the cache too, and what they mean for --fit."""

import io

import numpy as np
import pytest
from PIL import Image

from lince import data
from lince.data.aspect_ratios import Proportions, measure
from lince.types import ImageSpec


def picture(size: tuple[int, int], *, seed: int, orientation: int = 1) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    return file.getvalue()


def sizes(*pairs: tuple[int, int]) -> np.ndarray:
    return np.array(pairs, np.uint16).reshape(-1, 2)


@pytest.mark.parametrize(
    ("pairs", "suggested"),
    [
        ([(400, 400), (400, 385)], "crop"),
        ([(400, 300)] * 9, "stretch"),
        ([(400, 300), (300, 400)], "pad"),
        ([(400, 100), (100, 100)], "pad"),
        ([(400, 300), *[(400, 400)] * 9], "crop"),
    ],
)
def test_fit_to_think_of(pairs: list, suggested: str):
    """Little cut off: crop; one shape: stretch; several shapes: pad."""
    assert suggested == measure(sizes(*pairs)).suggested


def test_what_a_crop_cuts_off():
    """A picture twice as wide as tall loses half; one of unknown size does not count."""
    found = measure(sizes((200, 100), (100, 100), (0, 0)))
    assert Proportions(2, 1, 0.25, 0.5, 1.0, 2.0, "pad") == found


def test_no_picture_has_no_shape():
    """Nothing known, nothing said."""
    assert Proportions() == measure(sizes())
    assert Proportions() == measure(sizes((0, 0)))


def test_check_reports_them_as_they_are_seen(make_tree):
    """Width and height after turning; the second time from the cache."""
    files = {f"{label}/{index}.png": picture((40, 20), seed=index, orientation=orientation)
             for label, orientation in (("cat", 1), ("dog", 6)) for index in range(3)}  # fmt: skip
    tree = make_tree(files)
    for _ in range(2):
        found = data.check(tree, ImageSpec(8, 8)).proportions
        assert Proportions(6, 6, 0.5, 0.5, 0.5, 2.0, "pad") == found


def test_rejected_files_have_none(make_tree, two_classes):
    """Sizes stay with their pictures when others are left out."""
    files = two_classes(3) | {"cat/000.png": b"nothing", "dog/001.png": picture((30, 10), seed=1)}
    found = data.check(make_tree(files), ImageSpec(8, 8)).proportions
    assert (5, 1, 3.0) == (found.n, found.not_square, found.widest)
