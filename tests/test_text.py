"""Names in a sentence: a few of many, the telling ones first; probabilities that are no certainties."""

import pytest

from lince.text import brief, listed, percent, printable, quantity, share


def test_listed():
    """Five in quotes, and how many more there are."""
    assert "'a', 'b', 'c', 'd', 'e'" == listed("abcde")
    assert "'a', 'b', 'c', 'd', 'e' and 1,001 more" == listed(["a", "b", "c", "d", "e", *["f"] * 1001])


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 test images"), (1, "1 test image"), (2, "2 test images"), (1234, "1,234 test images")],
)
def test_quantity(count, expected):
    """One has no plural."""
    assert expected == quantity(count, "test image")


def test_share():
    """Of images, all of which may be right."""
    assert ["100.00 %", "81.3 %", "> 99 %", "0 %"] == [share(1), share(0.8134, 1), share(0.9999, 0), share(0, 0)]


class TestBrief:
    def test_names_a_few(self):
        """Five, in their order, and a sign that there are more."""
        assert "a, b, c, d, e" == brief("abcde")
        assert "a, b, c, d, e, …" == brief("abcdef")

    def test_differences_come_first(self):
        """Two lists that differ at their ends do not read alike."""
        assert ("f, a, b, c, d, …", "g, a, b, c, d, …") == (
            brief("abcdef", unlike="abcdeg"),
            brief("abcdeg", unlike="abcdef"),
        )


class TestPercent:
    @pytest.mark.parametrize(
        ("probability", "expected"),
        [
            *[(0.934, "93.4%"), (0.9994, "99.9%"), (0.9996, ">99.9%"), (1.0, ">99.9%"), (1.0001, ">99.9%")],
            *[(0.0006, "0.1%"), (0.0004, "<0.1%"), (1e-30, "<0.1%"), (0.0, "<0.1%")],
        ],
    )
    def test_no_probability_is_a_certainty(self, probability, expected):
        """float32 rounds to 1 and 0 what is only nearly so."""
        assert expected == percent(probability)

    def test_counted_shares_may_be_all_or_none(self):
        """300 of 300 images are 100 %; 99,999 of 100,000 are not."""
        shares = (1.0, 0.0, 0.99999, 0.00001, 0.5)
        expected = ["100.00 %", "0.00 %", "> 99.99 %", "< 0.01 %", "50.00 %"]
        assert expected == [percent(share, digits=2, unit=" %", counted=True) for share in shares]
        assert "<1%" == percent(0.004, digits=0, counted=True)


class TestPrintable:
    @pytest.mark.parametrize(
        "name", ["plain.png", "ñandú 猫 🐱\N{ZERO WIDTH JOINER}x\u3000.png", "C:\\pictures\\a.png"]
    )
    def test_text_stays_as_it_is(self, name):
        """Every script, and the path of another operating system."""
        assert name == printable(name)

    def test_names_in_a_locale_of_ascii_are_those_of_their_bytes(self):
        """Python then gives each byte of `avião` above 127 as half of a surrogate."""
        assert "avião/ñ.png" == printable("avião/ñ.png".encode().decode("ascii", "surrogateescape"))
        assert r"a\udce9" == printable("é".encode("latin-1").decode("ascii", "surrogateescape").join(["a", ""]))

    def test_every_end_of_a_line_is_escaped(self):
        """Nothing that `str.splitlines` breaks at is left, nor anything that is no Unicode."""
        names = [chr(code) for code in range(0x11000)]
        shown = [printable(name) for name in names]
        assert set(range(0x11000)) == {index for index, name in enumerate(shown) if len(name.splitlines()) == 1}
        assert len(set(names)) == len(set(shown))
        assert "".join(shown) == "".join(shown).encode().decode()
