"""Names and counts in a sentence: a few of many names, the telling ones first; names made printable."""

import pytest

from lince.text import brief, listed, printable, quantity


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
