"""Chooses the pictures that a run's report shows, while the images are in memory; see `lince.runs.pictures`."""

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from lince.evaluation.accuracy import worst_mistakes
from lince.runs.pictures import Pictures
from lince.training.augmentation.affine import augment, degrade, mirrored
from lince.training.augmentation.cutmix import cutmix
from lince.training.session import Run
from lince.types import Prediction, Report, Split

# Pixels of the longer side at most. 150 pictures are 3 MB in the file, and 1 MB on the page.
_SIDE, _SMALL_SIDE = 128, 96
_MOST_EXAMPLES, _EXAMPLES_OF_A_CLASS = 120, 6
_AUGMENTED, _VIEWS = 4, 6
_MOST_COPIES = 8


def choose(
    run: Run, prediction: Prediction, report: Report, *, version: str, copies: Int64[np.ndarray, " m"] | None
) -> Pictures:
    """The pictures of a run that is published. Nothing is read but these.

    Args:
        run: open.
        prediction, report: of the model file on the test images.
        version: of the model file.
        copies: i64[M], for each test image the training or validation image (counted on from the training images) that
            is like it, or -1; None where they were not searched for.
    """
    mistakes = worst_mistakes(prediction, run.test.labels, most=len(report.mistakes))
    originals = _spread(len(run.train), _AUGMENTED)
    pairs = np.empty((0, 2), np.int64)
    if copies is not None:
        found = np.flatnonzero(copies >= 0)[:_MOST_COPIES]
        pairs = np.stack([found, copies[found]], axis=1)
    examples = _examples(run.train, seed=run.record.seed)
    both = [_pair(run, *pair) for pair in pairs.tolist()]
    return Pictures(
        version=version,
        mistakes=_small(run.test.images[mistakes]),
        examples=_small(run.train.images[examples], _SMALL_SIDE),
        example_labels=run.train.labels[examples],
        originals=_small(run.train.images[originals], _SMALL_SIDE),
        augmented=_augmented(run, originals),
        copies=_stacked([_small(images) for images, _ in both], like=_small(run.test.images[[0, 0]])),
        copy_labels=np.array([labels for _, labels in both], np.int64).reshape(-1, 2),
    )


def _examples(train: Split, *, seed: int) -> Int64[np.ndarray, " e"]:
    """A few images of each class, sorted by class; of more than 120 classes, of the first 120."""
    num_classes = len(train.classes)
    each = max(1, min(_EXAMPLES_OF_A_CLASS, _MOST_EXAMPLES // num_classes))
    rng = np.random.default_rng(seed)
    of_class = (np.flatnonzero(train.labels == label) for label in range(min(num_classes, _MOST_EXAMPLES)))
    chosen: Int64[np.ndarray, " e"] = np.concatenate([np.sort(rng.permutation(images)[:each]) for images in of_class])
    return chosen


def _augmented(run: Run, indices: Int64[np.ndarray, " a"]) -> UInt8[np.ndarray, "a v h w 3"]:
    """What training makes of these images in its first epochs: each epoch another view."""
    options, seed = run.recipe.augment, run.record.seed
    images = run.train.images[indices]
    views = []
    for epoch in range(1, _VIEWS + 1):
        rng = np.random.default_rng([seed, epoch])
        mirror = mirrored(indices, options, epoch=epoch, seed=seed)
        pixels, _ = cutmix(augment(images, options, rng, mirror=mirror), options.cutmix, rng)
        views.append(np.clip(np.rint(np.asarray(degrade(pixels, options, rng))), 0, 255).astype(np.uint8))
    if all(np.array_equal(view, images) for view in views):
        views = []
    small = [_small(view, _SMALL_SIDE) for view in views]
    return _stacked(small, like=_small(images, _SMALL_SIDE)).swapaxes(0, 1)


def _pair(run: Run, test: int, other: int) -> tuple[UInt8[np.ndarray, "2 h w 3"], tuple[int, int]]:
    """A test image and a training or validation image, and their labels."""
    first = len(run.train)
    split, index = (run.train, other) if other < first else (run.validation, other - first)
    images = np.stack([run.test.images[test], split.images[index]])
    return images, (int(run.test.labels[test]), int(split.labels[index]))


def _spread(n: int, count: int) -> Int64[np.ndarray, " a"]:
    """So many indices below `n`, evenly spread: images are sorted by class, so these are of several."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))


def _stacked(arrays: list[np.ndarray], *, like: np.ndarray) -> np.ndarray:
    """The arrays u8[n,h,w,3] on a new first axis, also where there are none; `like` has their h and w."""
    return np.stack(arrays) if arrays else np.empty((0, *like.shape), np.uint8)


def _small(images: UInt8[np.ndarray, "n h w 3"], side: int = _SIDE) -> UInt8[np.ndarray, "n s t 3"]:
    """The images, with at most so many pixels a side."""
    n, height, width, _ = images.shape
    if max(height, width) <= side:
        return images
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.empty((n, size[1], size[0], 3), np.uint8)
    for number, image in enumerate(images):
        small[number] = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    return small
