"""Texts for people in their language: one catalogue a language, `translations/LANGUAGE.json`.

The page and the report use them. Labels in files and in answers of the service are never translated.
"""

import json
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal, get_args

Language = Literal["en", "pt"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_CIFAR10 = frozenset({"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"})


@cache
def catalogue(language: Language) -> MappingProxyType[str, str]:
    """All texts of a language by their keys, such as `report.accuracy`; `{name}` stands for a value."""
    file = resources.files("lince") / "translations" / f"{language}.json"
    return MappingProxyType(json.loads(file.read_text(encoding="utf-8")))


def text(language: Language, key: str, **values: object) -> str:
    """One text, with values in their places.

    Args:
        language: of the text.
        key: in the catalogue. With a value `count`, the key is that of the plural, `KEY.one` or `KEY.other`.
        values: by name.

    Raises:
        KeyError: there is no such text, or a value is missing.
    """
    if "count" in values:
        key = f"{key}.{'one' if values['count'] == 1 else 'other'}"
    return catalogue(language)[key].format(**values)


def class_names(language: Language, labels: tuple[str, ...]) -> tuple[str, ...]:
    """How to show the labels: those of CIFAR-10 in that language, all others as they are."""
    if set(labels) != _CIFAR10:
        return labels
    return tuple(catalogue(language)[f"class.{label}"] for label in labels)
