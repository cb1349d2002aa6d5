"""Numbers as people read them."""

import pytest

from lince import number_formats as formats
from lince.types import Interval


def test_shares_are_per_cent():
    """With a space, and as many digits as asked for."""
    assert formats.percent(0.81344) == "81.34 %"
    assert formats.percent(1, digits=0) == "100 %"
    assert formats.percent_range(Interval(0.5, 0.4, 0.625)) == "40.00–62.50 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0.934, "93.4%"), (0.9994, "99.9%"), (0.9996, ">99.9%"), (1.0, ">99.9%"), (1.0001, ">99.9%")],
        *[(0.0006, "0.1%"), (0.0004, "<0.1%"), (1e-30, "<0.1%"), (0.0, "<0.1%")],
    ],
)
def test_no_probability_is_a_certainty(value, text):
    """float32 rounds to 1 and 0 what is only nearly so."""
    assert text == formats.probability(value, unit="%")


def test_shares_may_be_all_or_none():
    """300 of 300 images are 100 %; 99,999 of 100,000 are not."""
    shares = (1.0, 0.0, 0.99999, 0.00001, 0.5)
    assert ["100.00 %", "0.00 %", "> 99.99 %", "< 0.01 %", "50.00 %"] == [formats.percent(share) for share in shares]
    assert ["> 99 %", "< 1 %"] == [formats.percent(share, 0) for share in (0.9999, 0.004)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12, "+0.12"), (-0.05, "−0.05"), (0, "0.00"), (0.004, "0.00"), (-0.004, "0.00"), (12, "+12.00")],
)
def test_points_have_a_sign_unless_nothing(value, text):
    """A true minus sign, and no sign before what rounds to zero."""
    assert text == formats.points(value)


def test_ranges_of_points_name_both_ends():
    """A dash would read as a minus."""
    assert formats.points_range(Interval(0, -0.05, 0.29)) == "−0.05 to +0.29"


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (98_352, "98.4 kB"), (1_284_352, "1.3 MB"), (2_500_000_000, "2.5 GB")]
)
def test_sizes_count_in_thousands(count, text):
    """As disks and downloads do."""
    assert text == formats.file_size(count)


@pytest.mark.parametrize(("value", "text"), [(82.66, "82.7 µs"), (1340, "1.34 ms")])
def test_latencies_change_unit(value, text):
    """Microseconds below a thousand, then milliseconds."""
    assert text == formats.microseconds(value)
