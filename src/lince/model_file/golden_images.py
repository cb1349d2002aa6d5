"""Golden images: synthetic pictures and the logits that a model file must give for them.

They are drawn from a seed (gradients, discs, stripes and noise at several scales), never taken from a dataset.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, UInt8

from lince.types import ImageSpec

COUNT = 32

# Kernels for x86 and Arm round halves differently, so a sound machine may be off by one step a layer. A broken network
# is off by tens of steps. The model that ships was written on Zen 5. It is off by 0 on Zen 4 (both have AVX-512 with
# VNNI) and on an x86 processor with only AVX2. On Arm it has not been measured.
TOLERANCE_STEPS = 2


@dataclass(frozen=True)
class Golden:
    """Attributes: images u8[32,H,W,3]; logits i8[32,K] or f32[32,K], as the network gave them when it was written."""

    images: UInt8[np.ndarray, "32 h w 3"]
    logits: Int8[np.ndarray, "32 k"] | Float32[np.ndarray, "32 k"]


def deviation_steps(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference between the logits that a network gives and the recorded ones.

    Args:
        found, expected: i8[32,K], or f32[32,K] of a network whose logits are real numbers.

    Returns:
        In steps of int8. For real numbers, whose network has 8-bit weights as well, a step is 1/255 of the range of the
        recorded logits. Infinite when a logit is not a number.
    """
    difference = np.abs(found.astype(np.float64) - expected).max()
    span = float(expected.max()) - float(expected.min())
    step = 1.0 if expected.dtype == np.int8 or span == 0 else span / 255
    return float(difference / step) if np.isfinite(difference) else float("inf")


def draw_images(spec: ImageSpec, *, seed: int) -> UInt8[np.ndarray, "32 h w 3"]:
    """Draws 32 pictures, eight of each kind; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    kinds = (_gradient, _disc, _stripes, _noise)
    y, x = np.mgrid[0 : spec.height, 0 : spec.width] / max(spec.height, spec.width)
    pictures = [kinds[index % len(kinds)](x, y, rng) for index in range(COUNT)]
    pixels: np.ndarray = np.clip(np.rint(np.stack(pictures)), 0, 255)
    return pixels.astype(np.uint8)


def _blend(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two random colours, mixed by a mask in 0..1."""
    first, second = rng.uniform(0, 255, (2, 3))
    blended: np.ndarray = mask[..., None] * first + (1 - mask[..., None]) * second
    return blended


def _gradient(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    ramp = x * np.cos(angle) + y * np.sin(angle)
    return _blend((ramp - ramp.min()) / np.ptp(ramp), rng)


def _disc(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    centre_x, centre_y, radius = rng.uniform((0.2, 0.2, 0.1), (0.8, 0.8, 0.4))
    return _blend(((x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2).astype(float), rng)


def _stripes(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 12)
    return _blend((np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle))) + 1) / 2, rng)


def _noise(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random colours in square cells of 1, 2, 4 or 8 pixels."""
    cell = int(2 ** rng.integers(0, 4))
    height, width = x.shape
    cells = rng.uniform(0, 255, (-(-height // cell), -(-width // cell), 3))
    return cells.repeat(cell, 0).repeat(cell, 1)[:height, :width]
