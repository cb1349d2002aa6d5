"""What was done to a copy is undone before it is compared; what differs in one place is not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from lince.data.duplicates import _MAX_DISTANCE
from lince.data.similarity import Pictures, differences, pictures


def photograph(seed: int, side: int = 128) -> Image.Image:
    """Blobs of many sizes, as smooth and as rich as a photograph."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 3))
    for cells, weight in ((3, 90), (6, 60), (12, 40), (24, 20)):
        part = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        picture += weight / 255 * np.asarray(part.resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image, share: float, left: float, top: float) -> Image.Image:
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    x, y = round((image.width - width) * left), round((image.height - height) * top)
    return image.crop((x, y, x + width, y + height))


CHANGES = {
    "JPEG 50": lambda image: saved(image, "JPEG", quality=50),
    "WebP 60": lambda image: saved(image, "WEBP", quality=60),
    "GIF": lambda image: saved(image.quantize(256), "GIF"),
    "half": lambda image: image.resize((64, 64)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "paler": lambda image: ImageEnhance.Color(image).enhance(0.7),
    "cropped": lambda image: cropped(image, 0.04, 0.5, 0.5),
    "cropped at a corner": lambda image: cropped(image, 0.03, 0, 1),
    "cropped and JPEG": lambda image: saved(cropped(image, 0.03, 0.2, 0.8), "JPEG", quality=75),
}


def compared(images: list[Image.Image], side: int = 32) -> Pictures:
    return pictures(np.stack([np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) for image in images]))


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("change", CHANGES)
def test_copies(change, side):
    """Of 20 photographs each is a copy of itself, whatever was done, and whichever comes first."""
    images = [photograph(seed) for seed in range(20)]
    one, other = compared(images, side), compared([CHANGES[change](image) for image in images], side)
    assert (differences(one, other) < _MAX_DISTANCE).all()
    assert differences(one, other).tolist() == differences(other, one).tolist()


def drawn(*shapes) -> Image.Image:
    """An icon of 128 pixels on white: shapes as (name of the method, place, colour)."""
    image = Image.new("RGB", (128, 128), "white")
    for method, place, colour in shapes:
        getattr(ImageDraw.Draw(image), method)(place, fill=colour)
    return image


DISC = ("ellipse", (8, 8, 120, 120), (220, 40, 40))
OCTAGON = ("polygon", [(41, 8), (87, 8), (120, 41), (120, 87), (87, 120), (41, 120), (8, 87), (8, 41)], (220, 40, 40))
FOLDER = ("rectangle", (8, 24, 120, 110), (90, 130, 200))
DIFFERENT = {
    "a disc and a stop sign": (drawn(DISC), drawn(DISC, ("rectangle", (30, 56, 98, 72), "white"))),
    "a disc and an octagon with a bar": (drawn(DISC), drawn(OCTAGON, ("rectangle", (30, 56, 98, 72), "white"))),
    "two colours": (drawn(FOLDER), drawn(("rectangle", (8, 24, 120, 110), (200, 130, 90)))),
    "grey and red": (drawn(DISC), drawn(("ellipse", (8, 8, 120, 120), (110, 110, 110)))),
    "a sign on a folder": (drawn(FOLDER), drawn(FOLDER, ("ellipse", (50, 50, 80, 80), (30, 40, 90)))),
    "two hands of a clock": (
        drawn(DISC, ("rectangle", (61, 20, 67, 64), "white")),
        drawn(DISC, ("rectangle", (64, 61, 108, 67), "white")),
    ),
    "a picture and its negative": (drawn(DISC), Image.eval(drawn(DISC), lambda level: 255 - level)),
}


@pytest.mark.parametrize("pair", DIFFERENT)
def test_different_pictures(pair):
    """What differs in one place alone, or in colour, is no copy, as little as it is of the whole picture."""
    one, other = (compared([image]) for image in DIFFERENT[pair])
    assert differences(one, other)[0] > _MAX_DISTANCE


def test_identical_and_even_pictures():
    """Nothing is no difference, and two even pictures differ in nothing but brightness and colour."""
    images = pictures(np.stack([np.full((32, 32, 3), level, np.uint8) for level in (10, 200)]))
    assert (differences(images, images) < 0.01).all() or np.isinf(differences(images, images)).all()
    photographs = compared([photograph(1)])
    assert differences(photographs, photographs)[0] < 0.01
    none = np.empty(0, np.int64)
    assert 0 == len(differences(images.take(none), images.take(none)))
