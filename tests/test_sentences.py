"""Names in a sentence: a few of many, the telling ones first."""

from lince.sentences import brief, listed


def test_listed():
    """Five in quotes, and how many more there are."""
    assert "'a', 'b', 'c', 'd', 'e'" == listed("abcde")
    assert "'a', 'b', 'c', 'd', 'e' and 1,001 more" == listed(["a", "b", "c", "d", "e", *["f"] * 1001])


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
