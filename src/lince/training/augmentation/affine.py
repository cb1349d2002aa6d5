"""Augmentation: random changes of the training images, drawn for each batch.

Rotation and zoom are one affine map. Three Keras layers in a row resample the picture twice and take 130 µs an image;
one map takes 23 µs and blurs once. Shifts, mirrors and cutout move whole pixels; all three together take 9 µs.
Blur, fading and noise come last, so that a teacher can answer for the picture before them.
The random choices depend only on generator, seed and epoch, so a resumed run sees the same pictures.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from keras import ops

from lince.evaluation.corruptions import blurred, faded
from lince.training.augmentation.options import Augment

_SHARPEST = 0.2  # σ of a Gaussian blur, pixels; below it no pixel changes by a grey level


def augment(images: UInt8[np.ndarray, "n h w 3"], recipe: Augment, rng: np.random.Generator, *, mirror: Any) -> Any:
    """Shifts, mirrors, paints, rotates and zooms. Pixels from outside are those of the picture mirrored at its edge.

    Args:
        images: u8[N,H,W,3], larger than the recipe's `translate` and `cutout`.
        recipe: the ranges.
        rng: the only source of randomness.
        mirror: bool[N], the images to mirror; see `mirrored`.

    Returns:
        f32[N,H,W,3] pixels 0..255, a NumPy array or a tensor of the Keras backend.
    """
    images = _shifted(images, recipe.translate, rng) if recipe.translate else images.copy()
    images[mirror] = images[mirror][:, :, ::-1]
    if recipe.cutout:
        _paint(images, recipe.cutout, rng)
    pixels = images.astype(np.float32, order="C")
    if recipe.rotation_degrees == recipe.zoom == 0:
        return pixels
    transforms = draw_transforms(len(images), images.shape[1:3], recipe, rng)
    return ops.image.affine_transform(pixels, transforms, interpolation="bilinear", fill_mode="reflect")


def another_view(pixels: Any, recipe: Augment, rng: np.random.Generator) -> Any:
    """The views for which a teacher answers: each picture shifted again and, if the recipe mirrors, mirrored at random.

    Args:
        pixels: f32[N,H,W,3] 0..255, as `augment` returns them.
        recipe: `teacher_translate` says how far.
        rng: the only source of randomness.

    Returns:
        f32[N,H,W,3] 0..255: `pixels` itself if the recipe moves nothing.
    """
    if not recipe.teacher_translate:
        return pixels
    views = _shifted(np.asarray(pixels), recipe.teacher_translate, rng)
    if recipe.horizontal_flip != "none":
        mirror = rng.random(len(views)) < 0.5
        views[mirror] = views[mirror][:, :, ::-1]
    return views


def degrade(pixels: Any, recipe: Augment, rng: np.random.Generator) -> Any:
    """Blurs, fades, and adds noise, each to its own random share of the images.

    Args:
        pixels: f32[N,H,W,3] 0..255, as `augment` returns them.
        recipe: the share and the ranges.
        rng: the only source of randomness.

    Returns:
        f32[N,H,W,3] 0..255: `pixels` itself if the recipe degrades nothing.
    """
    if not recipe.degraded * (recipe.blur + recipe.fade + recipe.noise):
        return pixels
    pixels = np.array(pixels)
    if recipe.blur > _SHARPEST:
        chosen = _some(len(pixels), recipe, rng)
        pixels[chosen] = blurred(pixels[chosen], rng.uniform(_SHARPEST, recipe.blur, len(chosen)))
    if recipe.fade:
        chosen = _some(len(pixels), recipe, rng)
        pixels[chosen] = faded(pixels[chosen], rng.uniform(1 - recipe.fade, 1, len(chosen)))
    if recipe.noise:
        chosen = _some(len(pixels), recipe, rng)
        sigmas = rng.uniform(0, recipe.noise, (len(chosen), 1, 1, 1)).astype(np.float32)
        noise = rng.standard_normal((len(chosen), *pixels.shape[1:]), np.float32)
        pixels[chosen] = np.clip(pixels[chosen] + sigmas * noise, 0, 255)
    return pixels


def _some(n: int, recipe: Augment, rng: np.random.Generator) -> Int64[np.ndarray, " m"]:
    return np.flatnonzero(rng.random(n) < recipe.degraded)


def mirrored(indices: Int64[np.ndarray, " n"], recipe: Augment, *, epoch: int, seed: int) -> Bool[np.ndarray, " n"]:
    """Which images are mirrored in an epoch; the same for the same seed and epoch.

    Args:
        indices: i64[N], of the images in their split.
        recipe: `horizontal_flip` says how.
        epoch: from 1.
        seed: of the run.
    """
    if recipe.horizontal_flip == "none":
        return np.zeros(len(indices), bool)
    # One bit for each image: the parity of its hashed index. It needs no table of all images.
    if recipe.horizontal_flip == "alternating":
        numbers = _hash(indices, seed) + np.uint64(epoch)
    else:
        numbers = _hash(_hash(indices, seed), epoch)
    is_odd: Bool[np.ndarray, " n"] = numbers % 2 == 1
    return is_odd


def draw_transforms(
    n: int, size: tuple[int, int], recipe: Augment, rng: np.random.Generator
) -> Float32[np.ndarray, "n 8"]:
    """Draws N affine maps from output to input coordinates, about the centre of the image.

    Args:
        n: how many.
        size: height and width, pixels.
        recipe: the ranges of rotation and zoom.
        rng: the only source of randomness.

    Returns:
        f32[N,8] rows (a0, a1, a2, b0, b1, b2, 0, 0): the output pixel (x, y) shows the input at
        (a0·x + a1·y + a2, b0·x + b1·y + b2).
    """
    angle = np.deg2rad(rng.uniform(-recipe.rotation_degrees, recipe.rotation_degrees, n))
    scale = rng.uniform(1 - recipe.zoom, 1 + recipe.zoom, n)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    centre = (np.array(size[::-1]) - 1) / 2
    offset = centre - linear @ centre
    rows = np.concatenate([linear, offset[:, :, None]], axis=2).reshape(n, 6)
    return np.concatenate([rows, np.zeros((n, 2))], axis=1).astype(np.float32)


def _shifted(images: np.ndarray, reach: int, rng: np.random.Generator) -> np.ndarray:
    """A copy with each image shifted. Indexing windows takes a sixth of the time of indexing pixels."""
    n, height, width = images.shape[:3]
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = rng.integers(0, 2 * reach + 1, (2, n))
    shifted: np.ndarray = windows[np.arange(n), top, left]
    return shifted.transpose(0, 2, 3, 1)


def _paint(images: np.ndarray, side: int, rng: np.random.Generator) -> None:
    """Paints a square into each image, wholly inside it, in the image's mean colour.

    The square hides what is there and must not be a signal itself. In a picture of low contrast, such as a depth map,
    another colour would be the strongest signal. Batch norm would suppress the rest.
    """
    n, height, width = images.shape[:3]
    top, left = rng.integers(0, height - side + 1, (n, 1)), rng.integers(0, width - side + 1, (n, 1))
    rows, columns = np.arange(height), np.arange(width)
    in_rows, in_columns = (rows >= top) & (rows < top + side), (columns >= left) & (columns < left + side)
    # One axis after the other: both in one call take 24 times as long.
    colours = images.mean(axis=1, dtype=np.float32).mean(axis=1).round().astype(np.uint8)
    np.copyto(images, colours[:, None, None], where=(in_rows[:, :, None] & in_columns[:, None, :])[..., None])


def _hash(indices: np.ndarray, salt: int) -> np.ndarray:
    """A hash of integers to uint64, used as a reproducible source of randomness.

    Source: the finaliser of SplitMix64 (Steele et al. 2014).
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2⁶⁴ is meant
        z = indices.astype(np.uint64) + np.uint64(salt + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
