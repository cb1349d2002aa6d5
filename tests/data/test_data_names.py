"""Names that look the same."""

import pytest

from lince.data.names import composed, similar, similarity_warnings


@pytest.mark.parametrize("other", ["Cat", "CAT", "cat ", " cat", "cat\u00a0", "c\u200bat", "\ufeffcat", "ca\u00adt"])
def test_case_blanks_and_what_cannot_be_seen(other):
    """They are found to be similar, and nothing else is."""
    assert [("cat", other)] == similar(["cat", "dog", other, "cats", "c at"])


def test_blanks_between_words():
    """Two of them, or one of another kind, are one blank."""
    assert [("stop sign", "stop  sign", "Stop\u00a0sign")] == similar(["stop sign", "stop  sign", "Stop\u00a0sign"])


def test_sentence():
    """Both names are quoted, so that a blank shows."""
    (sentence,) = similarity_warnings(["cat", "cat ", "dog"])
    assert sentence.startswith("The classes 'cat', 'cat ' differ only in case or blanks. If they are one class, move ")


def test_composed():
    """One character for a letter and its accent."""
    assert ("caf\u00e9", "cat") == (composed("cafe\u0301"), composed("cat"))
