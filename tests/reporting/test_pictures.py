"""Pictures inside a page, and on sheets."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from lince.reporting import pictures


@pytest.mark.parametrize(("side", "kind"), [(32, "png"), (96, "jpeg")])
def test_data_uri_holds_the_picture(side, kind):
    """Small ones without loss, larger ones nearly so."""
    image = np.full((side, side, 3), (200, 100, 50), np.uint8)
    head, data = pictures.data_uri(image).split(",")
    assert f"data:image/{kind};base64" == head
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as read:
        np.testing.assert_allclose(image, np.asarray(read), atol=0 if kind == "png" else 2)


def test_sheet_has_a_cell_for_each_picture():
    """Enlarged to at least 64 pixels; rows may be of different length."""
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    with Image.open(io.BytesIO(pictures.sheet([[black, white], [white]]))) as sheet:
        assert (64 + 4 + 64, 64 + 4 + 64) == sheet.size
        assert [(0, 0, 0, 255), (255, 255, 255, 255)] == [sheet.getpixel(place) for place in ((0, 0), (68, 68 - 68))]
        assert (255, 255, 255, 255) == sheet.getpixel((0, 68))
        assert 0 == sheet.getpixel((68, 68))[3]
