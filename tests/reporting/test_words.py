"""Numbers and texts in the report's language."""

import pytest

from lince.reporting.words import Words
from lince.types import Interval


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("81.34\xa0%", "1,234", "−0.05 to +0.29", "98.4\xa0kB", "+0.12 points", "1.8\xa0M", "1 test image")),
        ("pt", ("81,34%", "1.234", "−0,05 a +0,29", "98,4\xa0kB", "+0,12 p.p.", "1,8\xa0M", "1 imagem de teste")),
    ],
)
def test_numbers(language, expected):
    """Decimal point or comma; no line ends between a number and its unit."""
    words = Words(language)
    assert expected == (
        words.percent(0.8134),
        words.count(1234),
        words.points_range(Interval(0.1, -0.05, 0.29)),
        words.size(98_400),
        words.points(0.12),
        words.many(1_800_000),
        words("test_images", count=1),
    )


@pytest.mark.parametrize(("seconds", "expected"), [(45.4, "45 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations(seconds, expected):
    """In the two largest units."""
    assert expected == Words("pt").duration(seconds)
