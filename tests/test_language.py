"""Every text is there in every language, with the same values in it."""

import string

import pytest

from lince import language
from lince.language import LANGUAGES, catalogue, class_names, text

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def values_of(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


@pytest.mark.parametrize("chosen", LANGUAGES)
def test_no_text_is_missing(chosen: language.Language):
    """None is too many either, and each has the values of the English one."""
    english, other = catalogue("en"), catalogue(chosen)
    assert english.keys() == other.keys()
    assert [key for key in english if values_of(english[key]) != values_of(other[key])] == []
    assert [key for key in other if not other[key].strip()] == []


def test_a_number_chooses_its_plural(monkeypatch: pytest.MonkeyPatch):
    """One and all others."""
    texts = {"image.one": "{count} image", "image.other": "{count} images"}
    monkeypatch.setattr(language, "catalogue", lambda _: texts)
    assert [text("en", "image", count=count) for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_numbers_are_written_as_the_language_does():
    """Separators, the sign of per cent, and counts inside texts."""
    assert ("1,234.5 %", "1.234,5%") == tuple(language.number(one, "1,234.5 %") for one in LANGUAGES)
    assert "1.234 imagens de teste" == text("pt", "report.test_images", count=1234)


def test_labels_of_others_stay_as_they_are():
    """Only CIFAR-10's are translated, in any order."""
    assert class_names("pt", CIFAR10)[:4] == ("avião", "automóvel", "pássaro", "gato")
    assert class_names("pt", CIFAR10[::-1])[-1] == "avião"
    assert class_names("pt", ("cat", "dog")) == ("cat", "dog")
    assert class_names("en", CIFAR10) == CIFAR10
