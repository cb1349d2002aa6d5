"""Pictures for a page: as data URIs, and several on one sheet."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

LARGE = 65  # pixels a side from which a picture is stored as JPEG, and below which it is shown with its pixels
_GAP = 4


def data_uri(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """The picture as an address for `<img src>`: small ones as PNG, without loss."""
    kind = "png" if max(image.shape[:2]) < LARGE else "jpeg"
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=85)
    return f"data:image/{kind};base64," + base64.b64encode(file.getvalue()).decode()


def sheet(rows: Sequence[Sequence[UInt8[np.ndarray, "h w 3"]]]) -> bytes:
    """A PNG file with a picture in each cell, at least 64 pixels a side, on transparent ground.

    Args:
        rows: u8[H,W,3] of one size, one row or more with a picture in the first.
    """
    height, width = rows[0][0].shape[:2]
    times = max(1, round(64 / max(height, width)))
    height, width = height * times, width * times
    size = (_GAP + width) * max(map(len, rows)) - _GAP, (_GAP + height) * len(rows) - _GAP
    canvas = Image.new("RGBA", size)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            enlarged = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(enlarged, (x * (_GAP + width), y * (_GAP + height)))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()
