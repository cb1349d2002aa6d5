"""Pictures that tests draw themselves: three classes that differ by colour and shape, learned by a tiny network."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("disc", "square", "stripes")


def draw(label: int, rng: np.random.Generator, *, size: int = 32) -> np.ndarray:
    """One noisy picture u8[size,size,3] of a class: its shape is bright in the class's own colour channel."""
    y, x = np.mgrid[0:size, 0:size]
    centre_x, centre_y = rng.integers(size // 3, size - size // 3, 2)
    radius = rng.integers(size // 5, size // 3)
    distance = np.maximum(abs(x - centre_x), abs(y - centre_y))
    masks = (
        (x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2,
        distance < radius,
        (x + centre_x) // 4 % 2 == 0,
    )
    picture = np.full((size, size, 3), 60.0)
    picture[masks[label], label] = 200
    return np.clip(picture + rng.normal(0, 50, picture.shape), 0, 255).astype(np.uint8)


def batch(n: int, *, seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Images u8[n,size,size,3] and labels i64[n], the classes taking turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    return np.stack([draw(int(label), rng, size=size) for label in labels]), labels.astype(np.int64)


def write_tree(root: Path, *, train: int, test: int, seed: int = 0) -> Path:
    """Writes `train/CLASS/NNN` and `test/CLASS/NNN`, so many images in all, every fifth of a class as JPEG."""
    for index, (split, count) in enumerate((("train", train), ("test", test))):
        images, labels = batch(count, seed=seed + index)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            suffix = "jpg" if number // len(CLASSES) % 5 == 0 else "png"
            path = root / split / CLASSES[label] / f"{number:03}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return root
