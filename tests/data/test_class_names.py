"""Names that look the same."""

import pytest

from lince.data.class_names import composed, similar, similarity_warnings


@pytest.mark.parametrize(
    "other", ["Cat", "CAT", "cat ", " cat", "c at", "cat\u00a0", "c\u200bat", "\ufeffcat", "ca\u00adt", "\uff43at"]
)
def test_case_blanks_and_what_cannot_be_seen(other):
    """And letters of full width: they are found to be similar, and nothing else is."""
    assert [("cat", other)] == similar(["cat", "dog", other, "cats", "c-at"])


def test_blanks_between_words():
    """None, one, two or one of another kind make no difference."""
    names = ["stop sign", "stop  sign", "Stop\u00a0sign", "StopSign"]
    assert [tuple(names)] == similar(names)


def test_sentence():
    """Both names are quoted, so that a blank shows."""
    (sentence,) = similarity_warnings(["cat", "cat ", "dog"])
    assert sentence.startswith(
        "The classes 'cat', 'cat ' differ only in case or blanks, or in the form of a letter. If "
    )


def test_composed():
    """One character for a letter and its accent."""
    assert ("caf\u00e9", "cat") == (composed("cafe\u0301"), composed("cat"))
