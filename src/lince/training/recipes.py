"""Reads recipes by name or path, with overrides, from TOML files and from the records of runs.

An override is `key=value` with a dotted key: `train.epochs=5`. Every error names the key, the received and the expected
value: `Recipe 'mine.toml': train.epochs = 0. Expected a whole number of at least 1.`
"""

import difflib
import tomllib
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from lince import schema
from lince.errors import RecipeError
from lince.system.files import read_bounded
from lince.training.recipe import Recipe

_MAX_SEARCHED_LINES = 200  # shipped recipes have 45; reading 16 kB 200 times takes 2 s
_MAX_SHOWN_CHARACTERS = 100
_MAX_RECIPE_BYTES = 2**14  # shipped recipes have 2 kB; one long dotted key takes tomllib 0.6 s here, 9 s at 64 kB


def names() -> list[str]:
    """The names of the recipes that ship, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in _shipped().iterdir() if entry.name.endswith(".toml"))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe by its name (one that ships) or its path (`*.toml`), and applies overrides.

    Args:
        name_or_path: `classic`, or `mine.toml`.
        overrides: `key=value` with dotted keys and TOML values: `train.epochs=5`, `model.dense=[64]`.

    Raises:
        RecipeError: an unknown recipe or key, or a value that is not valid.
    """
    text = _read(name_or_path)
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: TOMLDecodeError, and numbers of 5,000 digits
        raise RecipeError(
            f"Recipe {str(name_or_path)!r} is not TOML{_place(text)}. "
            "Expected lines such as [train], epochs = 5 or optimizer = 'adam', each key once."
        ) from error
    for override in overrides:
        _override(table, override)
    table.setdefault("name", Path(name_or_path).stem)
    return from_table(table, source=str(name_or_path))


def from_table(table: dict[str, Any], *, source: str) -> Recipe:
    """Turns a parsed table into a Recipe.

    Args:
        table: as TOML or JSON gives it.
        source: names the recipe in error messages.

    Raises:
        RecipeError: an unknown key, or a value that is not valid.
    """
    try:
        schema.require_usable_numbers(table)
        return schema.convert(table, Recipe)
    except schema.MisfitError as error:
        raise RecipeError(f"Recipe {source!r}: {error}") from error


def override(recipe: Recipe, overrides: Sequence[str], *, tables: Sequence[str]) -> Recipe:
    """A recipe with `key=value` overrides.

    Args:
        recipe: of a run that is trained.
        overrides: as for `load`.
        tables: the only tables that overrides may change.

    Raises:
        RecipeError: a key of another table, or a value that is not valid.
    """
    table = to_table(recipe)
    for text in overrides:
        if text.partition(".")[0] not in tables:
            raise RecipeError(
                f"Received --set {text!r}. Expected a key of {' or '.join(tables)}: the others belong to the "
                "training, so they need a new run."
            )
        _override(table, text)
    return from_table(table, source=recipe.name)


def to_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON data; `from_table` reads it back."""
    table: dict[str, Any] = msgspec.to_builtins(recipe)
    return table


def _shipped() -> Traversable:
    return resources.files("lince") / "recipes"


def _read(name_or_path: str | Path) -> str:
    name = str(name_or_path)
    if name in names():
        return (_shipped() / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return read_bounded(Path(name_or_path), _MAX_RECIPE_BYTES).decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "not text in UTF-8")
        found, known = "" if isinstance(error, FileNotFoundError) else f" ({reason})", ", ".join(names())
        near = difflib.get_close_matches(name.lower(), names(), 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise RecipeError(
            f"Received recipe {name!r}{found}.{meant} Expected one of {known}, or the path of a TOML file."
        ) from error


def _override(table: dict[str, Any], override: str) -> None:
    """Sets one dotted key. A value that is not TOML becomes a string, so that `train.optimizer=adam` works."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"Received --set {override!r}. Expected key=value, for example train.epochs=5.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith(("[", "{")):
            raise RecipeError(
                f"Received --set {override[:200]!r}, whose value is not TOML. "
                "Expected, for example, train.phases=[{until=0.5, image_size=24}]."
            ) from error
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise RecipeError(
                f"Received --set {override!r}, but {parent!r} is a value, not a table. Expected a table's key."
            )
    table[leaf] = value


def _place(text: str) -> str:
    """The line at which the text stops being TOML: the line after the longest start that is TOML."""
    lines = text.splitlines(keepends=True)[:_MAX_SEARCHED_LINES]
    for count in range(len(lines) - 1, -1, -1):
        if _is_toml("".join(lines[:count])):
            return f" at line {count + 1}: {lines[count].strip()[:_MAX_SHOWN_CHARACTERS]!r}"
    return ""


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
