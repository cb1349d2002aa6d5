"""Draws the two sample pictures of the documentation, `airplane.jpg` and `ship.jpg`: nobody's photographs.

    python docs/samples/draw.py [FOLDER]

The model `cifar10` answers both with their names; `tests/project/test_samples.py` holds that.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_SIZE = 384  # drawn at this size, and stored smaller, so that edges are smooth
_STORED = 256
_WHITE, _GREY, _BLUE, _RED = (238, 240, 243), (170, 178, 190), (60, 90, 160), (190, 60, 45)


def main() -> None:
    """Writes both pictures, into this folder unless another one is given."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for draw in (airplane, ship):
        draw().resize((_STORED, _STORED), Image.Resampling.LANCZOS).save(folder / f"{draw.__name__}.jpg", quality=85)


def airplane() -> Image.Image:
    """An airliner from the side, in front of clouds."""
    sky = _gradient((70, 150, 215), (215, 228, 240))
    clouds = _noise((6, 6), seed=15, spread=60).filter(ImageFilter.GaussianBlur(20))
    sky += 0.7 * np.clip(np.asarray(clouds, float)[:, :, None] - 128, 0, None)
    picture = _picture(sky)
    _polygon(picture, (0.45, 0.55), (0.62, 0.54), (0.40, 0.76), (0.33, 0.76), fill=_GREY)  # wings
    _polygon(picture, (0.50, 0.46), (0.60, 0.46), (0.47, 0.36), (0.43, 0.36), fill=_GREY)
    _polygon(picture, (0.08, 0.48), (0.20, 0.46), (0.80, 0.46), (0.80, 0.57), (0.25, 0.57), fill=_WHITE)  # body
    _ellipse(picture, 0.70, 0.46, 0.94, 0.57, fill=_WHITE)
    _polygon(picture, (0.08, 0.48), (0.20, 0.46), (0.12, 0.30), (0.05, 0.30), fill=_BLUE)  # tail
    _polygon(picture, (0.10, 0.51), (0.20, 0.51), (0.10, 0.57), (0.05, 0.57), fill=_GREY)
    _rectangle(picture, 0.20, 0.525, 0.86, 0.54, fill=_BLUE)
    for window in range(13):
        left = 0.26 + 0.042 * window
        _rectangle(picture, left, 0.49, left + 0.015, 0.505, fill=(70, 85, 110))
    _ellipse(picture, 0.43, 0.58, 0.53, 0.63, fill=(120, 128, 140))  # engine
    return picture


def ship() -> Image.Image:
    """A steamer on the sea."""
    horizon = round(0.56 * _SIZE)
    scene = _gradient((150, 175, 215), (225, 230, 235))
    scene[horizon:] = _gradient((60, 95, 130), (20, 60, 95))[: _SIZE - horizon]
    waves = np.asarray(_noise((_SIZE // 3, _SIZE // 12), seed=26, spread=40), float)[:, :, None]
    scene[horizon:] += 0.6 * (waves[horizon:] - 128)
    picture = _picture(scene)
    _polygon(picture, (0.12, 0.49), (0.90, 0.45), (0.81, 0.67), (0.19, 0.67), fill=(70, 45, 48))  # hull
    _polygon(picture, (0.18, 0.63), (0.82, 0.63), (0.81, 0.67), (0.19, 0.67), fill=_RED)
    _rectangle(picture, 0.24, 0.36, 0.62, 0.49, fill=_WHITE)
    _rectangle(picture, 0.29, 0.27, 0.52, 0.36, fill=_WHITE)
    for window in range(5):
        left = 0.27 + 0.07 * window
        _rectangle(picture, left, 0.40, left + 0.03, 0.43, fill=(60, 70, 90))
    _rectangle(picture, 0.36, 0.15, 0.44, 0.27, fill=_RED)  # funnel
    _rectangle(picture, 0.695, 0.19, 0.71, 0.46, fill=_GREY)  # mast
    return picture


def _gradient(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> np.ndarray:
    """Colours from the top to the bottom, f64[_SIZE,_SIZE,3]."""
    share = np.linspace(0, 1, _SIZE)[:, None, None]
    return np.tile(np.array(top) * (1 - share) + np.array(bottom) * share, (1, _SIZE, 1))


def _noise(cells: tuple[int, int], *, seed: int, spread: float) -> Image.Image:
    """Grey noise of so many rows and columns, enlarged."""
    drawn = np.random.default_rng(seed).normal(128, spread, cells)
    return Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8)).resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)


def _picture(colours: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def _polygon(picture: Image.Image, *corners: tuple[float, float], fill: tuple[int, int, int]) -> None:
    """Corners are shares of the width and the height, as are the sides of the other shapes."""
    ImageDraw.Draw(picture).polygon([(x * _SIZE, y * _SIZE) for x, y in corners], fill=fill)


def _rectangle(picture: Image.Image, *sides: float, fill: tuple[int, int, int]) -> None:
    ImageDraw.Draw(picture).rectangle([side * _SIZE for side in sides], fill=fill)


def _ellipse(picture: Image.Image, *sides: float, fill: tuple[int, int, int]) -> None:
    ImageDraw.Draw(picture).ellipse([side * _SIZE for side in sides], fill=fill)


if __name__ == "__main__":
    main()
